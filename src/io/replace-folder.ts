/** A folder that appears whole or not at all: written beside its place, then renamed. */
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { IoError, printable } from '../base/index.ts';
import { exists, syncDirectory } from './atomic.ts';
import { ioError } from './failure.ts';

/** `write` fills an empty draft; what it throws leaves the old folder as it is. @throws IoError and what `write` throws. */
export async function replaceFolder<T>(dir: string, write: (draft: string) => Promise<T>): Promise<T> {
  const draft = join(dirname(dir), `.${basename(dir)}.draft`);
  try {
    await rm(draft, { recursive: true, force: true });
    await mkdir(draft, { recursive: true });
    const result = await write(draft);
    // The old folder must go first: a directory cannot be renamed onto one with files in it.
    const old = `${draft}.old`;
    if (await exists(dir)) await rename(dir, old);
    await rename(draft, dir);
    await syncDirectory(dirname(dir));
    await rm(old, { recursive: true, force: true });
    return result;
  } catch (cause) {
    await rm(draft, { recursive: true, force: true }).catch(() => {});
    throw ioError(cause, 'write', dir);
  }
}

/** @throws IoError FOLDER_NOT_EMPTY, so that nothing is replaced that somebody may want. */
export async function refuseFilled(dir: string): Promise<void> {
  if (!(await exists(dir))) return;
  const [first] = await readdir(dir).catch((cause) => {
    throw ioError(cause, 'look at', dir);
  });
  if (first !== undefined)
    throw new IoError('FOLDER_NOT_EMPTY', `${printable(dir)} is not empty: it holds ${printable(first)}`, {
      file: dir,
      got: first,
      hint: 'choose a folder that is new or empty',
    });
}
