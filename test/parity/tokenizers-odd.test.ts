/** Odd texts (marks, controls, pairs of surrogates, every kind of blank) and character vocabularies against the Rust library. */
import { describe, expect, test } from 'vitest';
import { Tokenizer, trainCharacters } from '../../src/data/index.ts';
import type { Json } from '../../src/io/index.ts';
import { golden } from './streams.ts';

interface Cases {
  json: Json;
  ids: number[][];
  decoded: string[];
}
interface Characters extends Cases {
  framed: number[][];
  corpus: string[];
  lowercase: boolean;
  special: string[];
}
const { corpus, texts, tokenizers, characters } = golden<{
  corpus: string[];
  texts: string[];
  tokenizers: { [name: string]: Cases };
  characters: { [name: string]: Characters };
}>('tokenizers-odd');

const expectIds = (tokenizer: Tokenizer, { ids, decoded }: Cases): void => {
  texts.forEach((text, i) => {
    expect([...tokenizer.ids(text)], JSON.stringify(text)).toEqual(ids[i]);
  });
  decoded.forEach((text, i) => {
    expect(tokenizer.decode(ids[i] as number[])).toBe(text);
  });
};

test.each(Object.entries(tokenizers))('%s', (_, cases) => {
  expectIds(new Tokenizer(cases.json), cases);
});

describe.each(Object.entries(characters))('characters: %s', (_, cases) => {
  test('what is learned and saved is what the library saves; ids, frames and texts are its own', async () => {
    const { lowercase, special } = cases;
    const tokenizer = await trainCharacters(corpus, { lowercase, specialTokens: special });
    expect(tokenizer.json).toEqual(cases.json);
    expectIds(tokenizer, cases);
    corpus.forEach((text, i) => {
      expect([...tokenizer.encode(text).inputIds]).toEqual(cases.framed[i]);
      expect(tokenizer.decode(tokenizer.ids(text))).toBe(cases.corpus[i]);
      if (!lowercase) expect(cases.corpus[i]).toBe(text);
    });
  });
});
