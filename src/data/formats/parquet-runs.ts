/**
 * Walks the runs within a page of a Parquet file before hyparquet decodes them: it writes as many values as a run claims,
 * however many the page has. https://parquet.apache.org/docs/file-format/data-pages/encodings
 */

export interface PageRuns {
  /** Levels stand at the beginning of the page, each with its length before it: version 1. */
  readonly levels: boolean;
  readonly maxRepetition: number;
  readonly maxDefinition: number;
  /** Nulls included. */
  readonly values: number;
  /** Known beforehand in version 2. */
  readonly nulls: number;
  /** Number of the format. */
  readonly encoding: number;
  readonly boolean: boolean;
}

/** What a writer may add to the last run, which ends at a group of eight values; some write 63 groups at a time. */
const PADDING = 504;
/** Strings share their beginnings with the one before; together they may take this many times the page's bytes. */
const PREFIXES = 64;

const [PLAIN_DICTIONARY, RLE, DELTA, DELTA_LENGTHS, DELTA_BYTES, RLE_DICTIONARY] = [2, 3, 5, 6, 7, 8];

/** @throws Error for a run longer than the values there are. A page that ends too early is left to the decoder. */
export function checkRuns(page: Uint8Array, info: PageRuns): void {
  let at = 0;
  let count = info.values - info.nulls;
  if (info.levels) {
    const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
    for (const max of [info.maxRepetition, info.maxDefinition]) {
      if (max === 0) continue;
      if (at + 4 > page.length) return;
      const length = view.getUint32(at, true);
      count = walkRuns(page.subarray(at + 4), bitsOf(max), info.values, max);
      at += 4 + length;
    }
    if (info.maxDefinition === 0) count = info.values;
  }
  const data = page.subarray(Math.min(at, page.length));
  switch (info.encoding) {
    case PLAIN_DICTIONARY:
    case RLE_DICTIONARY:
    case RLE:
      if (info.boolean) walkRuns(data.subarray(4), 1, count, undefined);
      // Without bits the decoder of version 1 fills in zeros.
      else if (data[0] || !info.levels) walkRuns(data.subarray(1), data[0] ?? 0, count, undefined);
      return;
    case DELTA:
    case DELTA_LENGTHS:
      walkDeltas(data, 0);
      return;
    case DELTA_BYTES: {
      const prefixes = walkDeltas(data, count);
      const suffixes = walkDeltas(data.subarray(Math.min(prefixes.at, data.length)), count);
      if (prefixes.sum + suffixes.sum > PREFIXES * page.length + 65_536)
        throw new Error('strings whose shared beginnings make them far longer than their page');
    }
  }
}

const bitsOf = (max: number): number => 32 - Math.clz32(max);

/** Levels of version 2, which must not end before `count`: the decoder would read on in what follows them. */
export function walkLevels(bytes: Uint8Array, max: number, count: number): void {
  if (max > 0 && walkRuns(bytes, bitsOf(max), count, undefined) < count)
    throw new Error(`fewer levels than the ${count} values`);
}

/** How many of `count` values are `wanted`; without one, how many there are. */
function walkRuns(bytes: Uint8Array, width: number, count: number, wanted: number | undefined): number {
  let found = 0;
  let seen = 0;
  const step = (width + 7) >> 3;
  for (let at = 0; seen < count; ) {
    const head = varint(bytes, at);
    if (head.at > bytes.length) break;
    at = head.at;
    const packed = head.value % 2 === 1;
    const length = packed ? Math.floor(head.value / 2) * 8 : head.value / 2;
    if (!(length <= count - seen + PADDING))
      throw new Error(`a run of ${length} values where ${count - seen} are left`);
    const here = Math.min(length, count - seen);
    if (wanted !== undefined && !packed) found += valueAt(bytes, at, 0, width) === wanted ? here : 0;
    else if (wanted !== undefined)
      for (let i = 0; i < here; i++) if (valueAt(bytes, at, i * width, width) === wanted) found++;
    at += packed ? (length / 8) * width : step;
    seen += length;
    // Runs of nothing take bytes, so that this ends.
  }
  return wanted === undefined ? seen : found;
}

function valueAt(bytes: Uint8Array, at: number, bit: number, width: number): number {
  let value = 0;
  for (let i = 0; i < width; i++) {
    const place = bit + i;
    value |= (((bytes[at + (place >> 3)] ?? 0) >> (place & 7)) & 1) << i;
  }
  return value;
}

/** Decodes a delta-encoded list of lengths as far as needed for their sum; `count` 0 checks the head alone. */
function walkDeltas(bytes: Uint8Array, count: number): { at: number; sum: number } {
  const block = varint(bytes, 0);
  const parts = varint(bytes, block.at);
  const total = varint(bytes, parts.at);
  const first = varint(bytes, total.at);
  const perPart = block.value / parts.value;
  if (!(block.value <= 2 ** 20 && parts.value >= 1 && parts.value <= 4096 && Number.isInteger(perPart)))
    throw new Error(`deltas in ${parts.value} parts of a block of ${block.value}`);
  let { at } = first;
  let value = zigzag(first.value);
  let sum = Math.max(0, value);
  for (let seen = 1; seen < count && at < bytes.length; ) {
    const least = varint(bytes, at);
    const widths = least.at;
    at = widths + parts.value;
    for (let part = 0; part < parts.value && seen < count; part++) {
      const width = bytes[widths + part] ?? 0;
      if (width > 64) throw new Error(`deltas of ${width} bits`);
      for (let i = 0; i < perPart && seen < count; i++, seen++) {
        value = (value + zigzag(least.value) + valueAt(bytes, at, i * width, Math.min(width, 31))) | 0;
        sum += Math.max(0, value);
      }
      at += (perPart * width) / 8;
    }
  }
  return { at, sum };
}

function varint(bytes: Uint8Array, from: number): { value: number; at: number } {
  let value = 0;
  for (let i = 0, scale = 1; i < 10; i++, scale *= 128) {
    const byte = bytes[from + i];
    if (byte === undefined) break;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return { value, at: from + i + 1 };
  }
  return { value: 0, at: bytes.length + 1 };
}

const zigzag = (value: number): number => (value % 2 ? -(value + 1) / 2 : value / 2);
