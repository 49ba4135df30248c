/**
 * What a Parquet file claims against the bytes it has, before hyparquet allocates for it: the lists of the footer, the
 * places of column chunks, the sizes and counts of pages. https://parquet.apache.org/docs/file-format
 */
import type { FileMetaData } from 'hyparquet';
import { CambiumError } from '../../base/errors.ts';
import { type ByteSource, malformed } from '../../io/byte-source.ts';
import { checkRuns, type PageRuns, walkLevels } from './parquet-runs.ts';
import { FALSE, ThriftError, ThriftWalker } from './thrift.ts';

const FOOTER = 64 * 2 ** 20;
// A row group is in memory at once; writers make them of 128 MiB at most by habit.
const GROUP = 2 ** 30;
/** Deflate and Snappy stay below this; a column of one value repeated, even smaller, has the constant beside it. */
const RATIO = 1100;
const SLACK = 2 ** 16;
/** Of a column of lists in one row group: each is a number of JavaScript, with two levels beside it. */
const LIST_VALUES = 2 ** 27;
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

/** The schema is a tree written in order: each element says how many follow below it. */
export function checkSchema(schema: FileMetaData['schema'], { path, size }: ByteSource): void {
  let below = 1;
  for (const { num_children: children = 0 } of schema) {
    below += children - 1;
    if (!(children >= 0 && below <= schema.length)) break;
  }
  if (below !== 0)
    invalid(path, size - 8, `a tree of the ${schema.length} columns of the schema`, 'other numbers of children');
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

/** Pages by the place of what is compressed in them, with what must be checked when it is unpacked. */
export type PageIndex = Map<number, PageRuns>;

/** The pages of the chosen columns of a group. @throws DataError PARQUET_INVALID with the offset of the page. */
export async function checkPages(
  { columns, num_rows }: RowGroup,
  { schema }: FileMetaData,
  chosen: (name: string) => boolean,
  source: ByteSource,
): Promise<PageIndex> {
  const pages: PageIndex = new Map();
  for (const { meta_data: meta } of columns) {
    if (!meta || !chosen(meta.path_in_schema[0] ?? '')) continue;
    const { start, length } = placeOf(meta);
    const levels = levelsOf(schema, meta.path_in_schema);
    // The decoder has begun others by the time it finds this out, and leaves their failures to nobody.
    if (!levels)
      return invalid(source.path, source.size - 8, 'columns of the schema', meta.path_in_schema.slice(0, 8).join('.'));
    const lists = levels.maxRepetition > 0;
    // Constant values take no bytes, but the levels that tell where lists begin do.
    const most = lists ? Math.min(LIST_VALUES, RATIO * length + SLACK) : Number(num_rows) + SLACK;
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
      if (!page.dictionary) {
        const runs: PageRuns = { ...page, ...levels, levels: !page.second, boolean: meta.type === 'BOOLEAN' };
        const body = page.end + page.repetition + page.definition;
        if (!(page.repetition >= 0 && page.definition >= 0 && body <= page.end + page.packed))
          bad('levels within their page', page.repetition + page.definition);
        pages.set(body, runs);
        await checkPlainParts(source, page, runs, body, meta.codec === 'UNCOMPRESSED');
      }
      at = page.end + page.packed;
    }
    // A list may be of any length: what says how many there are, twice, must agree.
    if (lists && values !== Number(meta.num_values))
      invalid(source.path, start, `${meta.num_values} values in the pages of a column of lists`, `${values}`);
  }
  return pages;
}

// What is never compressed: the levels of version 2, and all of a page whose column is not.
async function checkPlainParts(source: ByteSource, page: Page, runs: PageRuns, body: number, plain: boolean) {
  try {
    if (page.second) {
      const { maxRepetition, maxDefinition, values } = runs;
      walkLevels(await source.read(page.end, page.repetition), maxRepetition, values);
      walkLevels(await source.read(page.end + page.repetition, page.definition), maxDefinition, values);
    }
    if (plain || page.plain) checkRuns(await source.read(body, page.end + page.packed - body), runs);
  } catch (error) {
    if (error instanceof CambiumError) throw error;
    invalid(source.path, body, 'runs no longer than their page', (error as Error).message);
  }
}

/** How deep a column may repeat and be null, from the schema: a list in the order of its tree. Undefined: it is not there. */
function levelsOf(schema: FileMetaData['schema'], path: readonly string[]) {
  let maxRepetition = 0;
  let maxDefinition = 0;
  let at = 1;
  let siblings = schema[0]?.num_children ?? 0;
  const skip = (): void => {
    for (let below = 1; below > 0 && at < schema.length; at++) below += (schema[at]?.num_children ?? 0) - 1;
  };
  for (const name of path) {
    while (siblings > 0 && at < schema.length && schema[at]?.name !== name) {
      skip();
      siblings--;
    }
    if (siblings === 0 || at >= schema.length) return undefined;
    siblings = schema[at]?.num_children ?? 0;
    const kind = schema[at++]?.repetition_type;
    if (kind === 'REPEATED') maxRepetition++;
    // As the decoder counts, which takes what is not said for null.
    if (kind !== 'REQUIRED') maxDefinition++;
  }
  return siblings === 0 && path.length > 0 ? { maxRepetition, maxDefinition } : undefined;
}

interface Page {
  readonly dictionary: boolean;
  /** Of version 2, and whether its values are not compressed. */
  readonly second: boolean;
  readonly plain: boolean;
  readonly packed: number;
  readonly unpacked: number;
  readonly values: number;
  readonly nulls: number;
  readonly encoding: number;
  /** Bytes of levels before the values, in version 2. */
  readonly repetition: number;
  readonly definition: number;
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
        // Anything else the decoder would take in some other way.
        if (typeof value !== 'number' || !(Math.abs(value) < 2 ** 31))
          return invalid(source.path, at, `a number in field ${field} of a page header`, typeof value);
        return value;
      };
      // As the decoder: the type decides which of the headers counts.
      const second = number(1) === 3;
      const own = second ? 8 : number(1) === 2 ? 7 : 5;
      const fields = head.get(own);
      return {
        dictionary: number(1) === 2,
        second,
        plain: second && fields instanceof Map && fields.get(7) === FALSE,
        packed: number(3),
        unpacked: number(2),
        values: Math.max(number(1, own), second ? number(3, 8) : 0),
        nulls: second ? number(2, 8) : 0,
        encoding: number(second ? 4 : 2, own),
        repetition: second ? number(6, 8) : 0,
        definition: second ? number(5, 8) : 0,
        end: at + thrift.at,
      };
    } catch (error) {
      if (!(error instanceof ThriftError)) throw error;
      if (!error.cut || length === end - at)
        return invalid(source.path, at + error.offset, error.message, error.cut ? 'the end' : 'something else');
    }
  }
}
