import { expect, test } from 'vitest';
import { ArgumentError } from '../../base/errors.ts';
import { contentHash, countLabels } from '../dataset.ts';
import { findDuplicates } from '../split.ts';
import { digits } from './digits.ts';

test('the same seed gives the same pictures, other seeds and splits others', async () => {
  const hash = (options: Parameters<typeof digits>[0]) => contentHash(digits({ size: 50, ...options }));
  expect(await hash({ split: 'train' })).toBe(await hash({ split: 'train', seed: 0 }));
  const all = [await hash({ split: 'train' }), await hash({ split: 'test' }), await hash({ split: 'train', seed: 1 })];
  expect(new Set(all).size).toBe(3);
});

// Frozen: saved runs name the data set by its hash, so a change of the drawing is a change of the data set.
test('the drawing is frozen', async () => {
  expect((await contentHash(digits({ split: 'train', size: 100 }))).slice(0, 16)).toBe('841a49413ba10858');
});

test('a longer set begins with the shorter one', () => {
  const short = digits({ split: 'test', size: 30 });
  const long = digits({ split: 'test', size: 60 });
  expect(Buffer.compare(short.pixels, long.pixels.subarray(0, short.pixels.length))).toBe(0);
  expect(long.labels.subarray(0, 30)).toEqual(short.labels);
});

test('classes are balanced and no picture occurs twice', async () => {
  const parts = { train: digits({ split: 'train', size: 2000 }), test: digits({ split: 'test', size: 1000 }) };
  expect(countLabels(parts.train.labels, 10)).toEqual(new Array(10).fill(200));
  expect(parts.train.labels.subarray(0, 10)).not.toEqual(parts.train.labels.subarray(10, 20));
  expect(await findDuplicates(parts)).toEqual({ within: [], across: [] });
});

test('pictures look like MNIST in numbers: box, ink and centre of mass', () => {
  const dataset = digits({ split: 'train', size: 500 });
  let total = 0;
  for (let i = 0; i < dataset.length; i++) {
    const { data } = dataset.get(i).image;
    let [mass, x, y] = [0, 0, 0];
    data.forEach((v, p) => {
      mass += v;
      x += v * (p % 28);
      y += v * Math.floor(p / 28);
    });
    total += mass / 784 / 255;
    expect(Math.abs(x / mass - 13.5)).toBeLessThan(3.5);
    expect(Math.abs(y / mass - 13.5)).toBeLessThan(3.5);
    expect(Math.max(...data)).toBeGreaterThan(150);
    // The outermost frame stays black.
    const frame = data.filter((_, p) => p < 28 || p >= 756 || p % 28 === 0 || p % 28 === 27);
    expect(Math.max(...frame)).toBeLessThan(128);
  }
  expect(total / dataset.length).toBeGreaterThan(0.1);
  expect(total / dataset.length).toBeLessThan(0.17);
});

// A sanity check that labels fit pictures, without a model: the nearest mean image mostly names the class.
test('the mean image of a class is nearest for most pictures of another split', () => {
  const train = digits({ split: 'train', size: 2000 });
  const test = digits({ split: 'test', size: 500 });
  const means = Array.from({ length: 10 }, () => new Float64Array(784));
  for (let i = 0; i < train.length; i++) {
    const { image, label } = train.get(i);
    image.data.forEach((v, p) => {
      (means[label] as Float64Array)[p] = ((means[label] as Float64Array)[p] as number) + v / 200;
    });
  }
  let right = 0;
  for (let i = 0; i < test.length; i++) {
    const { image, label } = test.get(i);
    const distances = means.map((m) => image.data.reduce((sum, v, p) => sum + (v - (m[p] as number)) ** 2, 0));
    if (distances.indexOf(Math.min(...distances)) === label) right++;
  }
  expect(right / test.length).toBeGreaterThan(0.75);
});

test.each([0, -1, 1.5, Number.NaN, 1e9])('size %s is refused', (size) => {
  expect(() => digits({ split: 'train', size })).toThrow(ArgumentError);
});
