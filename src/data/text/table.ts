/** Chosen columns of a table file, row by row, whatever its format: CSV, TSV, JSON Lines, Parquet. */
import { ConfigError, DataError, nearest, printable } from '../../base/errors.ts';
import { type CsvOptions, readCsv } from '../formats/csv.ts';
import { readJsonLines } from '../formats/jsonl.ts';
import { readParquet } from '../formats/parquet.ts';

/** A column by its name in the header, or by its position from 0. */
export type Column = string | number;

export interface TableOptions extends CsvOptions {
  /** By the file's name unless told. `csv` is any delimited text. */
  readonly format?: 'csv' | 'jsonl' | 'parquet';
  /** Whether the first record names the columns; true unless every column is given by its position. */
  readonly header?: boolean;
}

export interface TableRow {
  /** Of the columns asked for, in that order; undefined where null or not there. */
  readonly values: (string | undefined)[];
  /** Where it begins in the file (Parquet: the row), from 1. */
  readonly line: number;
}

/** The format a file's name says: .csv, .tsv, .txt, .jsonl, .ndjson, .parquet, with .gz but for the last. */
export function formatOf(file: string): 'csv' | 'jsonl' | 'parquet' {
  const name = file.toLowerCase().replace(/\.gz$/, '');
  if (/\.(csv|tsv|txt|tab)$/.test(name)) return 'csv';
  if (/\.(jsonl|ndjson|json)$/.test(name)) return 'jsonl';
  if (name.endsWith('.parquet')) return 'parquet';
  throw new ConfigError('FORMAT_UNKNOWN', `${printable(file)}: its name does not tell its format`, {
    field: 'format',
    file,
    expected: '.csv, .tsv, .txt, .jsonl, .ndjson or .parquet, with .gz or without',
    hint: 'pass format: csv, jsonl or parquet',
  });
}

/** Whether a file's name is that of a table or of lines of text. */
export function isTable(file: string): boolean {
  try {
    formatOf(file);
    return true;
  } catch {
    return false;
  }
}

/** @throws DataError COLUMN_MISSING, COLUMN_AMBIGUOUS, CSV_FIELDS and those of the formats, with file and line. */
export async function* readTable(
  file: string,
  columns: readonly Column[],
  options: TableOptions = {},
): AsyncGenerator<TableRow, void, void> {
  const format = options.format ?? formatOf(file);
  if (format === 'csv') return yield* readDelimited(file, columns, options);
  const names = columns.map((column) => {
    if (typeof column === 'string') return column;
    throw new ConfigError('COLUMN_INVALID', `columns of ${format} files have names, found ${column}`, {
      field: 'column',
      got: column,
    });
  });
  if (format === 'parquet') {
    for await (const { values, row } of readParquet(file, names)) yield { values, line: row };
    return;
  }
  for await (const { object, line } of readJsonLines(file, options))
    yield { values: names.map((name) => cellOf(object, name, file, line)), line };
}

async function* readDelimited(
  file: string,
  columns: readonly Column[],
  options: TableOptions,
): AsyncGenerator<TableRow, void, void> {
  const header = options.header ?? columns.some((column) => typeof column === 'string');
  let places: number[] | undefined;
  let width = 0;
  for await (const { fields, line } of readCsv(file, options)) {
    if (!places) {
      width = fields.length;
      places = columns.map((column) => placeOf(column, header ? fields : undefined, width, file, line));
      if (header) continue;
    }
    if (fields.length !== width)
      throw new DataError(
        'CSV_FIELDS',
        `${printable(file)}: line ${line}: expected ${width} fields, found ${fields.length}`,
        {
          file,
          line,
          column: 1,
          expected: width,
          got: fields.length,
          hint: 'a field with the delimiter or a line break in it needs quotes around it',
        },
      );
    yield { values: places.map((place) => fields[place]), line };
  }
}

function placeOf(column: Column, names: string[] | undefined, width: number, file: string, line: number): number {
  const place = typeof column === 'number' ? column : (names?.indexOf(column) ?? -1);
  const again = typeof column === 'string' && names ? names.indexOf(column, place + 1) : -1;
  if (place >= 0 && again >= 0)
    throw new DataError(
      'COLUMN_AMBIGUOUS',
      `${printable(file)}: line ${line}: columns ${place} and ${again} are both called ${printable(column)}`,
      {
        file,
        line,
        field: String(column),
        expected: 'one column of this name',
        got: names?.flatMap((name, i) => (name === column ? [i] : [])).slice(0, 100),
        hint: 'give them different names in the header',
      },
    );
  if (Number.isInteger(place) && place >= 0 && place < width) return place;
  const near = typeof column === 'string' && names ? nearest(column, names) : undefined;
  throw new DataError('COLUMN_MISSING', `${printable(file)}: line ${line}: there is no column ${printable(column)}`, {
    file,
    line,
    column: 1,
    field: String(column),
    expected: column,
    got: names?.slice(0, 100) ?? `${width} columns`,
    hint:
      near !== undefined
        ? `did you mean ${near}?`
        : names
          ? `it has ${names
              .slice(0, 20)
              .map((n) => printable(n))
              .join(', ')}; a file without a header has columns 0, 1 ...`
          : `it has the columns 0 to ${width - 1}`,
  });
}

function cellOf(
  object: { readonly [key: string]: unknown },
  name: string,
  file: string,
  line: number,
): string | undefined {
  const value = Object.hasOwn(object, name) ? object[name] : undefined;
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (value === null) return undefined;
  const keys = Object.keys(object);
  const missing = value === undefined;
  const near = missing ? nearest(name, keys) : undefined;
  throw new DataError(
    missing ? 'COLUMN_MISSING' : 'COLUMN_TYPE',
    `${printable(file)}: line ${line}: ${missing ? 'there is no key' : 'expected a text at'} ${printable(name)}`,
    {
      file,
      line,
      field: name,
      expected: missing ? name : 'a text or number',
      got: missing ? keys.slice(0, 100) : typeof value,
      ...(near !== undefined && { hint: `did you mean ${near}?` }),
    },
  );
}

/** Texts of a file without labels: a column of a table (`text` unless told), or the lines of a .txt. */
export async function* readTextSamples(
  file: string,
  options: TableOptions & { readonly textColumn?: Column | undefined; readonly pairColumn?: Column | undefined } = {},
): AsyncGenerator<{ text: string; pair?: string }, void, void> {
  const { textColumn, pairColumn: pair, format } = options;
  const lines = /\.txt(\.gz)?$/i.test(file) && textColumn === undefined && format === undefined;
  const text = textColumn ?? (lines ? 0 : 'text');
  // No line of a plain text has columns.
  const read = lines ? ({ ...options, delimiter: '\u0001', quote: null, header: false } as const) : options;
  for await (const { values } of readTable(file, pair === undefined ? [text] : [text, pair], read))
    yield { text: values[0] ?? '', ...(pair !== undefined && { pair: values[1] ?? '' }) };
}
