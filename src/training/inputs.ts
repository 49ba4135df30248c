/** What a run does between samples and model: pictures through transforms, texts through a tokenizer. The rest of training does not know which. */
import { UnsupportedError } from '../base/errors.ts';
import {
  classNames,
  DataLoader,
  type Dataset,
  type ImageFeature,
  imageFeature,
  type LabelledBatch,
  type LoaderOptions,
  type Sample,
  type TextCollateOptions,
  type Transform,
  textFields,
  validateTransforms,
  withoutRandom,
} from '../data/index.ts';
import { imageClassification, type Mixing, type Task, textClassification } from '../tasks/index.ts';
import type { Balance } from './balance.ts';

/** Samples of any kind with a class. */
export type Samples = Dataset<{ readonly label: number }>;

/** Saved with the model: what makes its inputs. */
export type Preprocessing =
  | { readonly image: ImageFeature; readonly transforms: readonly Transform[] }
  | { readonly text: TextCollateOptions; readonly pair: boolean };

/** Epochs of batches that can be entered anywhere. */
export interface BatchSource {
  /** Batches in an epoch. */
  readonly length: number;
  epoch(epoch: number, options?: { startBatch?: number }): AsyncIterable<LabelledBatch>;
}

export interface Inputs {
  readonly task: Task;
  readonly preprocessing: Preprocessing;
  /** For people: `1x28x28`, `up to 64 tokens`. */
  readonly size: string;
  /** Bytes of one sample as it travels. */
  readonly sampleBytes: number;
  /** A batch as large as any, to plan with. */
  zeroBatch(size: number): LabelledBatch;
  /** Batches to train on. */
  loader(options: Required<Pick<LoaderOptions, 'batchSize' | 'seed'>>): BatchSource;
}

export interface InputOptions {
  readonly transforms?: readonly Transform[];
  readonly text?: TextCollateOptions;
  readonly labelSmoothing?: number;
  /** Of classes and samples, in training. */
  readonly balance?: Balance | undefined;
  readonly mixing?: Mixing | undefined;
  /** In place of classification over the data's classes. */
  readonly task?: Task;
}

/** @throws ConfigError for transforms that do not fit, UnsupportedError for texts without a tokenizer. */
export function inputsOf(train: Samples, options: InputOptions): Inputs {
  if (textFields(train.schema).length === 0) return imageInputs(train, options);
  if (options.text) return textInputs(train, options.text, options);
  throw new UnsupportedError('TOKENIZER_MISSING', `${train.name} holds texts: how do they become tokens?`, {
    field: 'text',
    hint: 'pass text: { tokenizer }, by loadTokenizer or trainWordPiece',
  });
}

/** Batches to measure: in order, or by length; nothing random. */
export function evaluationLoader(
  dataset: Samples,
  { batchSize, transforms = [], text }: { batchSize: number } & InputOptions,
): DataLoader<{ readonly label: number }> {
  return new DataLoader(dataset, {
    batchSize,
    transforms: withoutRandom(transforms),
    ...(text && { text: { ...text, bucketed: true } }),
  });
}

function imageInputs(train: Samples, options: InputOptions): Inputs {
  const { transforms = [], labelSmoothing = 0, task, balance = {}, mixing } = options;
  const { classWeights, weights } = balance;
  const { schema } = train;
  const { graph, modelSize, hostSize } = validateTransforms(transforms, schema);
  const { height, width, channels } = hostSize;
  const sampleBytes = height * width * channels;
  return {
    task:
      task ??
      imageClassification({
        classes: classNames(schema),
        transforms: graph,
        labelSmoothing,
        ...(classWeights && { classWeights }),
        ...(mixing && { mixing }),
      }),
    preprocessing: { image: imageFeature(schema), transforms },
    size: `${modelSize.channels}x${modelSize.height}x${modelSize.width}`,
    sampleBytes,
    zeroBatch: (size) => ({
      ...emptyBatch(size),
      image: { dtype: 'u8', shape: [size, channels, height, width], data: new Uint8Array(size * sampleBytes) },
    }),
    loader: ({ batchSize, seed }) =>
      new DataLoader(train, { batchSize, shuffle: true, seed, transforms, ...(weights && { weights }) }),
  };
}

function textInputs(train: Samples, text: TextCollateOptions, options: InputOptions): Inputs {
  const { labelSmoothing = 0, task, balance = {}, mixing } = options;
  const { classWeights, weights } = balance;
  if (mixing) throw new UnsupportedError('MIXING_TEXT', 'mixup and cutmix mix pictures, not texts', { field: 'mixup' });
  const { schema } = train;
  const pair = textFields(schema).length > 1;
  const { bucketed = true } = text;
  const steps = longest(train, text);
  return {
    task:
      task ??
      textClassification({ classes: classNames(schema), labelSmoothing, ...(classWeights && { classWeights }) }),
    preprocessing: { text, pair },
    size: `up to ${steps} tokens of ${text.tokenizer.vocabSize}`,
    sampleBytes: 3 * 4 * steps,
    zeroBatch: (size) => {
      const zeros = (fill = 0) => ({
        dtype: 'i32' as const,
        shape: [size, steps],
        data: new Int32Array(size * steps).fill(fill),
      });
      return {
        ...emptyBatch(size),
        inputIds: zeros(),
        attentionMask: zeros(1),
        tokenTypeIds: zeros(),
      } as LabelledBatch;
    },
    loader: ({ batchSize, seed }) =>
      new DataLoader(train, {
        batchSize,
        shuffle: true,
        seed,
        text: { ...text, bucketed },
        ...(weights && { weights }),
      }),
  };
}

/** Steps of the longest padded batch; texts that must be awaited are taken as long as allowed. */
function longest(
  train: Samples,
  { tokenizer, maxLength = tokenizer.config.modelMaxLength, padToMultipleOf = 8 }: TextCollateOptions,
): number {
  const [name, pairName] = textFields(train.schema) as [string, string?];
  let tokens = 1;
  for (let i = 0; i < train.length && tokens < (maxLength ?? Number.POSITIVE_INFINITY); i++) {
    const sample = train.get(i) as unknown as Sample;
    if (sample instanceof Promise) {
      // Its outcome does not matter here, and must not go unhandled.
      sample.catch(() => {});
      tokens = maxLength ?? 512;
      break;
    }
    const options = { maxLength, ...(pairName && { pair: String(sample[pairName]) }) };
    tokens = Math.max(tokens, tokenizer.encode(String(sample[name]), options).inputIds.length);
  }
  const rounded = Math.ceil(tokens / padToMultipleOf) * padToMultipleOf;
  return Math.max(tokens, Math.min(rounded, maxLength ?? rounded));
}

const emptyBatch = (size: number): LabelledBatch => ({
  label: { dtype: 'i32', shape: [size], data: new Int32Array(size) },
  ids: new Int32Array(size),
  epoch: 0,
  index: 0,
  size,
});
