/** A run folder as the trainer sees it: snapshots in and out, buffered metrics, the best weights kept apart. */
import { join } from 'node:path';
import { DataError, printable } from '../../base/errors.ts';
import type { HostArray } from '../../io/host-array.ts';
import type { Json } from '../../io/json.ts';
import type { Checkpoint } from './checkpoint.ts';
import { Checkpoints } from './checkpoints.ts';
import type { MetricsRecord } from './metrics-file.ts';
import { type CreateOptions, RunFolder } from './run-folder.ts';

/** Tensors of model and optimizer in one map; those of the optimizer are called `optimizer.…`. */
export interface Snapshot {
  readonly tensors: ReadonlyMap<string, HostArray>;
  /** Plain JSON. */
  readonly state: unknown;
}

/** @throws what `RunFolder.create` throws. `head` becomes recipe.json. */
export async function createRun(
  dir: string,
  head: Json,
  { checkpointBytes = 0, ...options }: CreateOptions & { checkpointBytes?: number } = {},
): Promise<TrainingRun> {
  // The kept ones, the best, and the one being written.
  const bytes = checkpointBytes * ((options.keepLast ?? 2) + 2) + 2 ** 20;
  return new TrainingRun(await RunFolder.create(dir, head, { bytes, ...options }), head, options.keepLast);
}

/** @throws what `RunFolder.open` throws, and DataError for a recipe.json that is not JSON. */
export async function openRun(dir: string): Promise<TrainingRun> {
  const folder = await RunFolder.open(dir);
  try {
    const head = await folder.readRecipe();
    return new TrainingRun(folder, head, keepLastOf(head));
  } catch (error) {
    await folder.close();
    throw error;
  }
}

export class TrainingRun {
  readonly folder: RunFolder;
  readonly head: Json;
  readonly #checkpoints: Checkpoints;
  // A store of its own: the best weights have no optimizer state, and outlive the checkpoints around them.
  readonly #best: Checkpoints;
  #lines: MetricsRecord[] = [];

  constructor(folder: RunFolder, head: Json, keepLast?: number) {
    this.folder = folder;
    this.head = head;
    const { directory } = folder.checkpoints;
    this.#checkpoints = keepLast === undefined ? folder.checkpoints : new Checkpoints(directory, { keepLast });
    this.#best = new Checkpoints(join(directory, 'best'), { keepLast: 1 });
  }

  get dir(): string {
    return this.folder.path;
  }

  /** Saves a checkpoint with the metrics so far; returns its name. */
  async save(step: number, snapshot: Snapshot): Promise<string> {
    await this.flushLog();
    return (await this.#checkpoints.save({ step, ...split(snapshot.tensors), state: snapshot.state })).name;
  }

  async saveBest(step: number, { tensors, state }: Snapshot): Promise<void> {
    await this.#best.save({ step, model: tensors, optimizer: new Map(), state });
  }

  async loadBest(): Promise<Snapshot | undefined> {
    const found = await this.#best.latest();
    return found && { tensors: found.checkpoint.model, state: found.checkpoint.state };
  }

  /** The newest intact checkpoint, or the one named; none before the first was saved. */
  async newest(name?: string): Promise<{ snapshot?: Snapshot; name?: string; warnings: string[] }> {
    if (name !== undefined) return { ...joined(await this.#checkpoints.load(name)), warnings: [] };
    const found = await this.#checkpoints.latest();
    return found ? { ...joined(found.checkpoint), warnings: [...found.warnings] } : { warnings: [] };
  }

  /** Keeps one line of metrics; written by `flushLog` and with every checkpoint. */
  log(record: MetricsRecord): void {
    this.#lines.push(record);
  }

  async flushLog(): Promise<void> {
    if (this.#lines.length === 0) return;
    const lines = this.#lines;
    this.#lines = [];
    try {
      await this.folder.metrics.append(...lines);
    } catch (error) {
      // A disk that was full may have room the next time.
      this.#lines.unshift(...lines);
      throw error;
    }
    await this.folder.metrics.sync();
  }

  /** Cuts the metrics back to where a checkpoint stood; to nothing without one. */
  async rewindLog(snapshot?: Snapshot): Promise<void> {
    this.#lines = [];
    if (!snapshot) return void (await this.folder.truncateMetrics(() => false));
    const { step = 0, epoch = 0 } = snapshot.state as { step?: number; epoch?: number };
    // An epoch's line counts once the epoch is completed in the checkpoint; one saved before validation is not yet there.
    await this.folder.truncateMetrics(
      (line) => !(Number(line.step ?? 0) > step || ('trainLoss' in line && Number(line.epoch) > epoch)),
    );
  }

  writeReport(text: string, json: Json): Promise<void> {
    return this.folder.writeReport(json, text);
  }

  /** Gives the folder free for other processes. */
  async close(): Promise<void> {
    // After a failure the lines still unwritten are repeated by the resumed run.
    await this.flushLog().catch(() => {});
    await this.folder.close();
  }
}

const OPTIMIZER = 'optimizer.';

function split(tensors: Snapshot['tensors']): { model: Map<string, HostArray>; optimizer: Map<string, HostArray> } {
  const entries = [...tensors];
  return {
    model: new Map(entries.filter(([name]) => !name.startsWith(OPTIMIZER))),
    optimizer: new Map(entries.filter(([name]) => name.startsWith(OPTIMIZER))),
  };
}

function joined({ name, model, optimizer, state }: Checkpoint): { name: string; snapshot: Snapshot } {
  return { name, snapshot: { tensors: new Map([...model, ...optimizer]), state } };
}

function keepLastOf(head: Json): number | undefined {
  const { recipe } = (head ?? {}) as { recipe?: { checkpoint?: { keepLast?: unknown } } };
  const keepLast = recipe?.checkpoint?.keepLast;
  if (keepLast === undefined) return undefined;
  if (!Number.isInteger(keepLast) || (keepLast as number) < 1)
    throw new DataError('RECIPE_FIELD', `recipe.checkpoint.keepLast is ${printable(keepLast)}`, {
      field: 'recipe.checkpoint.keepLast',
      expected: 'an integer from 1',
      got: keepLast,
    });
  return keepLast as number;
}
