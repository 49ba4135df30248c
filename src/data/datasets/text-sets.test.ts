/** Built-in texts, sets by name, and the card of texts. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import {
  classNames,
  InMemoryTextDataset,
  loadTextSet,
  phrases,
  type TextSetName,
  textCard,
  textCardText,
} from '../index.ts';

describe('phrases', () => {
  test('a function of seed, split and index: balanced, in two languages, parts unlike each other', () => {
    const [a, b] = [phrases({ split: 'train', size: 200 }), phrases({ split: 'train', size: 50 })];
    expect(a.texts.slice(0, 50)).toEqual(b.texts);
    expect(phrases({ split: 'train', size: 50, seed: 1 }).texts).not.toEqual(b.texts);
    expect(phrases({ split: 'test', size: 50 }).texts).not.toEqual(b.texts);
    const positive = a.labels.filter((label) => label === 1).length;
    expect(positive).toBeGreaterThan(70);
    expect(positive).toBeLessThan(130);
    expect(a.texts.filter((text) => /\p{Script=Han}/u.test(text)).length).toBeGreaterThan(60);
    expect(a.texts.some((text) => text.includes('not ')) && a.texts.some((text) => text.includes('不'))).toBe(true);
    expect(() => phrases({ split: 'train', size: -1 })).toThrowError(
      expect.objectContaining({ code: 'OPTION_INVALID' }),
    );
  });
});

describe('the card', () => {
  const classes = ['a\u001b[31m', 'b'];
  const set = (name: string, texts: string[], labels: number[]): InMemoryTextDataset =>
    new InMemoryTextDataset({ name, texts, labels: Int32Array.from(labels), classes });
  test('counts, lengths, leaks, conflicts; safe to print', async () => {
    const card = await textCard('set', {
      train: set('train', ['one', 'two', 'one', 'three\u0007'], [0, 1, 1, 1]),
      test: set('test', ['two', 'new'], [1, 0]),
    });
    expect(card.parts.train?.counts).toEqual({ 'a\u001b[31m': 1, b: 3 });
    expect(card.parts.train?.characters).toEqual({ min: 3, median: 3, p95: 3, max: 6 });
    expect(card.parts.train?.majority).toEqual({ label: 'b', accuracy: 0.75 });
    expect(card.duplicates.across).toHaveLength(1);
    expect(card.duplicates.conflicting).toHaveLength(1);
    expect(JSON.parse(JSON.stringify(card))).toEqual(card);
    const text = textCardText(card);
    expect(text).toContain('leaks');
    expect(text).not.toMatch(/[\u0007\u001b]/);
  });
});

test('a folder without the files says which', async () => {
  await expect(loadTextSet('sst2', '/nowhere')).rejects.toMatchObject({
    code: 'FILE_NOT_FOUND',
    details: { expected: 'train.tsv.gz' },
  });
});

const shared = process.env.CAMBIUM_SHARED ?? fileURLToPath(new URL('../../../../shared', import.meta.url));
const real = join(shared, 'data');
test.skipIf(!existsSync(join(real, 'sst2'))).each<[TextSetName, (number | undefined)[], string[]]>([
  ['thucnews-titles', [33590, 10000, 10000], ['finance', 'realty']],
  ['sst2', [6920, 872, 1821], ['negative', 'positive']],
  ['finnews-zh', [5844, undefined, 2400], ['negative', 'positive']],
  ['chnsenticorp', [7765, undefined, undefined], ['negative', 'positive']],
  ['waimai', [11987, undefined, undefined], ['negative', 'positive']],
])(`%s (skipped without ${real})`, async (name, sizes, names) => {
  const { train, validation, test: held } = await loadTextSet(name, real);
  expect([train, validation, held].map((part) => part?.length)).toEqual(sizes);
  expect(classNames(train.schema).slice(0, 2)).toEqual(names);
  // By the folder of its own, too.
  expect((await loadTextSet(name, join(real, name))).train.length).toBe(train.length);
});
