/** Options of the calls that train, looked at before anything is done: no unknown names, and no values a type would have refused. */
import { z } from 'zod';
import { ArgumentError, nearest, printable } from '../base/errors.ts';
import { objectiveNames } from '../tasks/index.ts';
import type { TrainOptions } from './fine-tune-options.ts';
import type { PretrainOptions } from './pretrain.ts';
import { recipeSchema } from './recipe.ts';
import { pathText } from './recipe-parse.ts';

const { optimizer, schedule, precision, sampler, check, featureCache, adapter, prune } = recipeSchema.shape;
/** Looked at where it is used. */
const later = z.any();
const given = z.custom((value) => typeof value === 'object' && value !== null, 'expected an object');
const whole = z.number().int().min(0);
const named = z.looseObject({ name: z.string() });

/** Every option there is: tsc names one that is missing here, or too many. */
const shared = {
  model: given,
  data: given,
  transforms: z.array(later),
  text: later,
  optimizer,
  schedule,
  epochs: later,
  maxSteps: z.number().int().min(1),
  batchSize: later,
  evalBatchSize: z.number().int().min(1),
  accumulate: later,
  clip: z.strictObject({ norm: z.number().positive().optional(), value: z.number().positive().optional() }),
  init: z.looseObject({ weights: z.string() }),
  check,
  freeze: later,
  unfreeze: later,
  freezeBatchNorm: z.boolean(),
  adapter,
  ema: later,
  precision,
  selectBy: z.strictObject({ metric: z.string(), mode: z.enum(['max', 'min']).optional() }),
  earlyStopping: z
    .strictObject({ patience: z.number().int().min(1), minDelta: z.number().min(0).optional() })
    .nullable(),
  seed: whole,
  listeners: z.array(z.custom((value) => typeof value === 'function', 'expected functions')),
  saveTo: z.string(),
  architecture: named,
  origin: later,
  heads: later,
  memoryLimit: later,
  featureCache,
  checkMemory: z.boolean(),
  checkpoints: given,
  signals: later,
} as const;

const fineTuneOptions: { readonly [K in keyof Required<TrainOptions>]: z.ZodType } = {
  ...shared,
  task: later,
  labelSmoothing: z.number().min(0).lt(1),
  classWeights: later,
  sampler,
  mixup: later,
  cutmix: later,
  prune,
  distill: later,
  balance: later,
  started: later,
  inputs: later,
  measure: later,
};

const pretrainOptions: { readonly [K in keyof Required<PretrainOptions>]: z.ZodType } = {
  ...shared,
  objective: z.enum(objectiveNames),
  objectiveOptions: later,
  tokensInMemory: whole,
};

/** @throws ArgumentError OPTION_UNKNOWN with the nearest name, OPTION_INVALID for a value. */
export const checkFineTuneOptions = (options: object): void => refuse('fineTune', options, fineTuneOptions);

/** As for fineTune. */
export function checkPretrainOptions(options: object): void {
  if ('objective' in options && options.objective === 'supervised')
    throw new ArgumentError('OPTION_INVALID', 'objective: learning from labels is what fineTune does, without init', {
      field: 'objective',
      expected: objectiveNames,
      got: options.objective,
      hint: 'call fineTune({ model, data, saveTo, architecture }); its folder is what init: { weights } of the next fineTune takes',
    });
  refuse('pretrain', options, pretrainOptions);
}

function refuse(call: string, options: object, table: Readonly<Record<string, z.ZodType>>): void {
  const names = Object.keys(table);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const schema = Object.hasOwn(table, name) ? table[name] : undefined;
    if (!schema) throw unknown(call, name, names);
    const { error } = schema.safeParse(value);
    const issue = error?.issues.find(({ code }) => code === 'unrecognized_keys') ?? error?.issues[0];
    if (issue) throw wrong(name, value, issue);
  }
}

function unknown(call: string, name: string, names: readonly string[]): ArgumentError {
  const near = nearest(name, names) ?? synonyms[name.toLowerCase()];
  return new ArgumentError('OPTION_UNKNOWN', `${call} has no option ${printable(name)}`, {
    field: name,
    expected: names,
    got: name,
    hint: near === undefined ? `there are: ${names.join(', ')}` : `did you mean ${near}?`,
  });
}

/** What other frameworks call them. */
const synonyms: Readonly<Record<string, string>> = {
  lr: 'optimizer.lr',
  learningrate: 'optimizer.lr',
  weightdecay: 'optimizer.weightDecay',
  scheduler: 'schedule',
  gradientaccumulationsteps: 'accumulate',
  numtrainepochs: 'epochs',
};

function wrong(name: string, value: unknown, issue: z.core.$ZodIssue): ArgumentError {
  const field = pathText([
    name,
    ...issue.path,
    ...(issue.code === 'unrecognized_keys' ? [issue.keys[0] as string] : []),
  ]);
  let got: unknown = value;
  for (const key of issue.path) got = (got as Record<PropertyKey, unknown> | undefined)?.[key];
  if (issue.code === 'unrecognized_keys')
    return new ArgumentError('OPTION_UNKNOWN', `there is no option ${printable(field)}`, { field, got: issue.keys[0] });
  const choices = issue.code === 'invalid_value' ? issue.values.map(String) : [];
  const near = typeof got === 'string' ? nearest(got, choices) : undefined;
  const expected = choices.length > 0 ? choices.join(' or ') : issue.message.replace(/^.*expected /, '');
  return new ArgumentError('OPTION_INVALID', `${field}: expected ${expected}, found ${printable(got)}`, {
    field,
    expected,
    got,
    ...(near !== undefined && { hint: `did you mean ${near}?` }),
  });
}
