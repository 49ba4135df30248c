/** What `fineTune` can be told, and what more the training below it. */
import type { TextCollateOptions, Transform } from '../data/index.ts';
import type { Json } from '../io/index.ts';
import type { AdapterOptions, Module, PruneOptions } from '../nn/index.ts';
import type { EmaOptions } from '../optim/index.ts';
import type { Task } from '../tasks/index.ts';
import type { Precision } from '../tensor/index.ts';
import type { Balance, ClassWeights } from './balance.ts';
import type { DistillOptions } from './distill.ts';
import type { Listener, Measures } from './events.ts';
import type { InitOptions, InitReport } from './init.ts';
import type { HeadSettings, Inputs, Samples } from './inputs.ts';
import type { Checkpoint, Checkpoints } from './run/index.ts';
import type { OptimizerOptions, ScheduleOptions } from './schedule.ts';
import type { SignalWatch } from './signals.ts';
import type { Clip } from './train-step.ts';
import type { FreezeOptions, UnfreezeOptions } from './trainable.ts';

export interface FineTuneOptions {
  model: Module;
  data: { train: Samples; validation?: Samples; test?: Samples };
  /** Predicts all labels of the data unless told. */
  task?: Task;
  /** More of what is predicted, by label: `{ stars: { loss: 'huber', weight: 0.5 }, topics: { threshold: 0.3 } }`. */
  heads?: HeadSettings | undefined;
  transforms?: readonly Transform[];
  /** How texts become tokens; needed where the data are texts. */
  text?: TextCollateOptions;
  /** AdamW with lr 1e-3 unless told. */
  optimizer?: OptimizerOptions;
  schedule?: ScheduleOptions;
  /** 1 unless told; with `maxSteps`, as many as those take. */
  epochs?: number;
  /**
   * Updates at most, in the middle of an epoch if need be: it is then measured and counted as at its end. Schedules count the
   * steps that are really taken.
   */
  maxSteps?: number | undefined;
  batchSize?: number;
  /** Twice the batch size unless told. */
  evalBatchSize?: number;
  /** Batches whose gradients make one update. */
  accumulate?: number;
  clip?: Clip;
  /** Pretrained weights to start from; a relative path is one of the working directory. Not read again where a run is resumed. */
  init?: InitOptions;
  /**
   * auto, the default: where weights are loaded by `init`, labels, head, inputs and a few updates that are taken back are looked at,
   * and what seems wrong is told as a notice with its fix. Changes nothing of the training.
   */
  check?: 'auto' | 'off' | undefined;
  /** Parameters that stay as they are: names, `*` stands for anything (`['features.*']`), or `{ belowDepth: 'head' }`. */
  freeze?: FreezeOptions;
  /** What joins at later epochs: `[{ epoch: 2, fromDepth: -3 }]`. */
  unfreeze?: readonly UnfreezeOptions[];
  freezeBatchNorm?: boolean;
  /**
   * An adapter instead of the weights: only it and the head train. The model that is returned and saved has low-rank ones merged and
   * keeps others; the adapter alone is saved beside it, in `adapter`.
   */
  adapter?: AdapterOptions;
  /**
   * Magnitude pruning: before the first step the smallest weights of linear and convolutional layers, but for the head, become 0, and
   * stay 0 while the others train. Not with `adapter`.
   */
  prune?: Pick<PruneOptions, 'amount' | 'scope'> | undefined;
  /** Averages of the weights, which are measured and saved in their place. */
  ema?: EmaOptions;
  labelSmoothing?: number;
  /** What a class counts in the training loss. Evaluation counts every sample the same. */
  classWeights?: ClassWeights;
  /** 'balanced' draws samples with replacement, each class as often; 'shuffled', the default, each sample once an epoch. */
  sampler?: 'shuffled' | 'balanced';
  /** Training pictures are mixed in pairs, and so are their labels: alpha 0.2 unless told. Both: one of them a batch. */
  mixup?: { alpha?: number } | undefined;
  /** Rectangles of training pictures are exchanged in pairs: alpha 1 unless told. */
  cutmix?: { alpha?: number } | undefined;
  /** The loss has a share of a trained model's answers (Hinton et al. 2015); see distill.ts. Not with mixup and cutmix. */
  distill?: DistillOptions | undefined;
  /** 'bf16': the products and convolutions of training under `autocast`; evaluation stays fp32, the default. */
  precision?: Precision;
  /**
   * Which epoch's weights are kept: by accuracy where every sample (or word) has one class, by microF1 of entities, else by loss,
   * unless told.
   */
  selectBy?: { metric: string; mode?: 'max' | 'min' } | undefined;
  earlyStopping?: { patience: number; minDelta?: number } | null;
  seed?: number;
  /** Called for every event; see events.ts. */
  listeners?: readonly Listener[];
  /** Folder to save the best model to; needs `architecture`. */
  saveTo?: string;
  /** Registered name and options `model` was built from. */
  architecture?: { readonly name: string } & Readonly<Record<string, unknown>>;
  origin?: Json;
  /**
   * Bytes that weights, optimizer, intermediates and batches may take together: values of forward are computed again in
   * backward where they would take more.
   */
  memoryLimit?: number;
  /**
   * auto, the default: where nothing below a layer trains and nothing random acts there, its outputs are computed once,
   * cached on disk and read by every later epoch. Results are the same to the bit.
   */
  featureCache?: 'auto' | 'off';
  /** Refuse to start when the plan exceeds the memory there is; true unless told. */
  checkMemory?: boolean;
  /** Checkpoints and resume; a run folder brings them. */
  checkpoints?: { run: string; store: Checkpoints; everySteps?: number; resumeFrom?: Checkpoint };
  signals?: SignalWatch;
}

/** With what reads data of another kind than labelled samples: see pretrain.ts. */
export interface TrainOptions extends FineTuneOptions {
  /** What `classWeights` and `sampler` come to; planning does without. */
  balance?: Balance;
  /** What was loaded of pretrained weights, where there are such weights. */
  started?: InitReport;
  inputs?: Inputs;
  /** Measures the validation part. */
  measure?: (batchSize: number, stop: () => boolean) => Promise<Measures | undefined>;
}
