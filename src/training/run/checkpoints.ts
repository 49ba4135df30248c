/**
 * The checkpoints of a run. A new one is built under a temporary name and renamed when every byte is on disk; old ones
 * go only after that, so at no instant is there less than one complete checkpoint.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ArgumentError, type CambiumError, DataError, IoError, printable } from '../../base/errors.ts';
import { isAlive, removeOrphans, syncDirectory } from '../../io/atomic.ts';
import { errnoOf, ioError } from '../../io/failure.ts';
import { readJson, writeJson } from '../../io/json.ts';
import {
  type Checkpoint,
  type CheckpointContent,
  checkpointName,
  isDamage,
  type LoadOptions,
  parseName,
  readCheckpoint,
  writeParts,
} from './checkpoint.ts';

export interface CheckpointsOptions {
  /** Newest checkpoints to keep, besides the best; 2. */
  keepLast?: number;
}

export interface SaveOptions {
  /** This is the best so far: it stays until another is. */
  best?: boolean;
}

export interface SavedCheckpoint {
  readonly name: string;
  readonly path: string;
  readonly bytes: number;
  /** Older checkpoints that were deleted. */
  readonly removed: readonly string[];
  /** What could not be cleaned up; the checkpoint itself is safe. */
  readonly warnings: readonly string[];
}

export interface LatestCheckpoint {
  readonly checkpoint: Checkpoint;
  /** One line for each newer checkpoint that was damaged and passed over. */
  readonly warnings: readonly string[];
}

// Temporaries being written by this process right now, whichever store they belong to.
const active = new Set<string>();

export class Checkpoints {
  readonly directory: string;
  readonly keepLast: number;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(directory: string, { keepLast = 2 }: CheckpointsOptions = {}) {
    if (!Number.isInteger(keepLast) || keepLast < 1)
      throw new ArgumentError('KEEP_LAST_INVALID', `keepLast is an integer from 1, got ${printable(keepLast)}`, {
        field: 'keepLast',
        got: keepLast,
      });
    this.directory = directory;
    this.keepLast = keepLast;
  }

  /** Names of the checkpoints, oldest first. Whether they are intact shows when they are loaded. */
  async list(): Promise<string[]> {
    const names = await this.#names();
    return names.filter((name) => parseName(name) !== undefined).sort(byStep);
  }

  /** Saves durably, then deletes what need not be kept. @throws IoError; earlier checkpoints are then untouched. */
  async save(content: CheckpointContent, { best = false }: SaveOptions = {}): Promise<SavedCheckpoint> {
    const { step } = content;
    if (!Number.isSafeInteger(step) || step < 0)
      throw new ArgumentError('STEP_INVALID', `a step is an integer from 0, got ${printable(step)}`, {
        field: 'step',
        got: step,
      });
    return this.#queue(async () => {
      try {
        await mkdir(this.directory, { recursive: true });
        const warnings: string[] = [];
        await attempt(warnings, () => this.#removeOrphans());
        const { name, bytes } = await this.#write(content);
        if (best) await this.#setBest(name);
        const removed: string[] = [];
        await attempt(warnings, async () => void removed.push(...(await this.#retain(name))));
        return { name, path: join(this.directory, name), bytes, removed, warnings };
      } catch (cause) {
        throw ioError(cause, 'save a checkpoint in', this.directory);
      }
    });
  }

  /** One checkpoint, by name (or step). @throws DataError CHECKPOINT_UNKNOWN; CHECKPOINT_DAMAGED naming the part. */
  async load(which: string | number, options: LoadOptions = {}): Promise<Checkpoint> {
    const names = await this.list();
    const wanted = typeof which === 'number' ? checkpointName(which) : which;
    const step = parseName(wanted)?.step;
    const name =
      names.includes(wanted) && typeof which === 'string'
        ? wanted
        : names.findLast((candidate) => parseName(candidate)?.step === step && step !== undefined);
    if (name === undefined)
      throw new DataError('CHECKPOINT_UNKNOWN', `there is no checkpoint ${printable(which)}`, {
        file: this.directory,
        field: 'checkpoint',
        expected: names,
        got: which,
        hint: names.length > 0 ? `there are ${names.join(', ')}` : 'the run has no checkpoint yet',
      });
    return readCheckpoint(join(this.directory, name), options);
  }

  /**
   * The newest checkpoint that is intact; undefined when there is none at all.
   * @throws DataError NO_INTACT_CHECKPOINT when there are some and all are damaged.
   */
  async latest(options: LoadOptions = {}): Promise<LatestCheckpoint | undefined> {
    const names = (await this.list()).reverse();
    const warnings: string[] = [];
    let first: CambiumError | undefined;
    for (const name of names) {
      try {
        return { checkpoint: await readCheckpoint(join(this.directory, name), options), warnings };
      } catch (error) {
        if (!isDamage(error)) throw error;
        first ??= error;
        warnings.push(error.message);
      }
    }
    if (!first) return undefined;
    throw new DataError('NO_INTACT_CHECKPOINT', `every checkpoint is damaged: ${warnings.join('; ')}`, {
      file: this.directory,
      part: first.details.part,
      damaged: names,
      cause: first,
    });
  }

  /** Name of the best checkpoint, if one was marked and is there. */
  async best(): Promise<string | undefined> {
    try {
      const row = (await readJson(this.#bestPath)) as { checkpoint?: unknown } | null;
      const name = row?.checkpoint;
      return typeof name === 'string' && (await this.list()).includes(name) ? name : undefined;
    } catch (cause) {
      // A pointer that is gone or unreadable only means that none is known to be the best.
      if (cause instanceof DataError || (cause as CambiumError).code === 'FILE_NOT_FOUND') return undefined;
      throw cause;
    }
  }

  /** Marks a checkpoint as the best: it stays until another is marked. */
  markBest(name: string): Promise<void> {
    return this.#queue(async () => {
      if (!(await this.list()).includes(name))
        throw new DataError('CHECKPOINT_UNKNOWN', `there is no checkpoint ${printable(name)}`, {
          file: this.directory,
          field: 'checkpoint',
          got: name,
        });
      await this.#setBest(name);
    });
  }

  get #bestPath(): string {
    return join(this.directory, 'best.json');
  }

  async #setBest(name: string): Promise<void> {
    await writeJson(this.#bestPath, { checkpoint: name });
  }

  async #write(content: CheckpointContent): Promise<{ name: string; bytes: number }> {
    const temporary = this.#temporary(checkpointName(content.step));
    active.add(temporary);
    try {
      await mkdir(temporary);
      const manifest = await writeParts(temporary, content);
      const same = (await this.list()).filter((name) => parseName(name)?.step === content.step).at(-1);
      const revision = same === undefined ? 1 : (parseName(same)?.revision ?? 0) + 1;
      const name = checkpointName(content.step, revision);
      await rename(temporary, join(this.directory, name));
      await syncDirectory(this.directory);
      return { name, bytes: Object.values(manifest.parts).reduce((sum, part) => sum + part.bytes, 0) };
    } catch (cause) {
      await rm(temporary, { recursive: true, force: true }).catch(() => {});
      throw cause;
    } finally {
      active.delete(temporary);
    }
  }

