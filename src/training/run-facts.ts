/** What a report says of a run besides its scores: model, how it was tuned, samples, and how training and validation drift apart. */
import { UnsupportedError } from '../base/errors.ts';
import { depthOf, structureOf } from '../models/index.ts';
import type { Module } from '../nn/index.ts';
import type { TrainResult } from './fine-tune.ts';
import type { RunPlan } from './plan.ts';
import type { Recipe } from './recipe.ts';
import type { EpochRecord } from './train-state.ts';

/** What of the model trained, and from which weights; none: it was measured as it came. */
export type Tuning =
  | 'from scratch'
  | 'full'
  | 'head only'
  | 'partial'
  | 'gradual unfreezing'
  | 'low-rank adapters'
  | 'bottleneck adapters'
  | 'prefix'
  | 'none';

/** Losses at the epoch that was kept. */
export interface Gap {
  readonly epoch: number;
  /** Mean over the epoch, while the weights changed, with augmentation and dropout. */
  readonly train: number;
  readonly validation: number;
  /** Validation less training. */
  readonly difference: number;
}

/** The validation loss rose while the training loss fell: from its lowest point to the last epoch. */
export interface Overfit {
  readonly from: number;
  readonly to: number;
  readonly validation: readonly [number, number];
  readonly train: readonly [number, number];
}

export interface RunFacts {
  /** The part of the data that was measured, on the weights that were kept. */
  readonly part: 'test' | 'validation';
  readonly task: string;
  readonly model: string;
  readonly parameters: number;
  /** The most that trained at once. */
  readonly trainable: number;
  readonly tuning: Tuning;
  /** The weights it started from; null: random ones. */
  readonly init: string | null;
  readonly samples: { readonly train: number; readonly validation: number; readonly test: number };
  readonly epochs: number;
  readonly steps: number;
  /** The epoch whose weights were kept. */
  readonly best: number | null;
  readonly gap: Gap | null;
  readonly overfit: Overfit | null;
}

export interface FactsRequest {
  readonly recipe: Recipe;
  readonly task: string;
  readonly part: RunFacts['part'];
  readonly samples: RunFacts['samples'];
  readonly result: Pick<TrainResult, 'epochs' | 'steps' | 'best' | 'history'> & {
    readonly plan: RunPlan;
    readonly model: Module;
  };
}

export function runFacts({ recipe, task, part, samples, result }: FactsRequest): RunFacts {
  const { epochs, steps, best, history, plan, model } = result;
  return {
    part,
    task,
    model: recipe.model.name,
    parameters: plan.parameters,
    trainable: epochs === 0 ? 0 : plan.trainable,
    tuning: tuningOf(recipe, model),
    init: recipe.init?.weights ?? null,
    samples,
    epochs,
    steps,
    best: best?.epoch ?? null,
    gap: gapOf(history, best?.epoch),
    overfit: overfitOf(history),
  };
}

const adapterTunings = { lora: 'low-rank adapters', bottleneck: 'bottleneck adapters', prefix: 'prefix' } as const;

/** `model` as training left it: what may train says whether it was the head alone. */
export function tuningOf({ epochs, adapter, unfreeze, freeze, init }: Recipe, model: Module): Tuning {
  if (epochs === 0) return 'none';
  if (adapter) return adapterTunings[adapter.name];
  if (unfreeze.length > 0) return 'gradual unfreezing';
  const frozen = Array.isArray(freeze)
    ? freeze.length > 0
    : freeze.names !== undefined || freeze.belowDepth !== undefined;
  if (!frozen) return init ? 'full' : 'from scratch';
  return trainsHeadOnly(model) ? 'head only' : 'partial';
}

function trainsHeadOnly(model: Module): boolean {
  try {
    const structure = structureOf(model);
    const trained = model.namedParameters().filter(({ variable }) => variable.requiresGrad);
    return trained.every(({ name }) => depthOf(name, structure) === structure.stages.length - 1);
  } catch (error) {
    // A model of one's own need not say what its stages are.
    if (error instanceof UnsupportedError) return false;
    throw error;
  }
}

