/** Level two of the API: one call that trains a model on data and returns typed results. The command line is built on it. */
import { ArgumentError, ConfigError, nearest, printable } from '../base/errors.ts';
import { describeSchema, requireIndexed, type TextCollateOptions, type Transform } from '../data/index.ts';
import type { Json } from '../io/index.ts';
import { type LoraOptions, type Module, resolveLora } from '../nn/index.ts';
import { Ema, type EmaOptions } from '../optim/index.ts';
import { areEntityTags, Mixing, type Task } from '../tasks/index.ts';
import { autocast, type Precision, planAndDiscard } from '../tensor/index.ts';
import { adapt, baseModelOf, settleAdapter } from './adapter.ts';
import { type Balance, balanceOf, type ClassWeights } from './balance.ts';
import { checkFineTuneOptions } from './check-options.ts';
import { checkStart } from './check-start.ts';
import { inMemory, inStore, type MemoryCheckpointing, restoreCheckpoint, restoreWeights } from './checkpointing.ts';
import { type DistillOptions, teacherOf } from './distill.ts';
import { type Evaluation, evaluate, majorityBaseline, measureNames, modeOf } from './evaluate.ts';
import type { Listener, Measures } from './events.ts';
import { cacheFeatures, countOf } from './feature-cache/feature-cache.ts';
import { headsToLearn } from './head-classes.ts';
import { type InitOptions, type InitReport, initialise, type WeightsLineage } from './init.ts';
import { type HeadSettings, type Inputs, inputsOf, type Samples } from './inputs.ts';
import { saveModelFolder } from './model-folder.ts';
import { planRun, type RunPlan } from './plan.ts';
import { planGroups, ratesOf } from './rates.ts';
import type { Checkpoint, Checkpoints } from './run/index.ts';
import { makeOptimizer, makeSchedule, type OptimizerOptions, type ScheduleOptions, settingsText } from './schedule.ts';
import { RunStopped, type SignalWatch } from './signals.ts';
import { stepNeeds } from './step-needs.ts';
import type { Best, EpochRecord, Selection, TrainState } from './train-state.ts';
import { type Clip, type StepOptions, TrainStep } from './train-step.ts';
import { type FreezeOptions, Trainable, type UnfreezeOptions } from './trainable.ts';
import { trainLoop } from './trainer.ts';

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
   * Low-rank adapters instead of the weights: only they and the head train. The model that is returned and saved has them merged;
   * the adapter alone is saved beside it, in `adapter`.
   */
  lora?: LoraOptions;
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

export interface TrainResult {
  readonly epochs: number;
  readonly steps: number;
  readonly history: readonly EpochRecord[];
  readonly best: Best | null;
  readonly stoppedEarly: boolean;
  readonly seconds: number;
  /** Of the best weights. */
  readonly validation?: Measures;
  /** `baseline`: of always answering the most frequent class, where every sample has one. */
  readonly test?: Evaluation & { readonly baseline?: { readonly label: string; readonly accuracy: number } };
  /** Where there is no test part: the validation part, on the weights that were kept. */
  readonly validated?: Evaluation;
  readonly modelDir?: string;
  readonly weightsHash?: string;
  /** What `init` loaded; not where the run was resumed. */
  readonly init?: InitReport;
}

export interface FineTuneResult extends TrainResult {
  /** The model with its best weights, in evaluation mode. */
  readonly model: Module;
  readonly task: Task;
  readonly plan: RunPlan;
}

/**
 * Trains `model`, keeps the best epoch's weights and measures them once on the test part.
 * @example const { model, test } = await fineTune({ model: mnistCnn(), data, epochs: 2 });
 * @throws MemoryError before the first step when it will not fit; NumericError at the step that met NaN; RunStopped.
 */
