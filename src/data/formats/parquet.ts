/** Columns of a Parquet file as texts, a row group at a time. hyparquet decodes; sizes are checked against the file before. */
import {
  type AsyncBuffer,
  type Compressors,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
} from 'hyparquet';
import { compressors, decompressZstd } from 'hyparquet-compressors';
import { CambiumError, DataError, escapeControls, invariant, nearest, printable } from '../../base/errors.ts';
import { type ByteSource, withSource } from '../../io/byte-source.ts';
import { checkFooter, checkGroups, checkPages, checkSchema, type PageIndex } from './parquet-check.ts';
import { checkRuns } from './parquet-runs.ts';
import { boundedZstd } from './zstd-frame.ts';

export interface ParquetRow {
  /** Of the columns asked for, in that order; undefined where null. */
  readonly values: (string | undefined)[];
  /** From 1. */
  readonly row: number;
}

/** Opens the file for as long as `body` runs: between two row groups nothing is held open. */
type OpenSource = <T>(body: (source: ByteSource) => Promise<T>) => Promise<T>;

/** @throws DataError PARQUET_INVALID, COLUMN_MISSING, COLUMN_TYPE; IoError. */
export function readParquet(file: string, columns: readonly string[]): AsyncGenerator<ParquetRow, void, void> {
  return rowsOf(file, (body) => withSource(file, body), columns);
}

/** `readParquet` over any bytes. */
export function readParquetSource(
  source: ByteSource,
  columns: readonly string[],
): AsyncGenerator<ParquetRow, void, void> {
  return rowsOf(source.path, (body) => body(source), columns);
}

async function* rowsOf(
  file: string,
  opened: OpenSource,
  columns: readonly string[],
): AsyncGenerator<ParquetRow, void, void> {
  for await (const { rows, start } of groupsOf(file, opened, columns))
    for (const [i, row] of rows.entries())
      yield { values: columns.map((name) => textOf(row[name], file, name, start + i + 1)), row: start + i + 1 };
}

export interface ParquetGroup {
  /** By column: numbers, bigints, texts, bytes, lists of these; null or undefined where there is none. */
  readonly rows: readonly Readonly<Record<string, unknown>>[];
  /** Number of the first row, from 0. */
  readonly start: number;
}

/**
 * The row groups of a file, with values of any kind. Of `wanted` columns those that are there are read.
 * @throws DataError PARQUET_INVALID; IoError.
 */
export async function* readParquetGroups(
  file: string,
  wanted: readonly string[],
): AsyncGenerator<ParquetGroup, void, void> {
  const opened: OpenSource = (body) => withSource(file, body);
  const { names } = await opened((source) => open(source, []));
  const columns = wanted.filter((name) => names.includes(name));
  // Of no column hyparquet would read all.
  if (columns.length > 0) yield* groupsOf(file, opened, columns);
}

async function* groupsOf(
  file: string,
  opened: OpenSource,
  columns: readonly string[],
): AsyncGenerator<ParquetGroup, void, void> {
  const metadata = await opened((source) => open(source, columns));
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    const rows = await opened(async (source) => {
      const { size } = source;
      if (size !== metadata.size) invalid(file, size, 'the file that was opened', 'one of another size');
      const pages = await guarded(file, 'its page headers', () =>
        checkPages(group, metadata.file, chosen(columns), source),
      );
      const { buffer, decompressors } = watched(source, pages);
      return guarded(file, `its pages of rows ${rowStart + 1} to ${rowEnd}`, () =>
        parquetReadObjects({
          file: buffer,
          metadata: metadata.file,
          columns: [...columns],
          rowStart,
          rowEnd,
          compressors: decompressors,
          utf8: false,
        }),
      );
    });
    yield { rows, start: rowStart };
    rowStart = rowEnd;
  }
}

/** The names of a file's columns. */
export async function parquetColumns(file: string): Promise<string[]> {
  return (await withSource(file, (source) => open(source, []))).names;
}

/** The texts a writer put beside the data, by key. @throws DataError PARQUET_INVALID; IoError. */
export async function parquetMetadata(file: string): Promise<Map<string, string>> {
  const { file: metadata } = await withSource(file, (source) => open(source, []));
  return guarded(file, 'its footer', async () => {
    const texts = new Map<string, string>();
    for (const { key, value } of metadata.key_value_metadata ?? [])
      if (typeof key === 'string' && typeof value === 'string') texts.set(key, value);
    return texts;
  });
}

interface Opened {
  readonly file: FileMetaData;
  readonly row_groups: FileMetaData['row_groups'];
  readonly names: string[];
  readonly size: number;
}

async function open(source: ByteSource, columns: readonly string[]): Promise<Opened> {
  const { path, size } = source;
  const magic = async (at: number): Promise<boolean> =>
    at >= 0 && new TextDecoder('latin1').decode(await source.read(at, Math.min(4, size))) === 'PAR1';
  if (size < 12 || !(await magic(0))) invalid(path, 0, 'PAR1 at the beginning', 'other bytes');
  if (!(await magic(size - 4)))
    invalid(path, size, 'PAR1 at the end', 'other bytes', { hint: 'the file is cut off: fetch it again' });
  await checkFooter(source);
  const metadata = await guarded(path, 'its footer', () =>
    parquetMetadataAsync(bufferOf(source), { geoparquet: false }),
  );
  // In damaged metadata any field may be missing.
  return guarded(path, 'its footer', async () => checked(metadata, columns, source));
}

