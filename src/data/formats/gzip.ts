/** Inflates gzip data within a budget: a bomb stops at the budget, damage becomes a DataError with an offset. */
import { constants, gunzipSync } from 'node:zlib';
import { DataError, printable } from '../../base/errors.ts';

/** Whether bytes begin as a gzip member does. */
export const isGzip = (bytes: Uint8Array): boolean => bytes.length >= 2 && bytes[0] === 0x1f && bytes[1] === 0x8b;

/** Deflate cannot expand a byte to more than this many. */
const MAX_RATIO = 1100;

/** The first bytes of the content, at most a few million, whatever follows them. Empty if damage comes first. */
export function gunzipHead(bytes: Uint8Array): Uint8Array {
  try {
    return gunzipSync(bytes.subarray(0, 4096), { finishFlush: constants.Z_SYNC_FLUSH });
  } catch {
    return new Uint8Array(0);
  }
}

/**
 * The whole content.
 * @param maxBytes refuses more, before it is stored.
 * @throws DataError GZIP_CORRUPT, GZIP_TRUNCATED or GZIP_TOO_LARGE.
 */
export function gunzipWithin(bytes: Uint8Array, maxBytes: number, file: string): Uint8Array {
  try {
    return gunzipSync(bytes, { maxOutputLength: Math.max(1, Math.min(maxBytes, bytes.length * MAX_RATIO + 1024)) });
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const fail = (name: string, offset: number, expected: string, got: string): never => {
      throw new DataError(name, `${printable(file)}: expected ${expected}, found ${got}`, {
        file,
        offset,
        expected,
        got,
        cause,
      });
    };
    if (code === 'ERR_BUFFER_TOO_LARGE')
      return fail('GZIP_TOO_LARGE', bytes.length, `at most ${maxBytes} bytes when unpacked`, 'more');
    if (code === 'Z_BUF_ERROR')
      return fail('GZIP_TRUNCATED', bytes.length, 'more compressed data', 'the end of the file');
    return fail('GZIP_CORRUPT', corruptAt(bytes), 'intact gzip data', message);
  }
}

// zlib does not tell where it stopped: the shortest prefix that already fails ends at the damage.
function corruptAt(bytes: Uint8Array): number {
  const fails = (end: number): boolean => {
    try {
      gunzipSync(bytes.subarray(0, end), { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: 2 ** 28 });
      return false;
    } catch (cause) {
      return (cause as NodeJS.ErrnoException).code !== 'ERR_BUFFER_TOO_LARGE';
    }
  };
  let good = 0;
  let bad = bytes.length;
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (fails(middle)) bad = middle;
    else good = middle;
  }
  return good;
}
