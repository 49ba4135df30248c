/**
 * Zip archives: the directory is read and checked whole before any entry is (names, duplicates, overlaps, sizes), and
 * inflating stops at the size the directory claimed. Stored and deflated entries, zip64; no encryption, no spanning.
 * PKWARE APPNOTE 6.3.
 */
import { crc32, inflateRawSync } from 'node:zlib';
import { CambiumError } from '../base/errors.ts';
import { type WrittenFile, writeFileAtomic } from './atomic.ts';
import { type ByteSource, malformed } from './byte-source.ts';
import { checkName } from './paths.ts';

export const zipLimits = {
  entries: 1_000_000,
  nameBytes: 4096,
  /** Deflate cannot exceed about 1030:1; past this many bytes a higher claim is a lie. */
  ratio: 1100,
  ratioFrom: 64 * 2 ** 20,
  directoryBytes: 256 * 2 ** 20,
  /** Of one inflated entry: it is held in memory. Stored entries are bounded by the file. */
  inflatedBytes: 2 ** 31,
} as const;

export interface ZipEntry {
  readonly name: string;
  /** Uncompressed bytes. */
  readonly size: number;
  readonly compressedSize: number;
  readonly method: 0 | 8;
  readonly crc: number;
  /** Of the local header. */
  readonly offset: number;
}

const END = 0x06054b50;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;

/** Entries by name, folders left out. @throws DataError ZIP_*, PATH_UNSAFE. */
export async function readZipDirectory(source: ByteSource): Promise<Map<string, ZipEntry>> {
  const { path, size } = source;
  const { start, length, count } = await findDirectory(source);
  const raw = Buffer.from((await source.read(start, length)).buffer);
  const entries = new Map<string, ZipEntry>();
  const spans: [from: number, to: number, name: string][] = [];
  const memory = Math.max(zipLimits.ratioFrom, process.availableMemory());
  let inflated = 0;
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 46 > length || raw.readUInt32LE(at) !== CENTRAL)
      malformed(path, 'ZIP_DIRECTORY', start + at, `entry ${i + 1} of ${count}`, 'no entry header');
    const flags = raw.readUInt16LE(at + 8);
    const method = raw.readUInt16LE(at + 10);
    const nameLength = raw.readUInt16LE(at + 28);
    const extraLength = raw.readUInt16LE(at + 30);
    const next = at + 46 + nameLength + extraLength + raw.readUInt16LE(at + 32);
    if (next > length) malformed(path, 'ZIP_DIRECTORY', start + at, 'an entry within the directory', `byte ${next}`);
    if (nameLength > zipLimits.nameBytes)
      malformed(path, 'ZIP_NAME', start + at, `a name of at most ${zipLimits.nameBytes} bytes`, `${nameLength}`);
    const name = decodeName(raw.subarray(at + 46, at + 46 + nameLength), path, start + at);
    const bad = (code: string, expected: string, got: string): never =>
      malformed(path, code, start + at, expected, got, { entry: name });
    if (flags & 0x2041) bad('ZIP_ENCRYPTED', 'no encryption', 'an encrypted entry');
    if (method !== 0 && method !== 8) bad('ZIP_METHOD', 'a stored or deflated entry', `method ${method}`);
    const fields = sizesOf(raw, at, nameLength, extraLength) ?? bad('ZIP_DIRECTORY', 'zip64 sizes', 'none');
    const { size: full, compressed, offset } = fields;
    if (method === 0 && full !== compressed)
      bad('ZIP_SIZE', 'a stored entry of one size', `${full} and ${compressed} bytes`);
    if (offset + 30 + nameLength + compressed > start)
      bad('ZIP_OFFSET', `an entry before the directory at byte ${start}`, `bytes ${offset}+${compressed}`);
    if (method === 8 && full > zipLimits.ratioFrom && full > compressed * zipLimits.ratio)
      bad('ZIP_BOMB', `at most ${zipLimits.ratio} bytes out of one`, `${full} out of ${compressed}`);
    if (method === 8 && full > zipLimits.inflatedBytes)
      bad('ZIP_BOMB', `at most ${zipLimits.inflatedBytes} inflated bytes`, `${full}`);
    inflated += method === 8 ? full : 0;
    if (inflated > memory) bad('ZIP_BOMB', `at most ${memory} inflated bytes together, the memory there is`, 'more');
    if (entries.has(name)) bad('ZIP_DUPLICATE', 'every name once', 'the same name again');
    spans.push([offset, offset + 30 + nameLength + compressed, name]);
    if (name.endsWith('/')) checkEntryName(name.slice(0, -1), path, start + at);
    else {
      checkEntryName(name, path, start + at);
      const crc = raw.readUInt32LE(at + 16);
      entries.set(name, { name, size: full, compressedSize: compressed, method: method as 0 | 8, crc, offset });
    }
    at = next;
  }
  if (at !== length) malformed(path, 'ZIP_DIRECTORY', start + at, `${count} entries`, 'more bytes');
  spans.sort((a, b) => a[0] - b[0]);
  for (let i = 1; i < spans.length; i++) {
    const [previous, current] = [spans[i - 1]!, spans[i]!];
    if (current[0] < previous[1])
      malformed(path, 'ZIP_OVERLAP', current[0], `data from byte ${previous[1]}`, `byte ${current[0]}`, {
        entry: current[2],
      });
  }
  if (size < start) malformed(path, 'ZIP_DIRECTORY', start, 'a directory within the file', `${size} bytes`);
  return entries;
}

