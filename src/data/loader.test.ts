import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ArgumentError, ConfigError, DataError, UnsupportedError } from '../base/errors.ts';
import { type Dataset, type ImageSample, InMemoryImageDataset, type Sample, subset } from './dataset.ts';
import { digits } from './datasets/digits.ts';
import { type Batch, DataLoader, type LoaderOptions } from './loader.ts';
import type { Schema } from './schema.ts';
import type { Transform } from './transforms.ts';

const set = digits({ split: 'train', size: 53 });
const augment: Transform[] = [
  { kind: 'randomAffine', degrees: 10, translate: 0.1 },
  { kind: 'pad', height: 32, width: 32 },
  { kind: 'normalize', mean: [0.13], std: [0.31] },
];
const options: LoaderOptions = { batchSize: 8, shuffle: true, seed: 42, transforms: augment };

async function all(loader: DataLoader, epoch: number, startBatch = 0): Promise<Batch[]> {
  const batches: Batch[] = [];
  for await (const batch of loader.epoch(epoch, { startBatch })) batches.push(batch);
  return batches;
}

test('an epoch holds every sample once, as u8 channels first with its label and id', async () => {
  const batches = await all(new DataLoader(set, options), 3);
  expect(batches.map((b) => b.size)).toEqual([8, 8, 8, 8, 8, 8, 5]);
  expect(batches.map((b) => b.index)).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(batches[6]?.image).toMatchObject({ dtype: 'u8', shape: [5, 1, 32, 32] });
  expect(batches[6]?.label).toMatchObject({ dtype: 'i32', shape: [5] });
  const ids = batches.flatMap((b) => [...b.ids]);
  expect([...ids].sort((a, b) => a - b)).toEqual([...Array(53).keys()]);
  expect(ids).not.toEqual([...Array(53).keys()]);
  expect(batches.flatMap((b) => [...b.label.data])).toEqual(ids.map((id) => set.labels[id]));
});

test('the pixels are those of the samples', async () => {
  const [batch] = await all(new DataLoader(set, { batchSize: 53 }), 0);
  expect(Buffer.compare(batch?.image.data as Uint8Array, set.pixels)).toBe(0);
});

test('colour is turned to one plane a channel', async () => {
  const colour = new InMemoryImageDataset({
    name: 'c',
    pixels: Uint8Array.of(1, 2, 3, 4, 5, 6),
    labels: Int32Array.of(0),
    height: 1,
    width: 2,
    channels: 3,
    classes: ['x'],
  });
  const { image } = await new DataLoader(colour, { batchSize: 1 }).batch(0, 0);
  expect([image.shape, [...image.data]]).toEqual([
    [1, 3, 1, 2],
    [1, 4, 2, 5, 3, 6],
  ]);
});

test('entering an epoch anywhere gives what the whole epoch gives, for any prefetch', async () => {
  const whole = await all(new DataLoader(set, options), 5);
  for (const [start, prefetch] of [
    [0, 0],
    [1, 0],
    [4, 1],
    [6, 7],
    [7, 2],
  ] as const) {
    const loader = new DataLoader(set, { ...options, prefetch });
    expect(await all(loader, 5, start)).toEqual(whole.slice(start));
  }
  expect(await new DataLoader(set, options).batch(5, 4)).toEqual(whole[4]);
});

test('the order is a function of seed and epoch', async () => {
  const ids = async (seed: number, epoch: number) =>
    (await all(new DataLoader(set, { ...options, seed }), epoch)).flatMap((b) => [...b.ids]).join();
  const orders = [await ids(1, 0), await ids(1, 1), await ids(2, 0), await ids(2 ** 33 + 1, 0)];
  expect(new Set(orders).size).toBe(4);
  expect(await ids(1, 1)).toBe(orders[1]);
});

test('augmentation follows the sample, not the batch it is in', async () => {
  const bySample = async (batchSize: number) => {
    const map = new Map<number, string>();
    for (const b of await all(new DataLoader(set, { ...options, batchSize }), 1))
      b.ids.forEach((id, i) => {
        map.set(id, Buffer.from(b.image.data.subarray(i * 1024, (i + 1) * 1024)).toString('hex'));
      });
    return map;
  };
  expect(await bySample(8)).toEqual(await bySample(11));
});

test('batches stay untouched after later ones are made', async () => {
  const loader = new DataLoader(set, options);
  const kept: [Batch, Uint8Array][] = [];
  for await (const batch of loader.epoch(0)) kept.push([batch, Uint8Array.from(batch.image.data)]);
  for (const [batch, copy] of kept) expect(batch.image.data).toEqual(copy);
});

test('the next batch is made while the consumer waits', async () => {
  let made = 0;
  const counting = counted(() => made++);
  const loop = new DataLoader(counting, { batchSize: 10, prefetch: 2 }).epoch(0);
  await loop.next();
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
  expect(made).toBe(30);
  await loop.return();
});

