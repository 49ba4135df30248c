/** Tokenizers: files found and refused, batches, memory of words against the library, vocabularies learned. */
import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import type { CambiumError } from '../../base/errors.ts';
import { BertWords } from './bert-words.ts';
import {
  causalSpecialTokens,
  loadTokenizer,
  saveTokenizer,
  Tokenizer,
  trainBpe,
  trainCharacters,
  trainWordPiece,
} from './index.ts';
import { bertJson } from './tokenizer-parts.ts';

const words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'the', 'cat', 'sat', '##s', '中', '国', 'ab', '##c', '.'];
const json = () => structuredClone(bertJson(new Map(words.map((w, i) => [w, i])), {}));
let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cambium-tokenizer-'));
});
const codeOf = async (body: () => unknown): Promise<string> => {
  try {
    await body();
  } catch (error) {
    return (error as CambiumError).code;
  }
  return 'nothing was thrown';
};

describe('batches', () => {
  const tokenizer = new Tokenizer(json());
  test('ids, mask and types, padded to the longest', () => {
    const { inputIds, attentionMask, tokenTypeIds } = tokenizer.encodeBatch(['The cats sat.', '中国']);
    expect(inputIds.shape).toEqual([2, 7]);
    expect([...inputIds.data]).toEqual([2, 5, 6, 8, 7, 13, 3, 2, 9, 10, 3, 0, 0, 0]);
    expect([...attentionMask.data]).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0]);
    expect(tokenTypeIds.data.every((t) => t === 0)).toBe(true);
  });
  test('to a multiple, to the maximum, on the left', () => {
    expect(tokenizer.encodeBatch(['cat'], { padToMultipleOf: 8 }).inputIds.shape).toEqual([1, 8]);
    expect(tokenizer.encodeBatch(['cat'], { padding: 'maxLength', maxLength: 5 }).inputIds.shape).toEqual([1, 5]);
    const left = tokenizer.encodeBatch(['cat', 'the cat'], { paddingSide: 'left' });
    expect([...left.inputIds.data]).toEqual([0, 2, 6, 3, 2, 5, 6, 3]);
    expect([...left.attentionMask.data]).toEqual([0, 1, 1, 1, 1, 1, 1, 1]);
  });
  test('pairs have two types', () => {
    const { tokenTypeIds } = tokenizer.encodeBatch(['the cat'], { pairs: ['sat'] });
    expect([...tokenTypeIds.data]).toEqual([0, 0, 0, 0, 1, 1]);
  });
  test('special tokens in a text are themselves', () => {
    expect(tokenizer.tokenize('the [MASK] sat')).toEqual(['the', '[MASK]', 'sat']);
    expect([...tokenizer.specialIds]).toEqual([0, 1, 2, 3, 4]);
    expect(tokenizer.specialId('mask')).toBe(4);
    expect(tokenizer.decode([2, 5, 6, 8, 3])).toBe('the cats');
    expect(tokenizer.decode([2, 5, 3], { skipSpecialTokens: false })).toBe('[CLS] the [SEP]');
    expect(tokenizer.decode([])).toBe('');
  });
  test.each<[string, () => unknown]>([
    ['MAX_LENGTH', () => tokenizer.encode('cat', { maxLength: 2 })],
    ['MAX_LENGTH', () => tokenizer.encode('the cat', { pair: 'sat sat sat', maxLength: 5, truncation: 'onlyFirst' })],
    ['TEXT_EXPECTED', () => tokenizer.encode(7 as unknown as string)],
    ['TOKEN_ID_OUTSIDE', () => tokenizer.decode([99])],
    ['PAIRS_LENGTH', () => tokenizer.encodeBatch(['a'], { pairs: [] })],
    ['OPTION_INVALID', () => tokenizer.encodeBatch(['a'], { padding: 'maxLength' })],
    ['SPECIAL_TOKEN_MISSING', () => tokenizer.specialId('bos')],
    ['TOKENIZER_MISMATCH', () => tokenizer.checkFits(13)],
  ])('%s', async (code, body) => {
    expect(await codeOf(body)).toBe(code);
    expect(() => tokenizer.checkFits(14)).not.toThrow();
  });
});

test('words are those of the library, wherever it is right', () => {
  const library = new LibraryTokenizer(json(), {}) as unknown as {
    normalizer: { normalize(text: string): string };
    pre_tokenizer: { pre_tokenize(text: string): string[] };
  };
  const ours = new BertWords();
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
      // The library takes UTF-16 halves of Chinese characters beyond the basic plane, and has a final sigma.
      fc.pre(!/[\u03a3\u{20000}-\u{2fa1f}]/u.test(text));
      expect(ours.words(text)).toEqual(library.pre_tokenizer.pre_tokenize(library.normalizer.normalize(text)));
    }),
    { numRuns: 2000, seed: 1 },
  );
});