export async function fineTune(options: FineTuneOptions & { balance?: Balance }): Promise<FineTuneResult> {
  checkFineTuneOptions(options);
  const start = performance.now();
  const { model, data, transforms, text, saveTo, architecture } = options;
  refuseStreams(data);
  const init =
    options.init && !options.checkpoints?.resumeFrom
      ? await initialise(model, options.init, headsToLearn(options))
      : undefined;
  if (init) for (const listener of options.listeners ?? []) await listener({ type: 'init', report: init });
  const origin = init ? withLineage(options.origin, init.lineage) : options.origin;
  const balance = options.balance ?? (await balanceOf(data.train, options));
  const { end, task, plan, evalBatchSize, preprocessing, restoreBest } = await train({
    ...options,
    balance,
    ...(init && { started: init }),
  });
  await restoreBest();
  if (options.lora) await settleAdapter(model, saveTo, baseModelOf(options.init));

  let weightsHash: string | undefined;
  if (saveTo !== undefined && architecture) {
    const description = {
      model: architecture,
      heads: task.heads.map(({ options: head }) => head),
      ...preprocessing,
      origin,
    };
    weightsHash = await saveModelFolder(saveTo, model, description);
  }
  const stop = (): boolean => options.signals?.received !== undefined;
  const measured = data.test ?? data.validation;
  const evaluation =
    measured && (await evaluate(model, task, measured, { batchSize: evalBatchSize, transforms, text, stop }));
  // The last checkpoint holds everything; resuming measures again.
  if (measured && !evaluation) throw new RunStopped(options.signals?.received, end.step, options.checkpoints?.run);
  const [test, validated] = data.test ? [evaluation, undefined] : [undefined, evaluation];
  const result: TrainResult = {
    epochs: end.epoch,
    steps: end.step,
    history: end.history,
    best: end.best,
    stoppedEarly: end.stoppedEarly,
    seconds: (performance.now() - start) / 1000,
    // What training measured, which the epoch was chosen by; where nothing was trained, what there is to measure.
    validation:
      end.epoch === 0 ? validated?.measures : end.history.find(({ epoch }) => epoch === end.best?.epoch)?.validation,
    test: test && { ...test, ...(test.confusion && { baseline: majorityBaseline(test.confusion) }) },
    ...(validated && { validated }),
    modelDir: weightsHash === undefined ? undefined : saveTo,
    weightsHash,
    ...(init && { init }),
  };
  return { ...result, model: model.eval(), task, plan };
}

const STREAM_HINT =
  'read it into memory (readTextDataset, imageFolder, imageArchive); a loop of your own takes a stream: new StreamLoader(...)';

function refuseStreams(data: FineTuneOptions['data']): void {
  for (const part of ['train', 'validation', 'test'] as const)
    if (data[part]) requireIndexed(data[part], `data.${part}`, STREAM_HINT);
}

/** What a model came from, with the weights it started from; a resumed run's origin names them already. */
export const withLineage = (origin: Json | undefined, lineage: WeightsLineage): Json => ({
  ...(typeof origin === 'object' && origin !== null && !Array.isArray(origin) ? origin : {}),
  init: lineage as unknown as Json,
});

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

/** Everything only training needs (optimizer state, gradients) is garbage when this returns. */
export async function train(options: TrainOptions) {
  const prepared = prepare(options);
  const { model, data, transforms, text, listeners = [], signals } = options;
  const { task, optimizer, ema, trainable, evalBatchSize, plan, preprocessing } = prepared;
  const emit: Listener = async (event) => {
    for (const listener of listeners) await listener(event);
  };
  const { store, run = '', everySteps = 0, resumeFrom } = options.checkpoints ?? {};
  const inRam = inMemory(model, ema);
  const checkpoints = store
    ? inStore({ run, store, model, optimizer, ema, warn: (text) => emit({ type: 'notice', text }) })
    : inRam;
  const { validation, test } = data;
  const state =
    resumeFrom &&
    (await restoreCheckpoint(resumeFrom, model, optimizer, {
      ema,
      // Optimizer state is saved of what trained.
      before: ({ epoch, batch }) => void trainable.apply(Math.max(1, batch > 0 ? epoch + 1 : epoch)),
    }));
  const { check = 'auto', started: report, init, inputs } = options;
  if (check === 'auto' && report && init && !inputs)
    await checkStart(options, prepared, { weights: init.weights, report }, emit);
  const head = await headOnly(options, prepared, emit, state?.epoch ?? 0);
  const step = head ? new TrainStep({ ...prepared.stepOptions, lossOf: head.lossOf }) : prepared.step;
  const end = await trainLoop({
    step,
    loader: head?.loader ?? prepared.loader,
    epochs: prepared.epochs,
    maxSteps: options.maxSteps,
    accumulate: prepared.accumulate,
    seed: prepared.seed,
    schedule: prepared.schedule,
    ...(validation && {
      validate: async (stop) => {
        const measure = async (): Promise<Measures | undefined> => {
          if (options.measure) return options.measure(evalBatchSize, stop);
          const found = head?.validate
            ? await head.validate(stop)
            : await evaluate(model, task, validation, { batchSize: evalBatchSize, transforms, text, stop });
          return found?.measures;
        };
        return ema ? ema.whileApplied(measure) : measure();
      },
    }),
    selectBy: prepared.selectBy,
    earlyStopping: options.earlyStopping && { minDelta: 0, ...options.earlyStopping },
    checkpoints,
    everySteps,
    plan,
    samples: {
      train: data.train.length,
      validation: validation?.length ?? 0,
      test: test?.length ?? 0,
      ...(inputs?.unit !== undefined && { unit: inputs.unit }),
    },
    listeners,
    signals,
    beforeEpoch: (epoch) => {
      const total = trainable.apply(epoch);
      const joining = trainable.joining(epoch);
      if (epoch === 1 || joining === 0) return undefined;
      return `epoch ${epoch}: ${joining.toLocaleString('en')} more parameters train, ${total.toLocaleString('en')} in all`;
    },
    state,
  }).finally(() => head?.close());
  step.release();
  return { end, task, plan, evalBatchSize, preprocessing, restoreBest: bestRestorer(end, model, ema, store, inRam) };
}

