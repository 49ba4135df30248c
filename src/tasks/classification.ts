/** What every single-label classification shares, whatever the model reads: checks, loss, measurement, named answers. */
import { ArgumentError, DataError, formatShape, NumericError, printable, ShapeError } from '../base/index.ts';
import type { LabelledBatch } from '../data/index.ts';
import type { HostArray } from '../io/index.ts';
import { crossEntropy, type Module, softmax } from '../nn/index.ts';
import { embedding, scalar, type Tensor, tensor } from '../tensor/index.ts';
import type { Prediction, Task } from './task.ts';

/** A task whose model gives logits (N, classes). `I` is what the model needs of a batch. */
export interface Classification<I> extends Task<I & LabelledBatch> {
  /**
   * The training loss of logits (N, classes). With `lambda`, each picture is mixed of itself and, by 1 - lambda, of its counterpart
   * from the batch's other end: lambda CE(y, label) + (1 - lambda) CE(y, label reversed).
   */
  lossOf(logits: Tensor, batch: LabelledBatch, lambda?: number): Tensor;
  /** Logits (N, classes) in evaluation mode. */
  logits(model: Module, batch: I): Tensor;
  /** Answers with names and probabilities, most likely first in `top` (`topK` of them, 5 unless told). */
  predict(model: Module, batch: I, options?: { topK?: number }): Promise<Prediction[]>;
}

export interface ClassificationOptions<I> {
  readonly name: string;
  readonly classes: readonly string[];
  /** Of the training loss; evaluation measures without. Default 0. */
  readonly labelSmoothing?: number;
  /** Of the training loss, one a class: what a class counts. The mean is weighted, as PyTorch's. */
  readonly classWeights?: readonly number[];
  /** The model's answer, in whichever mode it is. */
  readonly forward: (model: Module, batch: I) => Tensor;
}

/** @throws ArgumentError CLASSES_INVALID. */
export function classification<I>(options: ClassificationOptions<I>): Classification<I> {
  const { name, classes, labelSmoothing = 0 } = options;
  const { classWeights } = options;
  if (classes.length < 2 || new Set(classes).size !== classes.length)
    throw new ArgumentError(
      'CLASSES_INVALID',
      `classification needs at least two distinct classes, got ${classes.length}`,
      { field: 'classes', got: classes.slice(0, 20) },
    );
  if (classWeights) checkWeights(classWeights, classes);
  const forward = (model: Module, batch: I): Tensor => {
    const y = options.forward(model, batch);
    if (y.rank !== 2 || y.shape[1] !== classes.length)
      throw new ShapeError(
        'CLASSES_MISMATCH',
        `the model gives ${formatShape(y.shape)}, the data have ${classes.length} classes`,
        {
          expected: ['N', classes.length],
          got: y.shape,
          hint: `build the model with numClasses: ${classes.length}`,
        },
      );
    return y;
  };
  const logits = (model: Module, batch: I): Tensor => forward(model.eval(), batch);

  const lossOf = (y: Tensor, batch: LabelledBatch, lambda?: number): Tensor => {
    const target = labelTensor(batch, classes);
    const of = (label: Tensor): Tensor => weightedLoss(y, label, batch, { labelSmoothing, classWeights });
    // A program input: every batch has another.
    const share = lambda === undefined ? undefined : scalar(lambda);
    return share
      ? of(target)
          .mul(share)
          .add(of(target.flip(0)).mul(share.neg().add(1)))
      : of(target);
  };

  return {
    name,
    classes,
    logits,
    lossOf,
    loss: (model, batch) => lossOf(forward(model.train(), batch), batch),
    evaluate: (model, batch) => {
      const y = logits(model, batch);
      // Without smoothing: the measure, not the trick.
      return { loss: crossEntropy(y, labelTensor(batch, classes)), predictions: y.argmax(1) };
    },
    predict: async (model, batch, { topK = 5 } = {}) => {
      const y = softmax(logits(model, batch));
      const p = (await y.data()) as Float32Array;
      if (p.some(Number.isNaN))
        throw new NumericError('NON_FINITE', 'the model answers NaN: its weights or this input are not finite', {
          hint: 'train with a smaller learning rate, or load weights that are finite',
        });
      const rows = y.shape[0] as number;
      return Array.from({ length: rows }, (_, i) =>
        prediction(classes, p.subarray(i * classes.length, (i + 1) * classes.length), topK),
      );
    },
  };
}

/** Weighted by class, and by the batch's own `weight` (N) where it has one: sum w_i l_i / sum w_i. */
function weightedLoss(
  y: Tensor,
  label: Tensor,
  batch: LabelledBatch,
  { labelSmoothing, classWeights }: { labelSmoothing: number; classWeights: readonly number[] | undefined },
): Tensor {
  const perClass = classWeights && tensor([...classWeights]);
  const own = sampleWeights(batch);
  const options = { labelSmoothing, ...(perClass && { classWeights: perClass }) };
  if (!own) return crossEntropy(y, label, options);
  const each = crossEntropy(y, label, { ...options, reduction: 'none' }).mul(own);
  const counted = perClass ? embedding(perClass.reshape(-1, 1), label).reshape(-1).mul(own) : own;
  // A batch in which nothing counts teaches nothing, rather than NaN.
  return each.sum().div(counted.sum().maximum(1e-12));
}

function sampleWeights(batch: LabelledBatch): Tensor | undefined {
  const { weight } = batch as { weight?: HostArray };
  if (!weight) return undefined;
  const bad = (weight.data as Float32Array).findIndex((w) => !(w >= 0 && Number.isFinite(w)));
  if (bad >= 0)
    throw new DataError('WEIGHT_INVALID', `sample ${batch.ids?.[bad] ?? bad} has weight ${weight.data[bad]}`, {
      field: 'weight',
      sample: batch.ids?.[bad] ?? bad,
      expected: 'a number of at least 0',
      got: weight.data[bad],
    });
  return tensor(weight.data, { shape: [batch.size] });
}

function checkWeights(weights: readonly number[], classes: readonly string[]): void {
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

/** Class indices as a tensor, checked where they are still known: a wrong one must not reach the loss. */
function labelTensor({ label, ids }: LabelledBatch, classes: readonly string[]): Tensor {
  if (!label)
    throw new DataError('LABEL_MISSING', 'the batch has no field "label": a loss needs labels', {
      field: 'label',
      hint: 'give the data set a class label in its schema; the model itself never sees labels',
    });
  const bad = label.data.findIndex((value) => !(Number.isInteger(value) && value >= 0 && value < classes.length));
  if (bad >= 0)
    throw new DataError(
      'LABEL_OUT_OF_RANGE',
      `label ${label.data[bad]} of sample ${ids?.[bad] ?? bad} is not one of ${classes.length} classes`,
      {
        field: 'label',
        sample: ids?.[bad] ?? bad,
        expected: `0 .. ${classes.length - 1}`,
        got: label.data[bad],
        hint: 'the data set has more classes than the task, or counts them from 1',
      },
    );
  return tensor(label.data, { shape: label.shape }).cast('i32');
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
