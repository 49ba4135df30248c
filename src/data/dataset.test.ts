import { expect, test } from 'vitest';
import { ArgumentError, DataError } from '../base/errors.ts';
import {
  contentHash,
  type Dataset,
  type ImageSample,
  InMemoryImageDataset,
  idOf,
  labelsOf,
  subset,
  take,
  toMemory,
} from './dataset.ts';
import { digits } from './datasets/digits.ts';
import { describeSchema, parseSchema, type Schema } from './schema.ts';

const tiny = (pixels = [1, 2, 3, 4, 5, 6, 7, 8], labels = [0, 1], name = 'tiny') =>
  new InMemoryImageDataset({
    name,
    pixels: Uint8Array.from(pixels),
    labels: Int32Array.from(labels),
    height: 2,
    width: 2,
    classes: ['a', 'b'],
  });

/** The same samples behind promises, as from files. */
const lazily = (source: Dataset<ImageSample>): Dataset<ImageSample> => ({
  name: 'lazy',
  length: source.length,
  schema: source.schema,
  get: async (i) => source.get(i),
});

test('arrays that do not fit and labels outside the classes are refused', () => {
  expect(() => tiny([1, 2, 3])).toThrow(DataError);
  expect(() => tiny(undefined, [0, 2])).toThrow(expect.objectContaining({ code: 'LABEL_OUTSIDE' }));
  expect(() => tiny(undefined, [0, -1])).toThrow(DataError);
});

test.each([-1, 2, 0.5, Number.NaN])('there is no sample %s', (index) => {
  expect(() => tiny().get(index)).toThrow(ArgumentError);
  expect(() => subset(tiny(), [1]).get(index)).toThrow(ArgumentError);
  expect(() => subset(tiny(), [index])).toThrow(ArgumentError);
});

test('a view of a view keeps values, labels and ids', async () => {
  const set = digits({ split: 'train', size: 20 });
  const view = subset(subset(set, [15, 3, 9, 7]), [2, 0]);
  expect([view.length, idOf(view, 0), idOf(view, 1)]).toEqual([2, 9, 15]);
  expect(view.get(1)).toEqual(set.get(15));
  expect([...(await labelsOf(view))]).toEqual([set.labels[9], set.labels[15]]);
  expect(take(set, 99)).toBe(set);
  expect(take(set, 3).length).toBe(3);
});

test('the content hash names the samples, not where they lie', async () => {
  const set = tiny();
  const hash = await contentHash(set);
  expect(hash).toMatch(/^[0-9a-f]{64}$/);
  expect(await contentHash(tiny(undefined, undefined, 'other name'))).toBe(hash);
  expect(await contentHash(subset(tiny([9, 9, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8], [1, 0, 1]), [1, 2]))).toBe(hash);
  expect(await contentHash(lazily(set))).toBe(hash);
});

test.each<[string, Dataset<ImageSample>]>([
  ['a pixel', tiny([1, 2, 3, 4, 5, 6, 7, 9])],
  ['a label', tiny(undefined, [1, 1])],
  ['the order', subset(tiny(), [1, 0])],
  ['the number', subset(tiny(), [0])],
])('%s changes the content hash', async (_, other) => {
  expect(await contentHash(other)).not.toBe(await contentHash(tiny()));
});

test('labels of a set that cannot tell them are read from its samples', async () => {
  expect([...(await labelsOf(lazily(tiny())))]).toEqual([0, 1]);
});

test('toMemory collects equal pictures and refuses different ones', async () => {
  const memory = await toMemory(lazily(tiny()));
  expect(memory.pixels).toEqual(tiny().pixels);
  const uneven: Dataset<ImageSample> = {
    ...lazily(tiny()),
    get: async (i) => ({ image: { data: new Uint8Array(i + 1), height: 1, width: i + 1, channels: 1 }, label: 0 }),
  };
  await expect(toMemory(uneven)).rejects.toMatchObject({ code: 'IMAGE_SIZES_DIFFER' });
});

test('a schema survives JSON and is described', () => {
  const { schema } = tiny();
  expect(parseSchema(JSON.parse(JSON.stringify(schema)))).toEqual(schema);
  expect(describeSchema(schema)).toBe('image 2x2x1 -> label (2 classes)');
});

const image = { kind: 'image', height: 1, width: 1, channels: 1 };
test.each<[unknown, string]>([
  [null, 'schema'],
  [{ features: { image }, labels: {}, extra: 1 }, 'extra'],
  [{ features: { image: { ...image, kind: 'picture' } }, labels: {} }, 'features.image.kind'],
  [{ features: { image: { ...image, height: 0 } }, labels: {} }, 'features.image.height'],
  [{ features: { image: { ...image, depth: 3 } }, labels: {} }, 'features.image.depth'],
  [{ features: { ids: image }, labels: {} }, 'features.ids'],
  [{ features: { x: image }, labels: { x: { kind: 'number' } } }, 'labels.x'],
  [{ features: {}, labels: { label: { kind: 'class', names: ['a', 'a'] } } }, 'labels.label.names'],
  [{ features: {}, labels: { label: { kind: 'class', names: [] } } }, 'labels.label.names'],
])('schema %j is refused at %s', (value, field) => {
  expect(() => parseSchema(value)).toThrow(
    expect.objectContaining({ code: 'SCHEMA_INVALID', details: expect.objectContaining({ field }) }),
  );
});

test('heights may be unknown', () => {
  const schema: Schema = { features: { image: { kind: 'image', height: null, width: null, channels: 3 } }, labels: {} };
  expect(parseSchema(schema)).toEqual(schema);
});
