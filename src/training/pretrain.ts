/**
 * Pre-training: learning without labels, by the same loop, checkpoints and reports as fine-tuning. What it saves is a folder
 * that fine-tuning starts from (`init: { weights: FOLDER }`).
 */
import { ArgumentError } from '../base/errors.ts';
import type { Dataset, TextCollateOptions, Transform } from '../data/index.ts';
import type { Json } from '../io/index.ts';
import { isMergeable, type Module } from '../nn/index.ts';
import type { Objective, ObjectiveName } from '../tasks/index.ts';
import { settleAdapter } from './adapter.ts';
import { checkPretrainOptions } from './check-options.ts';
import type { Measures } from './events.ts';
import { type TrainResult, train, withLineage } from './fine-tune.ts';
import type { FineTuneOptions } from './fine-tune-options.ts';
import { initialise } from './init.ts';
import type { RunPlan } from './plan.ts';
import {
  isLanguage,
  languageInputs,
  measureObjective,
  type ObjectiveOptions,
  type PackingOptions,
  type PretrainInputs,
  type UnlabelledTexts,
} from './pretrain-inputs.ts';
import { pictureInputs, type UnlabelledPictures } from './pretrain-vision.ts';
import { savePretrained } from './pretrained-folder.ts';
import { RunStopped } from './signals.ts';

/** Texts for masked-lm and causal-lm, pictures for the others. */
export type Unlabelled = UnlabelledTexts | UnlabelledPictures;

type ForLabels = 'distill' | 'labelSmoothing' | 'classWeights' | 'sampler' | 'mixup' | 'cutmix' | 'prune';

export interface PretrainOptions extends Omit<FineTuneOptions, 'data' | 'task' | ForLabels | 'evalBatchSize'> {
  objective: ObjectiveName;
  /** Samples without labels; validation is measured after every epoch. */
  data: { train: Unlabelled; validation?: Unlabelled };
  /** Of pictures: `model` is a classifier; its trunk learns, its head is left alone. */
  objectiveOptions?: ObjectiveOptions;
  evalBatchSize?: number;
  /** Of texts: tokens of a part that are kept in memory, 64 Mi unless told; more are packed once into a file of the cache folder. */
  tokensInMemory?: number;
}

export interface PretrainResult extends TrainResult {
  /** The model with its best weights, in evaluation mode; a classifier of pictures with the head it came with. */
  readonly model: Module;
  readonly objective: Objective;
  readonly plan: RunPlan;
}

/**
 * Learns from data without labels, keeps the weights of the best epoch, and saves them.
 * @example await pretrain({ objective: 'contrastive', model, data: { train }, transforms, saveTo, architecture })
 * @example await pretrain({ objective: 'masked-lm', model, data: { train: plainTexts(lines) }, text: { tokenizer }, saveTo, architecture })
 * @throws MemoryError before the first step when it will not fit; NumericError; RunStopped; DataError; ArgumentError.
 */
export async function pretrain(options: PretrainOptions): Promise<PretrainResult> {
  checkPretrainOptions(options);
  const { objective, data, objectiveOptions, tokensInMemory, ...rest } = options;
  const { text, transforms, model, listeners = [] } = options;
  const notify = async (notice: string): Promise<void> => {
    for (const listener of listeners) await listener({ type: 'notice', text: notice });
  };
  const packing = { tokensInMemory, notify };
  const needs = { model, text, transforms, packing, ...objectiveOptions };
  return pretrainOn(await prepareObjective(objective, data, needs), rest);
}

/** Packs and checks what an objective reads, and puts on a model of pictures what the objective needs. */
export async function prepareObjective(
  name: ObjectiveName,
  data: { train: Unlabelled | Dataset<unknown>; validation?: Unlabelled | Dataset<unknown> },
  { model, text, transforms = [], packing, masking, ...pictures }: ObjectiveOptions & ObjectiveNeeds,
): Promise<PretrainInputs> {
  if (isLanguage(name)) {
    refuseOptions(name, pictures);
    return languageInputs(name, data as { train: UnlabelledTexts; validation?: UnlabelledTexts }, text, {
      masking,
      ...packing,
    });
  }
  refuseOptions(name, { masking });
  return pictureInputs(
    name,
    model,
    data as { train: UnlabelledPictures; validation?: UnlabelledPictures },
    transforms,
    pictures,
  );
}

