/** Turns errors of the operating system into typed ones, and reads files with a size budget. */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { CambiumError, DataError, type ErrorDetails, IoError, MemoryError, printable } from '../base/errors.ts';

const codes: { readonly [errno: string]: readonly [code: string, words: string] } = {
  ENOENT: ['FILE_NOT_FOUND', 'no such file or directory'],
  ENOTDIR: ['NOT_A_DIRECTORY', 'a part of the path is not a directory'],
  EISDIR: ['IS_A_DIRECTORY', 'it is a directory'],
  EACCES: ['PERMISSION_DENIED', 'permission denied'],
  EPERM: ['PERMISSION_DENIED', 'operation not permitted'],
  EROFS: ['READ_ONLY', 'the file system is read-only'],
  ENOSPC: ['DISK_FULL', 'no space left on the device'],
  EDQUOT: ['DISK_FULL', 'disk quota exceeded'],
  EFBIG: ['FILE_TOO_LARGE', 'the file size limit is exceeded'],
  EMFILE: ['TOO_MANY_FILES', 'too many open files'],
  ENFILE: ['TOO_MANY_FILES', 'too many open files'],
  ELOOP: ['PATH_UNSAFE', 'it is a symbolic link'],
};

/** The errno name of an operating system error, e.g. `ENOSPC`. */
export const errnoOf = (cause: unknown): string | undefined => {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : undefined;
};

/**
 * The typed form of whatever a file operation threw; a CambiumError passes through.
 * @param action what was being done, e.g. `write`; it becomes "cannot write <path>".
 */
export function ioError(cause: unknown, action: string, path: string, details: ErrorDetails = {}): CambiumError {
  if (cause instanceof CambiumError) return cause;
  const errno = errnoOf(cause);
  const known = errno === undefined ? undefined : codes[errno];
  const [code, words] = known ?? ['IO_FAILED', cause instanceof Error ? cause.message : String(cause)];
  const message = `cannot ${action} ${printable(path)}: ${words}${errno ? ` (${errno})` : ''}`;
  return new IoError(code, message, { file: path, errno, ...details, cause });
}

/** Allocates `bytes` or throws MemoryError; the caller has already checked them against the file. */
export function allocate<T>(make: () => T, bytes: number, what: string): T {
  try {
    return make();
  } catch (cause) {
    throw new MemoryError('OUT_OF_MEMORY', `cannot allocate ${bytes} bytes for ${what}`, { needed: bytes, cause });
  }
}

/**
 * A file opened for reading, and its size. Devices and pipes, which never end or never answer, are refused before a byte is read.
 * @throws IoError NOT_A_FILE, IS_A_DIRECTORY and those of the system.
 */
export async function openRegular(path: string): Promise<{ handle: Handle; size: number }> {
  // Opening a pipe without this waits for a writer; of regular files it changes nothing.
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = await handle.stat();
    if (stat.isDirectory()) throw Object.assign(new Error('is a directory'), { code: 'EISDIR' });
    if (!stat.isFile())
      throw new IoError('NOT_A_FILE', `cannot read ${printable(path)}: not a regular file`, {
        file: path,
        expected: 'a regular file',
        hint: 'write its content to a file first',
      });
    return { handle, size: stat.size };
  } catch (cause) {
    await handle.close();
    throw cause;
  }
}

/**
 * A whole regular file. Its size is checked against `maxBytes` before anything is allocated.
 * @throws IoError when it cannot be read, DataError FILE_TOO_LARGE.
 */
export async function readFileBytes(path: string, { maxBytes = 2 ** 31 } = {}): Promise<Uint8Array> {
  try {
    const { handle, size } = await openRegular(path);
    try {
      if (size > maxBytes)
        throw new DataError(
          'FILE_TOO_LARGE',
          `${printable(path)} has ${size} bytes, more than the ${maxBytes} allowed`,
          { file: path, offset: maxBytes, expected: `<= ${maxBytes}`, got: size },
        );
      return await readExactly(handle, path, 0, size);
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw ioError(cause, 'read', path);
  }
}

type Handle = Awaited<ReturnType<typeof open>>;

/**
 * `length` bytes from `position`, into `into` if given. One read may return less than asked for, hence the loop.
 * @throws DataError FILE_TRUNCATED when the file ends before.
 */
export async function readExactly(
  handle: Handle,
  path: string,
  position: number,
  length: number,
  into?: Uint8Array,
): Promise<Uint8Array> {
  const bytes = into ?? allocate(() => new Uint8Array(length), length, path);
  let done = 0;
  while (done < length) {
    const want = Math.min(length - done, 2 ** 28);
    const { bytesRead } = await handle.read(bytes, done, want, position + done);
    if (bytesRead === 0)
      throw new DataError('FILE_TRUNCATED', `${printable(path)} ends at byte ${position + done}`, {
        file: path,
        offset: position + done,
        expected: position + length,
        got: position + done,
      });
    done += bytesRead;
  }
  return bytes;
}
