/** One class of several: softmax and cross-entropy. */
import { ArgumentError, DataError, printable } from '../base/index.ts';
import type { LabelledBatch } from '../data/index.ts';
import { crossEntropy, softmax } from '../nn/index.ts';
import { embedding, type Tensor, tensor } from '../tensor/index.ts';
import {
  type ClassHeadOptions,
  type Head,
  labelArray,
  type Prediction,
  sampleOf,
  sampleWeights,
  weightedMean,
} from './head.ts';

/** In batches: a class index i32 (N); -1 where a sample lacks the label and `optional` allows it. */
export function classHead(options: ClassHeadOptions): Head & { answer(row: Float32Array, topK: number): Prediction } {
  const { field, names, weight = 1, labelSmoothing = 0, classWeights, optional = false } = options;
  if (names.length < 2 || new Set(names).size !== names.length)
    throw new ArgumentError(
      'CLASSES_INVALID',
      `classification needs at least two distinct classes, got ${names.length}`,
      { field: 'classes', got: names.slice(0, 20) },
    );
  if (classWeights) checkWeights(classWeights, names);

  const lossOf = (y: Tensor, batch: LabelledBatch, lambda?: Tensor): Tensor => {
    const perClass = classWeights && tensor([...classWeights]);
    const own = sampleWeights(batch);
    const weighted = { labelSmoothing, ...(perClass && { classWeights: perClass }) };
    const of = (label: Tensor, present: Tensor | undefined): Tensor => {
      const counts = own && present ? own.mul(present) : (own ?? present);
      if (!counts) return crossEntropy(y, label, weighted);
      const each = crossEntropy(y, label, { ...weighted, reduction: 'none' }).mul(counts);
      const counted = perClass ? embedding(perClass.reshape(-1, 1), label).reshape(-1).mul(counts) : counts;
      // A batch in which nothing counts teaches nothing, rather than NaN.
      return each.sum().div(counted.sum().maximum(1e-12));
    };
    const { label, present } = labels(batch, options);
    const mine = of(label, present);
    return lambda ? mine.mul(lambda).add(of(label.flip(0), present?.flip(0)).mul(lambda.neg().add(1))) : mine;
  };

  return {
    field,
    kind: 'class',
    names,
    weight,
    options,
    lossOf,
    measure: (y, batch) => {
      const { label, present } = labels(batch, { field, names, optional });
      const loss = present
        ? weightedMean(crossEntropy(y, label, { reduction: 'none' }), present)
        : crossEntropy(y, label);
      return { loss, predictions: y.argmax(1) };
    },
    readable: softmax,
    answer: (row, topK) => prediction(names, row, topK),
  };
}

/** Class indices as a tensor, checked where they are still known: a wrong one must not reach the loss. */
function labels(
  batch: LabelledBatch,
  { field, names, optional = false }: Pick<ClassHeadOptions, 'field' | 'names' | 'optional'>,
): { label: Tensor; present?: Tensor } {
  const array = labelArray(batch, field);
  const least = optional ? -1 : 0;
  const values = array.data as Int32Array;
  const bad = values.findIndex((value) => !(Number.isInteger(value) && value >= least && value < names.length));
  if (bad >= 0)
    throw new DataError(
      'LABEL_OUT_OF_RANGE',
      `${field} ${values[bad]} of sample ${sampleOf(batch, bad)} is not one of ${names.length} classes`,
      {
        field,
        sample: sampleOf(batch, bad),
        expected: `0 .. ${names.length - 1}`,
        got: values[bad],
        hint: 'the data set has more classes than the task, or counts them from 1',
      },
    );
  if (!optional) return { label: tensor(array.data, { shape: array.shape }).cast('i32') };
  return {
    label: tensor(
      Int32Array.from(values, (value) => Math.max(0, value)),
      { shape: array.shape },
    ),
    present: tensor(
      Float32Array.from(values, (value) => Number(value >= 0)),
      { shape: array.shape },
    ),
  };
}

/** @throws ArgumentError CLASS_WEIGHTS_INVALID. */
export function checkWeights(weights: readonly number[], classes: readonly string[]): void {
  const bad = weights.findIndex((w) => !(w > 0 && Number.isFinite(w)));
  if (weights.length === classes.length && bad < 0) return;
  throw new ArgumentError(
    'CLASS_WEIGHTS_INVALID',
    bad < 0
      ? `${weights.length} class weights for ${classes.length} classes`
      : `class ${printable(classes[bad] ?? String(bad))} has weight ${weights[bad]}`,
    {
      field: 'classWeights',
      expected: `${classes.length} numbers above 0`,
      got: bad < 0 ? weights.length : weights[bad],
    },
  );
}

function prediction(classes: readonly string[], row: Float32Array, topK: number): Prediction {
  const order = classes.map((_, i) => i).sort((a, b) => (row[b] as number) - (row[a] as number) || a - b);
  const index = order[0] as number;
  const named = (i: number): { label: string; probability: number } => ({
    label: classes[i] as string,
    probability: row[i] as number,
  });
  return {
    label: classes[index] as string,
    index,
    probabilities: Object.fromEntries(classes.map((name, i) => [name, row[i] as number])),
    top: order.slice(0, topK).map(named),
  };
}
