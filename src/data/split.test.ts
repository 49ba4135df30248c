import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ArgumentError } from '../base/errors.ts';
import { InMemoryImageDataset, subset } from './dataset.ts';
import { findDuplicates, type PartSize, splitDataset, splitIndices } from './split.ts';

const labelled = (labels: number[]) =>
  new InMemoryImageDataset({
    name: 's',
    pixels: Uint8Array.from(labels, (_, i) => i),
    labels: Int32Array.from(labels),
    height: 1,
    width: 1,
    classes: ['a', 'b', 'c'],
  });

const labels300 = Array.from({ length: 300 }, (_, i) => (i % 10 < 6 ? 0 : i % 10 < 9 ? 1 : 2));

test('parts are disjoint, of the asked size, and keep the classes in proportion', async () => {
  const set = labelled(labels300);
  const parts = await splitIndices(set, { train: 'rest', validation: 50, test: 0.1 }, { seed: 5 });
  expect(Object.values(parts).map((p) => p.length)).toEqual([220, 50, 30]);
  expect(new Set(Object.values(parts).flatMap((p) => [...p])).size).toBe(300);
  const counts = [...parts.validation].reduce(
    (c, i) => c.with(labels300[i] as number, (c[labels300[i] as number] ?? 0) + 1),
    [0, 0, 0],
  );
  expect(counts).toEqual([30, 15, 5]);
  expect([...parts.test]).toEqual([...parts.test].sort((a, b) => a - b));
});

test('any sizes: exact totals, each class within one sample of its share', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(2), { minLength: 3, maxLength: 80 }),
      fc.double({ min: 0.05, max: 0.95, noNaN: true }),
      fc.nat(1000),
      async (labels, fraction, seed) => {
        const parts = await splitIndices(labelled(labels), { train: 'rest', test: fraction }, { seed });
        const total = Math.round(fraction * labels.length);
        expect(parts.test.length).toBe(total);
        expect(new Set([...parts.test, ...parts.train]).size).toBe(labels.length);
        for (const c of [0, 1, 2]) {
          const share = (total * labels.filter((l) => l === c).length) / labels.length;
          const got = [...parts.test].filter((i) => labels[i] === c).length;
          expect(Math.abs(got - share)).toBeLessThan(1);
        }
      },
    ),
  );
});

test('depends on the seed alone', async () => {
  const split = async (seed: number, stratify?: false) => [
    ...(await splitIndices(labelled(labels300), { test: 30 }, { seed, stratify })).test,
  ];
  expect(await split(1)).toEqual(await split(1));
  expect(await split(1)).not.toEqual(await split(2));
  expect(await split(1, false)).not.toEqual(await split(1));
});

test('thirds that round up are fitted', async () => {
  const { a, b } = await splitIndices(labelled([0, 0, 1, 1, 2]), { a: 0.5, b: 0.5 }, { seed: 1 });
  expect(a.length + b.length).toBe(5);
});

test.each<Record<string, PartSize>>([
  { train: 301 },
  { train: 200, test: 101 },
  { train: -1 },
  { train: 1.5 },
  { train: 'rest', test: 'rest' },
  { train: Number.NaN },
  { train: 0.9, test: 0.5 },
])('parts %j are refused', async (parts) => {
  await expect(splitIndices(labelled(labels300), parts, { seed: 1 })).rejects.toBeInstanceOf(ArgumentError);
});

test('data sets of a split are named after their part', async () => {
  const { validation } = await splitDataset(labelled(labels300), { train: 'rest', validation: 0.1 }, { seed: 1 });
  expect([validation.name, validation.length]).toEqual(['s/validation', 30]);
});

test('duplicates are found within and across parts, by id', async () => {
  const set = new InMemoryImageDataset({
    name: 'd',
    pixels: Uint8Array.of(1, 2, 1, 3, 3, 4, 1),
    labels: Int32Array.of(0, 1, 0, 1, 2, 0, 1),
    height: 1,
    width: 1,
    classes: ['a', 'b', 'c'],
  });
  const { within, across } = await findDuplicates({ train: subset(set, [0, 1, 2, 3, 4]), test: subset(set, [5, 6]) });
  expect(within).toEqual([
    {
      members: [
        { part: 'train', id: 3, label: 1 },
        { part: 'train', id: 4, label: 2 },
      ],
    },
  ]);
  expect(across).toEqual([
    {
      members: [
        { part: 'train', id: 0, label: 0 },
        { part: 'train', id: 2, label: 0 },
        { part: 'test', id: 6, label: 1 },
      ],
    },
  ]);
});