const startText = (init: string | null): string => (init === null ? 'random weights' : `the weights of ${init}`);

/** `full fine-tuning from the weights of runs/trunk`. */
export function tuningText({ tuning, init, epochs }: Pick<RunFacts, 'tuning' | 'init' | 'epochs'>): string {
  const from = ` from ${startText(init)}`;
  switch (tuning) {
    case 'from scratch':
      return 'all of it, from random weights';
    case 'full':
      return `full fine-tuning${from}`;
    case 'head only':
      return `the head only, the trunk frozen${from}`;
    case 'partial':
      return `a part of it, the rest frozen${from}`;
    case 'gradual unfreezing':
      return `gradual unfreezing over ${epochs} epochs${from}`;
    case 'low-rank adapters':
    case 'bottleneck adapters':
    case 'prefix':
      return `${tuning} and the head${from}`;
    case 'none':
      return `nothing trained: measured with ${startText(init)}`;
  }
}

/** `421,642 parameters, all trained`. */
export const parametersText = ({ parameters, trainable }: Pick<RunFacts, 'parameters' | 'trainable'>): string =>
  `${parameters.toLocaleString('en')} parameters, ${
    trainable === parameters
      ? 'all trained'
      : `${trainable.toLocaleString('en')} trained (${(100 * (trainable / Math.max(1, parameters))).toPrecision(3)} %)`
  }`;

/** What was measured, by name and size: an epoch chosen on a part makes its figures a little too good. */
export function partText({ part, best, epochs }: Pick<RunFacts, 'part' | 'best' | 'epochs'>, n: number): string {
  const name = part === 'test' || epochs === 0 || best === null ? part : 'validation, on which the epoch was chosen';
  return `${name} (${n.toLocaleString('en')} samples)`;
}

export function gapOf(history: readonly EpochRecord[], best: number | undefined): Gap | null {
  const record = history.find(({ epoch }) => epoch === best);
  if (!record?.validation) return null;
  const { epoch, trainLoss: train, validation } = record;
  return { epoch, train, validation: validation.loss, difference: validation.loss - train };
}

// Less is the noise of a small validation part.
const RISE = 0.05;

/** Null unless the validation loss ended 5 % above its lowest and above the training loss, which had fallen. */
export function overfitOf(history: readonly EpochRecord[]): Overfit | null {
  const measured = history.flatMap(({ epoch, trainLoss, validation }) =>
    validation && Number.isFinite(validation.loss) ? [{ epoch, trainLoss, loss: validation.loss }] : [],
  );
  const last = measured.at(-1);
  if (!last) return null;
  const lowest = measured.reduce((low, row) => (row.loss < low.loss ? row : low), last);
  const rises = last.loss > lowest.loss + RISE * Math.abs(lowest.loss);
  if (!rises || last.trainLoss >= lowest.trainLoss || last.loss <= last.trainLoss) return null;
  return {
    from: lowest.epoch,
    to: last.epoch,
    validation: [lowest.loss, last.loss],
    train: [lowest.trainLoss, last.trainLoss],
  };
}

const fixed = (value: number): string => value.toFixed(4);

export const gapText = ({ epoch, train, validation, difference }: Gap): string =>
  `epoch ${epoch}: validation loss ${fixed(validation)}, training loss ${fixed(train)}, ` +
  `gap ${difference < 0 ? '' : '+'}${fixed(difference)}`;

export const overfitText = ({ from, to, validation, train }: Overfit): string =>
  `the run over-fits: from epoch ${from} to ${to} the validation loss rises from ${fixed(validation[0])} to ` +
  `${fixed(validation[1])} while the training loss falls from ${fixed(train[0])} to ${fixed(train[1])}`;
