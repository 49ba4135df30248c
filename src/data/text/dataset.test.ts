/** Readers of labelled texts: every format, and what is said about bad files. */
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { CambiumError } from '../../base/errors.ts';
import { CsvParser } from '../formats/csv.ts';
import { parquetColumns } from '../formats/parquet.ts';
import {
  batched,
  contentHash,
  readTextDataset,
  readTexts,
  shuffled,
  type TextTableOptions,
  textStream,
  unlabelledTexts,
} from '../index.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cambium-text-'));
});
const put = async (name: string, content: string | Uint8Array): Promise<string> => {
  const file = join(dir, name);
  await writeFile(file, content);
  return file;
};
const errorOf = async (body: () => Promise<unknown>): Promise<CambiumError> => {
  try {
    await body();
  } catch (error) {
    expect(error).toBeInstanceOf(CambiumError);
    return error as CambiumError;
  }
  return expect.fail('nothing was thrown');
};

const golden = fileURLToPath(new URL('../../../test/golden/text/', import.meta.url));
const table = 'label,text\r\n1,"good, ""very"" good"\r\n\r\n0,"two\nlines"\n1,last';
const texts = ['good, "very" good', 'two\nlines', 'last'];

describe('formats', () => {
  test('CSV with quotes, blank lines, both line ends and no last one; gzipped the same', async () => {
    for (const [name, bytes] of [
      ['a.csv', Buffer.from(table)],
      ['a.csv.gz', gzipSync(table)],
      ['bom.csv', Buffer.from(`\ufeff${table}`)],
    ] as const) {
      const data = await readTextDataset(await put(name, bytes));
      expect(data.texts).toEqual(texts);
      expect([...data.labels]).toEqual([1, 0, 1]);
      expect(data.schema.labels.label).toEqual({ kind: 'class', names: ['0', '1'] });
      expect(data.describe(1)).toMatch(/line 4$/);
      expect(data.describe(2)).toMatch(/line 6$/);
    }
  });
  test('TSV without a header: quotes are characters; labels by name and by position', async () => {
    const file = await put('a.tsv', 'he said "no\t0\nfine\t1\n');
    const data = await readTextDataset(file, { textColumn: 0, labelColumn: 1, classes: ['bad', 'good'] });
    expect(data.texts).toEqual(['he said "no', 'fine']);
    const named = await readTextDataset(file, { textColumn: 0, labelColumn: 1, classes: { '1': 'good', '0': 'bad' } });
    // Keys that are whole numbers come in their order.
    expect(named.schema.labels.label).toEqual({ kind: 'class', names: ['bad', 'good'] });
  });
  test('JSON Lines, with pairs', async () => {
    const file = await put('a.jsonl', '{"q":"why","a":"so","label":"yes"}\n\n{"label":"no","q":"who","a":"me"}');
    const data = await readTextDataset(file, { textColumn: 'q', pairColumn: 'a' });
    expect(data.get(1)).toEqual({ text: 'who', pair: 'me', label: 0 });
    expect(data.schema.features).toEqual({ text: { kind: 'text' }, pair: { kind: 'text' } });
  });
  test('Parquet of pyarrow: zstd and snappy, row groups, dictionaries, numbers, bytes', async () => {
    const file = join(golden, 'reviews.parquet');
    expect(await parquetColumns(file)).toEqual(['text', 'meta', 'label', 'sentiment', 'raw']);
    const data = await readTextDataset(file);
    expect(data.texts[0]).toBe('很快，好吃，味道足');
    expect([...data.labels]).toEqual([1, 0, 1, 0, 1, 0]);
    const named = await readTextDataset(file, { textColumn: 'raw', labelColumn: 'sentiment' });
    expect(named.texts).toEqual(data.texts);
    expect(named.schema.labels.label).toEqual({ kind: 'class', names: ['bad', 'good'] });
    expect((await readTextDataset(join(golden, 'snappy.parquet'))).texts).toEqual(data.texts.slice(0, 2));
    expect((await errorOf(() => readTextDataset(file, { textColumn: 'meta' }))).code).toBe('COLUMN_TYPE');
  });
  test('GBK where it is said so', async () => {
    const file = await put(
      'gbk.csv',
      Buffer.concat([Buffer.from('text,label\n'), Buffer.of(0xba, 0xc3), Buffer.from(',1\nx,0\n')]),
    );
    expect((await readTextDataset(file, { encoding: 'gb18030' })).texts[0]).toBe('好');
  });
  test('equal texts, equal hash, whatever the file', async () => {
    const [a, b] = [
      await put('h.csv', 'text,label\na,0\nb,1\n'),
      await put('h.jsonl', '{"text":"a","label":0}\n{"text":"b","label":1}\n'),
    ];
    expect(await contentHash(await readTextDataset(a))).toBe(await contentHash(await readTextDataset(b)));
  });
  test('records do not depend on where the pieces are cut', () => {
    const cell = fc.string({ unit: fc.constantFrom('a', '"', ',', '\n', '\r', ' ', '中'), maxLength: 6 });
    fc.assert(
      fc.property(
        fc.array(fc.array(cell, { minLength: 2, maxLength: 3 }), { maxLength: 5 }),
        fc.array(fc.nat(60)),
        (rows, cuts) => {
          const text = rows.map((row) => row.map((c) => `"${c.replaceAll('"', '""')}"`).join(',')).join('\r\n');
          const parser = new CsvParser('x.csv');
          const records: string[][] = [];
          let at = 0;
          for (const cut of [...cuts].sort((a, b) => a - b)) {
            for (const { fields } of parser.push(text.slice(at, cut))) records.push(fields);
            at = Math.max(at, cut);
          }
          for (const { fields } of [...parser.push(text.slice(at)), ...parser.end()]) records.push(fields);
          expect(records).toEqual(rows);
        },
      ),
      { numRuns: 500, seed: 1 },
    );
  });
});

