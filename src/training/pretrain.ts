/**
 * Pre-training: learning without labels, by the same loop, checkpoints and reports as fine-tuning. What it saves is a folder
 * that fine-tuning starts from (`init: { weights: FOLDER }`).
 */
import { ArgumentError } from '../base/errors.ts';
import type { Dataset, TextCollateOptions, Transform } from '../data/index.ts';
import type { Json } from '../io/index.ts';
import type { Module } from '../nn/index.ts';
import type { Objective, ObjectiveName } from '../tasks/index.ts';
import type { Measures } from './events.ts';
import { type FineTuneOptions, type TrainResult, train, withLineage } from './fine-tune.ts';
import { initialise } from './init.ts';
import type { RunPlan } from './plan.ts';
import {
  languageInputs,
  measureObjective,
  type ObjectiveOptions,
  type PretrainInputs,
  type UnlabelledTexts,
} from './pretrain-inputs.ts';
import { savePretrained } from './pretrained-folder.ts';

export interface PretrainOptions extends Omit<FineTuneOptions, 'data' | 'task' | 'labelSmoothing' | 'evalBatchSize'> {
  objective: ObjectiveName;
  /** Samples without labels; validation is measured after every epoch. */
  data: { train: UnlabelledTexts; validation?: UnlabelledTexts };
  objectiveOptions?: ObjectiveOptions;
  evalBatchSize?: number;
}

export interface PretrainResult extends TrainResult {
  /** The model with its best weights, in evaluation mode. */
  readonly model: Module;
  readonly objective: Objective;
  readonly plan: RunPlan;
}

/**
 * Learns from data without labels, keeps the weights of the best epoch, and saves them.
 * @example await pretrain({ objective: 'masked-lm', model, data: { train: plainTexts(lines) }, text: { tokenizer }, saveTo, architecture })
 * @throws MemoryError before the first step when it will not fit; NumericError; RunStopped; DataError; ArgumentError.
 */
export async function pretrain(options: PretrainOptions): Promise<PretrainResult> {
  const { objective, data, objectiveOptions, ...rest } = options;
  const { text, transforms } = options;
  return pretrainOn(await prepareObjective(objective, data, { text, transforms, ...objectiveOptions }), rest);
}

/** Packs and checks what an objective reads. */
export const prepareObjective = (
  name: ObjectiveName,
  data: { train: UnlabelledTexts | Dataset<unknown>; validation?: UnlabelledTexts | Dataset<unknown> },
  options: ObjectiveOptions & { text?: TextCollateOptions; transforms?: readonly Transform[] },
): Promise<PretrainInputs> =>
  languageInputs(
    name as 'masked-lm',
    data as { train: UnlabelledTexts; validation?: UnlabelledTexts },
    options.text,
    options,
  );

/** Options of `fineTune`'s own loop for an objective. */
export function trainOptions(prepared: PretrainInputs, options: Omit<FineTuneOptions, 'data' | 'task'>) {
  const { objective, inputs, train: part, validation } = prepared;
  return {
    selectBy: { metric: 'loss' } as const,
    ...options,
    data: { train: part.samples, ...(validation && { validation: validation.samples }) },
    inputs,
    ...(validation && {
      measure: (batchSize: number, stop: () => boolean): Promise<Measures | undefined> =>
        measureObjective(options.model, objective, validation, { batchSize, seed: options.seed, stop }),
    }),
  };
}

/** `pretrain` on inputs already made. */
export async function pretrainOn(
  prepared: PretrainInputs,
  options: Omit<FineTuneOptions, 'data' | 'task'>,
): Promise<PretrainResult> {
  if (options.lora)
    throw new ArgumentError(
      'OPTION_INVALID',
      'lora adapts a pretrained trunk to a task: pre-training trains the trunk',
      {
        field: 'lora',
      },
    );
  const start = performance.now();
  const { model, saveTo, architecture } = options;
  const init = options.init && !options.checkpoints?.resumeFrom ? await initialise(model, options.init) : undefined;
  if (init) for (const listener of options.listeners ?? []) await listener({ type: 'init', report: init });
  const origin: Json | undefined = init ? withLineage(options.origin, init.lineage) : options.origin;
  const { end, plan, preprocessing, restoreBest } = await train(trainOptions(prepared, options));
  await restoreBest();
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
  return {
    epochs: end.epoch,
    steps: end.step,
    history: end.history,
    best: end.best,
    stoppedEarly: end.stoppedEarly,
    seconds: (performance.now() - start) / 1000,
    validation: end.history.find(({ epoch }) => epoch === end.best?.epoch)?.validation,
    modelDir: weightsHash === undefined ? undefined : saveTo,
    weightsHash,
    ...(init && { init }),
    model: model.eval(),
    objective,
    plan,
  };
}
