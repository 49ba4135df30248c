/** Numbers, several labels and several heads on the command line: train, measure, predict, features, and mistakes. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { digits, phrases } from '../../src/data/index.ts';
import { cambium, ensureBuilt, jsonLines, scratch } from './run-cli.ts';

beforeAll(ensureBuilt, 120_000);

const dir = scratch();
const common = { optimizer: { name: 'adamw', lr: 1e-2 }, batchSize: 20, epochs: 1 };

describe('a table of texts', () => {
  const run = join(dir, 'texts');
  const { texts, labels } = phrases({ split: 'train', size: 120 });
  const row = (i: number): string =>
    `"${texts[i]}",${labels[i] ? 'good' : 'bad'},${(texts[i] as string).length},${i % 2 ? 'odd|any' : 'any'}`;
  const rows = texts.map((_, i) => row(i));
  writeFileSync(join(dir, 'all.csv'), `text,mood,length,tags\n${rows.join('\n')}\n`);
  writeFileSync(join(dir, 'new.csv'), `text,mood,length,tags\n${rows.slice(0, 10).join('\n')}\n`);
  writeFileSync(
    join(dir, 'texts.json'),
    JSON.stringify({
      name: 'texts',
      data: {
        name: 'table',
        file: 'all.csv',
        labels: { mood: { kind: 'class' }, length: { kind: 'number' }, tags: { kind: 'classes' } },
        validation: 20,
        test: 20,
      },
      model: { name: 'lstm-classifier', embeddingDim: 8, hiddenSize: 8 },
      ...common,
    }),
  );
  const recipe = join(dir, 'texts.json');

  it('trains, measures by label, and predicts all of them', { timeout: 120_000 }, async () => {
    const trained = await cambium(['train', recipe, '--data-dir', dir, '--out', run]);
    expect(trained.code, trained.stderr).toBe(0);
    expect(trained.stderr).toMatch(/validation loss .* mood\.accuracy .* length\.rmse .* tags\.microF1 /);
    expect(trained.stdout).toMatch(/mood\n[\s\S]*length\n[\s\S]*always the mean[\s\S]*tags\n[\s\S]*samples avg/);

    const measured = await cambium(['evaluate', run, '--data-dir', dir, '--json']);
    const found = JSON.parse(measured.stdout);
    expect(found).toMatchObject({
      n: 20,
      heads: { mood: { kind: 'class' }, length: { kind: 'number' }, tags: { kind: 'classes' } },
    });
    const report = JSON.parse(readFileSync(join(run, 'report.json'), 'utf8'));
    expect(found.heads).toEqual(report.heads);
    const other = await cambium(['evaluate', run, '--file', join(dir, 'new.csv')]);
    expect([other.code, other.stderr]).toEqual([0, expect.stringContaining('new.csv: loss ')]);

    const text = await cambium(['predict', run, '--text', 'really good food']);
    expect(text.stdout).toMatch(/^really good food: mood (good|bad) [\d.]+ %.*; length -?[\d.]+; tags /);
    const [answer] = jsonLines((await cambium(['predict', run, '--text', 'really good food', '--json'])).stdout);
    expect(answer).toEqual({
      text: 'really good food',
      answers: {
        mood: { label: expect.stringMatching(/good|bad/), probabilities: expect.any(Object) },
        length: { value: expect.any(Number) },
        tags: { labels: expect.any(Array), probabilities: { any: expect.any(Number), odd: expect.any(Number) } },
      },
    });
    // Features are told apart by the class.
    const vectors = await cambium(['features', run, '--data-dir', dir, '--out', join(dir, 'f.parquet'), '--json']);
    expect(JSON.parse(vectors.stdout)).toMatchObject({ labelled: true, classes: ['bad', 'good'] });
    const exported = await cambium(['export', run, '--out', join(dir, 'exported')]);
    expect(exported.code).toBeGreaterThan(0);
  });

  it('says which row, field or metric is wrong', async () => {
    writeFileSync(
      join(dir, 'bad.csv'),
      `text,mood,length,tags\n${row(0)}\n"x",${labels[0] ? 'bad' : 'good'},long,any\n`,
    );
    const bad = await cambium([
      'train',
      recipe,
      '--data-dir',
      dir,
      '--set',
      'data.file=bad.csv',
      '--out',
      join(dir, 'no'),
    ]);
    expect([bad.code, bad.stderr]).toEqual([3, expect.stringMatching(/bad\.csv.*line 3: length is "long"/)]);
    const metric = await cambium([
      'train',
      recipe,
      '--data-dir',
      dir,
      '--set',
      'selectBy.metric=length.rsme',
      '--out',
      join(dir, 'no'),
    ]);
    expect([metric.code, metric.stderr]).toEqual([2, expect.stringContaining('did you mean length.rmse?')]);
    const kind = await cambium([
      'train',
      recipe,
      '--data-dir',
      dir,
      '--set',
      'data.labels.length.kind=numbr',
      '--out',
      join(dir, 'no'),
    ]);
    expect([kind.code, kind.stderr]).toEqual([2, expect.stringContaining('number')]);
  });
});

it('pictures named by a table', { timeout: 120_000 }, async () => {
  const set = digits({ split: 'train', size: 60 });
  mkdirSync(join(dir, 'img'), { recursive: true });
  const rows: string[] = [];
  for (let i = 0; i < set.length; i++) {
    const { image, label } = set.get(i);
    await sharp(image.data, { raw: { width: 28, height: 28, channels: 1 } })
      .png()
      .toFile(join(dir, 'img', `${i}.png`));
    rows.push(`img/${i}.png,${label}`);
  }
  writeFileSync(join(dir, 'pictures.csv'), `file,value\n${rows.join('\n')}\n`);
  const recipe = join(dir, 'pictures.json');
  writeFileSync(
    recipe,
    JSON.stringify({
      name: 'pictures',
      data: {
        name: 'picture-table',
        file: 'pictures.csv',
        channels: 1,
        labels: { value: { kind: 'number' } },
        validation: 10,
        test: 10,
      },
      transforms: [{ kind: 'resize', height: 28, width: 28 }],
      model: { name: 'mnist-cnn' },
      ...common,
    }),
  );
  const run = join(dir, 'pictures');
  const trained = await cambium(['train', recipe, '--data-dir', dir, '--out', run]);
  expect(trained.code, trained.stderr).toBe(0);
  const measured = JSON.parse((await cambium(['evaluate', run, '--data-dir', dir, '--json'])).stdout);
  expect(measured).toMatchObject({ n: 10, measures: { rmse: expect.any(Number) } });
  const predicted = await cambium(['predict', run, join(dir, 'img/0.png')]);
  expect(predicted.stdout).toMatch(/0\.png: value -?[\d.]+\n/);
});
