/** What a run does between samples and model: pictures through transforms, texts through a tokenizer. The rest of training does not know which. */
import { ConfigError, sizeOf, UnsupportedError } from '../base/index.ts';
import {
  DataLoader,
  type Dataset,
  type ImageFeature,
  imageFeature,
  type LabelledBatch,
  type LoaderOptions,
  type Sample,
  type Schema,
  type TextCollateOptions,
  type Transform,
  textFields,
  validateTransforms,
  withoutRandom,
} from '../data/index.ts';
import {
  type HeadOptions,
  headsOf,
  imageTask,
  type Mixing,
  type Task,
  type Teacher,
  textTask,
} from '../tasks/index.ts';
import type { Balance } from './balance.ts';

/** Samples of any kind with labels; of most a class called `label`. */
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
  /** What a sample is, where it is not one of the data: `packed rows`. */
  readonly unit?: string;
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
  readonly teacher?: Teacher | undefined;
  /** More of the heads, by field: weight, loss, threshold; scales of numbers. */
  readonly heads?: HeadSettings | undefined;
  /** In place of the one that predicts all of the data's labels. */
  readonly task?: Task;
}

/** By the label's field. */
export type HeadSettings = Readonly<Record<string, Partial<HeadOptions>>>;

/** @throws ConfigError for transforms that do not fit, UnsupportedError for texts without a tokenizer. */
export function inputsOf(train: Samples, options: InputOptions): Inputs {
  if (textFields(train.schema).length === 0) return imageInputs(train, options);
  if (options.text) return textInputs(train, options.text, options);
  throw new UnsupportedError('TOKENIZER_MISSING', `${train.name} holds texts: how do they become tokens?`, {
    field: 'text',
    hint: 'pass text: { tokenizer }, by loadTokenizer or trainWordPiece',
  });
}

/** What is predicted: the schema's labels, with what the options say of them. @throws ConfigError HEAD_UNKNOWN, HEAD_OPTION. */
export function wantedHeads(
  { schema, name }: Samples,
  { labelSmoothing = 0, balance = {}, heads = {} }: InputOptions,
): { heads: HeadOptions[] } {
  const found = headsOf(schema);
  if (found.length === 0)
    throw new ConfigError('LABELS_MISSING', `${name} has no labels to learn`, { field: 'data', got: schema.labels });
  const unknown = Object.keys(heads).find((field) => !found.some((head) => head.field === field));
  if (unknown !== undefined)
    throw new ConfigError('HEAD_UNKNOWN', `heads.${unknown}: the data have no such label`, {
      field: `heads.${unknown}`,
      expected: found.map(({ field }) => field),
      got: unknown,
    });
  const { classWeights } = balance;
  const [only] = found;
  if (classWeights && found.length > 1) headOption('classWeights', 'several heads: they are for data of one label');
  if (labelSmoothing > 0 && !found.some(({ kind }) => kind === 'class' || kind === 'tags'))
    headOption('labelSmoothing', `${only?.field}: it is for classes`);
  const kindOf: Readonly<Record<string, readonly string[]>> = { threshold: ['classes'], loss: ['number', 'numbers'] };
  return {
    heads: found.map((head) => {
      const more = heads[head.field] ?? {};
      for (const [option, kinds] of Object.entries(kindOf))
        if (option in more && !kinds.includes(head.kind))
          headOption(`heads.${head.field}.${option}`, `a label of kind ${head.kind}`);
      return {
        ...head,
        ...((head.kind === 'class' || head.kind === 'tags') && { labelSmoothing }),
        ...(classWeights && { classWeights }),
        ...(balance.scales?.[head.field] && { scale: balance.scales[head.field] }),
        ...more,
      } as HeadOptions;
    }),
  };
}

const kinds = {
  class: 'classification',
  classes: 'multi-label-classification',
  tags: 'token-classification',
  number: 'regression',
  numbers: 'regression',
} as const;

/** What is learned from a schema's labels: `image-classification`, `text-regression`, `text-multi-task`, `token-classification` ... */
export function taskName(schema: Schema): string {
  const heads = headsOf(schema);
  const [only] = heads.length === 1 ? heads : [];
  if (only?.kind === 'tags') return kinds.tags;
  return `${textFields(schema).length > 0 ? 'text' : 'image'}-${only ? kinds[only.kind] : 'multi-task'}`;
}

function headOption(field: string, what: string): never {
  throw new ConfigError('HEAD_OPTION', `${field} does not fit ${what}`, { field });
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
  const { transforms = [], task, balance = {}, mixing } = options;
  const { weights } = balance;
  const { schema } = train;
  const { graph, modelSize, hostSize } = validateTransforms(transforms, schema);
  const { height, width, channels } = hostSize;
  const sampleBytes = height * width * channels;
  return {
    task:
      task ??
      imageTask({
        name: taskName(schema),
        ...wantedHeads(train, options),
        transforms: graph,
        mixing,
        teacher: options.teacher,
      }),
    preprocessing: { image: imageFeature(schema), transforms },
    size: `${modelSize.channels}x${modelSize.height}x${modelSize.width}`,
    sampleBytes,
    zeroBatch: (size) => ({
      ...emptyBatch(size, schema),
      image: { dtype: 'u8', shape: [size, channels, height, width], data: new Uint8Array(size * sampleBytes) },
    }),
    loader: ({ batchSize, seed }) =>
      new DataLoader(train, { batchSize, shuffle: true, seed, transforms, ...(weights && { weights }) }),
  };
}

function textInputs(train: Samples, text: TextCollateOptions, options: InputOptions): Inputs {
  const { task, balance = {}, mixing } = options;
  const { weights } = balance;
  if (mixing) throw new UnsupportedError('MIXING_TEXT', 'mixup and cutmix mix pictures, not texts', { field: 'mixup' });
  const { schema } = train;
  const pair = textFields(schema).length > 1;
  const { bucketed = true } = text;
  const steps = longest(train, text);
  const tagged = Object.keys(schema.labels).filter((field) => schema.labels[field]?.kind === 'tags');
  return {
    task: task ?? textTask({ name: taskName(schema), ...wantedHeads(train, options), teacher: options.teacher }),
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
        ...emptyBatch(size, schema),
        ...Object.fromEntries(tagged.map((field) => [field, zeros()])),
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
    const value = sample[name];
    const encoding = Array.isArray(value)
      ? tokenizer.encodeWords(value as readonly string[], { maxLength })
      : tokenizer.encode(String(value), options);
    tokens = Math.max(tokens, encoding.inputIds.length);
  }
  const rounded = Math.ceil(tokens / padToMultipleOf) * padToMultipleOf;
  return Math.max(tokens, Math.min(rounded, maxLength ?? rounded));
}

/** Labels of zeros; tags are as long as the texts. */
function emptyBatch(size: number, { labels }: Schema): LabelledBatch {
  const fields = Object.entries(labels).map(([field, label]) => {
    if (label.kind === 'tags') return [field, { dtype: 'i32', shape: [size, 0], data: new Int32Array(0) }] as const;
    if (label.kind === 'class') return [field, { dtype: 'i32', shape: [size], data: new Int32Array(size) }] as const;
    const shape = label.kind === 'number' ? [size] : [size, label.names.length];
    return [field, { dtype: 'f32', shape, data: new Float32Array(sizeOf(shape)) }] as const;
  });
  const ids = new Int32Array(size);
  return { ...Object.fromEntries(fields), ids, epoch: 0, index: 0, size } as unknown as LabelledBatch;
}