/** An entry's bytes, in memory of their own, checked against size and CRC-32. @throws DataError ZIP_*. */
export async function readZipEntry(source: ByteSource, entry: ZipEntry): Promise<Uint8Array<ArrayBuffer>> {
  const { path } = source;
  const bad = (code: string, offset: number, expected: string, got: string, cause?: unknown): never =>
    malformed(path, code, offset, expected, got, { entry: entry.name, ...(cause ? { cause } : {}) });
  const head = Buffer.from((await source.read(entry.offset, 30)).buffer);
  if (head.readUInt32LE(0) !== LOCAL) bad('ZIP_ENTRY', entry.offset, 'a local header', 'other bytes');
  const nameLength = head.readUInt16LE(26);
  const data = entry.offset + 30 + nameLength + head.readUInt16LE(28);
  const name = Buffer.from((await source.read(entry.offset + 30, nameLength)).buffer).toString('utf8');
  if (name !== entry.name) bad('ZIP_ENTRY', entry.offset, 'the name of the directory', 'another name');
  if (head.readUInt16LE(8) !== entry.method) bad('ZIP_ENTRY', entry.offset, `method ${entry.method}`, 'another');
  const raw = await source.read(data, entry.compressedSize);
  let bytes: Uint8Array<ArrayBuffer> = raw;
  if (entry.method === 8)
    try {
      const out = inflateRawSync(raw, { maxOutputLength: Math.max(1, entry.size) });
      bytes = new Uint8Array(out);
    } catch (cause) {
      bad('ZIP_DEFLATE', data, `${entry.size} inflated bytes`, 'damaged or longer data', cause);
    }
  if (bytes.length !== entry.size) bad('ZIP_SIZE', data, `${entry.size} bytes`, `${bytes.length}`);
  const crc = crc32(bytes);
  if (crc !== entry.crc) bad('ZIP_CRC', data, `CRC-32 ${entry.crc.toString(16)}`, crc.toString(16));
  return bytes;
}

