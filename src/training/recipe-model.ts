/** From a recipe and its data to a model: the options that the recipe leaves open follow from the data, the others must fit them. */
import { ConfigError, printable } from '../base/errors.ts';
import { type Schema, type TextCollateOptions, validateTransforms } from '../data/index.ts';
import { createModel, listModels, modelEntry } from '../models/index.ts';
import type { Module } from '../nn/index.ts';
import { type HeadOptions, headSizes, headsOf } from '../tasks/index.ts';
import { manualSeed } from '../tensor/index.ts';
import type { RunData } from './data-source.ts';
import { taskName } from './inputs.ts';
import { isLanguage, pretrainingOf } from './pretrain-inputs.ts';
import type { Recipe } from './recipe.ts';

/**
 * A new model with random weights, and the name and options it was built from.
 * @throws ConfigError RECIPE_INVALID, MODEL_INPUT, MODEL_TASK, CLASSES_MISMATCH where recipe and data do not go together.
 */
export function buildModel(recipe: Recipe, data: RunData): { module: Module; architecture: Recipe['model'] } {
  if (recipe.model.adapter !== undefined)
    throw new ConfigError('RECIPE_INVALID', 'model.adapter: an adapter is not an option of the model in a recipe', {
      field: 'model.adapter',
      hint: 'write adapter beside model',
    });
  if (recipe.model.quantized !== undefined)
    throw new ConfigError('RECIPE_INVALID', 'model.quantized: weights in 8 bits do not train', {
      field: 'model.quantized',
      hint: 'leave it out, and make it smaller when it is trained: cambium quantize',
    });
  const { schema } = data.train;
  const pretraining = pretrainingOf(recipe.task);
  const heads = pretraining ? [] : headsOf(schema);
  if (!pretraining) refuseTask(recipe.task, schema);
  refuseInput(recipe.model.name, data.text ? 'text' : 'image');
  const { defaults } = modelEntry(recipe.model.name);
  if (isPerToken(heads) && !('perToken' in defaults)) refuseTokens(recipe.model.name);
  const fits: Record<string, unknown> = {
    ...(!pretraining && labelFits(heads)),
    ...(data.text ? textFits(data.text) : imageFits(data)),
  };
  const open = Object.entries(fits).filter(([key]) => key in defaults || key === 'heads');
  const architecture = { ...Object.fromEntries(open), ...recipe.model };
  const { name, ...options } = architecture;
  if (!pretraining) refuseClasses(options.numClasses, heads);
  refuseHeads(options.heads, fits.heads);
  if (!pretraining) refusePerToken(options.perToken, isPerToken(heads));
  if (data.text && typeof options.vocabSize === 'number') data.text.tokenizer.checkFits(options.vocabSize);
  manualSeed(recipe.seed);
  return {
    module: createModel(name, options, pretraining && isLanguage(pretraining) ? pretraining : undefined),
    architecture,
  };
}

const isPerToken = (heads: readonly HeadOptions[]): boolean => heads.some(({ kind }) => kind === 'tags');

const classesOf = (heads: readonly HeadOptions[]): number => heads.reduce((sum, { names }) => sum + names.length, 0);

const labelFits = (heads: readonly HeadOptions[]): Record<string, unknown> => ({
  ...(isPerToken(heads) && { perToken: true }),
  numClasses: classesOf(heads),
  ...(heads.length > 1 && { heads: headSizes(heads) }),
  // Numbers and the logits of single labels are negative as often as not.
  ...(heads.some(({ kind }) => kind !== 'class') && { outputRelu: false }),
});

const textFits = ({ tokenizer }: TextCollateOptions): Record<string, unknown> => ({
  vocabSize: tokenizer.vocabSize,
  padTokenId: tokenizer.padId,
});

function imageFits({ recipe, train }: RunData): Record<string, unknown> {
  const { height, width, channels } = validateTransforms(recipe.transforms, train.schema).modelSize;
  return { inChannels: channels, imageSize: height, inFeatures: channels * height * width };
}

function refuseTask(task: Recipe['task'], schema: Schema): void {
  if (task === undefined) return;
  const found = taskName(schema);
  if (task === found) return;
  throw new ConfigError('RECIPE_INVALID', `task is ${task}, by their labels the data are for ${found}`, {
    field: 'task',
    expected: found,
    got: task,
  });
}

function refuseInput(name: string, wanted: 'text' | 'image'): void {
  const { input = 'image' } = modelEntry(name);
  if (input === wanted) return;
  throw new ConfigError('MODEL_INPUT', `model ${printable(name)} reads ${input}, the data are ${wanted}`, {
    field: 'model.name',
    expected: `a model of ${wanted}`,
    got: name,
    hint: `cambium models lists those of ${wanted}`,
  });
}

function refuseTokens(name: string): never {
  const able = listModels().flatMap(({ name: other, defaults }) => ('perToken' in defaults ? other : []));
  throw new ConfigError(
    'MODEL_TASK',
    `model ${printable(name)} classifies texts as a whole, the data have a class for each word`,
    {
      field: 'model.name',
      expected: able,
      got: name,
      hint: `for token-classification there are: ${able.join(', ')}`,
    },
  );
}

function refuseClasses(numClasses: unknown, heads: readonly HeadOptions[]): void {
  const classes = classesOf(heads);
  if (numClasses === undefined || numClasses === classes) return;
  const what = heads.length === 1 && heads[0]?.kind === 'class' ? 'classes' : 'values to predict';
  throw new ConfigError(
    'CLASSES_MISMATCH',
    `model.numClasses is ${printable(numClasses)}, the data have ${classes} ${what}`,
    {
      field: 'model.numClasses',
      expected: classes,
      got: numClasses,
      hint: `leave it out, or set it to ${classes}`,
    },
  );
}

function refuseHeads(heads: unknown, expected: unknown): void {
  if (heads === undefined || JSON.stringify(heads) === JSON.stringify(expected)) return;
  throw new ConfigError('CLASSES_MISMATCH', 'model.heads is not what the data have labels for', {
    field: 'model.heads',
    expected,
    got: heads,
    hint: 'leave it out: it follows from data.labels',
  });
}

function refusePerToken(perToken: unknown, expected: boolean): void {
  if ((perToken ?? false) === expected) return;
  throw new ConfigError(
    'MODEL_TASK',
    `model.perToken is ${String(perToken)}, the data have ${expected ? '' : 'no '}tags`,
    {
      field: 'model.perToken',
      expected,
      got: perToken,
      hint: 'leave it out: it follows from the data',
    },
  );
}
