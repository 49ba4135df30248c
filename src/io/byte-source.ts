/** Bytes at any position, of a file or of memory: what the weight parsers read from. */
import { DataError, escapeControls, printable } from '../base/errors.ts';
import { ioError, openRegular, readExactly } from './failure.ts';

export interface ByteSource {
  /** The path, for errors. */
  readonly path: string;
  readonly size: number;
  /** Exactly `length` bytes from `offset`, in memory of their own or `into` it. @throws DataError FILE_TRUNCATED. */
  read(offset: number, length: number, into?: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>;
}

/** A source over bytes already in memory. */
export function memorySource(bytes: Uint8Array, path = 'memory'): ByteSource {
  return {
    path,
    size: bytes.length,
    async read(offset, length, into) {
      if (offset < 0 || length < 0 || offset + length > bytes.length)
        throw new DataError('FILE_TRUNCATED', `${printable(path)} ends at byte ${bytes.length}`, {
          file: path,
          offset: Math.min(bytes.length, Math.max(0, offset)),
          expected: offset + length,
          got: bytes.length,
        });
      into?.set(bytes.subarray(offset, offset + length));
      // Not slice(): that of a Buffer shares memory.
      return into ?? new Uint8Array(bytes.subarray(offset, offset + length));
    },
  };
}

/** Runs `body` with a regular file opened for reading. Nothing is read but what is asked for. @throws IoError. */
export async function withSource<T>(path: string, body: (source: ByteSource) => Promise<T>): Promise<T> {
  try {
    const { handle, size } = await openRegular(path);
    try {
      return await body({
        path,
        size,
        async read(offset, length, into) {
          // Before the allocation: a length that a file claims must lie within it.
          if (offset + length > size) await readExactly(handle, path, size, 1);
          return (await readExactly(handle, path, offset, length, into)) as Uint8Array<ArrayBuffer>;
        },
      });
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw ioError(cause, 'read', path);
  }
}

/** Throws the DataError every weight parser throws: what was expected and found, and at which byte. */
export function malformed(
  path: string,
  code: string,
  offset: number,
  expected: string,
  got: string,
  extra: { tensor?: string; entry?: string; hint?: string; cause?: unknown } = {},
): never {
  const about = extra.tensor ?? extra.entry;
  const found = escapeControls(`expected ${expected}, found ${got}`);
  const subject = about === undefined ? '' : ` ${extra.tensor ? 'tensor' : 'entry'} ${printable(about)}:`;
  throw new DataError(code, `${printable(path)}:${subject} ${found} (byte ${offset})`, {
    file: path,
    offset,
    expected,
    got,
    ...extra,
  });
}
