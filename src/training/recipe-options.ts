/** From a recipe and its data to the options of `fineTune` or of pre-training. */
import { ConfigError, ShapeError } from '../base/errors.ts';
import type { TextCollateOptions, Transform } from '../data/index.ts';
import { modelEntry } from '../models/index.ts';
import { type DataRequest, loadRunData, type RunData } from './data-source.ts';
import type { FineTuneOptions, TrainOptions } from './fine-tune-options.ts';
import { type OpenedInit, openInit, textOf } from './init-source.ts';
import { prepareObjective, trainOptions } from './pretrain.ts';
import { type PretrainInputs, pretrainingOf } from './pretrain-inputs.ts';
import type { Recipe } from './recipe.ts';
import { buildModel } from './recipe-model.ts';
import { openTeacher } from './teacher-place.ts';

export interface OpenedRecipe {
  /** Its recipe is the one that runs, with what the weights to start from decide. */
  readonly data: RunData;
  readonly init?: OpenedInit;
  readonly options: TrainOptions;
  /** Of a task that learns without labels. */
  readonly pretraining?: PretrainInputs;
}

export interface OpenRequest extends DataRequest {
  /** Where the run that goes on had its teacher. */
  readonly teacherPlace?: string | undefined;
}

/** Reads what a recipe names: weights to start from (unless opened already), data, teacher; and builds its model. */
export async function openRecipe(recipe: Recipe, request: OpenRequest, reopened?: OpenedInit): Promise<OpenedRecipe> {
  const init = reopened ?? (await openInit(recipe, request.dataDir));
  const text = init?.tokenizer && textOf(init.recipe, init.tokenizer);
  const data = await loadRunData(init?.recipe ?? recipe, { ...request, text });
  return { data, ...(init && { init }), ...(await optionsOf(data, init, request)) };
}

/** A model that does not fit its data is a mistake in the recipe. */
export async function asRecipe<T>(body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (cause) {
    if (!(cause instanceof ShapeError)) throw cause;
    throw new ConfigError(cause.code, cause.message, { field: 'model', ...cause.details, cause });
  }
}

async function optionsOf(
  data: RunData,
  init: OpenedInit | undefined,
  { dataDir, notify, inMemory, teacherPlace }: OpenRequest,
): Promise<Pick<OpenedRecipe, 'options' | 'pretraining'>> {
  const { distill } = data.recipe;
  const places = { dataDir: dataDir ?? data.recipe.data.dir, noted: teacherPlace };
  const options = {
    ...fineTuneOptions(data, init),
    ...(distill && { distill: { ...distill, teacher: await openTeacher(distill.teacher, places) } }),
  };
  const objective = pretrainingOf(data.recipe.task);
  if (!objective) return { options };
  const { model, transforms, text } = options;
  const needs = { model, transforms, text, packing: { notify, tokensInMemory: inMemory?.tokens } };
  const pretraining = await prepareObjective(objective, data, { ...needs, ...data.recipe.objective });
  return { options: trainOptions(pretraining, { ...options, selectBy: { metric: 'loss' } }), pretraining };
}

function fineTuneOptions(data: RunData, init?: OpenedInit): FineTuneOptions {
  const { recipe } = data;
  const { module, architecture } = buildModel(recipe, data);
  const given: Record<string, unknown> = { ...modelEntry(architecture.name).defaults, ...architecture };
  const positions = given.maxPositionEmbeddings ?? given.nPositions;
  const { optimizer, schedule, epochs, batchSize, evalBatchSize, accumulate, clip, labelSmoothing, precision } = recipe;
  const {
    freeze,
    unfreeze,
    freezeBatchNorm,
    ema,
    adapter,
    prune,
    classWeights,
    sampler,
    mixup,
    cutmix,
    heads,
    maxSteps,
  } = recipe;
  return {
    model: module,
    architecture,
    ...(init && { init: init.init }),
    data,
    transforms: recipe.transforms as unknown as Transform[],
    text: data.text && fitLength(data.text, recipe, positions),
    optimizer,
    schedule,
    epochs,
    maxSteps,
    batchSize,
    evalBatchSize,
    accumulate,
    clip,
    freeze,
    unfreeze,
    freezeBatchNorm,
    adapter,
    prune,
    ema,
    classWeights,
    sampler,
    mixup,
    cutmix,
    labelSmoothing,
    heads,
    precision,
    memoryLimit: recipe.memoryLimit,
    featureCache: recipe.featureCache,
    check: recipe.check,
    selectBy: recipe.selectBy,
    earlyStopping: recipe.earlyStopping,
    seed: recipe.seed,
  };
}

/** No more tokens than the model has positions. @throws ConfigError LENGTH_EXCEEDED for a recipe that wants more. */
function fitLength(text: TextCollateOptions, { maxLength }: Recipe, positions: unknown): TextCollateOptions {
  if (typeof positions !== 'number') return text;
  if (maxLength !== undefined && maxLength > positions)
    throw new ConfigError('LENGTH_EXCEEDED', `maxLength ${maxLength}: the model has ${positions} positions`, {
      field: 'maxLength',
      expected: `<= ${positions}`,
      got: maxLength,
      hint: `set maxLength to ${positions}, or build the model with ${maxLength} positions`,
    });
  return {
    ...text,
    maxLength: Math.min(positions, text.maxLength ?? text.tokenizer.config.modelMaxLength ?? positions),
  };
}
