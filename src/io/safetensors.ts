/**
 * The safetensors format: 8 bytes of header length, a JSON header, then the tensors' bytes without gaps.
 * Everything the header claims is checked against the bytes really there before anything is allocated.
 * https://github.com/huggingface/safetensors#format
 */
import { createHash } from 'node:crypto';
import { byteSize, dtypes } from '../base/dtype.ts';
import { DataError, printable, UnsupportedError } from '../base/errors.ts';
import { MAX_ELEMENTS, sizeOf } from '../base/shape.ts';
import { type WrittenFile, writeFileAtomic } from './atomic.ts';
import { type ByteSource, malformed, withSource } from './byte-source.ts';
import { allocate } from './failure.ts';
import { fileKind } from './file-kind.ts';
import { bytesOf, checkHostArray, type HostArray } from './host-array.ts';
import { decodeUtf8, parseJson } from './json.ts';
import { convert, isStored, type StoredDType, stored, storedNameOf } from './stored-dtype.ts';

export const limits = { headerBytes: 100_000_000, tensors: 1_000_000, nameBytes: 4096, rank: 64 } as const;

export interface SafetensorsEntry {
  /** The type in the file, e.g. `BF16`; reading gives the dtype of `stored[type].dtype`. */
  readonly type: StoredDType;
  readonly shape: readonly number[];
  /** Bytes [start, end) of the file. */
  readonly start: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  /** In the order of their bytes in the file. */
  readonly entries: Map<string, SafetensorsEntry>;
  readonly metadata: Map<string, string>;
}

export interface Safetensors {
  readonly tensors: Map<string, HostArray>;
  readonly metadata: Map<string, string>;
  /** Of the whole file; present when it was asked for. */
  readonly sha256?: string;
}

export interface ReadOptions {
  /** Which tensors to load; all unless told. */
  only?: (name: string) => boolean;
  /** Throws DataError HASH_MISMATCH unless the file has this digest (reads every byte). `true` only computes it. */
  sha256?: string | true;
  /** Where tensors are read to that are stored as they are used (f32, i32, u8): at least so many bytes. */
  allocate?: (bytes: number) => ArrayBuffer;
}

/** Names, types and places without the data. @throws DataError, IoError. */
export function readSafetensorsHeader(path: string): Promise<SafetensorsHeader> {
  return withSource(path, async (source) => (await readHeader(source)).header);
}

/**
 * All tensors of a file. F16 and BF16 arrive as f32; I8, I16, U16, U32 and I64 as i32 if every value fits.
 * @throws DataError with file, offset, expected and got; IoError; MemoryError.
 */
export function readSafetensors(path: string, options: ReadOptions = {}): Promise<Safetensors> {
  return withSource(path, (source) => readSafetensorsSource(source, options));
}

/** `readSafetensors` over any bytes. */
export async function readSafetensorsSource(
  source: ByteSource,
  { only, sha256, allocate: memory }: ReadOptions = {},
): Promise<Safetensors> {
  const { path } = source;
  const { header, raw } = await readHeader(source);
  const hash = sha256 === undefined ? undefined : createHash('sha256').update(raw);
  const tensors = new Map<string, HostArray>();
  const wanted = [...header.entries].filter(([name]) => hash || !only || only(name));
  await ahead(
    wanted,
    ([name, entry]) => readTensor(source, name, entry, memory),
    ([name], { array, bytes }) => {
      hash?.update(bytes);
      if (!only || only(name)) tensors.set(name, array());
    },
  );
  const digest = hash?.digest('hex');
  if (typeof sha256 === 'string' && digest !== sha256.toLowerCase())
    throw new DataError('HASH_MISMATCH', `${printable(path)} is damaged: its sha256 is not the recorded one`, {
      file: path,
      offset: 0,
      expected: sha256,
      got: digest,
    });
  return { tensors, metadata: header.metadata, sha256: digest };
}

/**
 * Writes tensors atomically, straight from their memory. The same tensors give the same bytes whatever their order:
 * larger element types first (so that all are aligned), then by name.
 * @throws DataError for an array that contradicts its shape; IoError.
 */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, HostArray> | Readonly<Record<string, HostArray>>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<WrittenFile> {
  const list: [string, HostArray][] = tensors instanceof Map ? [...tensors] : Object.entries(tensors);
  list.sort(([a, x], [b, y]) => byteSize(y.dtype) - byteSize(x.dtype) || (a < b ? -1 : a > b ? 1 : 0));
  for (const [name, array] of list) checkHostArray(name, array);
  return writeFileAtomic(path, [
    safetensorsHead(path, list, metadata),
    ...list.map(([, array]) => bytesOf(array.data)),
  ]);
}