function usualMetric([head, ...others]: Task['heads']): string {
  if (others.length > 0) return 'loss';
  if (head?.kind === 'tags') return areEntityTags(head.names) ? 'microF1' : 'accuracy';
  return head?.kind === 'class' ? 'accuracy' : 'loss';
}

/** By what the best epoch is found. @throws ConfigError METRIC_UNKNOWN for what the task does not measure. */
function selection({ selectBy, inputs }: TrainOptions, { heads }: Task): Selection {
  const known = measureNames(heads);
  const { metric = usualMetric(heads), mode } = selectBy ?? {};
  // Objectives without labels have measures of their own.
  if (!inputs && !known.includes(metric)) {
    const near = nearest(metric, known);
    throw new ConfigError('METRIC_UNKNOWN', `selectBy.metric: ${printable(metric)} is not measured here`, {
      field: 'selectBy.metric',
      expected: known,
      got: metric,
      hint: near === undefined ? `there are: ${known.join(', ')}` : `did you mean ${near}?`,
    });
  }
  return { metric, mode: mode ?? modeOf(metric) };
}

/** Training on cached features, where that is possible and not switched off. */
async function headOnly(options: TrainOptions, prepared: ReturnType<typeof prepare>, emit: Listener, done: number) {
  const { model, data, transforms = [], text, batchSize = 32, featureCache = 'auto', signals } = options;
  // Inputs of another kind draw their own randomness, such as masks.
  if (featureCache === 'off' || options.inputs || options.measure) return undefined;
  if (featureCache !== 'auto')
    throw new ArgumentError('OPTION_INVALID', `featureCache: expected auto or off, found ${String(featureCache)}`, {
      field: 'featureCache',
      got: featureCache,
    });
  const { balance, mixup, cutmix } = options;
  const { parameters } = prepared.stepOptions;
  // Mixed pictures are new ones in every step, a teacher sees the samples themselves; and cached rows are read in an order of their own.
  const reasons = { mixup, cutmix, 'sampler: balanced': balance?.weights, distill: options.distill };
  const against = Object.entries(reasons).find(([, reason]) => reason)?.[0];
  if (against !== undefined) {
    if (2 * countOf(parameters) < countOf(model.parameters()))
      await emit({
        type: 'notice',
        text: `features are not cached, every step runs the whole model: ${against} is set`,
      });
    return undefined;
  }
  const { task, loader, evalBatchSize, seed, epochs, stepOptions, zeroBatch } = prepared;
  return cacheFeatures({
    model,
    task,
    train: data.train,
    validation: data.validation,
    transforms,
    text,
    loader,
    batchSize,
    evalBatchSize,
    seed,
    epochs: epochs - done,
    done,
    lossOf: stepOptions.lossOf,
    parameters,
    zeroBatch,
    emit,
    stop: () => signals?.received !== undefined,
  });
}

// Apart from `train`, so that the function it makes does not keep the optimizer alive.
function bestRestorer(
  end: TrainState,
  model: Module,
  ema: Ema | undefined,
  store: Checkpoints | undefined,
  inRam: MemoryCheckpointing,
) {
  return async (): Promise<void> => {
    if (!end.best || end.best.step === end.step) await ema?.apply();
    else if (store) await restoreWeights(store, end.best.step, model, ema !== undefined);
    else await inRam.restoreBest();
  };
}

/** The plan alone: what `fineTune` with these options would take. Trains nothing. @throws MemoryError if `check`. */
export const planFineTune = (options: TrainOptions, check = false): RunPlan =>
  prepare({ ...options, checkMemory: check }).plan;

// Of a run that counts its steps.
const MOST_EPOCHS = 1e6;

