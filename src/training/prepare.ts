/** From options to everything a training loop needs: checked, planned, and not a step taken. */
import { ArgumentError, ConfigError, nearest, printable } from '../base/errors.ts';
import { describeSchema, requireIndexed } from '../data/index.ts';
import { isQuantized, type NamedVariable, plannedZeros, resolveAdapter } from '../nn/index.ts';
import { Ema } from '../optim/index.ts';
import { areEntityTags, Mixing, type Task, type Teacher } from '../tasks/index.ts';
import { autocast, planAndDiscard } from '../tensor/index.ts';
import { adapt } from './adapter.ts';
import { refuseLength, teacherOf } from './distill.ts';
import { measureNames, modeOf } from './evaluate.ts';
import type { FineTuneOptions, TrainOptions } from './fine-tune-options.ts';
import { headPaths } from './init.ts';
import { type Inputs, inputsOf } from './inputs.ts';
import { planRun, type RunPlan } from './plan.ts';
import { planGroups, type Rate, ratesOf } from './rates.ts';
import { makeOptimizer, makeSchedule, type OptimizerOptions, type ScheduleOptions, settingsText } from './schedule.ts';
import { type NeedsRequest, stepNeeds } from './step-needs.ts';
import type { Selection } from './train-state.ts';
import type { StepOptions } from './train-step.ts';
import { Trainable } from './trainable.ts';

/** The plan alone: what `fineTune` with these options would take. Trains nothing. @throws MemoryError if `check`. */
export const planFineTune = (options: TrainOptions, check = false): RunPlan =>
  prepare({ ...options, checkMemory: check }).plan;

export type Prepared = ReturnType<typeof prepare>;

/**
 * For `fineTune` and what measures it.
 * @throws ArgumentError OPTION_INVALID, ConfigError METRIC_UNKNOWN; MemoryError unless `checkMemory` is false.
 */
export function prepare(options: TrainOptions) {
  const { model } = options;
  const settings = settingsOf(options);
  const { epochs, batchSize, accumulate, precision, clip, seed } = settings;
  refuseSettings(options, settings);
  refuseStreams(options.data);
  refuseTogether(options);
  if (options.adapter) adapt(model, options.adapter, options.unfreeze);
  // The most that will train at once is what is planned.
  const trainable = new Trainable(model, options, Math.max(1, epochs));
  const { inputs, teacher } = openInputs(options, seed);
  const { task, preprocessing, zeroBatch } = inputs;
  const selectBy = selection(options, task);
  const loader = inputs.loader({ batchSize, seed });
  const named = model.namedParameters();
  const trained = named.filter(({ variable }) => variable.requiresGrad);
  const parameters = trained.map(({ variable }) => variable);
  const rates = ratesOf(model, settings.optimizer);
  const newOptimizer = () => makeOptimizer(settings.optimizer, named, rates);
  const optimizer = newOptimizer();
  const { ema: emaOptions } = options;
  const newEma = emaOptions && (() => new Ema(trained, emaOptions));
  const stepsPerEpoch = Math.ceil(loader.length / accumulate);
  const steps = Math.min(epochs * stepsPerEpoch, options.maxSteps ?? Number.POSITIVE_INFINITY);
  const schedule = makeSchedule(settings.schedule, { lr: settings.optimizer.lr, totalSteps: steps, stepsPerEpoch });
  const plan = makePlan(options, settings, { inputs, teacher, trainable, named, rates, steps, newOptimizer, newEma });
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
  return {
    task,
    loader,
    optimizer,
    ema,
    trainable,
    schedule,
    stepOptions,
    newOptimizer,
    zeroBatch,
    plan,
    preprocessing,
    epochs: Math.ceil(steps / stepsPerEpoch),
    accumulate,
    seed,
    evalBatchSize: settings.evalBatch(batchSize),
    selectBy,
  };
}

/** What can be known before the model is touched. @throws ArgumentError OPTION_INVALID. */
export function refuseTogether({ model, adapter, prune }: TrainOptions): void {
  if (isQuantized(model))
    throw new ArgumentError('OPTION_INVALID', 'the model has its weights in 8 bits, which do not train', {
      field: 'model',
      hint: 'train first, then quantizeWeights(model)',
    });
  if (adapter && prune)
    throw new ArgumentError('OPTION_INVALID', 'prune does not go with adapter, which leaves the weights as they are', {
      field: 'prune',
      hint: 'leave out one of them',
    });
}

// Of a run that counts its steps.
const MOST_EPOCHS = 1e6;

type Settings = ReturnType<typeof settingsOf>;

