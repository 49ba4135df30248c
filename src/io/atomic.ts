/**
 * The one way files are written: a reader sees the old content or the whole new one, never a part, whatever dies when.
 *
 * Temporary file in the same directory -> write-all loop -> fsync -> size verified -> rename -> fsync of the directory.
 * The loop matters: under a size limit one write() may store less than asked for and report no error.
 */
import { createHash, randomBytes } from 'node:crypto';
import { type FileHandle, open, readdir, rename, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { IoError, printable } from '../base/errors.ts';
import { errnoOf, ioError, openRegular } from './failure.ts';

/** Content to write. Chunks are consumed in order and not kept; they must not change until the promise resolves. */
export type FileContent = string | Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

export interface WrittenFile {
  readonly path: string;
  readonly bytes: number;
  /** Lower-case hex digest of exactly the bytes written. */
  readonly sha256: string;
}

const PIECE = 64 * 2 ** 20;

/**
 * Writes `data` to `path` atomically and durably; `path` may exist. The directory must.
 * @throws IoError with errno, path and the bytes written so far. The old file is then untouched and no temporary is left.
 */
export async function writeFileAtomic(path: string, data: FileContent): Promise<WrittenFile> {
  const draft = await writeDraft(path, data);
  try {
    await publish(draft.handle, draft.temporary, path, draft.bytes);
  } catch (cause) {
    await discard(draft);
    throw ioError(cause, 'write', path, { bytesWritten: draft.bytes });
  }
  return writtenOf(draft);
}

/**
 * Writes files that belong together: all are on the disk before the first old one is touched. The first is the one the
 * others go with: it disappears before they change and comes last, so that it never stands beside what is not its own,
 * whatever dies when. They are written in the order given; `stale` ones are removed.
 * @throws IoError as `writeFileAtomic`; until all are written, nothing has changed.
 */
export async function writeFilesTogether(
  files: readonly (readonly [path: string, data: FileContent])[],
  stale: readonly string[] = [],
): Promise<WrittenFile[]> {
  const drafts: Draft[] = [];
  let at = files[0]?.[0] ?? '';
  try {
    for (const path of [...files.map(([name]) => name), ...stale]) await refuseFolder(path);
    for (const [path, data] of files) {
      at = path;
      const draft = await writeDraft(path, data);
      drafts.push(draft);
      await draft.handle.sync();
    }
    const [main] = drafts;
    for (const path of [...(main && drafts.length > 1 ? [main.path] : []), ...stale]) {
      at = path;
      await unlink(path).catch((cause: NodeJS.ErrnoException) => {
        if (errnoOf(cause) !== 'ENOENT') throw cause;
      });
    }
    for (const draft of [...drafts].reverse()) {
      at = draft.path;
      await publish(draft.handle, draft.temporary, draft.path, draft.bytes);
    }
    return drafts.map(writtenOf);
  } catch (cause) {
    for (const draft of drafts) await discard(draft);
    throw ioError(cause, 'write', at);
  }
}

// A folder of that name would be found out only by the rename.
async function refuseFolder(path: string): Promise<void> {
  const found = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    if (errnoOf(cause) === 'ENOENT') return undefined;
    throw ioError(cause, 'write', path);
  });
  if (found?.isDirectory()) throw ioError(Object.assign(new Error('a directory'), { code: 'EISDIR' }), 'write', path);
}

interface Draft extends WrittenFile {
  readonly handle: FileHandle;
  readonly temporary: string;
}

const writtenOf = ({ path, bytes, sha256: digest }: Draft): WrittenFile => ({ path, bytes, sha256: digest });

async function discard({ handle, temporary }: Pick<Draft, 'handle' | 'temporary'>): Promise<void> {
  await handle.close().catch(() => {});
  await unlink(temporary).catch(() => {});
}

