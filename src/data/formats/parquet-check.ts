/**
 * What a Parquet file claims against the bytes it has, before hyparquet allocates for it: the lists of the footer, the
 * places of column chunks, the sizes and counts of pages. https://parquet.apache.org/docs/file-format
 */
import type { FileMetaData } from 'hyparquet';
import { type ByteSource, malformed } from '../../io/byte-source.ts';
import { ThriftError, ThriftWalker } from './thrift.ts';

const FOOTER = 64 * 2 ** 20;
// A row group is in memory at once; writers make them of 128 MiB at most by habit.
const GROUP = 2 ** 30;
/** Deflate and Snappy stay below this; a column of one value repeated, even smaller, has the constant beside it. */
const RATIO = 1100;
const SLACK = 2 ** 16;
/** More than the header of any page without its statistics; longer ones are read again as a whole. */
const HEAD = 2 ** 14;

type RowGroup = FileMetaData['row_groups'][number];

const invalid = (path: string, offset: number, expected: string, got: string): never =>
  malformed(path, 'PARQUET_INVALID', offset, expected, got);

/** The magic of both ends has been seen. @throws DataError PARQUET_INVALID. */
export async function checkFooter(source: ByteSource): Promise<void> {
  const { path, size } = source;
  const length = Buffer.from((await source.read(size - 8, 4)).buffer).readUInt32LE(0);
  if (length > Math.min(FOOTER, size - 12))
    invalid(path, size - 8, `a footer of at most ${Math.min(FOOTER, size - 12)} bytes`, `${length}`);
  const start = size - 8 - length;
  walk(path, start, await source.read(start, length), (thrift) => thrift.skip());
}

function walk<T>(path: string, start: number, bytes: Uint8Array, body: (thrift: ThriftWalker) => T): T {
  try {
    return body(new ThriftWalker(bytes));
  } catch (error) {
    if (!(error instanceof ThriftError)) throw error;
    return invalid(path, start + error.offset, error.message, error.cut ? 'the end' : 'something else');
  }
}

/** What of the chosen columns lies where, in all row groups. None overlap: together they are no more than the file. */
export function checkGroups(groups: readonly RowGroup[], chosen: (name: string) => boolean, source: ByteSource): void {
  const { path, size } = source;
  let total = 0;
  for (const { columns, num_rows } of groups) {
    const rows = Number(num_rows);
    // Constant columns take no bytes for a row, but the rows take memory.
    const most = SLACK + 8 * size;
    if (!(rows >= 0 && rows <= most)) invalid(path, size - 8, `at most ${most} rows in ${size} bytes`, `${rows}`);
    let unpacked = 0;
    for (const { meta_data: meta } of columns) {
      if (!meta || !chosen(meta.path_in_schema[0] ?? '')) continue;
      const { start, length } = placeOf(meta);
      if (!(start >= 4 && length >= 0 && start + length <= size))
        invalid(path, size - 8, `a column within ${size} bytes`, `one from ${start} to ${start + length}`);
      total += length;
      unpacked += Number(meta.total_uncompressed_size);
    }
    if (!(unpacked >= 0 && unpacked <= GROUP))
      invalid(path, size - 8, `row groups of at most ${GROUP} bytes`, `one of ${unpacked}`);
    if (total > size) invalid(path, size - 8, `columns of at most ${size} bytes together`, 'some that overlap');
  }
}

type Column = NonNullable<RowGroup['columns'][number]['meta_data']>;

const placeOf = (meta: Column): { start: number; length: number } => ({
  start: Number(meta.dictionary_page_offset || meta.data_page_offset),
  length: Number(meta.total_compressed_size),
});

/** The pages of the chosen columns of a group. @throws DataError PARQUET_INVALID with the offset of the page. */
export async function checkPages(
  { columns, num_rows }: RowGroup,
  chosen: (name: string) => boolean,
  source: ByteSource,
): Promise<void> {
  for (const { meta_data: meta } of columns) {
    if (!meta || !chosen(meta.path_in_schema[0] ?? '')) continue;
    const { start, length } = placeOf(meta);
    const most = Number(num_rows) + SLACK;
    let values = 0;
    let unpacked = 0;
    for (let at = start; at < start + length - 1; ) {
      const page = await pageAt(source, at, start + length);
      const bad = (expected: string, got: number): never => invalid(source.path, at, expected, `${got}`);
      if (!(page.packed >= 0 && page.end + page.packed <= start + length)) bad('a page within its column', page.packed);
      unpacked += page.unpacked;
      const limit = RATIO * length + SLACK;
      if (!(page.unpacked >= 0 && unpacked <= Math.min(limit, GROUP)))
        bad(`pages of at most ${Math.min(limit, GROUP)} bytes when unpacked`, unpacked);
      // A dictionary has no more entries than bits.
      if (page.dictionary && !(page.values >= 0 && page.values <= 8 * page.unpacked))
        bad(`at most ${8 * page.unpacked} entries in a dictionary`, page.values);
      values += page.dictionary ? 0 : page.values;
      if (!(page.values >= 0 && values <= most)) bad(`at most ${most} values in the pages of a column`, values);
      at = page.end + page.packed;
    }
  }
}

interface Page {
  readonly dictionary: boolean;
  readonly packed: number;
  readonly unpacked: number;
  readonly values: number;
  /** Where its data begin. */
  readonly end: number;
}

async function pageAt(source: ByteSource, at: number, end: number): Promise<Page> {
  for (let length = Math.min(HEAD, end - at); ; length = end - at) {
    const thrift = new ThriftWalker(await source.read(at, length));
    try {
      const head = thrift.numbers();
      const number = (field: number, within?: number): number => {
        const holder = within === undefined ? head : head.get(within);
        const value = holder instanceof Map ? holder.get(field) : undefined;
        return typeof value === 'number' ? value : 0;
      };
      const values = Math.max(number(1, 5), number(1, 7), number(1, 8), number(3, 8));
      return { dictionary: head.has(7), packed: number(3), unpacked: number(2), values, end: at + thrift.at };
    } catch (error) {
      if (!(error instanceof ThriftError)) throw error;
      if (!error.cut || length === end - at)
        return invalid(source.path, at + error.offset, error.message, error.cut ? 'the end' : 'something else');
    }
  }
}
