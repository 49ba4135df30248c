/** What pre-training on pictures does between samples and model: views, turned pictures, noise and masks, labels left alone. */
import { ArgumentError, ConfigError } from '../base/errors.ts';
import {
  DataLoader,
  type Dataset,
  type ImageU8,
  imageFeature,
  isRandom,
  type LabelledBatch,
  PatchMasking,
  requireIndexed,
  type Transform,
  validateTransforms,
  withoutRandom,
} from '../data/index.ts';
import {
  contrastiveModel,
  denoisingModel,
  MaskedAutoencoder,
  type PictureSize,
  rotationModel,
  type SelfSupervised,
} from '../models/index.ts';
import type { Module } from '../nn/index.ts';
import {
  contrastive,
  denoisingAutoencoder,
  maskedAutoencoder,
  type Objective,
  type ObjectiveName,
  type PictureBatch,
  rotationPrediction,
} from '../tasks/index.ts';
import type { Inputs, Samples } from './inputs.ts';
import { asTask, type PretrainInputs, type PretrainPart } from './pretrain-inputs.ts';

/** Pictures; labels, where there are some, are not looked at. */
export type UnlabelledPictures = Dataset<{ readonly image: ImageU8 }>;

/** Options of the objectives for pictures. Which have which: `pictureOptionsOf`. */
export interface PictureOptions {
  /** contrastive: of the softmax over similarities, 0.5. */
  readonly temperature?: number;
  /** contrastive: width of the projection, 128. */
  readonly projectionSize?: number;
  /** denoising-autoencoder: deviation of the noise on normalised pixels, 0.5. */
  readonly noise?: number;
  /** Share that is hidden: 0.5 of denoising-autoencoder, 0.75 of masked-autoencoder. */
  readonly maskRatio?: number;
  /** denoising-autoencoder: side of the blanked squares, an eighth of the picture's. */
  readonly maskSize?: number;
  /** masked-autoencoder: width and blocks of the decoder, 128 and 2. */
  readonly decoderSize?: number;
  readonly decoderLayers?: number;
  /** masked-autoencoder: compares each patch at mean 0 and deviation 1, true. */
  readonly normalizePixels?: boolean;
}

export type PictureObjective = Exclude<ObjectiveName, 'masked-lm' | 'causal-lm'>;

const optionsOf: Readonly<Record<PictureObjective, readonly (keyof PictureOptions)[]>> = {
  rotation: [],
  contrastive: ['temperature', 'projectionSize'],
  'denoising-autoencoder': ['noise', 'maskRatio', 'maskSize'],
  'masked-autoencoder': ['maskRatio', 'decoderSize', 'decoderLayers', 'normalizePixels'],
};

/**
 * Inputs of an objective for pictures, and `model` with what the objective puts on it; its head is out until `restoreHead`.
 * @throws ConfigError for transforms that do not fit the objective; DataError MODEL_OBJECTIVE; ArgumentError for options.
 */
export function pictureInputs(
  name: PictureObjective,
  model: Module,
  data: { train: UnlabelledPictures; validation?: UnlabelledPictures },
  transforms: readonly Transform[],
  options: PictureOptions = {},
): PretrainInputs & { readonly model: SelfSupervised } {
  for (const [field, value] of Object.entries(options))
    if (value !== undefined && !optionsOf[name].includes(field as keyof PictureOptions))
      throw new ArgumentError('OPTION_INVALID', `objective.${field}: ${name} has no such option`, {
        field: `objective.${field}`,
        expected: optionsOf[name],
        got: value,
      });
  for (const part of ['train', 'validation'] as const)
    if (data[part])
      requireIndexed(
        data[part],
        `data.${part}`,
        'read pictures by position: pictures(folder), imageFolder, imageArchive',
      );
  const { schema } = data.train;
  const { graph, modelSize, hostSize } = validateTransforms(transforms, schema);
  const size: PictureSize = [modelSize.channels, modelSize.height, modelSize.width];
  checkTransforms(name, transforms, size);
  const views = name === 'contrastive' ? 2 : 1;
  const objective = objectiveOf(name, graph, options);
  const wrapped = wrap(name, model, size, options);
  const masks = wrapped instanceof MaskedAutoencoder ? masksOf(wrapped, options) : undefined;
  const partOf = (part: UnlabelledPictures): PretrainPart => ({
    samples: part as unknown as Samples,
    loader: ({ batchSize, seed, shuffle }) => {
      // Views differ by their augmentation, in validation too.
      const chosen = shuffle || views > 1 ? transforms : withoutRandom(transforms);
      const loader = new DataLoader(part, { batchSize, shuffle, seed, transforms: chosen, views });
      const source = loader as unknown as ReturnType<PretrainPart['loader']>;
      return masks ? masks.over(source, seed) : source;
    },
  });
  const train = partOf(data.train);
  const sampleBytes = hostSize.height * hostSize.width * hostSize.channels;
  const zeroBatch = (count: number): LabelledBatch => {
    const ids = new Int32Array(count);
    const shape = [views * count, hostSize.channels, hostSize.height, hostSize.width];
    const image = { dtype: 'u8' as const, shape, data: new Uint8Array(views * count * sampleBytes) };
    const batch = { image, ids, epoch: 0, index: 0, size: count } as unknown as PictureBatch;
    return masks ? { ...batch, ...masks.of(batch, 0) } : batch;
  };
  const inputs: Inputs = {
    task: asTask(objective),
    preprocessing: { image: imageFeature(schema), transforms },
    size: size.join('x'),
    sampleBytes: views * sampleBytes,
    zeroBatch,
    loader: ({ batchSize, seed }) => train.loader({ batchSize, seed, shuffle: true }),
  };
  return { objective, inputs, train, model: wrapped, ...(data.validation && { validation: partOf(data.validation) }) };
}

function checkTransforms(
  name: PictureObjective,
  transforms: readonly Transform[],
  [, height, width]: PictureSize,
): void {
  const fail = (message: string, hint: string): never => {
    throw new ConfigError('OBJECTIVE_TRANSFORMS', `${name}: ${message}`, { field: 'transforms', hint });
  };
  if (name === 'contrastive' && !transforms.some(isRandom))
    fail(
      'two views of a picture would be equal without random transforms',
      "add { kind: 'randomAffine', degrees: 15, translate: 0.1 } or { kind: 'randomResizedCrop', ... }",
    );
  if (name === 'rotation' && height !== width)
    fail(`turned pictures must be square, these are ${height}x${width}`, "add { kind: 'resize', height, width }");
}

function wrap(name: PictureObjective, model: Module, size: PictureSize, options: PictureOptions): SelfSupervised {
  switch (name) {
    case 'rotation':
      return rotationModel(model, size);
    case 'contrastive':
      return contrastiveModel(model, size, options.projectionSize);
    case 'denoising-autoencoder':
      return denoisingModel(model, size);
    case 'masked-autoencoder':
      return new MaskedAutoencoder(model, size, options);
  }
}

function masksOf(model: MaskedAutoencoder, { maskRatio = 0.75 }: PictureOptions): PatchMasking {
  try {
    return new PatchMasking(model.patches, maskRatio);
  } catch (error) {
    model.restoreHead();
    throw error;
  }
}

function objectiveOf(name: PictureObjective, graph: readonly Transform[], options: PictureOptions): Objective {
  const made = {
    rotation: () => rotationPrediction(graph),
    contrastive: () => contrastive(graph, options),
    'denoising-autoencoder': () => denoisingAutoencoder(graph, options),
    'masked-autoencoder': () => maskedAutoencoder(graph, options),
  }[name]();
  return made as unknown as Objective;
}
