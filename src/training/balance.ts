/** Classes of unequal size: weights in the loss, or a sampler that shows each class as often. */
import { ConfigError } from '../base/errors.ts';
import { classNames, countLabels, labelsOf } from '../data/index.ts';
import type { Samples } from './inputs.ts';

/** 'balanced': n / (classes * count) as scikit-learn's; numbers in the order of the classes; or by name, 1 for the others. */
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
}

/** @throws ConfigError CLASS_WEIGHTS_INVALID for unknown names, wrong counts, numbers not above 0; CLASS_EMPTY where 'balanced' cannot be. */
export async function balanceOf(
  train: Samples,
  { classWeights, sampler = 'shuffled' }: BalanceOptions,
): Promise<Balance> {
  if (classWeights === undefined && sampler === 'shuffled') return {};
  const classes = classNames(train.schema);
  const needed = classWeights === 'balanced' || sampler === 'balanced';
  const labels = needed ? await labelsOf(train) : new Int32Array(0);
  const counts = countLabels(labels, classes.length);
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
  return {
    ...(classWeights !== undefined && { classWeights: resolved(classWeights, classes, counts) }),
    ...(sampler === 'balanced' && { weights: Float64Array.from(labels, (label) => 1 / (counts[label] as number)) }),
  };
}

function resolved(wanted: ClassWeights, classes: readonly string[], counts: readonly number[]): readonly number[] {
  if (wanted === 'balanced') {
    const n = counts.reduce((a, b) => a + b, 0);
    return counts.map((count) => n / (classes.length * count));
  }
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
