/** One process at a time writes to a run folder; a lock left by a process that died is taken over. */
import { randomBytes } from 'node:crypto';
import { link, open, readFile, rename, stat, unlink, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { LockedError, printable } from '../../base/errors.ts';
import { isAlive } from '../../io/atomic.ts';
import { errnoOf, ioError } from '../../io/failure.ts';

export interface LockOwner {
  readonly pid: number;
  readonly host: string;
  /** Start time of the process as the system tells it: a process number alone may be another process by now. */
  readonly started: string | null;
  readonly since: string;
  readonly token: string;
}

export interface Lock {
  readonly path: string;
  readonly owner: LockOwner;
  /** Removes the lock if it is still ours. May be called twice. */
  release(): Promise<void>;
}

/** A lock file no process can be said to own is given this long, in case its writer is at work. */
const GRACE_MS = 5000;

/** @throws LockedError naming the process that holds it; IoError when the file cannot be written. */
export async function acquireLock(path: string): Promise<Lock> {
  const token = randomBytes(8).toString('hex');
  const owner: LockOwner = {
    pid: process.pid,
    host: hostname(),
    started: await startTime(process.pid),
    since: new Date().toISOString(),
    token,
  };
  try {
    const text = `${JSON.stringify(owner)}\n`;
    for (let attempt = 0; attempt < 40; attempt++) {
      const lock = { path, owner, release: () => release(path, token) };
      if (await create(path, text, token)) return lock;
      const held = await readLock(path);
      if (held === undefined) continue;
      if (await isHeld(held, path)) throw locked(path, held.owner);
      if (await takeOver(path, text, token)) return lock;
      await sleep(5 + Math.random() * 20);
    }
  } catch (cause) {
    throw ioError(cause, 'lock', path);
  }
  throw locked(path, null);
}

/** Who holds the lock now, or undefined. A stale lock is held by nobody. */
export async function lockOwner(path: string): Promise<LockOwner | undefined> {
  const held = await readLock(path);
  return held?.owner && (await isHeld(held, path)) ? held.owner : undefined;
}

// A link to a complete file: no reader ever sees a lock without its owner.
async function create(path: string, text: string, token: string): Promise<boolean> {
  const temporary = `${path}.${process.pid}-${token}`;
  const handle = await open(temporary, 'wx');
  try {
    await handle.writeFile(text);
    await handle.sync();
    await handle.close();
    await link(temporary, path);
    return true;
  } catch (cause) {
    await handle.close().catch(() => {});
    if (errnoOf(cause) === 'EEXIST') return false;
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(errnoOf(cause) ?? '')) throw cause;
    return await createWithoutLinks(path, text);
  } finally {
    await unlink(temporary).catch(() => {});
  }
}

async function createWithoutLinks(path: string, text: string): Promise<boolean> {
  try {
    const handle = await open(path, 'wx');
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    return true;
  } catch (cause) {
    if (errnoOf(cause) === 'EEXIST') return false;
    throw cause;
  }
}

interface Held {
  readonly text: string;
  readonly owner: LockOwner | null;
}

async function readLock(path: string): Promise<Held | undefined> {
  try {
    const text = await readFile(path, 'utf8');
    return { text, owner: parseOwner(text) };
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return undefined;
    throw ioError(cause, 'read', path);
  }
}

function parseOwner(text: string): LockOwner | null {
  try {
    const owner = JSON.parse(text) as LockOwner;
    return Number.isSafeInteger(owner.pid) && owner.pid > 0 && typeof owner.host === 'string' ? owner : null;
  } catch {
    return null;
  }
}

async function isHeld({ owner }: Held, path: string): Promise<boolean> {
  if (owner === null) {
    const age =
      Date.now() -
      (await stat(path).then(
        (s) => s.mtimeMs,
        () => 0,
      ));
    return age < GRACE_MS;
  }
  // Processes of another machine cannot be looked at from here.
  if (owner.host !== hostname()) return true;
  if (!isAlive(owner.pid)) return false;
  const started = await startTime(owner.pid);
  return started === null || owner.started === null || started === owner.started;
}

/**
 * Replaces a stale lock. Processes that find the same one do so in turn, under a guard, and look again; and the lock is
 * replaced in one step, never absent: else one would delete the new lock of another, and both would hold it.
 */
async function takeOver(path: string, text: string, token: string): Promise<boolean> {
  const guard = `${path}.takeover`;
  if (!(await create(guard, text, token))) {
    const held = await readLock(guard);
    if (held === undefined || (await isHeld(held, guard))) return false;
    // Its process died in the middle of a takeover: the guard is itself a stale lock, and is taken over as one.
    if (!(await takeOver(guard, text, token))) return false;
  }
  const temporary = `${path}.${process.pid}-${token}`;
  try {
    const held = await readLock(path);
    if (held === undefined || (await isHeld(held, path))) return false;
    await writeFile(temporary, text, { flag: 'wx', flush: true });
    await rename(temporary, path);
    return true;
  } finally {
    await unlink(temporary).catch(() => {});
    await release(guard, token);
  }
}

async function release(path: string, token: string): Promise<void> {
  const held = await readLock(path);
  if (held?.owner?.token !== token) return;
  await unlink(path).catch((cause) => {
    if (errnoOf(cause) !== 'ENOENT') throw ioError(cause, 'unlock', path);
  });
}

/** What the system says about when a process began; null where it does not say. */
async function startTime(pid: number): Promise<string | null> {
  try {
    const line = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold spaces and parentheses; field 22 is the 20th after it.
    const ticks = line.slice(line.lastIndexOf(')') + 2).split(' ')[19];
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '');
    return ticks ? `${boot.trim()}:${ticks}` : null;
  } catch {
    return null;
  }
}

function locked(path: string, owner: LockOwner | null): LockedError {
  const by = owner ? `process ${owner.pid} on ${printable(owner.host)}` : 'another process';
  return new LockedError('RUN_LOCKED', `${printable(path)}: in use by ${by}`, {
    file: path,
    pid: owner?.pid,
    host: owner?.host,
    since: owner?.since,
    hint:
      owner && owner.host !== hostname()
        ? 'if that process is gone, delete the file'
        : 'wait for it to end, or choose another folder',
  });
}
