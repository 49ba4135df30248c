/**
 * A run's folder: head, metrics, checkpoints, best weights, report. A checkpoint is a safetensors file and a manifest with
 * its hash; the manifest is written last, and only what a manifest covers is trusted.
 *
 *   run.json  metrics.jsonl  checkpoints/<name>.{safetensors,json}  report.txt  report.json  model/
 */
import { mkdir, open, readdir, readFile, statfs, truncate, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DataError, IoError, LockedError, printable } from '../base/errors.ts';
import {
  errnoOf,
  exists,
  ioError,
  isAlive,
  type Json,
  readJson,
  readSafetensors,
  removeOrphans,
  sha256,
  writeFileAtomic,
  writeJson,
  writeSafetensors,
} from '../io/index.ts';
import type { CheckpointStore, Snapshot } from './checkpointing.ts';

export interface Run extends CheckpointStore {
  /** What was given to `createRun`. */
  readonly head: Json;
  /** The newest intact checkpoint, or the one named; none before the first was saved. */
  newest(name?: string): Promise<{ snapshot?: Snapshot; warnings: string[] }>;
  /** Keeps one line of metrics; written by `flushLog` and with every checkpoint. */
  log(record: Record<string, unknown>): void;
  flushLog(): Promise<void>;
  /** Cuts the metrics back to where a checkpoint stood (to nothing without one). */
  rewindLog(snapshot?: Snapshot): Promise<void>;
  writeReport(text: string, json: Json): Promise<void>;
  /** Gives the folder free for other processes. */
  close(): Promise<void>;
}

const HEAD = 'run.json';
const LOG = 'metrics.jsonl';
const LOCK = '.lock';
const FORMAT = 1;
const NAME = /^(?:step-\d{9}|best-\d{9})$/;
const number = (step: number): string => String(step).padStart(9, '0');

/**
 * A new run folder; its parents are made.
 * @throws IoError when it exists with a run in it, cannot be written, or the disk has no room; LockedError.
 */
export async function createRun(
  dir: string,
  head: Json,
  { keepLast = 2, checkpointBytes = 0 }: { keepLast?: number; checkpointBytes?: number } = {},
): Promise<Run> {
  try {
    await mkdir(dir, { recursive: true });
    if (await exists(join(dir, HEAD)))
      throw new IoError('RUN_EXISTS', `${printable(dir)} already holds a run`, {
        file: join(dir, HEAD),
        hint: `continue it with: cambium resume ${dir}; or choose another folder with --out`,
      });
    await mkdir(join(dir, 'checkpoints'), { recursive: true });
  } catch (cause) {
    throw ioError(cause, 'create', dir);
  }
  const unlock = await lock(dir);
  try {
    await checkRoom(dir, checkpointBytes * (keepLast + 2) + 2 ** 20);
    const { value, keep } = { value: { format: FORMAT, keepLast, head }, keep: keepLast };
    await writeJson(join(dir, HEAD), value);
    return new RunFolder(dir, head, keep, unlock);
  } catch (error) {
    await unlock();
    throw error;
  }
}

/** An existing run folder, locked. @throws IoError, DataError, LockedError. */
export async function openRun(dir: string): Promise<Run> {
  const path = join(dir, HEAD);
  if (!(await exists(path)))
    throw new IoError('RUN_NOT_FOUND', `${printable(dir)} is not a run folder: it has no ${HEAD}`, { file: path });
  const unlock = await lock(dir);
  try {
    const value = (await readJson(path)) as { format?: number; keepLast?: number; head?: Json };
    if (value?.format !== FORMAT || value.head === undefined)
      throw new DataError('RUN_FORMAT', `${printable(path)} is not a run of format ${FORMAT}`, {
        file: path,
        field: 'format',
        expected: FORMAT,
        got: value?.format,
      });
    await removeOrphans(dir);
    await removeOrphans(join(dir, 'checkpoints'));
    return new RunFolder(dir, value.head, value.keepLast ?? 2, unlock);
  } catch (error) {
    await unlock();
    throw error;
  }
}

