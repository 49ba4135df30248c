/** What every single-label classification shares, whatever the model reads: checks, loss, measurement, named answers. */
import { ArgumentError, DataError, formatShape, NumericError, ShapeError } from '../base/index.ts';
import type { LabelledBatch } from '../data/index.ts';
import { crossEntropy, type Module, softmax } from '../nn/index.ts';
import { type Tensor, tensor } from '../tensor/index.ts';
import type { Prediction, Task } from './task.ts';

/** A task whose model gives logits (N, classes). `I` is what the model needs of a batch. */
export interface Classification<I> extends Task<I & LabelledBatch> {
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
  /** The model's answer, in whichever mode it is. */
  readonly forward: (model: Module, batch: I) => Tensor;
}

/** @throws ArgumentError CLASSES_INVALID. */
export function classification<I>(options: ClassificationOptions<I>): Classification<I> {
  const { name, classes, labelSmoothing = 0 } = options;
  if (classes.length < 2 || new Set(classes).size !== classes.length)
    throw new ArgumentError(
      'CLASSES_INVALID',
      `classification needs at least two distinct classes, got ${classes.length}`,
      { field: 'classes', got: classes.slice(0, 20) },
    );
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

  return {
    name,
    classes,
    logits,
    loss: (model, batch) =>
      crossEntropy(forward(model.train(), batch), labelTensor(batch, classes), { labelSmoothing }),
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