  async #retain(saved: string): Promise<string[]> {
    const names = await this.list();
    // Later steps are of a run that was taken back to an earlier checkpoint; it must not come back to them.
    const past = names.slice(0, names.indexOf(saved) + 1);
    // Of several saves of one step the last counts.
    const step = (name: string | undefined): number | undefined => parseName(name ?? '')?.step;
    const current = past.filter((name, i) => step(name) !== step(past[i + 1]));
    const best = await this.best();
    const keep = new Set(current.slice(-this.keepLast));
    if (best !== undefined && past.includes(best)) keep.add(best);
    const removed = names.filter((name) => !keep.has(name));
    for (const name of removed) await this.#remove(name);
    return removed;
  }

  // Renamed first: a kill in the middle of deleting leaves an orphan, not half a checkpoint.
  async #remove(name: string): Promise<void> {
    const trash = this.#temporary(name);
    active.add(trash);
    try {
      await rename(join(this.directory, name), trash);
      await rm(trash, { recursive: true, force: true });
    } catch (cause) {
      throw ioError(cause, 'delete', join(this.directory, name));
    } finally {
      active.delete(trash);
    }
  }

  #temporary(name: string): string {
    return join(this.directory, `.tmp-${process.pid}-${randomBytes(4).toString('hex')}-${name}`);
  }

  async #removeOrphans(): Promise<void> {
    await removeOrphans(this.directory);
    for (const name of await this.#names()) {
      const pid = Number(/^\.tmp-(\d+)-/.exec(name)?.[1] ?? Number.NaN);
      const path = join(this.directory, name);
      if (Number.isNaN(pid) || active.has(path) || (pid !== process.pid && isAlive(pid))) continue;
      await rm(path, { recursive: true, force: true });
    }
  }

  async #names(): Promise<string[]> {
    try {
      return await readdir(this.directory);
    } catch (cause) {
      if (errnoOf(cause) === 'ENOENT') return [];
      throw ioError(cause, 'list', this.directory);
    }
  }

  #queue<T>(job: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(job);
    this.#tail = result.catch(() => {});
    return result;
  }
}

function byStep(a: string, b: string): number {
  const x = parseName(a) ?? { step: -1, revision: 0 };
  const y = parseName(b) ?? { step: -1, revision: 0 };
  return x.step - y.step || x.revision - y.revision;
}

// Cleaning up is not worth losing a run for: the checkpoint is on disk.
async function attempt(warnings: string[], job: () => Promise<void>): Promise<void> {
  try {
    await job();
  } catch (cause) {
    if (!(cause instanceof IoError)) throw cause;
    warnings.push(cause.message);
  }
}