interface Manifest {
  readonly step: number;
  readonly state: Json;
  readonly tensors: { readonly bytes: number; readonly sha256: string };
}

class RunFolder implements Run {
  readonly dir: string;
  readonly head: Json;
  readonly #keepLast: number;
  readonly #unlock: () => Promise<void>;
  #lines: string[] = [];

  constructor(dir: string, head: Json, keepLast: number, unlock: () => Promise<void>) {
    this.dir = dir;
    this.head = head;
    this.#keepLast = keepLast;
    this.#unlock = unlock;
  }

  async save(step: number, snapshot: Snapshot): Promise<string> {
    await this.flushLog();
    const name = `step-${number(step)}`;
    await this.#write(name, step, snapshot);
    await this.#drop('step-', this.#keepLast);
    return name;
  }

  async saveBest(step: number, snapshot: Snapshot): Promise<void> {
    await this.#write(`best-${number(step)}`, step, snapshot);
    // A run killed before its next checkpoint repeats this epoch; the best before it is not needed for that.
    await this.#drop('best-', 1, `best-${number(step)}`);
  }

  async loadBest(): Promise<Snapshot | undefined> {
    const name = (await this.#names('best-')).at(-1);
    return name === undefined ? undefined : this.#read(name);
  }

  async newest(wanted?: string): Promise<{ snapshot?: Snapshot; warnings: string[] }> {
    if (wanted !== undefined) {
      if (!NAME.test(wanted) || !(await exists(this.#path(wanted, 'json'))))
        throw new IoError('CHECKPOINT_NOT_FOUND', `${printable(this.dir)} has no checkpoint ${printable(wanted)}`, {
          file: join(this.dir, 'checkpoints'),
          expected: (await this.#names('step-')).join(', '),
        });
      return { snapshot: await this.#read(wanted), warnings: [] };
    }
    const names = (await this.#names('step-')).reverse();
    const warnings: string[] = [];
    let first: unknown;
    for (const name of names) {
      try {
        return { snapshot: await this.#read(name), warnings };
      } catch (error) {
        if (!(error instanceof DataError)) throw error;
        first ??= error;
        warnings.push(`checkpoint ${name} is damaged (${error.message}): using the one before it`);
      }
    }
    // A run whose every checkpoint is damaged must not silently begin anew.
    if (first !== undefined) throw first;
    return { warnings };
  }

  async #write(name: string, step: number, { tensors, state }: Snapshot): Promise<void> {
    const written = await writeSafetensors(this.#path(name, 'safetensors'), tensors);
    const manifest = { step, state, tensors: { bytes: written.bytes, sha256: written.sha256 } };
    const body = JSON.stringify(manifest);
    await writeFileAtomic(
      this.#path(name, 'json'),
      `${JSON.stringify({ format: FORMAT, sha256: sha256(body), body })}\n`,
    );
  }

  async #read(name: string): Promise<Snapshot> {
    const path = this.#path(name, 'json');
    const { body, sha256: digest, format } = (await readJson(path)) as { body?: Json; sha256?: Json; format?: Json };
    if (format !== FORMAT || typeof body !== 'string' || sha256(body) !== digest)
      throw new DataError('CHECKPOINT_DAMAGED', `${printable(path)} is damaged: its sha256 is not the recorded one`, {
        file: path,
        offset: 0,
        expected: digest,
        got: typeof body === 'string' ? sha256(body) : body,
      });
    const manifest = JSON.parse(body) as Manifest;
    const { tensors } = await readSafetensors(this.#path(name, 'safetensors'), { sha256: manifest.tensors.sha256 });
    return { tensors, state: manifest.state };
  }

  #path(name: string, extension: string): string {
    return join(this.dir, 'checkpoints', `${name}.${extension}`);
  }

  /** Complete checkpoints, oldest first. */
  async #names(prefix: string): Promise<string[]> {
    try {
      const files = await readdir(join(this.dir, 'checkpoints'));
      return files
        .filter((file) => file.endsWith('.json') && file.startsWith(prefix))
        .map((file) => file.slice(0, -'.json'.length))
        .filter((name) => NAME.test(name))
        .sort();
    } catch (cause) {
      throw ioError(cause, 'list', join(this.dir, 'checkpoints'));
    }
  }

  /** Deletes all but the newest `keep` (or the one named). The manifest goes first: half a checkpoint is none. */
  async #drop(prefix: string, keep: number, keepName?: string): Promise<void> {
    const names = await this.#names(prefix);
    const old = keepName === undefined ? names.slice(0, -keep) : names.filter((name) => name !== keepName);
    for (const name of old)
      for (const extension of ['json', 'safetensors']) await unlink(this.#path(name, extension)).catch(() => {});
  }

  log(record: Record<string, unknown>): void {
    this.#lines.push(`${JSON.stringify(record)}\n`);
  }

  async flushLog(): Promise<void> {
    if (this.#lines.length === 0) return;
    const path = join(this.dir, LOG);
    try {
      const handle = await open(path, 'a');
      try {
        const bytes = Buffer.from(this.#lines.join(''));
        for (let at = 0; at < bytes.length; ) at += (await handle.write(bytes, at)).bytesWritten;
        await handle.sync();
      } finally {
        await handle.close();
      }
      this.#lines = [];
    } catch (cause) {
      throw ioError(cause, 'write', path);
    }
  }

  async rewindLog(snapshot?: Snapshot): Promise<void> {
    const path = join(this.dir, LOG);
    this.#lines = [];
    if (!(await exists(path))) return;
    const { step = 0, epoch = 0 } = (snapshot?.state ?? {}) as { step?: number; epoch?: number };
    try {
      const text = await readFile(path, 'utf8');
      let keep = 0;
      for (const line of text.split('\n')) {
        const record = parsed(line);
        // An epoch's line counts once the epoch is completed in the checkpoint.
        const kept = record && record.step <= step && !('trainLoss' in record && record.epoch > epoch);
        if (!kept) break;
        keep += Buffer.byteLength(line) + 1;
      }
      await truncate(path, keep);
    } catch (cause) {
      throw ioError(cause, 'write', path);
    }
  }

  async writeReport(text: string, json: Json): Promise<void> {
    await writeFileAtomic(join(this.dir, 'report.txt'), text);
    await writeJson(join(this.dir, 'report.json'), json);
  }

  async close(): Promise<void> {
    // After a failure the lines still unwritten are repeated by the resumed run.
    await this.flushLog().catch(() => {});
    await this.#unlock();
  }
}

function parsed(line: string): { step: number; epoch: number } | undefined {
  try {
    const record = JSON.parse(line) as { step: number; epoch: number };
    return typeof record?.step === 'number' ? record : undefined;
  } catch {
    return undefined;
  }
}

/** One process a folder. A lock whose process is gone is taken over. */
async function lock(dir: string): Promise<() => Promise<void>> {
  const path = join(dir, LOCK);
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      await writeFile(path, `${process.pid}\n`, { flag: 'wx' });
      return () => unlink(path).catch(() => {});
    } catch (cause) {
      if (errnoOf(cause) !== 'EEXIST') throw ioError(cause, 'write', path);
      const pid = Number((await readFile(path, 'utf8').catch(() => '')).trim());
      if (pid > 0 && pid !== process.pid && isAlive(pid))
        throw new LockedError('RUN_LOCKED', `${printable(dir)} is in use by process ${pid}`, {
          file: path,
          pid,
          hint: `wait for it, or stop it with: kill ${pid}`,
        });
      await unlink(path).catch(() => {});
    }
  }
  throw new LockedError('RUN_LOCKED', `${printable(dir)} is being taken by another process`, { file: path });
}

/** Refuses to begin what cannot be saved. */
async function checkRoom(dir: string, needed: number): Promise<void> {
  let free: number;
  try {
    const { bavail, bsize } = await statfs(dir);
    free = bavail * bsize;
  } catch {
    return;
  }
  if (free < needed)
    throw new IoError('DISK_FULL', `${printable(dir)}: the checkpoints need ${needed} bytes, ${free} are free`, {
      file: dir,
      needed,
      free,
      hint: 'choose a folder on another disk with --out, or keep fewer with --set checkpoint.keepLast=1',
    });
}
