/** Making folders, with the operating system's own reason when it refuses. */
import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf, ioError } from './failure.ts';

/** Makes a folder and those above it; nothing happens if it exists. @throws IoError. */
export async function makeDirectory(
  path: string,
  { mode, hint }: { mode?: number; hint?: string } = {},
): Promise<void> {
  try {
    await make(path, mode);
  } catch (cause) {
    throw ioError(cause, 'make', path, hint ? { hint } : {});
  }
}

// Node's own recursive mkdir says ENOENT on a read-only file system, and never returns below /proc.
async function make(path: string, mode: number | undefined): Promise<void> {
  try {
    await mkdir(path, mode);
  } catch (cause) {
    const errno = errnoOf(cause);
    const parent = dirname(path);
    if (errno === 'ENOENT' && parent !== path && !(await isDirectory(parent))) {
      await make(parent, mode);
      return make(path, mode);
    }
    // Some systems refuse before they see that it exists.
    if (!(await isDirectory(path))) throw cause;
  }
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT' || errnoOf(cause) === 'ENOTDIR') return false;
    throw cause;
  }
}
