/** Labels of every kind out of tables: what is read, what is missing, and what is refused with its line. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { errorOf } from '../../test/error-of.ts';
import {
  contentHash,
  DataLoader,
  digitAttributes,
  digits,
  joinDatasets,
  type LabelSpec,
  labelsAt,
  parseSchema,
  phrases,
  readLabelledTexts,
  readPictureTable,
  splitDataset,
  subset,
  withClasses,
} from './index.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cambium-labels-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

let files = 0;
const fileOf = async (...lines: string[]): Promise<string> => {
  const file = join(dir, `${files++}.csv`);
  await writeFile(file, `${lines.join('\n')}\n`);
  return file;
};
const spec: LabelSpec = {
  mood: { kind: 'class', column: 'm', optional: true },
  topics: { kind: 'classes' },
  stars: { kind: 'number', optional: true },
  box: { kind: 'numbers', columns: { w: 'width', h: 'height' } },
};
const header = 'text,m,topics,stars,width,height';

describe('texts', () => {
  test('every kind of label, cells that are empty, and the batch they make', async () => {
    const file = await fileOf(header, 'one,good,a|b,4.5,1,2', 'two,,,,3,4', 'three,bad, b ,-1,5,6');
    const set = await readLabelledTexts(file, { labels: spec });
    expect(set.schema.labels).toEqual({
      mood: { kind: 'class', names: ['bad', 'good'], optional: true },
      topics: { kind: 'classes', names: ['a', 'b'] },
      stars: { kind: 'number', optional: true },
      box: { kind: 'numbers', names: ['w', 'h'] },
    });
    expect(parseSchema(JSON.parse(JSON.stringify(set.schema)))).toEqual(set.schema);
    expect(set.get(1)).toEqual({
      text: 'two',
      mood: -1,
      topics: Float32Array.of(0, 0),
      stars: Number.NaN,
      box: Float32Array.of(3, 4),
    });
    expect(set.describe?.(2)).toMatch(/line 4$/);
    const { text, ...targets } = set.get(0) as Record<string, unknown>;
    expect(await labelsAt(subset(set, [2, 0]), 1)).toEqual(targets);
    const view = { ...set, schema: { features: {}, labels: set.schema.labels }, get: (i: number) => set.targets?.(i) };
    const batch = await new DataLoader(view as never, { batchSize: 3 }).batch(0, 0);
    expect(batch).toMatchObject({
      mood: { dtype: 'i32', shape: [3], data: Int32Array.of(1, -1, 0) },
      topics: { shape: [3, 2], data: Float32Array.of(1, 1, 0, 0, 0, 1) },
      stars: { shape: [3], data: Float32Array.of(4.5, Number.NaN, -1) },
      box: { shape: [3, 2] },
    });
    expect(await contentHash(set)).toMatch(/^[0-9a-f]{64}$/);
  });

  test('a column of 0 and 1 for each label; an optional cell without labels is not there', async () => {
    const file = await fileOf('text,a,b,tags', 'x,1,0,', 'y,,1,p;q');
    const set = await readLabelledTexts(file, {
      labels: {
        both: { kind: 'classes', columns: { A: 'a', B: 'b' }, optional: true },
        tags: { kind: 'classes', separator: ';', optional: true },
      },
    });
    expect(set.get(0)).toMatchObject({ both: Float32Array.of(1, 0), tags: Float32Array.of(Number.NaN, Number.NaN) });
    expect(set.get(1)).toMatchObject({ both: Float32Array.of(Number.NaN, Number.NaN), tags: Float32Array.of(1, 1) });
  });

  test('another part has the classes of the first', async () => {
    const first = await readLabelledTexts(await fileOf(header, 'x,good,b|a,1,1,1', 'y,bad,c,1,1,1'), { labels: spec });
    const rest = withClasses(spec, first.schema.labels);
    const second = await readLabelledTexts(await fileOf(header, 'x,good,c,1,1,1'), { labels: rest });
    expect(second.schema.labels).toEqual(first.schema.labels);
    expect(second.get(0)).toMatchObject({ mood: 1, topics: Float32Array.of(0, 0, 1) });
    const unknown = await fileOf(header, 'x,good,d,1,1,1');
    expect(await errorOf(() => readLabelledTexts(unknown, { labels: rest }))).toMatchObject({
      code: 'LABEL_UNKNOWN',
      details: { line: 2, got: 'd' },
    });
  });

  test.each([
    ['x,good,a,four,1,2', 'LABEL_INVALID', { line: 2, field: 'stars', got: 'four' }],
    ['x,good,a,1e60,1,2', 'LABEL_INVALID', { line: 2, field: 'stars' }],
    ['x,good,a,4,,2', 'LABEL_MISSING', { line: 2 }],
    ['x,good,a,4,1,NaN', 'LABEL_INVALID', { line: 2, field: 'box.h' }],
    [' ,good,a,4,1,2', 'TEXT_MISSING', { line: 2 }],
  ])('%s is refused: %s', async (row, code, details) => {
    const file = await fileOf(header, row, 'y,bad,a,1,1,1');
    expect(await errorOf(() => readLabelledTexts(file, { labels: spec }))).toMatchObject({ code, details });
  });

  test.each([
    [{}, 'LABELS_INVALID'],
    [{ 'a b': { kind: 'number' } }, 'LABELS_INVALID'],
    [{ size: { kind: 'number' } }, 'LABELS_INVALID'],
    [{ box: { kind: 'numbers' } }, 'LABELS_INVALID'],
    [{ stars: { kind: 'number', columns: { a: 0 } } }, 'LABELS_INVALID'],
    [{ nothere: { kind: 'number' } }, 'COLUMN_MISSING'],
    [{ m: { kind: 'class' } }, 'CLASSES_TOO_FEW'],
  ])('labels %j: %s', async (labels, code) => {
    const file = await fileOf(header, 'x,good,a,4,1,2');
    expect((await errorOf(() => readLabelledTexts(file, { labels: labels as LabelSpec }))).code).toBe(code);
  });
});

describe('pictures', () => {
  test('are read from beside the table, decoded when asked for, and never from elsewhere', async () => {
    await mkdir(join(dir, 'img'), { recursive: true });
    await sharp({ create: { width: 3, height: 2, channels: 3, background: 'red' } })
      .png()
      .toFile(join(dir, 'img', 'a.png'));
    const labels: LabelSpec = { cells: { kind: 'number' } };
    const set = await readPictureTable(await fileOf('file,cells', 'img/a.png,12', 'img/gone.png,3'), { labels });
    expect(set.schema.features.image).toMatchObject({ height: null, channels: 3 });
    const { image, cells } = (await set.get(0)) as unknown as {
      image: { width: number; data: Uint8Array };
      cells: number;
    };
    expect([cells, image.width, image.data[0], image.data[1]]).toEqual([12, 3, 255, 0]);
    // Labels are known without the picture.
    expect(await labelsAt(set, 1)).toEqual({ cells: 3 });
    await expect(set.get(1)).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
    for (const name of ['../secret.png', '/etc/passwd', 'img/../../x.png']) {
      const file = await fileOf('file,cells', `${name},1`);
      expect((await errorOf(() => readPictureTable(file, { labels }))).code).toBe('PATH_UNSAFE');
    }
    const blank = await fileOf('file,cells', ',1');
    expect(await errorOf(() => readPictureTable(blank, { labels }))).toMatchObject({ code: 'IMAGE_MISSING' });
  });
});

describe('joined sets', () => {
  const [a, b] = [phrases({ split: 'train', size: 4 }), phrases({ split: 'test', size: 3 })];
  test('a sample has the label of its own part, and lacks the others', async () => {
    const both = joinDatasets({ first: a, second: b });
    expect([both.name, both.length]).toEqual(['first+second', 7]);
    expect(both.schema.labels).toMatchObject({ first: { kind: 'class', optional: true }, second: { optional: true } });
    expect(both.get(1)).toEqual({ text: a.texts[1], first: a.labels[1], second: -1 });
    expect(both.get(5)).toEqual({ text: b.texts[1], first: -1, second: b.labels[1] });
    expect(await labelsAt(both, 5)).toEqual({ first: -1, second: b.labels[1] });
    expect(both.describe?.(5)).toBe(b.describe(1));
    const split = await splitDataset(both, { train: 'rest', test: 2 }, { seed: 1, stratify: false });
    expect(split.train.length + split.test.length).toBe(7);
  });

  test('refusals', async () => {
    expect((await errorOf(async () => joinDatasets({}))).code).toBe('JOIN_EMPTY');
    const pictures = digits({ split: 'test', size: 2 });
    expect((await errorOf(async () => joinDatasets({ a, pictures }))).code).toBe('JOIN_FEATURES');
    const two = {
      ...a,
      get: (i: number) => a.get(i),
      schema: { ...a.schema, labels: { ...a.schema.labels, more: { kind: 'number' as const } } },
    };
    expect((await errorOf(async () => joinDatasets({ two }))).code).toBe('JOIN_LABEL');
    expect((await errorOf(async () => joinDatasets({ a }).get(4))).code).toBe('INDEX_OUTSIDE');
  });
});

test('what there is to say of a digit: which, its properties, its slant', async () => {
  const plain = digits({ split: 'train', size: 200 });
  const set = digitAttributes(plain);
  const names = (set.schema.labels.properties as { names: readonly string[] }).names;
  const slants: number[] = [];
  for (let i = 0; i < set.length; i++) {
    const { digit, properties, slant } = (await set.get(i)) as {
      digit: number;
      properties: Float32Array;
      slant: number;
    };
    expect(digit).toBe(plain.label(i));
    expect(properties[names.indexOf('even')]).toBe(Number(digit % 2 === 0));
    slants.push(slant);
  }
  expect(Math.max(...slants)).toBeLessThan(60);
  expect(Math.min(...slants)).toBeGreaterThan(-60);
  // Ink that leans to the right.
  const image = { height: 3, width: 3, channels: 1, data: Uint8Array.of(0, 0, 9, 0, 9, 0, 9, 0, 0) };
  const leaning = digitAttributes({ ...plain, length: 1, get: () => ({ image, label: 1 }) } as never);
  expect((await leaning.get(0)).slant).toBeCloseTo(45, 5);
});