describe('bad files', () => {
  const cases: [string, string | Uint8Array, TextTableOptions, string, object][] = [
    ['no-column.csv', 'label,review\n1,a\n0,b\n', {}, 'COLUMN_MISSING', { line: 1, field: 'text' }],
    ['near.csv', 'labels,text\n1,a\n0,b\n', {}, 'COLUMN_MISSING', { hint: 'did you mean labels?' }],
    [
      'position.tsv',
      'a\t1\n',
      { textColumn: 0, labelColumn: 2 },
      'COLUMN_MISSING',
      { hint: 'it has the columns 0 to 1' },
    ],
    ['twice.csv', 'text,text,label\na,b,0\nc,d,1\n', {}, 'COLUMN_AMBIGUOUS', { line: 1, field: 'text', got: [0, 1] }],
    [
      'far.csv',
      'text,label\na,neg\nb,meh\n',
      { classes: ['neg', 'pos'] },
      'LABEL_UNKNOWN',
      { hint: 'known: neg, pos' },
    ],
    ['open.csv', 'text,label\na,0\n"b,1\nc,0\n', {}, 'CSV_QUOTES', { line: 3, column: 1 }],
    ['after.csv', 'text,label\na,0\n"b"x,1\n', {}, 'CSV_QUOTES', { line: 3, column: 4 }],
    ['ragged.csv', 'text,label\na,0\nb,1,2\n', {}, 'CSV_FIELDS', { line: 3, expected: 2, got: 3 }],
    ['short.csv', 'text,label\na\n', {}, 'CSV_FIELDS', { line: 2 }],
    ['wide.csv', `text,label\n${','.repeat(1e6)}\n`, {}, 'CSV_COLUMNS', { line: 2 }],
    ['wide-head.csv', `${'c,'.repeat(1e6)}x\n`, {}, 'CSV_COLUMNS', { line: 1 }],
    [
      'mixed.csv',
      Buffer.concat([Buffer.from('text,label\n好,1\n'), Buffer.of(0xba, 0xc3), Buffer.from(',0\n')]),
      {},
      'TEXT_ENCODING',
      { line: 3, column: 1, offset: 17 },
    ],
    ['cut.csv', Buffer.from('text,label\n好').subarray(0, 13), {}, 'TEXT_ENCODING', { line: 2 }],
    [
      'utf16.csv',
      Buffer.from('\ufefftext,label\n', 'utf16le'),
      {},
      'TEXT_BINARY',
      { hint: 'pass encoding: "utf-16le"' },
    ],
    ['binary.csv', Buffer.of(116, 0, 1, 2), {}, 'TEXT_BINARY', {}],
    ['no-label.csv', 'text,label\na,0\nb,\n', {}, 'LABEL_MISSING', { line: 3 }],
    [
      'unknown.csv',
      'text,label\na,neg\nb,post\n',
      { classes: ['neg', 'pos'] },
      'LABEL_UNKNOWN',
      { line: 3, got: 'post', hint: 'did you mean pos?' },
    ],
    ['beyond.csv', 'text,label\na,0\nb,2\n', { classes: ['neg', 'pos'] }, 'LABEL_UNKNOWN', { line: 3 }],
    ['one-class.csv', 'text,label\na,1\nb,1\n', {}, 'CLASSES_TOO_FEW', {}],
    ['no-text.csv', 'text,label\na,1\n  ,0\n', {}, 'TEXT_MISSING', { line: 3 }],
    ['empty.csv', '', {}, 'DATASET_EMPTY', {}],
    ['header-only.csv', 'text,label\n', {}, 'DATASET_EMPTY', {}],
    ['a.xml', '<a/>', {}, 'FORMAT_UNKNOWN', {}],
    ['array.jsonl', '[1,2]\n', {}, 'JSONL_INVALID', { line: 1 }],
    ['comma.jsonl', '{"text":"a","label":0}\n{"text":"b",}\n', {}, 'JSONL_INVALID', { line: 2, column: 13 }],
    ['key.jsonl', '{"text":"a","label":0}\n{"text":"b"}\n', {}, 'COLUMN_MISSING', { line: 2, field: 'label' }],
    ['object.jsonl', '{"text":{"a":1},"label":0}\n', {}, 'COLUMN_TYPE', { line: 1 }],
    ['number.jsonl', '{"text":"a","label":0}\n', { textColumn: 0 }, 'COLUMN_INVALID', {}],
    ['bad.csv.gz', Buffer.concat([gzipSync(table).subarray(0, 10), Buffer.alloc(40, 0xff)]), {}, 'GZIP_CORRUPT', {}],
    ['cut.csv.gz', gzipSync(table).subarray(0, 30), {}, 'GZIP_TRUNCATED', {}],
    ['encoding.csv', table, { encoding: 'klingon' }, 'ENCODING_UNKNOWN', {}],
    ['not.parquet', table, {}, 'PARQUET_INVALID', {}],
    ['delimiter.csv', table, { delimiter: ';;' }, 'CSV_OPTION', {}],
  ];
  test.each(cases)('%s', async (name, content, options, code, details) => {
    const file = await put(name, content);
    const error = await errorOf(() => readTextDataset(file, options));
    expect(error.code).toBe(code);
    expect(error.details).toMatchObject(details);
    if (code !== 'ENCODING_UNKNOWN' && code !== 'COLUMN_INVALID' && code !== 'CSV_OPTION')
      expect(error.details.file).toBe(file);
  });

  test('a quote nobody closes ends the reading, not the memory', async () => {
    const file = await put('endless.csv', `text,label\n"${'words '.repeat(2e6)}`);
    expect(await errorOf(() => readTextDataset(file))).toMatchObject({
      code: 'CSV_QUOTES',
      details: { line: 2, column: 1 },
    });
  });

  test('columns of one name do not matter while nobody asks for them', async () => {
    const file = await put('others.csv', 'x,text,x,label\n1,a,2,0\n1,b,2,1\n');
    expect((await readTextDataset(file)).length).toBe(2);
  });

  test('fields and records have limits that options move', () => {
    const long = 'x'.repeat(50);
    const read = (text: string, options: object, step = 7): string[][] => {
      const parser = new CsvParser('x.csv', options);
      const out: string[][] = [];
      for (let at = 0; at < text.length; at += step)
        out.push(...parser.push(text.slice(at, at + step)).map(({ fields }) => fields));
      return [...out, ...parser.end().map(({ fields }) => fields)];
    };
    const codeOf = (body: () => unknown): unknown[] => {
      try {
        return [body()];
      } catch (error) {
        const { code, details } = error as CambiumError;
        return [code, details.line, details.column];
      }
    };
    const plain = `a,b\n1,${long}\n`;
    const quoted = `a,b\n1,"${long}"\n`;
    for (const step of [7, 1000]) {
      expect(read(plain, { maxField: 50 }, step)).toEqual([
        ['a', 'b'],
        ['1', long],
      ]);
      expect(read(quoted, { maxField: 50 }, step)).toHaveLength(2);
      expect(codeOf(() => read(plain, { maxField: 49 }, step))).toEqual(['CSV_FIELD_LENGTH', 2, 3]);
      expect(codeOf(() => read(plain, { maxRecord: 51 }, step))[0]).toBe('CSV_RECORD');
      expect(read(plain, { maxRecord: 52 }, step)).toHaveLength(2);
      expect(codeOf(() => read('a,b,c\n', { maxColumns: 2 }, step))).toEqual(['CSV_COLUMNS', 1, 5]);
    }
    expect(codeOf(() => read(quoted, { maxField: 10 }, 7))).toEqual(['CSV_QUOTES', 2, 3]);
    expect(codeOf(() => read(quoted, { maxField: 10 }, 1000))).toEqual(['CSV_FIELD_LENGTH', 2, 3]);
    for (const wrong of [{ maxField: 0 }, { maxRecord: 1.5 }, { maxColumns: 2 ** 30 }])
      expect(codeOf(() => new CsvParser('x.csv', wrong))[0]).toBe('CSV_OPTION');
  });

  test('a record of many long fields is read once, piece by piece', { timeout: 60_000 }, () => {
    // Read again from the beginning for each piece, 8 Mi characters would become 1 Gi.
    const piece = `${'x'.repeat(2 ** 15 - 1)},`;
    const parser = new CsvParser('x.csv');
    for (let i = 0; i < 256; i++) expect(parser.push(piece)).toEqual([]);
    const [record] = parser.push('end\n');
    expect([record?.fields.length, record?.line]).toEqual([257, 1]);
    const endless = new CsvParser('x.csv', { maxRecord: 2 ** 23 });
    expect(() => {
      for (let i = 0; i < 512; i++) endless.push(piece);
    }).toThrowError(expect.objectContaining({ code: 'CSV_RECORD' }));
  });

  test('a truncated or changed Parquet file is a typed error at every byte', async () => {
    const whole = await readFile(join(golden, 'reviews.parquet'));
    for (let length = 0; length < whole.length; length += 97) {
      const file = await put('t.parquet', whole.subarray(0, length));
      expect((await errorOf(() => readTextDataset(file))).code).toBe('PARQUET_INVALID');
    }
    for (let at = 4; at < whole.length - 4; at += 13) {
      const bytes = Uint8Array.from(whole);
      bytes[at] = (bytes[at] as number) ^ 0xff;
      const file = await put('m.parquet', bytes);
      // Data bytes may change into other data; nothing else may come out.
      await readTextDataset(file).catch((error) => {
        expect(error).toBeInstanceOf(CambiumError);
        expect(error.message).not.toMatch(/Cannot read|is not a|is not iter|Invalid/);
      });
    }
  });
  test('no file, and a folder', async () => {
    expect((await errorOf(() => readTextDataset(join(dir, 'nowhere.csv')))).code).toBe('FILE_NOT_FOUND');
    expect((await errorOf(() => readTextDataset(dir, { format: 'csv' }))).code).toBe('IS_A_DIRECTORY');
  });
});