test('leaving the loop stops the work', async () => {
  let made = 0;
  const counting = counted(() => made++);
  for await (const batch of new DataLoader(counting, { batchSize: 1, prefetch: 5 }).epoch(0))
    if (batch.index === 3) break;
  const then = made;
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  expect(made).toBe(then);
});

/** `set`, telling when a sample is asked for. */
const counted = (tell: () => void): Dataset<ImageSample> => ({
  ...view(set),
  get: (i) => {
    tell();
    return set.get(i);
  },
});

function view(source: Dataset<ImageSample>) {
  return { name: source.name, length: source.length, schema: source.schema };
}

test('dropLast leaves out the last one', async () => {
  const loader = new DataLoader(set, { ...options, dropLast: true });
  expect([loader.length, (await all(loader, 0)).length]).toEqual([6, 6]);
});

test('any length and batch size: the sizes add up', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 53 }), fc.integer({ min: 1, max: 60 }), (n, batchSize) => {
      const loader = new DataLoader(subset(set, [...Array(n).keys()]), { batchSize });
      expect(loader.length).toBe(Math.ceil(n / batchSize));
    }),
  );
});

test.each<[Partial<LoaderOptions>, typeof ArgumentError | typeof ConfigError]>([
  [{ batchSize: 0 }, ArgumentError],
  [{ batchSize: -4 }, ArgumentError],
  [{ batchSize: 2.5 }, ArgumentError],
  [{ seed: -1 }, ArgumentError],
  [{ prefetch: Number.NaN }, ArgumentError],
  [{ batchSize: 54, dropLast: true }, ArgumentError],
  [{ transforms: [{ kind: 'pad', height: 8, width: 8 }] }, ConfigError],
])('options %j are refused', (wrong, type) => {
  expect(() => new DataLoader(set, { ...options, ...wrong })).toThrow(type);
});

test('an empty data set, a start past the end', async () => {
  expect(() => new DataLoader(subset(set, []), options)).toThrow(DataError);
  await expect(new DataLoader(set, options).epoch(0, { startBatch: 8 }).next()).rejects.toBeInstanceOf(ArgumentError);
});

const schema: Schema = {
  features: { x: { kind: 'vector', size: 2 }, age: { kind: 'number' } },
  labels: { price: { kind: 'number' } },
};
const table = (rows: Sample[], s = schema): Dataset => ({
  name: 'table',
  length: rows.length,
  schema: s,
  get: (i) => rows[i] as Sample,
});

test('numbers and vectors become f32', async () => {
  const loader = new DataLoader(
    table([
      { x: Float32Array.of(1, 2), age: 3, price: 4 },
      { x: Float32Array.of(5, 6), age: 7, price: 8 },
    ]),
    { batchSize: 2 },
  );
  const batch = (await loader.batch(0, 0)) as unknown as Batch<'x' | 'age' | 'price'>;
  expect(batch.x).toEqual({ dtype: 'f32', shape: [2, 2], data: Float32Array.of(1, 2, 5, 6) });
  expect(batch.age).toEqual({ dtype: 'f32', shape: [2], data: Float32Array.of(3, 7) });
});

test.each<[string, Sample, string]>([
  ['a missing field', { x: Float32Array.of(1, 2), age: 3 }, 'FIELD_MISSING'],
  ['an unknown field', { x: Float32Array.of(1, 2), age: 3, price: 4, colour: 1 }, 'FIELD_UNKNOWN'],
  ['an unknown field in place of another', { x: Float32Array.of(1, 2), age: 3, prize: 4 }, 'FIELD_MISSING'],
  ['a vector of another size', { x: Float32Array.of(1), age: 3, price: 4 }, 'FIELD_INVALID'],
  ['a number that is none', { x: Float32Array.of(1, 2), age: 3, price: Number.NaN }, 'FIELD_INVALID'],
  ['text for a number', { x: Float32Array.of(1, 2), age: '3', price: 1 }, 'FIELD_INVALID'],
])('%s is an error that names the sample', async (_, sample, code) => {
  const error = await new DataLoader(table([sample]), { batchSize: 1 })
    .epoch(0)
    .next()
    .catch((e) => e);
  expect(error).toBeInstanceOf(DataError);
  expect(error).toMatchObject({ code, message: expect.stringContaining('table sample 0') });
});

test.each([-1, 10, 0.5, Number.NaN])('class %s is outside the classes', async (label) => {
  const wrong: Dataset<ImageSample> = { ...view(set), get: (i) => ({ ...set.get(i), label }) };
  await expect(new DataLoader(wrong, { batchSize: 2 }).batch(0, 0)).rejects.toMatchObject({ code: 'FIELD_INVALID' });
});

test('text cannot be batched as it is', () => {
  const text: Schema = { features: { text: { kind: 'text' } }, labels: {} };
  expect(() => new DataLoader(table([{ text: 'hi' }], text), { batchSize: 1 })).toThrow(UnsupportedError);
});
