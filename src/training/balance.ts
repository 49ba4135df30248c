/**
 * What the training labels come to: weights or a sampler for classes of unequal size, means and deviations of numbers.
 */
import { ConfigError, DataError } from '../base/errors.ts';
import { countLabels, labelsAt, labelsOf, type Schema, weightField } from '../data/index.ts';
import type { Samples } from './inputs.ts';

/**
 * 'balanced': n / (classes * count) as scikit-learn's (where samples have several labels, those without it over those with it);
 * numbers in the order of the classes; or by name, 1 for the others.
 */
export type ClassWeights = 'balanced' | readonly number[] | Readonly<Record<string, number>>;

export interface BalanceOptions {
  readonly classWeights?: ClassWeights | undefined;
  /** 'balanced': an epoch draws with replacement, each class with the same probability. */
  readonly sampler?: 'shuffled' | 'balanced' | undefined;
}

export interface Balance {
  /** One a class. */
  readonly classWeights?: readonly number[];
  /** One a sample, for the loader. */
  readonly weights?: Float64Array;
  /** Of labels that are numbers, by field: one mean and deviation each. */
  readonly scales?: Readonly<Record<string, { readonly mean: readonly number[]; readonly std: readonly number[] }>>;
}

/**
 * @throws ConfigError CLASS_WEIGHTS_INVALID for unknown names, wrong counts, numbers not above 0; CLASS_EMPTY where 'balanced' cannot
 * be; HEAD_OPTION where there are no classes to balance. DataError LABELS_CONSTANT for numbers that are all the same.
 */
export async function balanceOf(
  train: Samples,
  { classWeights, sampler = 'shuffled' }: BalanceOptions,
): Promise<Balance> {
  const scales = await scalesOf(train);
  const scaled = Object.keys(scales).length > 0 ? { scales } : {};
  if (classWeights === undefined && sampler === 'shuffled') return scaled;
  const {
    field,
    names: classes,
    kind,
  } = classesOf(train.schema, classWeights === undefined ? 'sampler' : 'classWeights');
  if (sampler === 'balanced' && kind !== 'class')
    throw new ConfigError('HEAD_OPTION', `sampler: balanced does not fit ${field}: its samples have several labels`, {
      field: 'sampler',
      hint: 'classWeights=balanced weighs the labels in the loss',
    });
  const needed = classWeights === 'balanced' || sampler === 'balanced';
  const labels = needed && kind === 'class' ? await labelsOf(train, field) : new Int32Array(0);
  const counts =
    needed && kind === 'classes'
      ? await indicatorsOf(train, field)
      : needed && kind === 'tags'
        ? await tagCounts(train, field, classes.length)
        : countLabels(labels, classes.length);
  const total = kind === 'tags' ? counts.reduce((a, b) => a + b, 0) : train.length;
  const empty = needed ? counts.indexOf(0) : -1;
  if (empty >= 0)
    throw new ConfigError(
      'CLASS_EMPTY',
      `no training sample is of class "${classes[empty]}": it has no balanced weight`,
      {
        field: classWeights === 'balanced' ? 'classWeights' : 'sampler',
        got: classes[empty],
        hint: 'give more samples, or weights by name: classWeights={a: 1, b: 3}',
      },
    );
  const balanced = counts.map((count) =>
    kind === 'classes' ? Math.max(1e-6, train.length - count) / count : total / (classes.length * count),
  );
  return {
    ...scaled,
    ...(classWeights !== undefined && {
      classWeights: classWeights === 'balanced' ? balanced : resolved(classWeights, classes),
    }),
    ...(sampler === 'balanced' && { weights: Float64Array.from(labels, (label) => 1 / (counts[label] as number)) }),
  };
}

