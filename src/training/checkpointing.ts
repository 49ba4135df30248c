/** When and what a run saves: everything the next step depends on, and the best weights. How is the store's business. */
import { setTimeout as sleep } from 'node:timers/promises';
import { IoError } from '../base/errors.ts';
import type { HostArray } from '../io/index.ts';
import type { Module } from '../nn/index.ts';
import type { Optimizer } from '../optim/index.ts';
import type { CheckpointReason } from './events.ts';
import { arraysOf, copyOf, prefixed, restore, unprefixed } from './model-weights.ts';
import { parseState, type TrainState } from './train-state.ts';

/** What a checkpoint holds. */
export interface Snapshot {
  readonly tensors: ReadonlyMap<string, HostArray>;
  /** Plain JSON. */
  readonly state: unknown;
}

/** Where checkpoints go: a run folder. Every write is atomic; what is read back has been verified. */
export interface CheckpointStore {
  readonly dir: string;
  /** Keeps it as the newest, drops the oldest beyond the limit; returns its name. */
  save(step: number, snapshot: Snapshot): Promise<string>;
  saveBest(step: number, snapshot: Snapshot): Promise<void>;
  loadBest(): Promise<Snapshot | undefined>;
}

export interface Checkpointing {
  readonly run?: string;
  /** The checkpoint's name; undefined where nothing was written. */
  save(state: TrainState, reason: CheckpointReason): Promise<string | undefined>;
  saveBest(state: TrainState): Promise<void>;
  /** Puts the best weights into the model; false if no epoch was completed. */
  restoreBest(): Promise<boolean>;
}

/** Without a run folder: the best weights are kept in memory, nothing can be resumed. */
export function inMemory(model: Module): Checkpointing {
  let best: Map<string, HostArray> | undefined;
  return {
    save: async () => undefined,
    saveBest: async () => {
      best = await copyOf(model.stateDict());
    },
    restoreBest: async () => {
      if (best) await restore(model.stateDict(), best, 'the best weights');
      return best !== undefined;
    },
  };
}

const MODEL = 'model.';
const OPTIMIZER = 'optimizer.';
// A full or busy disk may recover; a run of hours is not given up for one failed save.
const MOST_FAILED_SAVES = 3;
const RETRY_AFTER = [100, 500];

export function inStore(
  store: CheckpointStore,
  model: Module,
  optimizer: Optimizer,
  warn: (text: string) => void | Promise<void>,
): Checkpointing {
  let failed = 0;
  let lastGood: string | undefined;
  return {
    run: store.dir,
    save: async (state, reason) => {
      const tensors = new Map([
        ...prefixed(MODEL, await arraysOf(model.stateDict())),
        ...prefixed(OPTIMIZER, await arraysOf(optimizer.stateDict())),
      ]);
      const snapshot = { tensors, state: { ...structuredClone(state), optimizerSteps: optimizer.stepCount } };
      try {
        lastGood = await retried(() => store.save(state.step, snapshot));
        failed = 0;
        return lastGood;
      } catch (error) {
        if (!(error instanceof IoError) || reason === 'signal' || ++failed >= MOST_FAILED_SAVES) throw error;
        await warn(`checkpoint after step ${state.step} could not be saved (${error.message}); training goes on`);
        return undefined;
      }
    },
    saveBest: async (state) => {
      const tensors = await arraysOf(model.stateDict());
      await retried(() => store.saveBest(state.step, { tensors, state: { step: state.step, best: state.best } }));
    },
    restoreBest: async () => {
      const best = await store.loadBest();
      if (best) await restore(model.stateDict(), best.tensors, store.dir);
      return best !== undefined;
    },
  };
}

async function retried<T>(save: () => Promise<T>): Promise<T> {
  for (const wait of RETRY_AFTER) {
    try {
      return await save();
    } catch (error) {
      if (!(error instanceof IoError)) throw error;
      await sleep(wait);
    }
  }
  return save();
}

/** Puts a checkpoint into a model and its optimizer; returns where the run stood. @throws DataError. */
export async function restoreSnapshot(
  { tensors, state }: Snapshot,
  model: Module,
  optimizer: Optimizer,
  from: string,
): Promise<TrainState> {
  const parsed = parseState(state, from) as TrainState & { optimizerSteps?: number };
  await restore(model.stateDict(), unprefixed(MODEL, tensors), from);
  await restore(optimizer.stateDict(), unprefixed(OPTIMIZER, tensors), from);
  const { optimizerSteps = parsed.step, ...rest } = parsed;
  optimizer.stepCount = optimizerSteps;
  return rest;
}
