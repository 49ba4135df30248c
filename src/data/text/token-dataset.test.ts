/** Tagged words: files of each format, what is wrong with them by line, words to pieces as transformers aligns them, and places in texts. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CambiumError } from '../../base/index.ts';
import { contentHash, DataLoader, entities, entityClasses, parseSchema, subset } from '../index.ts';
import {
  InMemoryTokenDataset,
  joinWords,
  readTokenDataset,
  readTokens,
  splitWords,
  type TokenDatasetOptions,
  Tokenizer,
} from './index.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cambium-tokens-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(dir, name);
  await writeFile(path, content);
  return path;
}

const conll =
  '-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\nGerman JJ B-NP B-MISC\n\n\nPeter NNP B-NP B-PER\nBlackburn NNP I-NP I-PER\n';

describe('files of tagged words', () => {
  test('CoNLL: the last column unless told, sentences by blank lines, gzipped or not', async () => {
    const data = await readTokenDataset(await file('a.conll', conll));
    expect(data.sentences.map(({ tokens }) => tokens)).toEqual([
      ['EU', 'rejects', 'German'],
      ['Peter', 'Blackburn'],
    ]);
    expect(data.schema.labels.tags).toEqual({ kind: 'tags', names: ['B-MISC', 'B-ORG', 'B-PER', 'I-PER', 'O'] });
    expect(data.sentences.map(({ tags }) => [...tags])).toEqual([
      [1, 4, 0],
      [2, 3],
    ]);
    expect(data.describe(1)).toBe(`${join(dir, 'a.conll')} line 8`);
    expect(parseSchema(JSON.parse(JSON.stringify(data.schema)))).toEqual(data.schema);
    const other = await readTokenDataset(await file('a.conll.gz', gzipSync(conll)), { tagColumn: 1 });
    expect(other.schema.labels.tags).toMatchObject({ names: ['JJ', 'NNP', 'VBZ'] });
    const { sentences } = await readTokenDataset(await file('b.txt', conll.replaceAll('\n', '\r\n')), {
      classes: ['O', 'B-ORG', 'B-MISC', 'B-PER', 'I-PER'],
    });
    expect([...(sentences[0]?.tags ?? [])]).toEqual([1, 0, 2]);
  });

  test('by tabs a word may hold blanks; a wide blank of Chinese is a word', async () => {
    const { sentences } = await readTokenDataset(
      await file('tab.conll', 'New York\tB-LOC\n.\tO\n\n中 B-LOC\n\u3000 O\n'),
    );
    expect(sentences.map(({ tokens }) => tokens)).toEqual([
      ['New York', '.'],
      ['中', '\u3000'],
    ]);
  });

  test('CoNLL-U: forms and UPOS, without comments, spans of words and empty ones', async () => {
    const row = (id: string, form: string, upos: string) =>
      `${[id, form, '_', upos, '_', '_', '0', 'root', '_', '_'].join('\t')}\n`;
    const text = `# text = vámonos #\n${row('1-2', 'vámonos', '_')}${row('1', 'vamos', 'VERB')}${row('2', 'nos', 'PRON')}${row('2.1', 'x', 'X')}${row('3', '#', 'SYM')}\n`;
    const { sentences, schema } = await readTokenDataset(await file('a.conllu', text));
    expect(sentences[0]?.tokens).toEqual(['vamos', 'nos', '#']);
    expect(schema.labels.tags).toMatchObject({ names: ['PRON', 'SYM', 'VERB'] });
  });

  test('JSON Lines; numbers stand for the classes they are given', async () => {
    const path = await file(
      'a.jsonl',
      '{"words":["Anna","left"],"ner_tags":[1,0]}\n{"words":["Oslo"],"ner_tags":[2]}\n',
    );
    const options = { tokenColumn: 'words', tagColumn: 'ner_tags', classes: { 0: 'O', 1: 'B-PER', 2: 'B-LOC' } };
    const { sentences, schema } = await readTokenDataset(path, options);
    expect(schema.labels.tags).toMatchObject({ names: ['O', 'B-PER', 'B-LOC'] });
    expect(sentences.map(({ tags }) => [...tags])).toEqual([[1, 0], [2]]);
    const words: (readonly string[])[] = [];
    for await (const own of readTokens(path, { tokenColumn: 'words' })) words.push(own);
    expect(words).toEqual([['Anna', 'left'], ['Oslo']]);
  });

  const bad: [string, string, string, TokenDatasetOptions, string, number | undefined][] = [
    ['one column', 'a.conll', 'EU B-ORG\nrejects\n', {}, 'COLUMN_MISSING', 2],
    ['a column that is not there', 'a.conll', 'EU O\n\nx B\n', { tagColumn: 3 }, 'COLUMN_MISSING', 1],
    ['no word', 'a.conll', 'EU\tO\n\tO\n', {}, 'TOKEN_MISSING', 2],
    ['no tag', 'a.conll', 'EU\tB\nis\t\n', {}, 'LABEL_MISSING', 2],
    ['a tag that is no class', 'a.conll', 'EU B-ORG\n\nx I-ORG\n', { classes: ['O', 'B-ORG'] }, 'LABEL_UNKNOWN', 3],
    ['one tag alone', 'a.conll', 'a O\nb O\n', {}, 'CLASSES_TOO_FEW', undefined],
    ['nothing', 'a.conll', '-DOCSTART- O\n\n', {}, 'DATASET_EMPTY', undefined],
    ['a column by name', 'a.conll', 'a O\n', { tagColumn: 'ner' }, 'COLUMN_INVALID', undefined],
    [
      'a column by position',
      'a.jsonl',
      '{"tokens":["a"],"tags":["O"]}\n',
      { tagColumn: 1 },
      'COLUMN_INVALID',
      undefined,
    ],
    ['no tokens', 'a.jsonl', '{"token":["a"],"tags":["O"]}\n', {}, 'COLUMN_MISSING', 1],
    ['a text for tokens', 'a.jsonl', '{"tokens":"a b","tags":["O"]}\n', {}, 'COLUMN_TYPE', 1],
    [
      'more tags',
      'a.jsonl',
      '{"tokens":["a"],"tags":["O"]}\n{"tokens":["a"],"tags":["O","O"]}\n',
      {},
      'TAGS_LENGTH',
      2,
    ],
    ['an empty sentence', 'a.jsonl', '{"tokens":[],"tags":[]}\n', {}, 'TOKEN_MISSING', 1],
    ['an empty tag', 'a.jsonl', '{"tokens":["a"],"tags":[""]}\n', {}, 'LABEL_MISSING', 1],
  ];
  test.each(bad)('%s', async (_, name, content, options, code, line) => {
    const error = (await readTokenDataset(await file(name, content), options).catch((e) => e)) as CambiumError;
    expect([error.code, error.details.line]).toEqual([code, line]);
  });

  test('sentences by hand are checked', () => {
    const make = (tags: number[]) => () =>
      new InMemoryTokenDataset({
        name: 'x',
        sentences: [{ tokens: ['a'], tags: Int32Array.from(tags) }],
        classes: ['O', 'B'],
      });
    expect(make([0, 1])).toThrowError(expect.objectContaining({ code: 'DATASET_SIZE' }));
    expect(make([2])).toThrowError(expect.objectContaining({ code: 'LABEL_OUTSIDE' }));
    expect(() => make([1])().get(1)).toThrowError(expect.objectContaining({ code: 'INDEX_OUTSIDE' }));
  });
});

describe('words to tokens', async () => {
  const path = new URL('../../../test/golden/text/token-labels.json', import.meta.url);
  const golden = JSON.parse(await readFile(path, 'utf8'));
  const tokenizer = new Tokenizer(golden.tokenizer);
  const dataset = (tags: number[][]) =>
    new InMemoryTokenDataset({
      name: 'golden',
      sentences: tags.map((own, i) => ({ tokens: golden.sentences[i], tags: Int32Array.from(own) })),
      classes: ['O', 'B', 'I'],
    });

  test.each(
    golden.cases as {
      maxLength: number | null;
      tags: number[][];
      inputIds: number[][];
      attentionMask: number[][];
      labels: number[][];
    }[],
  )(
    "transformers' ids and labels, at most $maxLength tokens",
    async ({ maxLength, tags, inputIds, attentionMask, labels }) => {
      const text = { tokenizer, padToMultipleOf: 1, ...(maxLength !== null && { maxLength }) };
      const batch = await new DataLoader(dataset(tags), { batchSize: 5, text }).batch(0, 0);
      const rows = ({ data, shape }: { data: ArrayLike<number>; shape: readonly number[] }) =>
        Array.from({ length: 5 }, (_, i) => Array.from(data).slice(i * (shape[1] ?? 0), (i + 1) * (shape[1] ?? 0)));
      expect(rows(batch.inputIds)).toEqual(inputIds);
      expect(rows(batch.attentionMask)).toEqual(attentionMask);
      expect(rows(batch.tags)).toEqual(labels);
    },
  );

  test('buckets and views keep words and tags together; a sample that does not fit is named', async () => {
    const { tags } = golden.cases[0];
    const loader = new DataLoader(subset(dataset(tags), [4, 2, 0]), {
      batchSize: 2,
      text: { tokenizer, bucketed: true },
    });
    for await (const batch of loader.epoch(0))
      for (const [b, id] of batch.ids.entries()) {
        const steps = batch.tags.shape[1] as number;
        const own = Array.from(batch.tags.data.slice(b * steps, (b + 1) * steps)).filter((tag) => tag !== -100);
        expect(own).toEqual(tags[id]);
      }
    const wrong = { ...dataset(tags), get: () => ({ tokens: ['a', 'b'], tags: Int32Array.of(0) }) };
    await expect(
      new DataLoader(
        { ...wrong, schema: dataset(tags).schema, length: 1, name: 'w' },
        { batchSize: 1, text: { tokenizer } },
      ).batch(0, 0),
    ).rejects.toMatchObject({
      code: 'FIELD_INVALID',
    });
    expect(() => new DataLoader(dataset(tags), { batchSize: 1 })).toThrowError(
      expect.objectContaining({ code: 'FIELD_UNSUPPORTED' }),
    );
  });
});

describe('words of a text', () => {
  test('their places cut them out again', () => {
    const text = '  "Anna (Oslo) said: U.N. pays 3.5 €!" 王小明在iPhone店。😀ok';
    const words = splitWords(text);
    expect(words.map((word) => word.text)).toEqual(
      ['"', 'Anna', '(', 'Oslo', ')', 'said', ':', 'U.N', '.', 'pays', '3.5', '€', '!', '"'].concat([
        '王',
        '小',
        '明',
        '在',
        'iPhone',
        '店',
        '。',
        '😀',
        'ok',
      ]),
    );
    for (const { text: word, start, end } of words) expect(text.slice(start, end)).toBe(word);
    expect(splitWords(' \n')).toEqual([]);
    expect(splitWords('...').map((word) => word.text)).toEqual(['.', '.', '.']);
  });
  test('put together, blanks stand between words that need them', () => {
    const { text, words } = joinWords(['Anna', '在', 'New', 'York', '。']);
    expect(text).toBe('Anna在New York。');
    expect(words.map(({ start, end }) => text.slice(start, end))).toEqual(['Anna', '在', 'New', 'York', '。']);
  });
});

test('the built-in set is the same for the same seed, and well formed', async () => {
  const data = entities({ split: 'train', size: 200 });
  expect(await contentHash(data)).toBe(
    await contentHash(subset(entities({ split: 'train', size: 300 }), [...Array(200).keys()])),
  );
  expect(await contentHash(entities({ split: 'test', size: 200 }))).not.toBe(await contentHash(data));
  for (const { tags } of data.sentences)
    for (const [i, tag] of tags.entries()) {
      const [name, before] = [entityClasses[tag] as string, entityClasses[tags[i - 1] ?? 0] as string];
      if (name.startsWith('I-')) expect([`B-${name.slice(2)}`, name]).toContain(before);
    }
  expect(new Set(data.sentences.flatMap(({ tags }) => [...tags])).size).toBe(entityClasses.length);
});
