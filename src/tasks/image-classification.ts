/** Image classification: u8 pictures and class indices in, logits to cross-entropy, classes with names out. */
import { ArgumentError, DataError, formatShape, NumericError, ShapeError } from '../base/index.ts';
import type { Batch, Transform } from '../data/index.ts';
import { LUMA } from '../data/index.ts';
import { crossEntropy, type Module, softmax } from '../nn/index.ts';
import { type Tensor, tensor } from '../tensor/index.ts';
import type { Prediction, Task } from './task.ts';

export interface ImageClassificationOptions {
  /** Names in the order of the model's outputs. */
  classes: readonly string[];
  /** The transforms of the graph stage (`splitPipeline(...).graph`): channels, normalize. */
  transforms?: readonly Transform[];
  /** Of the training loss; evaluation measures without. */
  labelSmoothing?: number;
}

type ImageBatch = Pick<Batch, 'image'>;

export interface ImageClassification extends Task {
  /** u8 pictures (N, C, H, W) as the model wants them: /255, then the graph transforms, f32. */
  input(batch: ImageBatch): Tensor;
  /** Logits (N, classes) in evaluation mode. */
  logits(model: Module, batch: ImageBatch): Tensor;
  /** Answers with names and probabilities, most likely first in `top` (`topK` of them, 5 unless told). */
  predict(model: Module, batch: ImageBatch, options?: { topK?: number }): Promise<Prediction[]>;
}

export function imageClassification(options: ImageClassificationOptions): ImageClassification {
  const { classes, transforms = [], labelSmoothing = 0 } = options;
  if (classes.length < 2 || new Set(classes).size !== classes.length)
    throw new ArgumentError(
      'CLASSES_INVALID',
      `classification needs at least two distinct classes, got ${classes.length}`,
      {
        field: 'classes',
        got: classes.slice(0, 20),
      },
    );

  const input = ({ image }: ImageBatch): Tensor => {
    if (!image)
      throw new DataError('FEATURE_MISSING', 'the batch has no field "image"', {
        field: 'image',
        hint: 'give the data set an image feature of that name in its schema',
      });
    const x = tensor(image.data, { shape: image.shape, dtype: image.dtype });
    // f32 pictures are taken as scaled already.
    const scaled = image.dtype === 'u8' ? x.cast('f32').div(255) : x;
    return transforms.reduce(applyGraphTransform, scaled);
  };
  const forward = (model: Module, batch: ImageBatch): Tensor => {
    const y = model.forward(input(batch));
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
  const logits = (model: Module, batch: ImageBatch): Tensor => forward(model.eval(), batch);

  return {
    name: 'image-classification',
    classes,
    input,
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
function labelTensor({ label, ids }: Batch, classes: readonly string[]): Tensor {
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

function applyGraphTransform(x: Tensor, transform: Transform): Tensor {
  if (transform.kind === 'channels') {
    const channels = x.shape[1] as number;
    if (channels === transform.channels) return x;
    if (channels === 1) return x.expand([x.shape[0] as number, transform.channels, ...x.shape.slice(2)]);
    return x.mul(tensor([...LUMA], { shape: [1, 3, 1, 1] })).sum(1, { keepDims: true });
  }
  if (transform.kind === 'normalize') {
    const channel = (values: readonly number[]): Tensor => tensor([...values], { shape: [1, values.length, 1, 1] });
    return x.sub(channel(transform.mean)).div(channel(transform.std));
  }
  throw new ArgumentError('TRANSFORM_STAGE', `${transform.kind} runs on the host, before the batch is made`, {
    field: 'transforms',
    got: transform.kind,
  });
}
