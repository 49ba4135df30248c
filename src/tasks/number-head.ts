/** Regression: one number, or several with names. */
import { ArgumentError, DataError, printable } from '../base/index.ts';
import type { LabelledBatch } from '../data/index.ts';
import { huberLoss, l1Loss, mseLoss } from '../nn/index.ts';
import { type Tensor, tensor } from '../tensor/index.ts';
import {
  type Head,
  labelArray,
  type NumberHeadOptions,
  numberLosses,
  sampleOf,
  sampleWeights,
  weightedMean,
} from './head.ts';

const losses = { mse: mseLoss, l1: l1Loss, huber: huberLoss } as const;

/**
 * In batches: f32 (N) or (N, names); NaN where a sample lacks a number, if `optional` allows it. Losses count deviations
 * (`scale.std`), so that they do not depend on the units; predictions are in those of the data.
 */
export function numberHead(options: NumberHeadOptions): Head {
  const { field, kind, names, weight = 1, loss = 'mse', optional = false } = options;
  const { mean, std } = options.scale ?? { mean: names.map(() => 0), std: names.map(() => 1) };
  if (names.length < 1 || new Set(names).size !== names.length || (kind === 'number' && names.length > 1))
    throw new ArgumentError('NUMBERS_INVALID', `${field}: expected distinct names of numbers`, {
      field: 'names',
      got: names.slice(0, 20),
    });
  if (!numberLosses.includes(loss))
    throw new ArgumentError('OPTION_INVALID', `loss: expected ${numberLosses.join(', ')}, found ${printable(loss)}`, {
      field: 'loss',
      expected: numberLosses,
      got: loss,
    });
  const usable = (list: readonly number[], least: number): boolean =>
    list.length === names.length && list.every((v) => Number.isFinite(v) && v > least);
  if (!usable(mean, Number.NEGATIVE_INFINITY) || !usable(std, 0))
    throw new ArgumentError('SCALE_INVALID', `${field}: expected a mean and a deviation above 0 for each number`, {
      field: 'scale',
      expected: `${names.length} of each`,
      got: options.scale,
    });
  const each = losses[loss];
  const own = { field, names, mean, std, optional };

  const lossOf = (y: Tensor, batch: LabelledBatch, lambda?: Tensor): Tensor => {
    const counted = sampleWeights(batch)?.reshape(-1, 1);
    const of = (target: Tensor, present: Tensor | undefined): Tensor => {
      const counts = counted && present ? present.mul(counted) : (present ?? counted?.expand(y.shape));
      return counts ? weightedMean(each(y, target, { reduction: 'none' }), counts) : each(y, target);
    };
    const { target, present } = targets(batch, own);
    const mine = of(target, present);
    return lambda ? mine.mul(lambda).add(of(target.flip(0), present?.flip(0)).mul(lambda.neg().add(1))) : mine;
  };
  const constant = (values: readonly number[]): Tensor => tensor([...values], { shape: [1, names.length] });
  const readable = (y: Tensor): Tensor => y.mul(constant(std)).add(constant(mean));

  return {
    field,
    kind,
    names,
    weight,
    options,
    lossOf,
    measure: (y, batch) => {
      const { target, present } = targets(batch, own);
      const mean = present ? weightedMean(each(y, target, { reduction: 'none' }), present) : each(y, target);
      return { loss: mean, predictions: readable(y) };
    },
    readable,
    answer: (row) =>
      kind === 'number'
        ? { value: row[0] as number }
        : { values: Object.fromEntries(names.map((name, i) => [name, row[i] as number])) },
  };
}

interface Own {
  readonly field: string;
  readonly names: readonly string[];
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly optional: boolean;
}

/** In deviations from the mean, f32 (N, names). */
function targets(batch: LabelledBatch, own: Own): { target: Tensor; present?: Tensor } {
  const { field, names, mean, std, optional } = own;
  const width = names.length;
  const { data, shape } = labelArray(batch, field);
  const rows = shape[0] as number;
  if (data.length !== rows * width)
    throw new DataError('LABEL_SHAPE', `${printable(field)}: ${width} number(s) need (N, ${width}) in a batch`, {
      field,
      expected: ['N', width],
      got: shape,
    });
  const values = data as Float32Array;
  const bad = values.findIndex((value) => !Number.isFinite(value) && !(optional && Number.isNaN(value)));
  if (bad >= 0) {
    const sample = sampleOf(batch, Math.floor(bad / width));
    throw new DataError('LABEL_OUT_OF_RANGE', `${field} of sample ${sample} is ${values[bad]}`, {
      field,
      sample,
      expected: 'a finite number',
      got: values[bad],
    });
  }
  const target = tensor(
    values.map((v, i) => (Number.isNaN(v) ? 0 : (v - (mean[i % width] as number)) / (std[i % width] as number))),
    { shape: [rows, width] },
  );
  if (!optional) return { target };
  return {
    target,
    present: tensor(
      Float32Array.from(values, (v) => Number(!Number.isNaN(v))),
      { shape: [rows, width] },
    ),
  };
}
