/** Vectors of a trained model written from the command line. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { phrases } from '../../src/data/index.ts';
import { readNpy, readSafetensors } from '../../src/io/index.ts';
import { cambium, ensureBuilt, jsonLines, scratch } from './run-cli.ts';

beforeAll(ensureBuilt, 120_000);
const dir = scratch();
const small = ['data.name=digits', 'data.digits.train=200', 'data.digits.test=30', 'data.validation=20', 'limit={}'];

it('writes vectors, ids and labels of the part asked for', { timeout: 120_000 }, async () => {
  const [run, out] = [join(dir, 'run'), join(dir, 'vectors.npy')];
  const trained = await cambium(['train', 'quickstart', '--out', run, ...small.flatMap((s) => ['--set', s])]);
  expect(trained.code).toBe(0);
  const { code, stdout } = await cambium(['features', run, '--out', out, '--json']);
  expect([code, JSON.parse(stdout).shape[0], JSON.parse(stdout).labelled]).toEqual([0, 30, true]);
  const vectors = await readNpy(out);
  expect(vectors.shape).toEqual(JSON.parse(stdout).shape);
  expect((await readNpy(join(dir, 'vectors.labels.npy'))).shape).toEqual([30]);

  const other = join(dir, 'logits.safetensors');
  const logits = await cambium([
    'features',
    run,
    '--layer',
    'head',
    '--split',
    'validation',
    '--limit',
    '7',
    '--out',
    other,
  ]);
  expect(logits.code).toBe(0);
  expect((await readSafetensors(other)).tensors.get('features')?.shape).toEqual([7, 10]);

  const wrong = await cambium(['features', run, '--layer', 'haed', '--out', join(dir, 'no.npy')]);
  expect(wrong.code).not.toBe(0);
  expect(wrong.stderr).toMatch(/haed/);
  expect((await cambium(['features', run, '--out', join(dir, 'no.txt')])).stderr).toMatch(/\.parquet/);
  expect((await cambium(['features', run])).code).toBe(2);
  expect(existsSync(join(dir, 'no.npy'))).toBe(false);
});

it('reads a trunk that learned without labels', { timeout: 120_000 }, async () => {
  const [run, out] = [join(dir, 'turned'), join(dir, 'trunk.parquet')];
  const changes = [...small, 'task=rotation', 'objective={}', 'epochs=1'];
  expect((await cambium(['train', 'quickstart', '--out', run, ...changes.flatMap((s) => ['--set', s])])).code).toBe(0);
  const { code, stdout } = await cambium(['features', run, '--out', out, '--json']);
  expect([code, JSON.parse(stdout).shape]).toEqual([0, [30, 128]]);
  expect((await cambium(['probe', out, '--method', 'knn', '-k', '3', '--json'])).code).toBe(0);
  expect((await cambium(['evaluate', run])).stderr).toContain('knows no classes');
});

it('reads a trunk of texts that learned without labels, and compares it with the model tuned from it', {
  timeout: 120_000,
}, async () => {
  const { texts, labels } = phrases({ split: 'train', size: 150 });
  writeFileSync(join(dir, 'lines.txt'), `${texts.join('\n')}\n`);
  const rows = texts.map((text, i) => `${labels[i] ? 'good' : 'bad'},"${text.replaceAll('"', '""')}"`);
  writeFileSync(join(dir, 'reviews.csv'), `label,text\n${rows.join('\n')}\n`);
  const size = {
    hiddenSize: 16,
    numHiddenLayers: 2,
    numAttentionHeads: 2,
    intermediateSize: 32,
    maxPositionEmbeddings: 32,
  };
  const common = { optimizer: { name: 'adamw', lr: 1e-3 }, batchSize: 16, epochs: 1, model: { name: 'bert', ...size } };
  const pretraining = {
    name: 'words',
    task: 'masked-lm',
    data: { name: 'texts', corpora: [{ file: 'lines.txt' }], validation: 0.1 },
    tokenizer: { train: 'wordpiece', vocabSize: 200 },
    maxLength: 24,
    ...common,
  };
  const tuning = {
    name: 'tuned',
    data: { name: 'table', file: 'reviews.csv', validation: 30, test: 40 },
    init: { weights: join(dir, 'words') },
    maxLength: 24,
    ...common,
  };
  for (const recipe of [pretraining, tuning]) {
    const file = join(dir, `${recipe.name}.json`);
    writeFileSync(file, JSON.stringify(recipe));
    const { code, stderr } = await cambium(['train', file, '--data-dir', dir, '--out', join(dir, recipe.name)]);
    expect(code, stderr).toBe(0);
  }
  const [words, tuned] = [join(dir, 'words'), join(dir, 'tuned')];

  const vectors = join(dir, 'lines.npy');
  const written = await cambium(['features', words, '--file', join(dir, 'lines.txt'), '--out', vectors, '--json']);
  expect(JSON.parse(written.stdout)).toMatchObject({
    shape: [150, 16],
    layer: 'bert.encoder.layer.1',
    labelled: false,
  });
  const table = ['--file', join(dir, 'reviews.csv'), '--label-column', 'label'];
  const labelled = await cambium(['features', words, ...table, '--out', join(dir, 'r.parquet'), '--json']);
  expect(JSON.parse(labelled.stdout)).toMatchObject({ shape: [150, 16], labelled: true, classes: ['bad', 'good'] });
  // The same words, the same vector, whatever text they are padded beside.
  const again = await cambium([
    'features',
    words,
    '--file',
    join(dir, 'lines.txt'),
    '--limit',
    '3',
    '--out',
    join(dir, 'few.npy'),
  ]);
  expect(again.code, again.stderr).toBe(0);
  const [all, few] = [await readNpy(vectors), await readNpy(join(dir, 'few.npy'))];
  for (let i = 0; i < 48; i++) expect(few.data[i]).toBeCloseTo(all.data[i] as number, 4);

  const found = await cambium(['search', join(dir, 'r.parquet'), '--query', join(dir, 'few.npy'), '-k', '2', '--json']);
  const answers = jsonLines(found.stdout);
  expect(answers.map(({ query, neighbours }) => [query, neighbours[0].score > 0.999])).toEqual([
    [0, true],
    [1, true],
    [2, true],
  ]);
  expect((await cambium(['search', vectors])).code).toBe(2);

  const compared = await cambium(['compare', words, tuned, '--data-dir', dir, '--json']);
  expect(compared.code, compared.stderr).toBe(0);
  expect(JSON.parse(compared.stdout)).toMatchObject({ cka: expect.any(Number), before: { knn: expect.any(Number) } });
  expect((await cambium(['compare', words, vectors])).stderr).toContain(
    'two files of features, or two run or model folders',
  );
  expect((await cambium(['features', words, '--out', join(dir, 'no.npy'), '--data-dir', dir])).stderr).toContain(
    'no test part',
  );
});