/** The whole content in a temporary file beside `path`, still open. Nothing is left of one that fails. */
async function writeDraft(path: string, data: FileContent): Promise<Draft> {
  const temporary = join(dirname(path), `.cambium-${process.pid}-${randomBytes(6).toString('hex')}.tmp`);
  let handle: FileHandle | undefined;
  let bytes = 0;
  try {
    handle = await open(temporary, 'wx', 0o666);
    const hash = createHash('sha256');
    for await (const chunk of chunksOf(data)) {
      hash.update(chunk);
      await writeAll(handle, chunk);
      bytes += chunk.length;
    }
    return { path, bytes, sha256: hash.digest('hex'), handle, temporary };
  } catch (cause) {
    if (handle) await discard({ handle, temporary });
    throw ioError(cause, 'write', path, { bytesWritten: bytes });
  }
}

/** Makes a completely written temporary file visible under its final name. Closes `handle`. */
export async function publish(handle: FileHandle, temporary: string, path: string, bytes: number): Promise<void> {
  await handle.sync();
  const { size } = await handle.stat();
  if (size !== bytes)
    throw new IoError('SHORT_WRITE', `cannot write ${printable(path)}: ${bytes} bytes written, ${size} on disk`, {
      file: path,
      expected: bytes,
      got: size,
    });
  await handle.close();
  await rename(temporary, path);
  await syncDirectory(dirname(path));
}

/** Writes every byte of `chunk` at the current position. */
export async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  let done = 0;
  while (done < chunk.length) {
    const { bytesWritten } = await handle.write(chunk, done, Math.min(chunk.length - done, PIECE));
    if (bytesWritten === 0) throw Object.assign(new Error('nothing could be written'), { code: 'ENOSPC' });
    done += bytesWritten;
  }
}

/** Makes renames and new files in a directory survive a power cut, where the platform can. */
export async function syncDirectory(directory: string): Promise<void> {
  try {
    const handle = await open(directory, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (cause) {
    // Windows and some network file systems cannot sync a directory; the rename itself has happened.
    if (!['EISDIR', 'EPERM', 'EINVAL', 'EACCES', 'ENOTSUP', 'EBADF'].includes(errnoOf(cause) ?? '')) throw cause;
  }
}

/**
 * Deletes temporaries that killed processes left in `directory`; those of living processes stay.
 * @returns the names removed.
 */
export async function removeOrphans(directory: string): Promise<string[]> {
  const removed: string[] = [];
  try {
    for (const name of (await readdir(directory)).sort()) {
      const pid = /^\.cambium-(\d+)-[0-9a-f]{12}\.tmp$/.exec(name)?.[1];
      if (pid === undefined || isAlive(Number(pid))) continue;
      await unlink(join(directory, name));
      removed.push(name);
    }
  } catch (cause) {
    throw ioError(cause, 'clean', directory);
  }
  return removed;
}

/** Whether a process of this number exists on this machine. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return errnoOf(cause) === 'EPERM';
  }
}

/** Size and sha256 of a file, read in pieces. */
export async function hashFile(path: string): Promise<WrittenFile> {
  try {
    const { handle } = await openRegular(path);
    try {
      const hash = createHash('sha256');
      const buffer = new Uint8Array(2 ** 20);
      let bytes = 0;
      for (;;) {
        const { bytesRead } = await handle.read(buffer, 0, buffer.length, bytes);
        if (bytesRead === 0) break;
        hash.update(buffer.subarray(0, bytesRead));
        bytes += bytesRead;
      }
      return { path, bytes, sha256: hash.digest('hex') };
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw ioError(cause, 'read', path);
  }
}

/** Lower-case hex sha256 of bytes or text. */
export const sha256 = (data: Uint8Array | string): string => createHash('sha256').update(data).digest('hex');

/** Whether something exists at `path`. */
export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes(errnoOf(cause) ?? '')) return false;
    throw ioError(cause, 'look at', path);
  }
}

async function* chunksOf(data: FileContent): AsyncGenerator<Uint8Array> {
  if (typeof data === 'string') yield Buffer.from(data, 'utf8');
  else if (data instanceof Uint8Array) yield data;
  else yield* data;
}
