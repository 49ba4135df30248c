/**
 * Feature caches on disk: a folder of safetensors shards and a manifest with their hashes. A folder is made beside its
 * place and renamed into it, so another process sees it whole or not at all; who comes second uses the first one's.
 */
import { type FileHandle, open, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import {
  bytesOf,
  cacheDir,
  hashFile,
  ioError,
  type Json,
  makeDirectory,
  makePrivateDir,
  readJson,
  readSafetensorsHeader,
  safetensorsHead,
  syncDirectory,
  writeFileAtomic,
  writeJson,
} from '../../io/index.ts';
import { damaged, draftFolder, MANIFEST, makeRoom } from '../cache-room.ts';

const FORMAT = 1;
const SHARD_BYTES = 64 * 2 ** 20;

export interface CacheRequest {
  /** sha256 that names everything the features depend on. */
  readonly key: string;
  readonly rows: number;
  /** Values of one sample. */
  readonly width: number;
}

interface Shard {
  readonly file: string;
  readonly rows: number;
  readonly bytes: number;
  readonly sha256: string;
}

/** Rows of features by position; in memory where they fit, else read from the shards. */
export interface CachedRows {
  readonly path: string;
  readonly bytes: number;
  readonly inMemory: boolean;
  row(index: number): Float32Array | Promise<Float32Array>;
  close(): Promise<void>;
}

/** Where feature caches are kept. */
export const featureCacheDir = (): string => join(cacheDir(), 'features');

/** The cache called `key`, verified; undefined if there is none. @throws DataError CACHE_DAMAGED; IoError. */
export async function openCache(request: CacheRequest, memory: number): Promise<CachedRows | undefined> {
  const path = join(featureCacheDir(), request.key);
  const file = join(path, MANIFEST);
  const found = await stat(file).catch(() => undefined);
  if (!found) return undefined;
  const shards = parseManifest(await readJson(file), file, request);
  for (const shard of shards) {
    const { sha256 } = await hashFile(join(path, shard.file));
    if (sha256 !== shard.sha256) damaged(join(path, shard.file), 'sha256', shard.sha256, sha256);
  }
  // The one used longest ago is the first to go.
  const now = new Date();
  await utimes(file, now, now).catch(() => {});
  const bytes = request.rows * request.width * 4;
  return bytes <= memory ? loaded(path, shards, request) : onDisk(path, shards, request);
}

/** Removes a cache, e.g. a damaged one. */
export const removeCache = (key: string): Promise<void> =>
  rm(join(featureCacheDir(), key), { recursive: true, force: true });

/**
 * Writes rows as they come, in order. @throws IoError CACHE_NO_ROOM before anything is written where disk or budget do not
 * allow; any other IoError. Nothing half-written is left.
 */
export async function makeCache(request: CacheRequest, batches: AsyncIterable<Float32Array>): Promise<void> {
  const root = await makePrivateDir(featureCacheDir());
  const { key, rows, width } = request;
  await makeRoom(root, rows * width * 4, { things: 'features', limit: 'CAMBIUM_FEATURE_CACHE' });
  const draft = draftFolder(root, key);
  try {
    await makeDirectory(draft, { mode: 0o700 });
    const perShard = Math.max(1, Math.floor(SHARD_BYTES / (4 * width)));
    const count = Math.ceil(rows / perShard);
    const shards: Shard[] = [];
    const buffer = new Float32Array(Math.min(perShard, rows) * width);
    let used = 0;
    const write = async (): Promise<void> => {
      const size = used / width;
      const file = `features-${number(shards.length + 1)}-of-${number(count)}.safetensors`;
      const path = join(draft, file);
      const head = safetensorsHead(path, [['features', { dtype: 'f32', shape: [size, width] }]]);
      const { sha256, bytes } = await writeFileAtomic(path, [head, bytesOf(buffer.subarray(0, used))]);
      shards.push({ file, rows: size, bytes, sha256 });
      used = 0;
    };
    for await (const values of batches)
      for (let at = 0; at < values.length; ) {
        const part = values.subarray(at, at + buffer.length - used);
        buffer.set(part, used);
        used += part.length;
        at += part.length;
        if (used === buffer.length) await write();
      }
    if (used > 0) await write();
    await writeJson(join(draft, MANIFEST), { format: FORMAT, key, rows, width, shards });
    await rename(draft, join(root, key));
    await syncDirectory(root);
  } catch (cause) {
    await rm(draft, { recursive: true, force: true }).catch(() => {});
    const { code } = cause as { code?: string };
    // Another process was first; its cache has the same name and so the same content.
    if (code === 'ENOTEMPTY' || code === 'EEXIST') return;
    throw ioError(cause, 'write', join(root, key));
  }
}

const number = (n: number): string => String(n).padStart(5, '0');

function parseManifest(value: Json, file: string, { key, rows, width }: CacheRequest): Shard[] {
  const found = (typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {}) as Partial<
    Record<string, Json>
  >;
  for (const [field, expected] of Object.entries({ format: FORMAT, key, rows, width }))
    if (found[field] !== expected) damaged(file, field, expected, found[field]);
  const shards = (Array.isArray(found.shards) ? found.shards : []) as unknown as Shard[];
  const good = shards.every(
    (shard) =>
      typeof shard?.file === 'string' &&
      /^features-\d{5}-of-\d{5}\.safetensors$/.test(shard.file) &&
      Number.isInteger(shard.rows) &&
      shard.rows > 0,
  );
  if (!good || shards.reduce((sum, shard) => sum + shard.rows, 0) !== rows)
    damaged(file, 'shards', `${rows} rows`, shards);
  return shards;
}

/** All rows in one block of memory. */
async function loaded(path: string, shards: readonly Shard[], { rows, width }: CacheRequest): Promise<CachedRows> {
  const all = new Float32Array(rows * width);
  let at = 0;
  for (const { handle, start, count } of await openShards(path, shards, width))
    try {
      await readInto(handle, bytesOf(all.subarray(at, at + count * width)), start, path);
      at += count * width;
    } finally {
      await handle.close();
    }
  return {
    path,
    bytes: all.byteLength,
    inMemory: true,
    row: (index) => all.subarray(index * width, (index + 1) * width),
    close: async () => {},
  };
}

/** Rows read one by one; the system's page cache holds what is hot. */
async function onDisk(path: string, shards: readonly Shard[], { rows, width }: CacheRequest): Promise<CachedRows> {
  const files = await openShards(path, shards, width);
  const perShard = files[0]?.count ?? 1;
  return {
    path,
    bytes: rows * width * 4,
    inMemory: false,
    row: async (index) => {
      const { handle, start } = files[Math.floor(index / perShard)] as OpenShard;
      const values = new Float32Array(width);
      await readInto(handle, bytesOf(values), start + (index % perShard) * width * 4, path);
      return values;
    },
    close: async () => {
      for (const { handle } of files) await handle.close();
    },
  };
}

interface OpenShard {
  readonly handle: FileHandle;
  /** Byte of the first row. */
  readonly start: number;
  readonly count: number;
}

async function openShards(path: string, shards: readonly Shard[], width: number): Promise<OpenShard[]> {
  const opened: OpenShard[] = [];
  try {
    for (const { file, rows } of shards) {
      const full = join(path, file);
      const entry = (await readSafetensorsHeader(full)).entries.get('features');
      if (entry?.shape.join() !== `${rows},${width}`) damaged(full, 'shape', [rows, width], entry?.shape);
      opened.push({ handle: await open(full, 'r'), start: entry?.start ?? 0, count: rows });
    }
    return opened;
  } catch (cause) {
    for (const { handle } of opened) await handle.close();
    throw ioError(cause, 'read', path);
  }
}

async function readInto(handle: FileHandle, bytes: Uint8Array, start: number, path: string): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesRead } = await handle.read(bytes, done, bytes.length - done, start + done);
    if (bytesRead === 0) damaged(path, 'length', bytes.length, done);
    done += bytesRead;
  }
}
