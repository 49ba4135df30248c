/** When and what a run saves: everything the next step depends on, and which weights are the best. How is run/'s business. */
import { setTimeout as sleep } from 'node:timers/promises';
import { IoError } from '../base/errors.ts';
import type { HostArray } from '../io/index.ts';
import type { Module } from '../nn/index.ts';
import type { Optimizer } from '../optim/index.ts';
import type { CheckpointReason } from './events.ts';
import { arraysOf, copyOf, restore } from './model-weights.ts';
import type { Checkpoint, Checkpoints } from './run/index.ts';
import { parseState, type TrainState } from './train-state.ts';

export interface Checkpointing {
  /** Folder of the run, if it has one. */
  readonly run?: string;
  /** The checkpoint's name; undefined where nothing was written. `best` keeps it until a better one comes. */
  save(state: TrainState, reason: CheckpointReason, best?: boolean): Promise<string | undefined>;
}

export interface MemoryCheckpointing extends Checkpointing {
  /** Puts the best weights into the model, if there are some. */
  restoreBest(): Promise<void>;
}

/** Without a run folder: the best weights are kept in memory, nothing can be resumed. */
export function inMemory(model: Module): MemoryCheckpointing {
  let best: Map<string, HostArray> | undefined;
  return {
    save: async (_, __, isBest = false) => {
      if (isBest) best = await copyOf(model.stateDict());
      return undefined;
    },
    restoreBest: async () => {
      if (best) await restore(model.stateDict(), best, 'the best weights');
    },
  };
}

// A full or busy disk may recover; a run of hours is not given up for one failed save.
const MOST_FAILED_SAVES = 3;
const RETRY_AFTER = [100, 500];

export interface StoreContext {
  readonly run: string;
  readonly store: Checkpoints;
  readonly model: Module;
  readonly optimizer: Optimizer;
  readonly warn: (text: string) => void | Promise<void>;
}

export function inStore({ run, store, model, optimizer, warn }: StoreContext): Checkpointing {
  let failed = 0;
  return {
    run,
    save: async (state, reason, best = false) => {
      const content = {
        step: state.step,
        model: await arraysOf(model.stateDict()),
        optimizer: await arraysOf(optimizer.stateDict()),
        state: { ...structuredClone(state), optimizer: optimizer.progress },
      };
      try {
        const { name, warnings } = await retried(() => store.save(content, { best }));
        for (const text of warnings) await warn(text);
        failed = 0;
        return name;
      } catch (error) {
        // The best weights and those of a stopped run have no second chance.
        const vital = reason === 'signal' || best;
        if (!(error instanceof IoError) || vital || ++failed >= MOST_FAILED_SAVES) throw error;
        await warn(`the checkpoint after step ${state.step} could not be saved (${error.message}); training goes on`);
        return undefined;
      }
    },
  };
}

/** Puts the weights of one checkpoint into the model. @throws DataError, IoError. */
export async function restoreWeights(store: Checkpoints, step: number, model: Module): Promise<void> {
  const { model: weights, path } = await store.load(step, { optimizer: false });
  await restore(model.stateDict(), weights, path);
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
export async function restoreCheckpoint(
  checkpoint: Checkpoint,
  model: Module,
  optimizer: Optimizer,
): Promise<TrainState> {
  const { path, state } = checkpoint;
  const { optimizer: progress, ...rest } = parseState(state, path);
  await restore(model.stateDict(), checkpoint.model, path);
  await restore(optimizer.stateDict(), checkpoint.optimizer, path);
  optimizer.restoreProgress(progress);
  return rest;
}
