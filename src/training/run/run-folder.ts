/**
 * A run is a folder: recipe.json, metrics.jsonl, checkpoints/, model/, report.json, report.txt, and a lock while a
 * process works in it.
 */
import { mkdir, readdir, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { DataError, IoError, printable } from '../../base/errors.ts';
import { exists, removeOrphans, writeFileAtomic } from '../../io/atomic.ts';
import { makeDirectory } from '../../io/directory.ts';
import { errnoOf, ioError } from '../../io/failure.ts';
import { type Json, readJson, writeJson } from '../../io/json.ts';
import { Checkpoints } from './checkpoints.ts';
import { acquireLock, type Lock } from './lock.ts';
import { MetricsFile, type MetricsRecord } from './metrics-file.ts';

export interface RunOptions {
  /** Newest checkpoints to keep, besides the best; 2. */
  keepLast?: number;
}

export interface CreateOptions extends RunOptions {
  /** Bytes the run will write; refused at once where the disk has not as much. */
  bytes?: number;
}

export class RunFolder {
  readonly path: string;
  readonly metrics: MetricsFile;
  readonly checkpoints: Checkpoints;
  readonly #lock: Lock | undefined;

  private constructor(path: string, lock: Lock | undefined, { keepLast }: RunOptions) {
    this.path = path;
    this.#lock = lock;
    this.metrics = new MetricsFile(join(path, 'metrics.jsonl'));
    this.checkpoints = new Checkpoints(join(path, 'checkpoints'), { keepLast });
  }

  get recipePath(): string {
    return join(this.path, 'recipe.json');
  }
  /** Folder of the trained model; whoever saves it makes it. */
  get modelDir(): string {
    return join(this.path, 'model');
  }
  get reportPath(): string {
    return join(this.path, 'report.json');
  }
  get reportTextPath(): string {
    return join(this.path, 'report.txt');
  }

  /**
   * Makes the folder (and those above it), takes its lock and writes the recipe.
   * @throws IoError RUN_EXISTS or FOLDER_NOT_EMPTY: what is there is never touched; LockedError.
   */
  static async create(
    path: string,
    recipe: unknown,
    { bytes = 0, ...options }: CreateOptions = {},
  ): Promise<RunFolder> {
    await makeDirectory(path);
    await refuseContent(path);
    const lock = await acquireLock(join(path, 'lock'));
    try {
      // Looked at again under the lock: another process may have made its run here meanwhile.
      await refuseContent(path);
      await checkRoom(path, bytes);
      await makeDirectory(join(path, 'checkpoints'));
      const run = new RunFolder(path, lock, options);
      await writeJson(run.recipePath, recipe);
      return run;
    } catch (cause) {
      await lock.release().catch(() => {});
      throw ioError(cause, 'make', path);
    }
  }

  /** Makes `<parent>/<name>-<n>` with the first free n from 1. Characters a folder name should not have become `-`. */
  static async createNumbered(
    parent: string,
    name: string,
    recipe: unknown,
    options: CreateOptions = {},
  ): Promise<RunFolder> {
    const stem = name.replace(/[^\p{L}\p{N}._-]+/gu, '-').replace(/^[.-]+/, '') || 'run';
    try {
      await makeDirectory(parent);
      for (let n = 1; ; n++) {
        const path = join(parent, `${stem}-${n}`);
        try {
          await mkdir(path);
        } catch (cause) {
          if (errnoOf(cause) === 'EEXIST') continue;
          throw cause;
        }
        return await RunFolder.create(path, recipe, options);
      }
    } catch (cause) {
      throw ioError(cause, 'make a run in', parent);
    }
  }

  /**
   * Opens a run to go on with it, under its lock; `readOnly` takes no lock and writes nothing.
   * @throws DataError NOT_A_RUN, IoError FILE_NOT_FOUND, LockedError.
   */
  static async open(
    path: string,
    { readOnly = false, ...options }: RunOptions & { readOnly?: boolean } = {},
  ): Promise<RunFolder> {
    await listNames(path, 'open');
    if (!(await exists(join(path, 'recipe.json'))))
      throw new DataError('NOT_A_RUN', `${printable(path)} is not a run folder: it has no recipe.json`, {
        file: join(path, 'recipe.json'),
        hint: 'give the folder that `cambium train` made',
      });
    if (readOnly) return new RunFolder(path, undefined, options);
    const lock = await acquireLock(join(path, 'lock'));
    try {
      await removeOrphans(path);
      await makeDirectory(join(path, 'checkpoints'));
      return new RunFolder(path, lock, options);
    } catch (cause) {
      await lock.release().catch(() => {});
      throw ioError(cause, 'open', path);
    }
  }

  readRecipe(): Promise<Json> {
    return readJson(this.recipePath);
  }
  /** Replaces the recipe, e.g. when a run is resumed with a change that was allowed. */
  async writeRecipe(recipe: unknown): Promise<void> {
    await writeJson(this.recipePath, recipe);
  }

  /** A line of metrics.jsonl. */
  appendMetrics(record: MetricsRecord): Promise<void> {
    return this.metrics.append(record);
  }
  /** Drops the metrics of steps after `keep`, or the lines it refuses. */
  truncateMetrics(keep: number | ((record: MetricsRecord) => boolean)): Promise<number> {
    return this.metrics.truncate(keep);
  }

  /** report.json and report.txt. */
  async writeReport(report: unknown, text: string): Promise<void> {
    await writeJson(this.reportPath, report);
    await writeFileAtomic(this.reportTextPath, text);
  }

  /**
   * Removes a run that ended before it did anything: no checkpoint, no model and no line of metrics. Others are left alone.
   * @returns whether it was removed. @throws IoError; LockedError where another process goes on with it.
   */
  async discardUnstarted(): Promise<boolean> {
    const lock = await acquireLock(join(this.path, 'lock'));
    try {
      const names = await listNames(this.path, 'look at');
      const begun =
        names.some((name) => !ours(name) && !['recipe.json', 'metrics.jsonl', 'init'].includes(name)) ||
        (await listNames(join(this.path, 'checkpoints'), 'look at')).length > 0 ||
        (await this.metrics.read()).length > 0;
      if (begun) return false;
      await rm(this.path, { recursive: true, force: true });
      return true;
    } catch (cause) {
      throw ioError(cause, 'delete', this.path);
    } finally {
      await lock.release();
    }
  }

  /** Closes the metrics and gives the lock back. May be called twice. */
  async close(): Promise<void> {
    try {
      await this.metrics.close();
    } finally {
      await this.#lock?.release();
    }
  }
}

async function listNames(path: string, action: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (cause) {
    throw ioError(cause, action, path);
  }
}

async function checkRoom(path: string, needed: number): Promise<void> {
  // Some file systems do not say; writing will.
  const room = await statfs(path).catch(() => undefined);
  const free = room === undefined ? Number.POSITIVE_INFINITY : room.bavail * room.bsize;
  if (free < needed)
    throw new IoError('DISK_FULL', `${printable(path)}: the run needs ${needed} bytes, ${free} are free`, {
      file: path,
      needed,
      free,
      hint: 'choose a folder on another disk, or keep fewer checkpoints',
    });
}

// What a creation that was cut off may have left: safe to go over.
const ours = (name: string): boolean =>
  name === 'lock' ||
  name === 'checkpoints' ||
  /^lock\.(?:takeover(?:\.\d+-[0-9a-f]+)?|\d+-[0-9a-f]+)$/.test(name) ||
  /^\.cambium-.*\.tmp$/.test(name);

async function refuseContent(path: string): Promise<void> {
  const names = await listNames(path, 'look at');
  if (names.includes('recipe.json'))
    throw new IoError('RUN_EXISTS', `${printable(path)} already holds a run`, {
      file: path,
      hint: `continue it with: cambium resume ${path}`,
    });
  const foreign = names.find((name) => !ours(name));
  const made = names.includes('checkpoints') ? await listNames(join(path, 'checkpoints'), 'look at') : [];
  if (foreign !== undefined || made.length > 0)
    throw new IoError(
      'FOLDER_NOT_EMPTY',
      `${printable(path)} is not empty: it holds ${printable(foreign ?? 'checkpoints')}`,
      {
        file: path,
        got: foreign ?? 'checkpoints',
        hint: 'choose a folder that is new or empty',
      },
    );
}
