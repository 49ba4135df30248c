/** Tasks on pictures: u8 pictures and labels in, outputs to losses, answers with names out. */
import { ArgumentError, DataError } from '../base/index.ts';
import type { Batch, Transform } from '../data/index.ts';
import { LUMA } from '../data/index.ts';
import { type Tensor, tensor } from '../tensor/index.ts';
import { asClassification, type Classification } from './classification.ts';
import type { Teacher } from './distillation.ts';
import type { HeadOptions } from './head.ts';
import type { Mixing } from './mixing.ts';
import { type Supervised, supervised } from './supervised.ts';

interface ImageInputs {
  /** The transforms of the graph stage (`splitPipeline(...).graph`): channels, normalize. */
  transforms?: readonly Transform[] | undefined;
  /** Mixes the pictures of each training batch. */
  mixing?: Mixing | undefined;
}

export interface ImageTaskOptions extends ImageInputs {
  /** For messages and saved models; `image-labelling` unless told. */
  name?: string;
  /** What is predicted, in the order of the model's outputs; `headsOf(schema)` gives those of a data set. */
  heads: readonly HeadOptions[];
  /** Not together with mixing. */
  teacher?: Teacher | undefined;
}

export interface ImageClassificationOptions extends ImageInputs {
  /** Names in the order of the model's outputs. */
  classes: readonly string[];
  /** Of the training loss; evaluation measures without. */
  labelSmoothing?: number;
  /** Of the training loss, one a class. */
  classWeights?: readonly number[];
}

export type ImageBatch = Pick<Batch, 'image'>;

export interface ImageTask extends Supervised<ImageBatch> {
  /** u8 pictures (N, C, H, W) as the model wants them: /255, then the graph transforms, f32. */
  input(batch: ImageBatch): Tensor;
}

export interface ImageClassification extends Classification<ImageBatch>, Pick<ImageTask, 'input'> {}

/** Classes, any number of labels, numbers, or several of them from one trunk. @throws ArgumentError for heads that cannot be. */
export function imageTask({
  name = 'image-labelling',
  heads,
  transforms = [],
  mixing,
  teacher,
}: ImageTaskOptions): ImageTask {
  const input = (batch: ImageBatch): Tensor => imageInput(batch, transforms);
  const shared = supervised<ImageBatch>({
    name,
    heads,
    teacher,
    forward: (model, batch) => model.forward(input(batch)),
  });
  if (!mixing) return { ...shared, input };
  const loss: ImageTask['loss'] = (model, batch) => {
    const { x, lambda } = mixing.mix(input(batch), batch);
    return shared.lossOf(model.train().forward(x), batch, lambda);
  };
  return { ...shared, input, loss };
}

/** One class of several. */
export function imageClassification(options: ImageClassificationOptions): ImageClassification {
  const { classes, labelSmoothing, classWeights, ...inputs } = options;
  const head = { kind: 'class', field: 'label', names: classes, labelSmoothing, classWeights } as const;
  const task = imageTask({ ...inputs, name: 'image-classification', heads: [head] });
  return { ...asClassification(task, classes, 'label'), input: task.input };
}

/** u8 pictures (N, C, H, W) -> f32, /255, then the graph transforms. f32 pictures are taken as scaled already. */
export function imageInput({ image }: ImageBatch, transforms: readonly Transform[] = []): Tensor {
  if (!image)
    throw new DataError('FEATURE_MISSING', 'the batch has no field "image"', {
      field: 'image',
      hint: 'give the data set an image feature of that name in its schema',
    });
  const x = tensor(image.data, { shape: image.shape, dtype: image.dtype });
  return transforms.reduce(applyGraphTransform, image.dtype === 'u8' ? x.cast('f32').div(255) : x);
}

function applyGraphTransform(x: Tensor, transform: Transform): Tensor {
  if (transform.kind === 'channels') {
    const channels = x.shape[1] as number;
    if (channels === transform.channels) return x;
    if (channels === 1) return x.expand([x.shape[0] as number, transform.channels, ...x.shape.slice(2)]);
    return x.mul(tensor([...LUMA], { shape: [1, 3, 1, 1] })).sum(1, { keepDims: true });
  }
  if (transform.kind === 'bgr') return x.flip(1);
  if (transform.kind === 'normalize') {
    const channel = (values: readonly number[]): Tensor => tensor([...values], { shape: [1, values.length, 1, 1] });
    return x.sub(channel(transform.mean)).div(channel(transform.std));
  }
  throw new ArgumentError('TRANSFORM_STAGE', `${transform.kind} runs on the host, before the batch is made`, {
    field: 'transforms',
    got: transform.kind,
  });
}