/** The one label that has classes. */
function classesOf(
  { labels }: Schema,
  option: string,
): { field: string; kind: 'class' | 'classes' | 'tags'; names: readonly string[] } {
  const heads = Object.entries(labels).filter(([field]) => field !== weightField);
  const [field, label] = heads[0] ?? ['', undefined];
  if (heads.length === 1 && (label?.kind === 'class' || label?.kind === 'classes' || label?.kind === 'tags'))
    return { field, kind: label.kind, names: label.names };
  throw new ConfigError('HEAD_OPTION', `${option} is for data of one label, a class`, {
    field: option,
    got: heads.map(([name, { kind }]) => `${name}: ${kind}`),
  });
}

async function indicatorsOf(train: Samples, field: string): Promise<number[]> {
  const counts: number[] = [];
  for (let i = 0; i < train.length; i++)
    ((await labelsAt(train, i))[field] as Float32Array).forEach((value, k) => {
      counts[k] = (counts[k] ?? 0) + Number(value === 1);
    });
  return counts;
}

/** Words of each class. */
async function tagCounts(train: Samples, field: string, classes: number): Promise<number[]> {
  const counts = new Array<number>(classes).fill(0);
  for (let i = 0; i < train.length; i++)
    for (const tag of (await labelsAt(train, i))[field] as Int32Array) counts[tag] = (counts[tag] as number) + 1;
  return counts;
}

/** Mean and standard deviation of every number among the labels, over the samples that have it. */
async function scalesOf(train: Samples): Promise<Record<string, { mean: number[]; std: number[] }>> {
  const fields = Object.entries(train.schema.labels).filter(
    ([field, { kind }]) => field !== weightField && (kind === 'number' || kind === 'numbers'),
  );
  if (fields.length === 0) return {};
  const values = fields.map(([, label]) => (label.kind === 'number' ? [[]] : names(label).map((): number[] => [])));
  for (let i = 0; i < train.length; i++) {
    const sample = await labelsAt(train, i);
    for (const [f, [field]] of fields.entries()) {
      const value = sample[field];
      const list = typeof value === 'number' ? [value] : Array.from(value as Float32Array);
      for (const [k, v] of list.entries()) if (!Number.isNaN(v)) (values[f]?.[k] as number[] | undefined)?.push(v);
    }
  }
  return Object.fromEntries(
    fields.map(([field, label], f) => {
      const stats = (values[f] as number[][]).map((list, k) => {
        const mean = list.reduce((a, b) => a + b, 0) / Math.max(1, list.length);
        const std = Math.sqrt(list.reduce((sum, v) => sum + (v - mean) ** 2, 0) / Math.max(1, list.length));
        if (std > 1e-12 * Math.abs(mean)) return { mean, std };
        const name = label.kind === 'number' ? field : `${field}.${names(label)[k]}`;
        throw new DataError(
          'LABELS_CONSTANT',
          `${name} is ${mean} in every training sample: there is nothing to learn`,
          {
            field: name,
            got: mean,
            hint: 'is it the right column?',
          },
        );
      });
      return [field, { mean: stats.map(({ mean }) => mean), std: stats.map(({ std }) => std) }];
    }),
  );
}

const names = (label: Schema['labels'][string]): readonly string[] => ('names' in label ? label.names : []);

function resolved(wanted: Exclude<ClassWeights, 'balanced'>, classes: readonly string[]): readonly number[] {
  const list = Array.isArray(wanted) ? (wanted as readonly number[]) : undefined;
  const named = wanted as Readonly<Record<string, number>>;
  const unknown = list ? undefined : Object.keys(named).find((name) => !classes.includes(name));
  const weights = list ?? classes.map((name) => named[name] ?? 1);
  const bad = weights.findIndex((weight) => !(weight > 0 && Number.isFinite(weight)));
  if (unknown === undefined && bad < 0 && weights.length === classes.length) return weights;
  throw new ConfigError(
    'CLASS_WEIGHTS_INVALID',
    unknown !== undefined
      ? `classWeights names "${unknown}", which is no class`
      : bad >= 0
        ? `class "${classes[bad] ?? bad}" has weight ${weights[bad]}`
        : `${weights.length} class weights for ${classes.length} classes`,
    {
      field: 'classWeights',
      expected: unknown === undefined ? `${classes.length} numbers above 0` : classes,
      got: wanted,
    },
  );
}