describe('files', () => {
  const folder = async (name: string, files: { [file: string]: string | Uint8Array }): Promise<string> => {
    const path = join(dir, name);
    await mkdir(path, { recursive: true });
    for (const [file, content] of Object.entries(files)) await writeFile(join(path, file), content);
    return path;
  };

  test('vocab.txt with its config; saved as tokenizer.json and read again', async () => {
    const path = await folder('bert', {
      'vocab.txt': `${words.join('\r\n')}\r\nThe\r\n`,
      'tokenizer_config.json': '{"do_lower_case": false, "model_max_length": 128}',
    });
    const cased = await loadTokenizer(path);
    expect(cased.tokenize('The cats')).toEqual(['The', 'cat', '##s']);
    expect(cased.config.modelMaxLength).toBe(128);
    expect((await loadTokenizer(path, { lowercase: true })).tokenize('THE')).toEqual(['the']);
    const saved = await folder('saved', {});
    await saveTokenizer(saved, cased);
    const again = await loadTokenizer(saved);
    expect(again.encode('The cats 中国')).toEqual(cased.encode('The cats 中国'));
    expect(again.specialTokens).toEqual(cased.specialTokens);
    expect(again.config.modelMaxLength).toBe(128);
  });

  test('a repository of the hub, from the cache Python shares', async () => {
    const cache = join(dir, 'hub');
    const snapshot = join(cache, 'models--org--bert', 'snapshots', 'a'.repeat(40));
    await mkdir(snapshot, { recursive: true });
    await mkdir(join(cache, 'models--org--bert', 'refs'));
    await writeFile(join(cache, 'models--org--bert', 'refs', 'main'), 'a'.repeat(40));
    await writeFile(join(snapshot, 'vocab.txt'), `${words.join('\n')}\n`);
    await writeFile(join(snapshot, 'tokenizer_config.json'), '{"model_max_length": 64}');
    vi.stubEnv('HF_HUB_CACHE', cache);
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    try {
      const tokenizer = await loadTokenizer('hf:org/bert');
      expect(tokenizer.vocabSize).toBe(words.length);
      expect(tokenizer.config.modelMaxLength).toBe(64);
      expect(await codeOf(() => loadTokenizer('hf:org/other'))).toBe('OFFLINE');
    } finally {
      vi.unstubAllEnvs();
    }
  });

  test('a folder without one, and files that are not one', async () => {
    expect(await codeOf(() => loadTokenizer(join(dir, 'nowhere')))).toBe('FILE_NOT_FOUND');
    const cases: [string, { [file: string]: string | Uint8Array }, string][] = [
      ['empty', {}, 'TOKENIZER_NOT_FOUND'],
      ['half', { 'vocab.json': '{}' }, 'TOKENIZER_NOT_FOUND'],
      ['html', { 'tokenizer.json': '<html>' }, 'JSON_INVALID'],
      ['latin', { 'vocab.txt': Uint8Array.of(0x63, 0xe9, 0x0a) }, 'UTF8_INVALID'],
      ['twice', { 'vocab.txt': '[UNK]\na\nb\na\n' }, 'TOKENIZER_INVALID'],
      ['nounk', { 'vocab.txt': 'a\nb\n' }, 'TOKENIZER_INVALID'],
      ['gap', { 'vocab.txt': '[UNK]\n\nb\n' }, 'TOKENIZER_INVALID'],
      ['merges', { 'vocab.json': '{"a":0,"b":1,"ab":2}', 'merges.txt': '#version: 0.2\na b c\n' }, 'TOKENIZER_INVALID'],
      ['foreign', { 'vocab.json': '{"a":0,"b":1}', 'merges.txt': 'a b\n' }, 'TOKENIZER_INVALID'],
    ];
    for (const [name, files, code] of cases)
      expect(await codeOf(async () => loadTokenizer(await folder(name, files))), name).toBe(code);
  });

  test.each<[string, (j: ReturnType<typeof json>) => unknown]>([
    ['a list', () => []],
    ['no model', (j) => ({ ...j, model: undefined })],
    ['an unknown model', (j) => ({ ...j, model: { ...(j.model as object), type: 'Magic' } })],
    ['no vocabulary', (j) => ({ ...j, model: { ...(j.model as object), vocab: {} } })],
    ['a vocabulary that is a list', (j) => ({ ...j, model: { ...(j.model as object), vocab: ['a'] } })],
    ['an id used twice', (j) => ({ ...j, model: { ...(j.model as object), vocab: { '[UNK]': 0, b: 0 } } })],
    ['a huge id', (j) => ({ ...j, model: { ...(j.model as object), vocab: { '[UNK]': 0, b: 2 ** 40 } } })],
    ['a negative id', (j) => ({ ...j, model: { ...(j.model as object), vocab: { '[UNK]': 0, b: -1 } } })],
    ['an unknown token it has not', (j) => ({ ...j, model: { ...(j.model as object), unk_token: 'huh' } })],
    ['an added token without text', (j) => ({ ...j, added_tokens: [{ id: 3 }] })],
    ['an added token with the id of another', (j) => ({ ...j, added_tokens: [{ id: 3, content: 'new' }] })],
    ['an unknown normalizer', (j) => ({ ...j, normalizer: { type: 'Magic' } })],
    [
      'a template of unknown tokens',
      (j) => ({ ...j, post_processor: { type: 'BertProcessing', cls: ['x', 1], sep: ['y', 2] } }),
    ],
  ])('%s is refused', (_, change) => {
    expect(() => new Tokenizer(change(json()) as never, { file: 't.json' })).toThrowError(
      expect.objectContaining({ code: 'TOKENIZER_INVALID' }),
    );
  });
});

