/** Tokenizers against Hugging Face's Rust library: ids, types, pairs, truncation, decoding; learned merges; real vocabularies. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { loadTokenizer, Tokenizer, trainBpe, trainWordPiece } from '../../src/data/index.ts';
import type { Json } from '../../src/io/index.ts';

interface Ids {
  ids: number[];
  types: number[];
}
interface Golden {
  corpus: string[];
  tokenizers: {
    [name: string]: {
      json: Json;
      texts: ({ text: string; plain: number[]; decoded: string } & Ids)[];
      pairs: ({ a: string; b: string } & Ids)[];
      truncated: ({ a: string; b: string | null; length: number; strategy: string } & Ids)[];
    };
  };
  bpe: { vocabSize: number; minFrequency: number; merges: (string | [string, string])[] };
  pieces: { vocabSize: number; always: string[]; sometimes: string[] };
  real: { [name: string]: { texts: number; tokens: number; sha256: string } };
}
const golden = JSON.parse(readFileSync(new URL('../golden/parity/tokenizers.json', import.meta.url), 'utf8')) as Golden;
const strategies: { [name: string]: 'longestFirst' | 'onlyFirst' | 'onlySecond' } = {
  longest_first: 'longestFirst',
  only_first: 'onlyFirst',
  only_second: 'onlySecond',
};

describe.each(Object.entries(golden.tokenizers))('%s', (_, { json, texts, pairs, truncated }) => {
  const tokenizer = new Tokenizer(json);
  const plainOf = (e: { inputIds: Int32Array; tokenTypeIds: Int32Array }): Ids => ({
    ids: [...e.inputIds],
    types: [...e.tokenTypeIds],
  });

  test.each(texts)('$text', ({ text, ids, types, plain, decoded }) => {
    expect(plainOf(tokenizer.encode(text))).toEqual({ ids, types });
    expect([...tokenizer.encode(text, { addSpecialTokens: false }).inputIds]).toEqual(plain);
    expect(tokenizer.decode(plain)).toBe(decoded);
  });
  test('pairs', () => {
    for (const { a, b, ids, types } of pairs) expect(plainOf(tokenizer.encode(a, { pair: b }))).toEqual({ ids, types });
  });
  test('truncation', () => {
    for (const { a, b, length, strategy, ids, types } of truncated) {
      const options = { maxLength: length, truncation: strategies[strategy], ...(b !== null && { pair: b }) };
      expect(plainOf(tokenizer.encode(a, options)), `${strategy} ${length}: ${a} | ${b}`).toEqual({ ids, types });
    }
  });
});

test('byte-level BPE learns the merges of the Rust trainer', async () => {
  const { vocabSize, minFrequency, merges } = golden.bpe;
  const trained = await trainBpe(golden.corpus, { vocabSize, minFrequency, chineseCharacters: false });
  const model = trained.json.model as { merges: string[]; vocab: Json };
  expect(model.merges).toEqual(merges.map((m) => (typeof m === 'string' ? m : m.join(' '))));
  const theirs = golden.tokenizers['byte-level']?.json as { [key: string]: Json };
  expect(theirs.model).toMatchObject({ vocab: model.vocab });
});

test('WordPiece learns the pieces of the Rust trainer, which breaks ties by chance', async () => {
  const { vocabSize, always, sometimes } = golden.pieces;
  const trained = await trainWordPiece(golden.corpus, { vocabSize, minFrequency: 2 });
  const ours = new Set(trained.vocab.keys());
  const allowed = new Set([...always, ...sometimes]);
  expect(always.filter((token) => !ours.has(token))).toEqual([]);
  expect([...ours].filter((token) => !allowed.has(token))).toEqual([]);
  expect(ours.size).toBe(vocabSize);
});

const shared = process.env.CAMBIUM_SHARED ?? fileURLToPath(new URL('../../../shared', import.meta.url));
const data = join(shared, 'data');
describe.skipIf(!existsSync(join(data, 'vocab')))(`real vocabularies (skipped without ${data}/vocab)`, () => {
  test.each(Object.entries(golden.real))('%s', { timeout: 60_000 }, async (name, { texts, tokens, sha256 }) => {
    const [vocabulary, set] = name.split(' on ') as [string, string];
    const tokenizer = await loadTokenizer(join(data, 'vocab', vocabulary));
    const path = existsSync(join(data, `${set}.txt.gz`)) ? `${set}.txt.gz` : `${set}.tsv.gz`;
    const lines = gunzipSync(readFileSync(join(data, path)))
      .toString('utf8')
      .trimEnd()
      .split('\n')
      .slice(0, texts);
    const hash = createHash('sha256');
    let count = 0;
    for (const line of lines) {
      const { inputIds } = tokenizer.encode(line.split('\t')[0] as string);
      hash.update(new Uint8Array(inputIds.buffer));
      count += inputIds.length;
    }
    expect(count).toBe(tokens);
    expect(hash.digest('hex')).toBe(sha256);
  });
});