function settingsOf(options: TrainOptions) {
  const { maxSteps, batchSize = 32, accumulate = 1, clip = {}, seed = 0 } = options;
  const { epochs = maxSteps === undefined ? 1 : MOST_EPOCHS, labelSmoothing = 0, precision = 'fp32' } = options;
  const { optimizer = { name: 'adamw', lr: 1e-3 } as OptimizerOptions } = options;
  const schedule: ScheduleOptions = options.schedule ?? { name: 'constant' };
  const evalBatch = (size: number): number => options.evalBatchSize ?? 2 * size;
  return { epochs, batchSize, accumulate, clip, seed, labelSmoothing, precision, optimizer, schedule, evalBatch };
}

function refuseSettings(options: TrainOptions, { epochs, batchSize, accumulate }: Settings): void {
  for (const [field, value] of Object.entries({ epochs, batchSize, accumulate, maxSteps: options.maxSteps ?? 1 }))
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
}

const STREAM_HINT =
  'read it into memory (readTextDataset, imageFolder, imageArchive); a loop of your own takes a stream: new StreamLoader(...)';

/** Training draws samples by their position. @throws ArgumentError. */
export function refuseStreams(data: FineTuneOptions['data']): void {
  for (const part of ['train', 'validation', 'test'] as const)
    if (data[part]) requireIndexed(data[part], `data.${part}`, STREAM_HINT);
}

function openInputs(options: TrainOptions, seed: number): { inputs: Inputs; teacher: Teacher | undefined } {
  const { data, mixup, cutmix, distill } = options;
  const mixing = mixup || cutmix ? new Mixing({ mixup, cutmix, seed }) : undefined;
  if (distill && (mixing || options.task || options.inputs))
    throw new ArgumentError('OPTION_INVALID', 'distill does not go with mixup, cutmix, or a task of your own', {
      field: 'distill',
    });
  const teacher = distill && teacherOf(distill, data.train.schema, options);
  const inputs = options.inputs ?? inputsOf(data.train, { ...options, mixing, teacher });
  if (distill) refuseLength(distill.teacher, inputs.zeroBatch(1));
  return { inputs, teacher };
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

interface Planned {
  readonly inputs: Inputs;
  readonly teacher: Teacher | undefined;
  readonly trainable: Trainable;
  readonly named: readonly NamedVariable[];
  readonly rates: ReadonlyMap<string, Rate>;
  readonly steps: number;
  readonly newOptimizer: NeedsRequest['optimizer'];
  readonly newEma: NeedsRequest['ema'];
}

function makePlan(options: TrainOptions, settings: Settings, planned: Planned): RunPlan {
  const { model, data, memoryLimit, ema, freezeBatchNorm, adapter, prune, distill } = options;
  const { batchSize, accumulate, clip, precision, labelSmoothing, evalBatch } = settings;
  const { inputs, teacher, trainable, named, rates, steps } = planned;
  const { task, zeroBatch, sampleBytes } = inputs;
  const groups = planGroups(named, rates, trainable.firstEpoch);
  const evaluated = Math.max(data.validation?.length ?? 0, data.test?.length ?? 0);
  const { name = model.constructor.name } = options.architecture ?? {};
  const sizeOf = (list: readonly NamedVariable[]): number => list.reduce((sum, { variable }) => sum + variable.size, 0);
  const request = {
    model,
    task,
    zeroBatch,
    sampleBytes,
    optimizer: planned.newOptimizer,
    ema: planned.newEma,
    clip,
    onGradients: prune && plannedZeros(model, headPaths(model)),
    accumulate,
    precision,
    evalBatchSize: (size: number) => Math.min(evaluated, evalBatch(size)),
  };
  return planRun(
    {
      model: `${name} on ${inputs.size} (${describeSchema(data.train.schema)})`,
      parameters: sizeOf(named),
      trainable: sizeOf(named.filter(({ variable }) => variable.requiresGrad)),
      batchSize,
      accumulate,
      steps,
      settings: settingsText(settings.optimizer, settings.schedule, {
        labelSmoothing,
        clip,
        precision,
        ema,
        freezeBatchNorm,
        adapter: adapter && resolveAdapter(adapter),
        prune,
        teacher: teacher && { ...teacher, name: distill?.teacher.model.name ?? '' },
      }),
      ...(groups.length > 1 && { groups }),
      memoryLimit,
      needs: (size, limit) => stepNeeds({ ...request, memoryLimit: limit }, Math.min(size, data.train.length)),
    },
    { check: options.checkMemory ?? true },
  );
}