/** Writes a zip of stored entries, atomically. Names are checked as when reading. @throws DataError, IoError. */
export async function writeZip(path: string, entries: ReadonlyMap<string, Uint8Array>): Promise<WrittenFile> {
  const chunks: Uint8Array[] = [];
  const central: Uint8Array[] = [];
  let offset = 0;
  for (const [name, bytes] of entries) {
    checkName(name);
    const label = Buffer.from(name);
    const crc = crc32(bytes);
    const big = bytes.length >= 0xffffffff;
    const head = Buffer.alloc(30);
    head.writeUInt32LE(LOCAL, 0);
    for (const [value, at] of [
      [45, 4],
      [0x800, 6],
      [0x21, 12],
      [label.length, 26],
      [big ? 20 : 0, 28],
    ] as const)
      head.writeUInt16LE(value, at);
    head.writeUInt32LE(crc, 14);
    head.writeUInt32LE(big ? 0xffffffff : bytes.length, 18);
    head.writeUInt32LE(big ? 0xffffffff : bytes.length, 22);
    const extra = big ? extra64([bytes.length, bytes.length]) : Buffer.alloc(0);
    chunks.push(head, label, extra, bytes);
    central.push(centralHeader(label, crc, bytes.length, offset));
    offset += 30 + label.length + extra.length + bytes.length;
  }
  const directory = Buffer.concat(central);
  return writeFileAtomic(path, [...chunks, directory, endOf(entries.size, directory.length, offset)]);
}

function centralHeader(label: Buffer, crc: number, size: number, offset: number): Buffer {
  const big = size >= 0xffffffff || offset >= 0xffffffff;
  const extra = big ? extra64([size, size, offset]) : Buffer.alloc(0);
  const head = Buffer.alloc(46);
  head.writeUInt32LE(CENTRAL, 0);
  head.writeUInt16LE(45, 4);
  head.writeUInt16LE(45, 6);
  head.writeUInt16LE(0x800, 8);
  head.writeUInt16LE(0x21, 14);
  head.writeUInt32LE(crc, 16);
  head.writeUInt32LE(big ? 0xffffffff : size, 20);
  head.writeUInt32LE(big ? 0xffffffff : size, 24);
  head.writeUInt16LE(label.length, 28);
  head.writeUInt16LE(extra.length, 30);
  head.writeUInt32LE(big ? 0xffffffff : offset, 42);
  return Buffer.concat([head, label, extra]);
}

function extra64(values: readonly number[]): Buffer {
  const extra = Buffer.alloc(4 + 8 * values.length);
  extra.writeUInt16LE(1, 0);
  extra.writeUInt16LE(8 * values.length, 2);
  values.forEach((value, i) => void extra.writeBigUInt64LE(BigInt(value), 4 + 8 * i));
  return extra;
}

