/** What a training run tells those who watch it: the command line, a progress bar, a callback, later a page. */

import type { Shape } from '../base/index.ts';
import type { TrainResult } from './fine-tune.ts';
import type { InitReport } from './init.ts';
import type { RunPlan } from './plan.ts';

export interface Measures {
  readonly loss: number;
  /** Of classes, tokens or whatever else can be right or wrong. */
  readonly accuracy?: number;
  /** exp(loss), of language models. */
  readonly perplexity?: number;
  /** Whatever else the task measures: macroF1, rmse, `stars.mae` ... */
  readonly [name: string]: number | undefined;
}

export interface EventTable {
  'run-start': {
    /** Folder of the run, if it has one. */
    readonly run?: string;
    readonly plan: RunPlan;
    readonly epochs: number;
    readonly stepsPerEpoch: number;
    /** Steps already done: above 0 when the run is resumed. */
    readonly step: number;
    readonly samples: {
      readonly train: number;
      readonly validation: number;
      readonly test: number;
      /** What is counted, where it is not the data's own samples. */
      readonly unit?: string;
    };
  };
  /** Pretrained weights were loaded. */
  init: { readonly report: InitReport };
  /** What lies below the first layer that trains was computed once: epochs read its outputs. */
  'feature-cache': {
    /** Module whose outputs are kept, and the shape of one. */
    readonly layer: string;
    readonly shape: Shape;
    readonly samples: number;
    readonly bytes: number;
    readonly seconds: number;
    /** They were on disk already. */
    readonly reused: boolean;
    /** All in memory; otherwise read from disk as they are needed. */
    readonly inMemory: boolean;
    /** Folder of the training part. */
    readonly path: string;
  };
  step: {
    /** Updates done, this one included. */
    readonly step: number;
    /** From 1. */
    readonly epoch: number;
    /** Updates done in this epoch, of `stepsPerEpoch`. */
    readonly stepInEpoch: number;
    readonly stepsPerEpoch: number;
    /** Mean loss over the samples of this step, and over those of the epoch so far. */
    readonly loss: number;
    readonly epochLoss: number;
    readonly lr: number;
    /** Over the last steps, without evaluation. */
    readonly secondsPerStep: number;
    readonly samplesPerSecond: number;
  };
  'epoch-end': {
    readonly epoch: number;
    readonly step: number;
    /** Sample-weighted mean. */
    readonly trainLoss: number;
    readonly lr: number;
    readonly seconds: number;
    readonly samplesPerSecond: number;
    readonly validation?: Measures;
    /** This epoch's weights are the best so far. */
    readonly best: boolean;
  };
  validation: { readonly epoch: number; readonly step: number; readonly measures: Measures };
  checkpoint: { readonly step: number; readonly name: string; readonly reason: CheckpointReason };
  'early-stop': { readonly epoch: number; readonly bestEpoch: number; readonly patience: number };
  notice: { readonly text: string };
  'run-end': { readonly result: TrainResult; readonly run?: string };
}

export type CheckpointReason = 'epoch' | 'steps' | 'best' | 'signal';

export type TrainEvent = { [K in keyof EventTable]: { readonly type: K } & EventTable[K] }[keyof EventTable];

/** Called in order and awaited, so a listener may write files; what it throws stops the run. */
export type Listener = (event: TrainEvent) => void | Promise<void>;

/** Handlers for chosen events: `on({ 'epoch-end': (e) => console.log(e.trainLoss) })`. */
export const on =
  (handlers: { readonly [K in keyof EventTable]?: (event: EventTable[K]) => void | Promise<void> }): Listener =>
  (event) =>
    (handlers[event.type] as ((event: EventTable[keyof EventTable]) => void | Promise<void>) | undefined)?.(event);