describe('learning a vocabulary', () => {
  const corpus = ['low lower lowest', 'new newer newest', '中国 中国人', 'low low new'];
  test('WordPiece: special tokens first, frequent pairs, Chinese characters alone', async () => {
    const tokenizer = await trainWordPiece(corpus, { vocabSize: 60 });
    expect([...tokenizer.vocab.keys()].slice(0, 5)).toEqual(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']);
    expect(tokenizer.tokenize('LOWER 中国人!')).toEqual(['low', '##er', '中', '国', '人', '[UNK]']);
    expect(tokenizer.vocabSize).toBeLessThanOrEqual(60);
    await expect(trainWordPiece([], { vocabSize: 60 })).rejects.toMatchObject({ code: 'CORPUS_EMPTY' });
    await expect(trainWordPiece(corpus, { vocabSize: 4 })).rejects.toMatchObject({ code: 'OPTION_INVALID' });
    await expect(trainWordPiece(corpus, { vocabSize: 60, specialTokens: ['[PAD]'] })).rejects.toMatchObject({
      code: 'OPTION_INVALID',
    });
  });
  test('the order of the corpus does not matter', async () => {
    const [a, b] = [
      await trainWordPiece(corpus, { vocabSize: 40 }),
      await trainWordPiece([...corpus].reverse(), { vocabSize: 40 }),
    ];
    expect(a.json).toEqual(b.json);
  });
  test('a small vocabulary keeps the frequent characters', async () => {
    const tokenizer = await trainWordPiece(corpus, { vocabSize: 12 });
    expect(tokenizer.vocabSize).toBe(12);
    expect(tokenizer.tokenToId('w')).toBeUndefined();
    expect(tokenizer.tokenToId('##w')).toBeDefined();
  });
  test('BPE: every text survives, Chinese characters are never joined', async () => {
    const tokenizer = await trainBpe([...corpus, '中国中国中国', '中国中国'], { vocabSize: 300 });
    for (const text of ['', 'hello 世界 😀\n', '  low', 'x\u0000y', '中国人'])
      expect(tokenizer.decode(tokenizer.encode(text).inputIds)).toBe(text);
    expect(tokenizer.tokenize('中国')).toHaveLength(2);
    const joined = await trainBpe(['中国中国中国', '中国中国'], { vocabSize: 300, chineseCharacters: false });
    expect(joined.tokenize('中国')).toHaveLength(1);
    await expect(trainBpe(corpus, { vocabSize: 200 })).rejects.toMatchObject({ code: 'VOCAB_TOO_SMALL' });
  });
  test('characters: line ends and Chinese come back as they were, the rare are unknown', async () => {
    const text = 'First Citizen:\n  天天向上！\r\n\t😀 ok\n';
    const causal = await trainCharacters([text], { specialTokens: causalSpecialTokens });
    expect(causal.decode(causal.encode(text).inputIds)).toBe(text);
    expect(causal.vocabSize).toBe(3 + new Set(text).size);
    expect(causal.specialTokens).toMatchObject({ pad: { id: 0 }, unk: { id: 1 }, eos: { token: '<|endoftext|>' } });
    expect(causal.tokenize('天q')).toEqual(['天', '<unk>']);
    const classifier = await trainCharacters(['天天 aab\ud83d', 'a'], { vocabSize: 7, lowercase: true });
    expect([...classifier.vocab.keys()]).toEqual(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a', '天']);
    expect([...classifier.encode('天A', { pair: 'b' }).inputIds]).toEqual([2, 6, 5, 3, 1, 3]);
    expect((await trainCharacters(corpus, { minFrequency: 6 })).tokenToId('人')).toBeUndefined();
    await expect(trainCharacters([''])).rejects.toMatchObject({ code: 'CORPUS_EMPTY' });
    await expect(trainCharacters(corpus, { specialTokens: ['[PAD]'] })).rejects.toMatchObject({
      code: 'OPTION_INVALID',
    });
    const path = join(dir, 'characters');
    await mkdir(path);
    await saveTokenizer(path, causal);
    expect((await loadTokenizer(path)).ids(text)).toEqual(causal.ids(text));
  });
  test('it is saved for transformers', async () => {
    const path = join(dir, 'trained');
    await mkdir(path);
    await saveTokenizer(path, await trainWordPiece(corpus, { vocabSize: 60 }));
    const config = JSON.parse(await readFile(join(path, 'tokenizer_config.json'), 'utf8'));
    expect(config).toMatchObject({
      tokenizer_class: 'PreTrainedTokenizerFast',
      mask_token: '[MASK]',
      pad_token: '[PAD]',
    });
  });
});
