/** Image classification: u8 pictures and class indices in, logits to cross-entropy, classes with names out. */
import { ArgumentError, DataError, ShapeError } from '../base/index.ts';
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
  labelSmoothing?: number;
}

type ImageBatch = Pick<Batch, 'image'>;

export interface ImageClassification extends Task {
  /** u8 pictures (N, C, H, W) as the model wants them: /255, then the graph transforms, f32. */
  input(batch: ImageBatch): Tensor;
  /** Logits (N, classes) in evaluation mode. */
  logits(model: Module, batch: ImageBatch): Tensor;
  /** Answers with names and probabilities. */
  predict(model: Module, batch: ImageBatch): Promise<Prediction[]>;
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
    if (!image) throw new DataError('FEATURE_MISSING', 'the batch has no field "image"', { field: 'image' });
    const x = tensor(image.data, { shape: image.shape, dtype: image.dtype })
      .cast('f32')
      .mul(1 / 255);
    return transforms.reduce(applyGraphTransform, x);
  };
  const forward = (model: Module, batch: ImageBatch): Tensor => {
    const y = model.forward(input(batch));
    if (y.rank !== 2 || y.shape[1] !== classes.length)
      throw new ShapeError(
        'CLASSES_MISMATCH',
        `the model gives ${y.shape.join(' x ')}, the data have ${classes.length} classes`,
        {
          expected: ['N', classes.length],
          got: y.shape,
          hint: `build the model with numClasses: ${classes.length}`,
        },
      );
    return y;
  };
  const labels = (batch: Batch): Tensor => {
    const { label } = batch;
    if (!label)
      throw new DataError('LABEL_MISSING', 'the batch has no field "label": a loss needs labels', {
        field: 'label',
        hint: 'give the data set a class label in its schema',
      });
    return tensor(label.data, { shape: label.shape, dtype: 'i32' });
  };
  const logits = (model: Module, batch: ImageBatch): Tensor => forward(model.eval(), batch);

  return {
    name: 'image-classification',
    classes,
    input,
    logits,
    loss: (model, batch) => crossEntropy(forward(model.train(), batch), labels(batch), { labelSmoothing }),
    evaluate: (model, batch) => {
      const y = logits(model, batch);
      // Without smoothing: the measure, not the trick.
      return { loss: crossEntropy(y, labels(batch)), predictions: y.argmax(1) };
    },
    predict: async (model, batch) => {
      const y = softmax(logits(model, batch));
      const p = (await y.data()) as Float32Array;
      const rows = y.shape[0] as number;
      return Array.from({ length: rows }, (_, i) =>
        prediction(classes, p.subarray(i * classes.length, (i + 1) * classes.length)),
      );
    },
  };
}

function prediction(classes: readonly string[], row: Float32Array): Prediction {
  let index = 0;
  row.forEach((value, i) => {
    if (value > (row[index] as number)) index = i;
  });
  return {
    label: classes[index] as string,
    index,
    probabilities: Object.fromEntries(classes.map((name, i) => [name, row[i] as number])),
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