interface ObjectiveNeeds {
  model: Module;
  text?: TextCollateOptions | undefined;
  transforms?: readonly Transform[] | undefined;
  packing?: PackingOptions | undefined;
}

function refuseOptions(name: ObjectiveName, options: object): void {
  const [field, got] = Object.entries(options).find(([, value]) => value !== undefined) ?? [];
  if (field !== undefined)
    throw new ArgumentError('OPTION_INVALID', `objective.${field}: ${name} has no such option`, {
      field: `objective.${field}`,
      got,
    });
}

/** Options of `fineTune`'s own loop for an objective. */
export function trainOptions(prepared: PretrainInputs, options: Omit<FineTuneOptions, 'data' | 'task'>) {
  const { objective, inputs, train: part, validation } = prepared;
  refuseAdapter(prepared, options);
  const model = prepared.model ?? options.model;
  return {
    selectBy: { metric: 'loss' } as const,
    ...options,
    model,
    data: { train: part.samples, ...(validation && { validation: validation.samples }) },
    inputs,
    ...(validation && {
      measure: (batchSize: number, stop: () => boolean): Promise<Measures | undefined> =>
        measureObjective(model, objective, validation, { batchSize, seed: options.seed, stop }),
    }),
  };
}

/** Adapters need a trunk that has learned: tuning a language model to more texts, never its first pre-training. */
function refuseAdapter(
  { objective: { name } }: PretrainInputs,
  { adapter, init }: Pick<FineTuneOptions, 'adapter' | 'init'>,
): void {
  // What masked words make is a trunk for others: it has to be whole.
  const goes = name === 'causal-lm' || (name === 'masked-lm' && adapter && isMergeable(adapter));
  if (!adapter || (goes && init)) return;
  const [message, hint] = goes
    ? [
        `${adapter.name} adapts weights that have learned: there are none to start from`,
        'name them by init, or leave out adapter',
      ]
    : [`${adapter.name} does not go with ${name}, which trains the trunk`, 'leave out adapter'];
  throw new ArgumentError('OPTION_INVALID', message, { field: 'adapter', hint });
}

/** `pretrain` on inputs already made. */
export async function pretrainOn(
  prepared: PretrainInputs,
  options: Omit<FineTuneOptions, 'data' | 'task'>,
): Promise<PretrainResult> {
  refuseAdapter(prepared, options);
  try {
    return await learn(prepared, options);
  } finally {
    prepared.model?.restoreHead();
    prepared.close?.();
  }
}

async function learn(
  prepared: PretrainInputs,
  options: Omit<FineTuneOptions, 'data' | 'task'>,
): Promise<PretrainResult> {
  const start = performance.now();
  const { saveTo, adapter } = options;
  const model = prepared.model ?? options.model;
  const init = options.init && !options.checkpoints?.resumeFrom ? await initialise(model, options.init) : undefined;
  if (init) for (const listener of options.listeners ?? []) await listener({ type: 'init', report: init });
  const origin: Json | undefined = init ? withLineage(options.origin, init.lineage) : options.origin;
  const wanted = trainOptions(prepared, options);
  const { end, plan, evalBatchSize, preprocessing, restoreBest } = await train(wanted);
  await restoreBest();
  const architecture = adapter ? await settleAdapter(model, adapter, options) : options.architecture;
  const { objective } = prepared;
  const weightsHash =
    saveTo !== undefined && architecture
      ? await savePretrained(saveTo, model, {
          model: architecture,
          objective: objective.name,
          ...preprocessing,
          origin,
        })
      : undefined;
  // Where nothing was trained, what there is to measure: the weights it came with.
  const stop = (): boolean => options.signals?.received !== undefined;
  const measure = end.epoch === 0 ? wanted.measure : undefined;
  const measured = await measure?.(evalBatchSize, stop);
  if (measure && !measured) throw new RunStopped(options.signals?.received, end.step, options.checkpoints?.run);
  return {
    epochs: end.epoch,
    steps: end.step,
    history: end.history,
    best: end.best,
    stoppedEarly: end.stoppedEarly,
    seconds: (performance.now() - start) / 1000,
    validation: measured ?? end.history.find(({ epoch }) => epoch === end.best?.epoch)?.validation,
    modelDir: weightsHash === undefined ? undefined : saveTo,
    weightsHash,
    ...(init && { init }),
    model: (prepared.model?.trunk ?? model).eval(),
    objective,
    plan,
  };
}