/** The bytes before the data of tensors stored in the order given: for writers that do not hold them all at once. */
export function safetensorsHead(
  path: string,
  list: readonly (readonly [string, Pick<HostArray, 'dtype' | 'shape'>])[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  littleEndian();
  let offset = 0;
  const rows = list.map(([name, { dtype, shape }]) => {
    checkName(name, path);
    const start = offset;
    offset += byteSize(dtype) * sizeOf(shape);
    const row = { dtype: storedNameOf[dtype], shape, data_offsets: [start, offset] };
    return `${JSON.stringify(name)}:${JSON.stringify(row)}`;
  });
  const notes = Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1));
  if (notes.length)
    rows.unshift(`"__metadata__":{${notes.map((pair) => pair.map((s) => JSON.stringify(s)).join(':'))}}`);
  const json = Buffer.from(`{${rows.join(',')}}`);
  // Spaces pad the header so that the data begins at a multiple of eight.
  const length = Math.ceil(json.length / 8) * 8;
  const head = Buffer.alloc(8 + length, 0x20);
  head.writeBigUInt64LE(BigInt(length), 0);
  json.copy(head, 8);
  return head;
}

function checkName(name: string, path: string): void {
  if (name === '__metadata__' || name === '__proto__' || Buffer.byteLength(name) > limits.nameBytes)
    throw new DataError('SAFETENSORS_NAME', `${printable(path)}: a tensor cannot be called ${printable(name)}`, {
      file: path,
      tensor: name.slice(0, 200),
    });
}

/** A page of a server or a pointer to the file says more than its first eight bytes as a number. */
async function refuseOther(source: ByteSource): Promise<void> {
  const kind = fileKind(await source.read(0, Math.min(512, source.size)));
  if (kind === undefined) return;
  malformed(source.path, 'SAFETENSORS_HEADER_SIZE', 0, 'a safetensors file', kind, {
    hint: 'download the file again',
  });
}

interface ReadHeader {
  header: SafetensorsHeader;
  raw: Uint8Array;
}

async function readHeader(source: ByteSource): Promise<ReadHeader> {
  const { path, size } = source;
  littleEndian();
  if (size < 8) fail(path, 'SAFETENSORS_TRUNCATED', size, 'at least 8 bytes', `${size}`);
  const prefix = await source.read(0, 8);
  const claimed = Buffer.from(prefix.buffer).readBigUInt64LE(0);
  if (claimed > BigInt(limits.headerBytes)) await refuseOther(source);
  if (claimed > BigInt(limits.headerBytes))
    fail(path, 'SAFETENSORS_HEADER_SIZE', 0, `a header of at most ${limits.headerBytes} bytes`, `${claimed}`);
  const length = Number(claimed);
  if (length > size - 8)
    fail(path, 'SAFETENSORS_TRUNCATED', 0, `a header within the file's ${size} bytes`, `${length}`);
  const raw = await source.read(0, 8 + length);
  if (raw[8] !== 0x7b)
    fail(
      path,
      'SAFETENSORS_HEADER',
      8,
      'a header that begins with "{"',
      length ? `0x${raw[8]?.toString(16)}` : 'nothing',
    );
  return { header: parseHeader(raw.subarray(8), path, size), raw };
}

/** Checks a header's JSON against a file of `size` bytes. */
export function parseHeader(json: Uint8Array, path: string, size: number): SafetensorsHeader {
  const dataStart = 8 + json.length;
  const parsed = parseJson(decodeUtf8(json, path, 8), { file: path, baseOffset: 8, maxDepth: 4 });
  if (!isObject(parsed)) fail(path, 'SAFETENSORS_HEADER', 8, 'a JSON object', 'another value');
  const metadata = new Map<string, string>();
  const found: [string, SafetensorsEntry][] = [];
  const names = Object.keys(parsed);
  if (names.length > limits.tensors + 1)
    fail(path, 'SAFETENSORS_HEADER', 8, `at most ${limits.tensors} tensors`, `${names.length}`);
  for (const name of names) {
    const row = parsed[name];
    if (name !== '__metadata__') found.push([name, parseEntry(name, row, path, dataStart, size)]);
    else {
      if (!isObject(row)) fail(path, 'SAFETENSORS_METADATA', 8, 'an object of strings', 'another value', name);
      for (const [key, value] of Object.entries(row)) {
        if (typeof value !== 'string') fail(path, 'SAFETENSORS_METADATA', 8, 'a string', typeof value, key);
        metadata.set(key, value);
      }
    }
  }
  found.sort(([, a], [, b]) => a.start - b.start || a.end - b.end);
  let at = dataStart;
  for (const [name, { start, end }] of found) {
    if (start !== at)
      fail(
        path,
        start < at ? 'SAFETENSORS_OVERLAP' : 'SAFETENSORS_HOLE',
        Math.min(start, at),
        `data at byte ${at}`,
        `byte ${start}`,
        name,
      );
    at = end;
  }
  if (at !== size) fail(path, 'SAFETENSORS_TRAILING', at, `the end of the file at byte ${at}`, `${size} bytes`);
  return { entries: new Map(found), metadata };
}