describe('streams', () => {
  const classes = ['a', 'b'];
  test('the same samples as in memory, several files after another', async () => {
    const files = [await put('s1.csv', 'text,label\nx,a\ny,b\n'), await put('s2.csv', 'text,label\nz,b\n')];
    const stream = textStream(files, { classes });
    const seen: string[] = [];
    for await (const { text, label } of stream.samples()) seen.push(`${text}${label}`);
    expect(seen).toEqual(['x0', 'y1', 'z1']);
    expect((await errorOf(async () => textStream(files, {} as never))).code).toBe('CLASSES_NEEDED');
  });
  test('the order is a function of seed and epoch; nothing is lost', async () => {
    const numbers = async function* () {
      for (let i = 0; i < 100; i++) yield i;
    };
    const order = async (seed: number, epoch: number): Promise<number[]> => {
      const out: number[] = [];
      for await (const group of batched(shuffled(numbers(), { buffer: 16, seed, epoch }), 7)) out.push(...group);
      return out;
    };
    const first = await order(1, 0);
    expect(await order(1, 0)).toEqual(first);
    expect(await order(1, 1)).not.toEqual(first);
    expect(await order(2, 0)).not.toEqual(first);
    expect([...first].sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });
  test('lines of a plain text', async () => {
    const file = await put('plain.txt', 'first line\n\nsecond "line\n');
    const lines: string[] = [];
    for await (const line of readTexts(file, { textColumn: 0 })) lines.push(line);
    expect(lines).toEqual(['first line', 'second "line']);
    const stream = unlabelledTexts(file, { textColumn: 0 });
    expect(stream.schema).toEqual({ features: { text: { kind: 'text' } }, labels: {} });
    for (let epoch = 0; epoch < 2; epoch++) {
      const seen: string[] = [];
      for await (const { text } of stream.samples()) seen.push(text);
      expect(seen).toEqual(lines);
    }
  });
});

const shared = process.env.CAMBIUM_SHARED ?? fileURLToPath(new URL('../../../../shared', import.meta.url));
const real = join(shared, 'data');
describe.skipIf(!existsSync(join(real, 'sst2')))(`real sets (skipped without ${real})`, () => {
  test.each<[string, TextTableOptions, number, number[]]>([
    ['sst2/train.tsv.gz', { textColumn: 0, labelColumn: 1 }, 6920, [3310, 3610]],
    ['waimai/waimai_10k.csv.gz', { textColumn: 'review' }, 11987, [7987, 4000]],
    ['chnsenticorp/ChnSentiCorp_htl_all.csv.gz', { textColumn: 'review', emptyText: 'skip' }, 7765, [2443, 5322]],
    ['finnews-zh/news_seed.tsv.gz', { textColumn: '标题', labelColumn: '正/负面' }, 7046, [1899, 5147]],
    [
      'finnews-zh/test_data.csv.gz',
      { textColumn: '标题', pairColumn: '正文', labelColumn: '正负面' },
      2400,
      [1200, 1200],
    ],
    ['agnews/test.csv.gz', { textColumn: 1, pairColumn: 2, labelColumn: 0 }, 7600, [1900, 1900, 1900, 1900]],
    [
      'thucnews-titles/dev.txt.gz',
      { textColumn: 0, labelColumn: 1, classes: readNames() },
      10000,
      Array(10).fill(1000),
    ],
  ])('%s', async (file, options, length, counts) => {
    const data = await readTextDataset(join(real, file), options);
    expect(data.length).toBe(length);
    const found = counts.map((_, c) => data.labels.filter((label) => label === c).length);
    expect(found).toEqual(counts);
  });
});

function readNames(): string[] {
  const file = join(real, 'thucnews-titles/class.txt');
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
}