/** Everything a training loop needs, checked and planned; for `fineTune` and what measures it. */
export function prepare(options: TrainOptions) {
  const { model, data, maxSteps, batchSize = 32, accumulate = 1, clip = {}, seed = 0 } = options;
  const { epochs = maxSteps === undefined ? 1 : MOST_EPOCHS } = options;
  const {
    optimizer: optimizerOptions = { name: 'adamw', lr: 1e-3 } as OptimizerOptions,
    labelSmoothing = 0,
    precision = 'fp32',
  } = options;
  const scheduleOptions = options.schedule ?? ({ name: 'constant' } as const);
  for (const [field, value] of Object.entries({ epochs, batchSize, accumulate, maxSteps: maxSteps ?? 1 }))
    if (!Number.isInteger(value) || value < (field === 'epochs' ? 0 : 1))
      throw new ArgumentError('OPTION_INVALID', `${field}: expected a whole number above 0, found ${value}`, { field });
  if (epochs === 0 && !options.init && !options.checkpoints?.resumeFrom)
    throw new ArgumentError('OPTION_INVALID', 'epochs: 0 would measure random weights: it needs init', {
      field: 'epochs',
    });
  if (options.saveTo !== undefined && !options.architecture)
    throw new ArgumentError('OPTION_INVALID', 'saveTo needs architecture: the name and options of the model', {
      field: 'architecture',
    });
  refuseStreams(data);
  if (options.lora) adapt(model, options.lora, options.unfreeze);
  // The most that will train at once is what is planned.
  const trainable = new Trainable(model, options, Math.max(1, epochs));
  const schema = data.train.schema;
  const { mixup, cutmix } = options;
  const mixing = mixup || cutmix ? new Mixing({ mixup, cutmix, seed }) : undefined;
  const { distill } = options;
  if (distill && (mixing || options.task || options.inputs))
    throw new ArgumentError('OPTION_INVALID', 'distill does not go with mixup, cutmix, or a task of your own', {
      field: 'distill',
    });
  const teacher = distill && teacherOf(distill, schema, options);
  const inputs = options.inputs ?? inputsOf(data.train, { ...options, mixing, teacher });
  const { task, preprocessing, zeroBatch, sampleBytes } = inputs;
  const selectBy = selection(options, task);
  const loader = inputs.loader({ batchSize, seed });
  const named = model.namedParameters();
  const parameters = named.map(({ variable }) => variable).filter((variable) => variable.requiresGrad);
  const rates = ratesOf(model, optimizerOptions);
  const newOptimizer = () => makeOptimizer(optimizerOptions, named, rates);
  const optimizer = newOptimizer();
  const averaged = named.filter(({ variable }) => variable.requiresGrad);
  const { ema: emaOptions } = options;
  const newEma = emaOptions && (() => new Ema(averaged, emaOptions));
  const groups = planGroups(named, rates, trainable.firstEpoch);
  const stepsPerEpoch = Math.ceil(loader.length / accumulate);
  const steps = Math.min(epochs * stepsPerEpoch, maxSteps ?? Number.POSITIVE_INFINITY);
  const schedule = makeSchedule(scheduleOptions, { lr: optimizerOptions.lr, totalSteps: steps, stepsPerEpoch });
  const evalBatch = (size: number): number => options.evalBatchSize ?? 2 * size;
  const evaluated = Math.max(data.validation?.length ?? 0, data.test?.length ?? 0);
  const { name = model.constructor.name } = options.architecture ?? {};
  const request = {
    model,
    task,
    zeroBatch,
    sampleBytes,
    optimizer: newOptimizer,
    ema: newEma,
    clip,
    accumulate,
    precision,
  };
  const plan = planRun(
    {
      model: `${name} on ${inputs.size} (${describeSchema(schema)})`,
      parameters: named.reduce((sum, { variable }) => sum + variable.size, 0),
      trainable: parameters.reduce((sum, variable) => sum + variable.size, 0),
      batchSize,
      accumulate,
      steps,
      settings: settingsText(optimizerOptions, scheduleOptions, {
        labelSmoothing,
        clip,
        precision,
        ema: emaOptions,
        freezeBatchNorm: options.freezeBatchNorm,
        lora: options.lora && resolveLora(options.lora),
        teacher: teacher && { ...teacher, name: distill?.teacher.model.name ?? '' },
      }),
      ...(groups.length > 1 && { groups }),
      memoryLimit: options.memoryLimit,
      needs: (size, memoryLimit) =>
        stepNeeds(
          { ...request, memoryLimit, evalBatchSize: (b) => Math.min(evaluated, evalBatch(b)) },
          Math.min(size, data.train.length),
        ),
    },
    { check: options.checkMemory ?? true },
  );
  // Nothing of the planning may be left for the first step.
  planAndDiscard([]);
  trainable.apply(1);
  const ema = newEma?.();
  const stepOptions: StepOptions = {
    model,
    lossOf: (batch) => autocast(precision, () => task.loss(model, batch)),
    optimizer,
    ema,
    parameters,
    clip,
    arenaLimit: plan.memory.arenaLimit,
  };
  const step = new TrainStep(stepOptions);
  const evalBatchSize = evalBatch(batchSize);
  return {
    task,
    loader,
    optimizer,
    ema,
    trainable,
    schedule,
    step,
    stepOptions,
    newOptimizer,
    zeroBatch,
    plan,
    preprocessing,
    epochs: Math.ceil(steps / stepsPerEpoch),
    accumulate,
    seed,
    evalBatchSize,
    selectBy,
  };
}