function parseEntry(name: string, row: unknown, path: string, dataStart: number, size: number): SafetensorsEntry {
  const bad = (expected: string, got: unknown, code = 'SAFETENSORS_ENTRY'): never =>
    fail(path, code, 8, expected, printable(got), name);
  checkName(name, path);
  if (!isObject(row)) return bad('an object with dtype, shape and data_offsets', row);
  const { dtype, shape, data_offsets: offsets, ...rest } = row;
  if (Object.keys(rest).length) return bad('only dtype, shape and data_offsets', Object.keys(rest)[0]);
  if (typeof dtype !== 'string') return bad('a dtype', dtype);
  if (!isStored(dtype)) return bad(`a dtype among ${Object.keys(stored).join(', ')}`, dtype, 'SAFETENSORS_DTYPE');
  if (!isCounts(shape) || shape.length > limits.rank) return bad(`a shape of at most ${limits.rank} integers`, shape);
  if (!isCounts(offsets) || offsets.length !== 2) return bad('two data_offsets', offsets);
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > size - dataStart)
    return bad(`data_offsets within the ${size - dataStart} bytes of data`, offsets, 'SAFETENSORS_OFFSETS');
  // Multiplied with a bound at each step: a product past 2^53 would round.
  let count = 1;
  for (const d of shape) {
    count *= d;
    if (count > MAX_ELEMENTS && !shape.includes(0))
      return bad(`at most ${MAX_ELEMENTS} elements`, shape, 'SAFETENSORS_SHAPE');
  }
  if (count * stored[dtype].bytes !== end - begin)
    return bad(
      `${count * stored[dtype].bytes} bytes for ${dtype} ${JSON.stringify(shape)}`,
      end - begin,
      'SAFETENSORS_SHAPE',
    );
  return { type: dtype, shape, start: dataStart + begin, end: dataStart + end };
}

/** Reads in flight: one is copied by the system while the one before is converted or hashed. */
const AHEAD = 3;

/** `take` in order what `fetch` gives for each, with a few fetched ahead. */
async function ahead<T, R>(list: readonly T[], fetch: (item: T) => Promise<R>, take: (item: T, got: R) => void) {
  const flight: Promise<R>[] = [];
  try {
    for (let next = 0, done = 0; done < list.length; done++) {
      while (next < list.length && next < done + AHEAD) flight.push(fetch(list[next++] as T));
      take(list[done] as T, await (flight.shift() as Promise<R>));
    }
  } finally {
    // The file is closed only when nobody reads it any more.
    await Promise.allSettled(flight);
  }
}

interface ReadTensor {
  bytes: Uint8Array;
  array: () => HostArray;
}

// Each tensor is read into memory of its own, so data at an unaligned offset (older writers made such files) is no matter.
async function readTensor(
  source: ByteSource,
  name: string,
  entry: SafetensorsEntry,
  memory = (bytes: number) => new ArrayBuffer(bytes),
): Promise<ReadTensor> {
  const { type, shape, start, end } = entry;
  const { dtype, bytes: itemSize, direct } = stored[type];
  const length = end - start;
  const make = direct ? () => memory(length) : () => new ArrayBuffer(length);
  const raw = allocate(make, length, `tensor ${printable(name)}`);
  const bytes = new Uint8Array(raw, 0, length);
  await source.read(start, length, bytes);
  const array = (): HostArray => {
    const { data, misfit } = direct
      ? {
          data: dtypes[dtype].view(raw, 0, length / itemSize),
          misfit: dtype === 'bool' ? bytes.findIndex((b) => b > 1) : -1,
        }
      : convert(type, raw);
    if (misfit >= 0) {
      const expected = dtype === 'bool' ? '0 or 1' : 'an integer of 32 bits';
      fail(source.path, 'SAFETENSORS_VALUE', start + misfit * itemSize, expected, 'another value', name);
    }
    return { dtype, shape, data };
  };
  return { bytes, array };
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isCounts = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((d) => Number.isSafeInteger(d) && d >= 0);

function fail(path: string, code: string, offset: number, expected: string, got: string, tensor?: string): never {
  malformed(path, code, offset, expected, got, tensor === undefined ? {} : { tensor });
}

function littleEndian(): void {
  if (new Uint8Array(new Uint16Array([1]).buffer)[0] !== 1)
    throw new UnsupportedError('BIG_ENDIAN', 'safetensors files are not supported on big-endian machines');
}
