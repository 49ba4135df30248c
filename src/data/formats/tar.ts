/** Regular files of a .tar or .tar.gz archive (ustar, pax and GNU names), checked and bounded; nothing is ever unpacked to disk. */
import { DataError, printable } from '../../base/errors.ts';
import { readFileBytes } from '../../io/failure.ts';
import { checkName } from '../../io/paths.ts';
import { gunzipWithin, isGzip } from './gzip.ts';

export interface TarEntry {
  /** Parts separated by `/`, without a leading `./`. */
  readonly name: string;
  /** A view of the archive's memory. */
  readonly bytes: Uint8Array;
}

export interface TarOptions {
  /** Most bytes when unpacked; 2 GiB. */
  readonly maxBytes?: number;
  /** Most entries; a million. */
  readonly maxEntries?: number;
}

const BLOCK = 512;

/**
 * The regular files of an archive in its order. Directories are passed over; links and devices are refused, as are names
 * that climb out or are absolute.
 * @throws DataError TAR_INVALID with the offset, TAR_TRUNCATED, TAR_TOO_LARGE, PATH_UNSAFE, GZIP_*; IoError.
 */
export async function readTar(
  path: string,
  { maxBytes = 2 ** 31, maxEntries = 1e6 }: TarOptions = {},
): Promise<TarEntry[]> {
  const file = await readFileBytes(path, { maxBytes });
  const bytes = isGzip(file) ? gunzipWithin(file, maxBytes, path) : file;
  return parseTar(bytes, path, maxEntries);
}

/** `readTar` of unpacked bytes in memory; `file` names them in errors. */
export function parseTar(bytes: Uint8Array, file: string, maxEntries = 1e6): TarEntry[] {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fail = (code: string, offset: number, expected: string, got: unknown): never => {
    throw new DataError(code, `${printable(file)}: expected ${expected}, found ${printable(got)}`, {
      file,
      offset,
      expected,
      got,
    });
  };
  const entries: TarEntry[] = [];
  const names = new Set<string>();
  let long: string | undefined;
  let ended = false;
  for (let at = 0, count = 0; at < data.length; count++) {
    if (at + BLOCK > data.length) fail('TAR_TRUNCATED', at, 'a whole header of 512 bytes', data.length - at);
    const header = data.subarray(at, at + BLOCK);
    if (header.every((byte) => byte === 0)) {
      ended = true;
      break;
    }
    if (count >= maxEntries) fail('TAR_TOO_LARGE', at, `at most ${maxEntries} entries`, 'more');
    if (checksumOf(header) !== octal(header, 148, 8))
      fail('TAR_INVALID', at, 'a header whose checksum is right', 'another');
    const size = octal(header, 124, 12) ?? fail('TAR_INVALID', at + 124, 'a size', text(header, 124, 12));
    const start = at + BLOCK;
    const end = start + size;
    if (end > data.length) fail('TAR_TRUNCATED', start, `${size} bytes of content`, data.length - start);
    const kind = String.fromCharCode(header[156] as number);
    const content = data.subarray(start, end);
    at = start + BLOCK * Math.ceil(size / BLOCK);
    if (kind === 'L') {
      long = text(content, 0, Math.min(size, 8192));
      continue;
    }
    if (kind === 'x') {
      long = paxPath(content) ?? long;
      continue;
    }
    // What pax says of the whole archive, and directories.
    if (kind === 'g' || kind === '5') {
      long = undefined;
      continue;
    }
    const stored = long ?? nameOf(header);
    long = undefined;
    if (kind !== '0' && kind !== '\0' && kind !== '7')
      fail('TAR_INVALID', start - BLOCK + 156, 'files and directories only', `an entry of type ${kind} (${stored})`);
    const name = stored.replace(/^(\.\/)+/, '');
    checkName(name);
    if (names.has(name)) fail('TAR_INVALID', start - BLOCK, 'names that differ', name);
    names.add(name);
    entries.push({ name, bytes: content });
  }
  // A cut between two entries leaves whole ones: only the zero blocks tell.
  if (!ended) fail('TAR_TRUNCATED', data.length, 'the zero block that ends an archive', 'the end of the file');
  return entries;
}

function text(data: Buffer, from: number, length: number): string {
  const end = data.indexOf(0, from);
  return data.toString('utf8', from, end < 0 || end > from + length ? from + length : end);
}

function nameOf(header: Buffer): string {
  const isUstar = header.toString('latin1', 257, 262) === 'ustar';
  const prefix = isUstar && header.toString('latin1', 262, 265) !== '  \0' ? text(header, 345, 155) : '';
  return (prefix ? `${prefix}/` : '') + text(header, 0, 100);
}

/** Octal digits, or GNU's big-endian number behind a byte 0x80. */
function octal(header: Buffer, from: number, length: number): number | undefined {
  if (header[from] === 0x80) {
    let value = 0;
    for (let i = from + 1; i < from + length; i++) value = value * 256 + (header[i] as number);
    return Number.isSafeInteger(value) ? value : undefined;
  }
  const digits = text(header, from, length).trim();
  return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : undefined;
}

function checksumOf(header: Buffer): number {
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? 32 : (header[i] as number);
  return sum;
}

/** The `path` record of a pax header: lines `LENGTH key=value`. */
function paxPath(content: Buffer): string | undefined {
  for (const line of content.toString('utf8').split('\n')) {
    const match = /^\d+ path=(.*)$/s.exec(line);
    if (match) return match[1];
  }
  return undefined;
}