function checked(metadata: FileMetaData, columns: readonly string[], source: ByteSource): Opened {
  const { path, size } = source;
  checkSchema(metadata.schema, source);
  const top = metadata.schema[0]?.num_children ?? 0;
  const names = namesOf(metadata.schema, top);
  for (const name of columns)
    if (!names.includes(name)) {
      const near = nearest(name, names);
      throw new DataError('COLUMN_MISSING', `${printable(path)}: there is no column ${printable(name)}`, {
        file: path,
        field: name,
        expected: name,
        got: names.slice(0, 100),
        hint: near === undefined ? `it has ${names.slice(0, 20).join(', ')}` : `did you mean ${near}?`,
      });
    }
  checkGroups(metadata.row_groups, chosen(columns), source);
  return { file: metadata, row_groups: metadata.row_groups, names, size };
}

const chosen = (columns: readonly string[]) => (name: string) => columns.length === 0 || columns.includes(name);

/** The direct children of the root; what lies below a nested column is passed over. */
function namesOf(schema: FileMetaData['schema'], top: number): string[] {
  const names: string[] = [];
  let at = 1;
  const skip = (): void => {
    let below = schema[at++]?.num_children ?? 0;
    while (below-- > 0 && at < schema.length) skip();
  };
  for (let i = 0; i < top && at < schema.length; i++) {
    names.push(schema[at]?.name ?? '');
    skip();
  }
  return names;
}

const bufferOf = (source: ByteSource): AsyncBuffer => ({
  byteLength: source.size,
  slice: async (start, end = source.size) => (await source.read(start, Math.min(end, source.size) - start)).buffer,
});

/** The file for the library, and decompressors that check a page by where its bytes came from before it is decoded. */
function watched(source: ByteSource, pages: PageIndex): { buffer: AsyncBuffer; decompressors: Compressors } {
  const starts = new WeakMap<ArrayBufferLike, number>();
  const plain = bufferOf(source);
  // The library reads ranges ahead and hands on pieces of them.
  const placed = (bytes: ArrayBuffer, start: number): ArrayBuffer => {
    starts.set(bytes, start);
    bytes.slice = (from = 0, to) => placed(ArrayBuffer.prototype.slice.call(bytes, from, to), start + from);
    return bytes;
  };
  const buffer: AsyncBuffer = {
    ...plain,
    async slice(start, end) {
      return placed(await plain.slice(start, end), start < 0 ? source.size + start : start);
    },
  };
  const check =
    (decompress: Decompressor): Decompressor =>
    (input, length) => {
      const page = decompress(input, length);
      const start = starts.get(input.buffer);
      invariant(start !== undefined, 'a page from nowhere');
      const info = pages.get(start + input.byteOffset);
      // Dictionaries have none.
      if (info) checkRuns(page, info);
      return page;
    };
  const all: Compressors = { ...compressors, ZSTD: (input, length) => decompressZstd(boundedZstd(input, length)) };
  const entries = Object.entries(all).map(([name, decompress]) => [name, check(decompress as Decompressor)]);
  return { buffer, decompressors: Object.fromEntries(entries) };
}

type Decompressor = (input: Uint8Array, length: number) => Uint8Array;

/** What the library throws for damaged files is anything; a file of ours that cannot be read is not its fault. */
async function guarded<T>(file: string, part: string, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (cause) {
    if (cause instanceof CambiumError) throw cause;
    const { message } = cause as Error;
    // What the engine says of an undefined value tells nothing of the file.
    const ofEngine = cause instanceof TypeError || cause instanceof RangeError || cause instanceof ReferenceError;
    const found = ofEngine ? 'something that must be there is missing or of another kind' : message.slice(0, 300);
    const text = `${printable(file)} cannot be read as Parquet: ${part}: ${escapeControls(found)}`;
    const hint = 'the file is damaged or was cut off: fetch or write it again';
    throw new DataError('PARQUET_INVALID', text, { file, field: part, got: escapeControls(found), hint, cause });
  }
}

function textOf(value: unknown, file: string, name: string, row: number): string | undefined {
  switch (typeof value) {
    case 'string':
      return value;
    case 'number':
    case 'bigint':
    case 'boolean':
      return String(value);
    case 'undefined':
      return undefined;
    default:
      if (value === null) return undefined;
      try {
        if (value instanceof Uint8Array) return new TextDecoder('utf-8', { fatal: true }).decode(value);
      } catch {
        // Bytes that are no text.
      }
      throw new DataError('COLUMN_TYPE', `${printable(file)}: row ${row}: column ${printable(name)} holds no text`, {
        file,
        line: row,
        field: name,
        expected: 'a text or number',
        got: value instanceof Uint8Array ? 'bytes' : typeof value,
      });
  }
}

function invalid(file: string, offset: number, expected: string, got: string, extra = {}): never {
  throw new DataError('PARQUET_INVALID', `${printable(file)}: expected ${expected}, found ${got}`, {
    file,
    offset,
    expected,
    got,
    ...extra,
  });
}
