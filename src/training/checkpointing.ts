/** When and what a run saves: everything the next step depends on, and which weights are the best. How is run/'s business. */
import { setTimeout as sleep } from 'node:timers/promises';
import { IoError } from '../base/errors.ts';
import type { HostArray } from '../io/index.ts';
import type { Module } from '../nn/index.ts';
import type { Ema, Optimizer } from '../optim/index.ts';
import type { Variable } from '../tensor/index.ts';
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
export function inMemory(model: Module, ema?: Ema): MemoryCheckpointing {
  let best: Map<string, HostArray> | undefined;
  return {
    save: async (_, __, isBest = false) => {
      if (isBest) best = await copyOf(averaged(model, ema));
      return undefined;
    },
    restoreBest: async () => {
      if (best) await restore(model.stateDict(), best, 'the best weights');
    },
  };
}

/** What is measured and saved: the averages where there are some, and the model's own buffers. */
const averaged = (model: Module, ema: Ema | undefined): Map<string, Variable> =>
  new Map([...model.stateDict(), ...(ema?.stateDict() ?? [])]);

// Beside the optimizer's state, whose names begin with a parameter's.
const AVERAGES = 'ema:';
const withPrefix = <T>(values: ReadonlyMap<string, T>): [string, T][] =>
  [...values].map(([name, value]) => [AVERAGES + name, value]);
const averagesIn = (saved: ReadonlyMap<string, HostArray>): Map<string, HostArray> =>
  new Map([...saved].flatMap(([name, a]) => (name.startsWith(AVERAGES) ? [[name.slice(AVERAGES.length), a]] : [])));

// A full or busy disk may recover; a run of hours is not given up for one failed save.
const MOST_FAILED_SAVES = 3;
const RETRY_AFTER = [100, 500];

export interface StoreContext {
  readonly run: string;
  readonly store: Checkpoints;
  readonly model: Module;
  readonly optimizer: Optimizer;
  readonly ema?: Ema | undefined;
  readonly warn: (text: string) => void | Promise<void>;
}

export function inStore({ run, store, model, optimizer, ema, warn }: StoreContext): Checkpointing {
  let failed = 0;
  return {
    run,
    save: async (state, reason, best = false) => {
      const content = {
        step: state.step,
        model: await arraysOf(model.stateDict()),
        optimizer: new Map([
          ...(await arraysOf(optimizer.stateDict())),
          ...withPrefix(await arraysOf(ema?.stateDict() ?? new Map())),
        ]),
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

/** Puts the weights of one checkpoint into the model, averaged ones where they were. @throws DataError, IoError. */
export async function restoreWeights(store: Checkpoints, step: number, model: Module, averages = false): Promise<void> {
  const { model: weights, optimizer, path } = await store.load(step, { optimizer: averages });
  await restore(model.stateDict(), new Map([...weights, ...averagesIn(optimizer)]), path);
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

/** Puts a checkpoint into a model and its optimizer; `before` may set what trained then. Returns where the run stood. @throws DataError. */
export async function restoreCheckpoint(
  checkpoint: Checkpoint,
  model: Module,
  optimizer: Optimizer,
  { ema, before }: { ema?: Ema | undefined; before?: (state: TrainState) => void } = {},
): Promise<TrainState> {
  const { path, state } = checkpoint;
  const { optimizer: progress, ...rest } = parseState(state, path);
  before?.(rest);
  await restore(model.stateDict(), checkpoint.model, path);
  await restore(optimizer.stateDict(), checkpoint.optimizer, path);
  if (ema) await restore(ema.stateDict(), averagesIn(checkpoint.optimizer), path);
  optimizer.restoreProgress(progress);
  return rest;
}
