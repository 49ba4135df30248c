/**
 * Room for a folder of caches: each is a folder named by a sha256 with a manifest in it, made as a draft beside its place and
 * renamed into it, so another process sees it whole or not at all.
 */
import { randomBytes } from 'node:crypto';
import { readdir, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { DataError, IoError, printable } from '../base/errors.ts';
import { isAlive } from '../io/index.ts';
import { byteText, formatBytes, parseBytes } from './machine-memory.ts';

export const MANIFEST = 'manifest.json';

/** Left free on the disk for everything else. */
const RESERVE = 256 * 2 ** 20;
const DEFAULT_BUDGET = 20 * 2 ** 30;

/** Where the cache `key` is made. */
export const draftFolder = (root: string, key: string): string =>
  join(root, `.${key.slice(0, 16)}-${process.pid}-${randomBytes(4).toString('hex')}.tmp`);

export interface RoomFor {
  /** What is kept, in words. */
  readonly things: string;
  /** The environment variable with the bytes that all caches of the folder may take, e.g. `5 GiB`; 20 GiB unless set. */
  readonly limit: string;
}

function budget(variable: string): number {
  const text = process.env[variable];
  if (text === undefined || text === '') return DEFAULT_BUDGET;
  if (byteText.test(text)) return parseBytes(text);
  throw new DataError('CACHE_BUDGET', `${variable}: expected bytes or a size such as "5 GiB"`, {
    field: variable,
    got: text,
  });
}

/**
 * Makes room within the budget by removing caches used longest ago, and drafts of processes that are gone. `written` bytes of
 * the `needed` lie on the disk already.
 * @throws IoError CACHE_NO_ROOM.
 */
export async function makeRoom(
  root: string,
  needed: number,
  { things, limit: variable }: RoomFor,
  written = 0,
): Promise<void> {
  const limit = budget(variable);
  const refuse = (words: string, details: Record<string, unknown>): never => {
    throw new IoError('CACHE_NO_ROOM', `the ${things} would take ${formatBytes(needed)}; ${words}`, {
      file: root,
      needed,
      ...details,
    });
  };
  if (needed > limit)
    refuse(`all caches of ${things} together may take ${formatBytes(limit)}`, {
      expected: limit,
      hint: `set ${variable} to a larger size`,
    });
  const old: { path: string; bytes: number; used: number }[] = [];
  for (const name of await readdir(root)) {
    const path = join(root, name);
    const pid = /^\.[0-9a-f]{16}-(\d+)-[0-9a-f]{8}\.tmp$/.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) await rm(path, { recursive: true, force: true });
    if (!/^[0-9a-f]{64}$/.test(name)) continue;
    const manifest = await stat(join(path, MANIFEST)).catch(() => undefined);
    old.push({ path, bytes: await folderBytes(path), used: manifest?.mtimeMs ?? 0 });
  }
  old.sort((a, b) => a.used - b.used);
  let total = old.reduce((sum, { bytes }) => sum + bytes, 0);
  for (const { path, bytes } of old) {
    if (total + needed <= limit) break;
    await rm(path, { recursive: true, force: true });
    total -= bytes;
  }
  const room = await statfs(root).catch(() => undefined);
  const free = room === undefined ? Number.POSITIVE_INFINITY : room.bavail * room.bsize;
  if (free < needed - written + RESERVE)
    refuse(`${formatBytes(free)} are free on the disk of ${printable(root)}`, {
      free,
      hint: 'set CAMBIUM_CACHE to a folder on another disk',
    });
}

async function folderBytes(path: string): Promise<number> {
  let total = 0;
  for (const name of await readdir(path).catch(() => []))
    total += (await stat(join(path, name)).catch(() => ({ size: 0 }))).size;
  return total;
}

/** What lies in the cache is not what was written. */
export function damaged(file: string, field: string, expected: unknown, got: unknown): never {
  throw new DataError('CACHE_DAMAGED', `${printable(file)} is damaged: ${field} is not what was written`, {
    file,
    field,
    expected,
    got,
    hint: 'remove it; it is made again',
  });
}