function endOf(count: number, length: number, offset: number): Buffer {
  const big = count >= 0xffff || length >= 0xffffffff || offset >= 0xffffffff;
  const end64 = Buffer.alloc(big ? 76 : 0);
  if (big) {
    end64.writeUInt32LE(END64, 0);
    end64.writeBigUInt64LE(44n, 4);
    end64.writeUInt16LE(45, 12);
    end64.writeUInt16LE(45, 14);
    for (const [value, at] of [
      [count, 24],
      [count, 32],
      [length, 40],
      [offset, 48],
    ] as const)
      end64.writeBigUInt64LE(BigInt(value), at);
    end64.writeUInt32LE(LOCATOR64, 56);
    end64.writeBigUInt64LE(BigInt(offset + length), 64);
    end64.writeUInt32LE(1, 72);
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(END, 0);
  end.writeUInt16LE(big ? 0xffff : count, 8);
  end.writeUInt16LE(big ? 0xffff : count, 10);
  end.writeUInt32LE(big ? 0xffffffff : length, 12);
  end.writeUInt32LE(big ? 0xffffffff : offset, 16);
  return Buffer.concat([end64, end]);
}

interface Directory {
  start: number;
  length: number;
  count: number;
}

async function findDirectory(source: ByteSource): Promise<Directory> {
  const { path, size } = source;
  const from = Math.max(0, size - 65_557);
  const tail = Buffer.from((await source.read(from, size - from)).buffer);
  let end = tail.length - 22;
  // The comment may hold the same four bytes: only a record whose comment ends with the file counts.
  while (end >= 0 && !(tail.readUInt32LE(end) === END && tail.readUInt16LE(end + 20) === tail.length - end - 22)) end--;
  if (end < 0)
    malformed(path, 'ZIP_TRUNCATED', size, 'the end record of a zip archive', 'none', {
      hint: 'the file is cut or not a zip; fetch it again',
    });
  let directory: Directory = {
    count: tail.readUInt16LE(end + 10),
    length: tail.readUInt32LE(end + 12),
    start: tail.readUInt32LE(end + 16),
  };
  let last = from + end;
  if (last >= 20) {
    const locator = Buffer.from((await source.read(last - 20, 20)).buffer);
    if (locator.readUInt32LE(0) === LOCATOR64) {
      last = toNumber(locator.readBigUInt64LE(8), path, last - 12);
      if (last + 56 > from + end)
        malformed(path, 'ZIP_DIRECTORY', from + end - 12, 'a zip64 record before its locator', `byte ${last}`);
      const record = Buffer.from((await source.read(last, 56)).buffer);
      if (record.readUInt32LE(0) !== END64) malformed(path, 'ZIP_DIRECTORY', last, 'a zip64 end record', 'other bytes');
      const field = (at: number): number => toNumber(record.readBigUInt64LE(at), path, last + at);
      directory = { count: field(32), length: field(40), start: field(48) };
    }
  }
  const { start, length, count } = directory;
  if (start + length > last)
    malformed(path, 'ZIP_DIRECTORY', from + end, `a directory before byte ${last}`, `bytes ${start}+${length}`);
  if (count > zipLimits.entries || count * 46 > length || length > zipLimits.directoryBytes)
    malformed(path, 'ZIP_DIRECTORY', from + end, `at most ${zipLimits.entries} entries in ${length} bytes`, `${count}`);
  return directory;
}

function toNumber(value: bigint, path: string, offset: number): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER))
    malformed(path, 'ZIP_DIRECTORY', offset, 'a position within the file', `${value}`);
  return Number(value);
}

// Sizes and offset of a central header; those of 32 bits that overflow stand in the zip64 field, in this order.
function sizesOf(
  raw: Buffer,
  at: number,
  nameLength: number,
  extraLength: number,
): { size: number; compressed: number; offset: number } | undefined {
  const values = [raw.readUInt32LE(at + 24), raw.readUInt32LE(at + 20), raw.readUInt32LE(at + 42)];
  if (values.includes(0xffffffff)) {
    let extra = at + 46 + nameLength;
    const end = extra + extraLength;
    while (extra + 4 <= end && raw.readUInt16LE(extra) !== 1) extra += 4 + raw.readUInt16LE(extra + 2);
    const stop = extra + 4 <= end ? extra + 4 + raw.readUInt16LE(extra + 2) : 0;
    if (stop > end) return undefined;
    extra += 4;
    for (const [i, value] of values.entries()) {
      if (value !== 0xffffffff) continue;
      if (extra + 8 > stop) return undefined;
      const wide = raw.readBigUInt64LE(extra);
      if (wide > BigInt(Number.MAX_SAFE_INTEGER)) return undefined;
      values[i] = Number(wide);
      extra += 8;
    }
  }
  const [size, compressed, offset] = values as [number, number, number];
  return { size, compressed, offset };
}

function decodeName(bytes: Uint8Array, path: string, offset: number): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    return malformed(path, 'ZIP_NAME', offset, 'a name in UTF-8', 'other bytes', { cause });
  }
}

function checkEntryName(name: string, path: string, offset: number): void {
  try {
    checkName(name);
  } catch (cause) {
    const why = cause instanceof CambiumError ? cause.message : 'an unsafe name';
    malformed(path, 'PATH_UNSAFE', offset, 'a name inside the archive', why, { entry: name, cause });
  }
}
