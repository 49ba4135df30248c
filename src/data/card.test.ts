import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { dataCard } from './card.ts';
import { cardText, draw, speaksUnicode } from './card-text.ts';
import { InMemoryImageDataset, subset } from './dataset.ts';
import { digits } from './datasets/digits.ts';
import { loadMnist } from './datasets/mnist.ts';

// Class "a" is dark, "b" bright; sample 5 is a bright picture labelled "a"; 1 and 6 are equal with different labels.
const set = new InMemoryImageDataset({
  name: 'set',
  pixels: Uint8Array.of(0, 0, 10, 10, 20, 20, 200, 200, 210, 220, 250, 250, 10, 10, 255, 200),
  labels: Int32Array.of(0, 0, 0, 1, 1, 0, 1, 1),
  height: 1,
  width: 2,
  classes: ['a', 'b\u001b[31m'],
});

test('numbers of a small set', async () => {
  const card = await dataCard('set', { train: subset(set, [0, 1, 2, 3, 4, 5]), test: subset(set, [6, 7]) });
  const train = card.parts.train;
  const pixels = [0, 0, 10, 10, 20, 20, 200, 200, 210, 220, 250, 250].map((p) => p / 255);
  const mean = pixels.reduce((a, b) => a + b) / 12;
  expect(train?.counts).toEqual({ a: 4, 'b\u001b[31m': 2 });
  expect(train?.majority).toEqual({ label: 'a', accuracy: 4 / 6 });
  expect(train?.mean[0]).toBeCloseTo(mean, 12);
  expect(train?.std[0]).toBeCloseTo(Math.sqrt(pixels.reduce((s, p) => s + (p - mean) ** 2, 0) / 12), 12);
  expect(train?.range).toEqual({ min: 0, max: 250 });
  expect(train?.meanImages.a).toEqual({ height: 1, width: 2, channels: 1, pixels: [70, 70] });
  expect(train?.suspects.map((s) => s.id)).toEqual([5]);
  expect(card.duplicates.across).toHaveLength(1);
  expect(card.duplicates.conflicting[0]?.members.map((m) => m.id)).toEqual([1, 6]);
  expect(JSON.parse(JSON.stringify(card))).toEqual(card);
});

test('the text fits the terminal and shows no control characters from names', async () => {
  const card = await dataCard('digits', { train: digits({ split: 'train', size: 40 }) });
  for (const unicode of [true, false]) {
    const text = cardText(card, { unicode });
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);
    expect(/█/.test(text)).toBe(unicode);
    if (!unicode) expect(text).toMatch(/^[\n -~]*$/);
  }
  expect(cardText(await dataCard('set', { train: set }))).not.toContain('\u001b');
});

test('pictures are drawn in half blocks or letters', () => {
  const picture = {
    height: 4,
    width: 4,
    channels: 1,
    pixels: [255, 255, 0, 0, 255, 255, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0],
  };
  expect(draw(picture, 4, true)).toEqual(['██', '  ▀▀']);
  expect(draw(picture, 4, false)).toEqual(['@@', '  ==']);
});

test.each([
  [{ LANG: 'en_US.UTF-8' }, true],
  [{ LANG: 'en_US.UTF-8', LC_ALL: 'C' }, false],
  [{}, false],
])('the locale %j decides', (env, expected) => {
  expect(speaksUnicode(env)).toBe(expected);
});

const shared = process.env.CAMBIUM_SHARED ?? fileURLToPath(new URL('../../../shared', import.meta.url));
const real = join(shared, 'data/mnist');
test.skipIf(!existsSync(real))(
  `MNIST: mean .1307, deviation .3081, no duplicates (skipped without ${real})`,
  async () => {
    const parts = {
      train: await loadMnist({ split: 'train', dataDir: real }),
      test: await loadMnist({ split: 'test', dataDir: real }),
    };
    const card = await dataCard('mnist', parts);
    expect(card.parts.train?.mean[0]).toBeCloseTo(0.1307, 4);
    expect(card.parts.train?.std[0]).toBeCloseTo(0.3081, 4);
    expect(Object.values(card.parts.test?.counts ?? {})).toEqual([
      980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]);
    expect(card.parts.test?.majority).toEqual({ label: '1', accuracy: 0.1135 });
    expect(card.duplicates).toEqual({ within: [], across: [], conflicting: [] });
  },
);
