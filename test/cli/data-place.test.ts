/** A run knows where its data were: resume, evaluate and features find them, and take no others in their place. */
import { cpSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { digits } from '../../src/data/index.ts';
import { cambium, ensureBuilt, jsonLines, scratch, tiny } from './run-cli.ts';

const base = scratch();
const run = join(base, 'runs/first');
const recipe = `name: pictures
data: { name: folder, validation: 0.2, test: 0.2, channels: 1 }
model: { name: mlp, hidden: 8 }
optimizer: { name: adamw, lr: 1e-2 }
transforms: [{ kind: resize, height: 28, width: 28 }]
batchSize: 10
epochs: 1
`;
const head = (dir: string) => JSON.parse(readFileSync(join(dir, 'recipe.json'), 'utf8'));

beforeAll(() => ensureBuilt(), 120_000);
beforeAll(async () => {
  await pictures(join(base, 'photos'), 60);
  writeFileSync(join(base, 'pictures.yaml'), recipe);
  const args = ['train', 'pictures.yaml', '--data-dir', 'photos', '--out', 'runs/first'];
  const { code, stderr } = await cambium(args, { cwd: base });
  expect(code, stderr).toBe(0);
}, 120_000);

describe('the data folder of a run', () => {
  it('is noted beside the recipe, absolute, and not in the model folder', () => {
    expect(head(run)).toMatchObject({ dataDir: join(base, 'photos') });
    expect(head(run).recipe.data.dir).toBeUndefined();
    expect(readFileSync(join(run, 'model/config.json'), 'utf8')).not.toContain(base);
  });

  it('is found from another working directory', async () => {
    const report = JSON.parse(readFileSync(join(run, 'report.json'), 'utf8'));
    const { code, stdout, stderr } = await cambium(['evaluate', run, '--json']);
    expect(code, stderr).toBe(0);
    expect(jsonLines(stdout)[0]).toMatchObject({ n: report.n, accuracy: report.accuracy, dataHash: report.data });
    const out = join(base, 'vectors.npy');
    const vectors = await cambium(['features', join(run, 'model'), '--split', 'validation', '--out', out, '--json']);
    expect(vectors.code, vectors.stderr).toBe(0);
    expect(jsonLines(vectors.stdout)[0].shape[0]).toBe(12);
  });

  it('goes on as a run with --data-dir does, bit for bit', async () => {
    const [told, noted] = [join(base, 'told'), join(base, 'noted')];
    const more = ['--set', 'epochs=2', '--allow-change', 'epochs'];
    for (const dir of [told, noted]) cpSync(run, dir, { recursive: true });
    const with_ = await cambium(['resume', told, ...more, '--data-dir', join(base, 'photos')]);
    const without = await cambium(['resume', noted, ...more]);
    expect([with_.code, without.code], without.stderr).toEqual([0, 0]);
    const weights = (dir: string) => readFileSync(join(dir, 'model/model.safetensors'));
    expect(weights(noted).equals(weights(told))).toBe(true);
    expect(head(noted)).toEqual(head(told));
  });

  it('moved: says where they were, and takes the new place', async () => {
    const copy = join(base, 'copy');
    cpSync(join(run, 'model'), copy, { recursive: true });
    renameSync(join(base, 'photos'), join(base, 'moved'));
    try {
      for (const command of [
        ['evaluate', run],
        ['resume', run],
      ]) {
        const { code, stderr } = await cambium(command);
        expect(code, stderr).toBe(4);
        expect(stderr).toContain(join(base, 'photos'));
        expect(stderr).toContain('hint: pass --data-dir DIR');
      }
      const answer = await cambium(['evaluate', copy, '--data-dir', join(base, 'moved'), '--json']);
      expect(answer.code, answer.stderr).toBe(0);
      expect((await cambium(['evaluate', copy])).stderr).toContain('--data-dir');
    } finally {
      renameSync(join(base, 'moved'), join(base, 'photos'));
    }
  });
});

describe('MNIST that cannot be had again', () => {
  it('is not replaced by the built-in digits', async () => {
    const out = join(base, 'digits');
    const trained = await cambium(['train', 'quickstart', ...tiny, '--set', 'model.name=mlp', '--out', out]);
    expect(trained.code, trained.stderr).toBe(0);
    // As a run on the real files leaves it.
    for (const file of ['recipe.json', 'model/config.json']) {
      const path = join(out, file);
      writeFileSync(path, readFileSync(path, 'utf8').replace('"name": "digits"', '"name": "mnist"'));
    }
    for (const command of ['evaluate', 'resume']) {
      const { code, stdout, stderr } = await cambium([command, out]);
      expect(code, stderr).toBe(7);
      expect(stderr).toContain('--data-dir');
      expect(stderr).not.toContain('digits');
      expect(stderr).not.toContain('allow-change');
      expect(stdout).toBe('');
    }
  });
});

async function pictures(dir: string, count: number): Promise<void> {
  const drawn = digits({ split: 'test', size: count });
  for (let i = 0; i < count; i++) {
    const { image } = drawn.get(i);
    const { data, width, height } = image;
    mkdirSync(join(dir, i % 2 === 0 ? 'even' : 'odd'), { recursive: true });
    await sharp(data, { raw: { width, height, channels: 1 } })
      .png()
      .toFile(join(dir, i % 2 === 0 ? 'even' : 'odd', `${i}.png`));
  }
}
