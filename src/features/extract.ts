/** Vectors of any layer for every sample of a data set, a batch at a time. */
import { ArgumentError, DataError, formatShape, NumericError, type Shape, UnsupportedError } from '../base/index.ts';
import {
  type Batch,
  classNames,
  DataLoader,
  type Dataset,
  splitPipeline,
  type TextCollateOptions,
  type TokenBatch,
  type Transform,
  textFields,
  withoutRandom,
} from '../data/index.ts';
import type { HostArray } from '../io/index.ts';
import { GPT2 } from '../models/index.ts';
import { Module } from '../nn/index.ts';
import { imageInput, tokenInputs } from '../tasks/index.ts';
import { type Tensor, tensor } from '../tensor/index.ts';
import { captureLayer, layerText, resolveLayer, samplesFirst } from './layer.ts';
import { type Pooling, pool } from './pooling.ts';

/** What makes a model's inputs; a loaded model folder brings both. */
export interface InputOptions {
  /** All of the model's transforms; random ones are left out. */
  readonly transforms?: readonly Transform[];
  /** How texts become tokens. */
  readonly text?: TextCollateOptions;
}

export interface FeatureOptions extends InputOptions {
  /** Dotted path of a module (`layer3.2`), `input of PATH`, `head` or `output`; `input of head` unless told. */
  readonly layer?: string;
  /** 'auto' unless told: one vector a sample. */
  readonly pooling?: Pooling;
  /** 64 unless told. */
  readonly batchSize?: number;
  readonly onProgress?: (done: number, total: number) => void;
}

/** A model alone, or one with what makes its inputs and where it comes from: what `loadModelFolder` gives. */
export type FeatureModel =
  | Module
  | ({
      readonly module: Module;
      readonly model?: { readonly name: string };
      /** sha256. */
      readonly weightsHash?: string;
    } & InputOptions);

export interface FeatureBatch {
  /** f32 (size, width), row-major. */
  readonly vectors: Float32Array;
  readonly size: number;
  readonly width: number;
  /** Lasting number of each sample. */
  readonly ids: Int32Array;
  /** Class of each sample, where the data have one. */
  readonly labels?: Int32Array;
}

/** Vectors in the order of the data set. */
export interface Features {
  /** f32, row-major of `shape`. */
  readonly vectors: Float32Array;
  /** (samples, width). */
  readonly shape: readonly [number, number];
  readonly ids: Int32Array;
  readonly labels?: Int32Array;
  /** Names of the classes that `labels` count. */
  readonly classes?: readonly string[];
  /** Where they come from: `input of classifier.1`. */
  readonly layer: string;
  readonly pooling: Pooling;
  /** Shape of the layer's output for one sample, before pooling; lengths of texts are the last batch's. */
  readonly layerShape: Shape;
}

/**
 * Vectors of every sample, in the order of the data set, in evaluation mode and without gradients. Memory: the vectors
 * and one batch; `featureBatches` needs the batch only.
 * @example const { vectors, labels } = await features(model, data, { layer: 'layer3', pooling: 'mean' });
 * @throws ArgumentError NO_SUCH_MODULE, POOLING_INVALID; NumericError NON_FINITE; DataError FEATURES_RAGGED.
 */
export async function features(
  model: FeatureModel,
  data: Dataset<unknown>,
  options: FeatureOptions = {},
): Promise<Features> {
  const stream = featureBatches(model, data, options);
  const ids = new Int32Array(data.length);
  const labels = new Int32Array(data.length);
  let vectors = new Float32Array(0);
  let row = 0;
  let width = 0;
  let labelled = true;
  let next = await stream.next();
  for (; !next.done; next = await stream.next()) {
    const batch = next.value;
    if (row === 0) {
      width = batch.width;
      vectors = new Float32Array(data.length * width);
    }
    vectors.set(batch.vectors, row * width);
    ids.set(batch.ids, row);
    if (batch.labels) labels.set(batch.labels, row);
    else labelled = false;
    row += batch.size;
  }
  const classes = classesOf(data);
  return {
    vectors,
    shape: [row, width],
    ids,
    ...(labelled && { labels }),
    ...(labelled && classes && { classes }),
    ...next.value,
  };
}

/** The label features are told apart by: the first that is one class, and no sample lacks. */
function classField({ schema }: Pick<Dataset<unknown>, 'schema'>): string | undefined {
  return Object.entries(schema.labels).find(([, { kind, optional }]) => kind === 'class' && !optional)?.[0];
}

/** Names of the classes of a data set, if it has a class label. */
export function classesOf(data: Pick<Dataset<unknown>, 'schema'>): readonly string[] | undefined {
  const field = classField(data);
  return field === undefined ? undefined : classNames(data.schema, field);
}

type Origin = Pick<Features, 'layer' | 'pooling' | 'layerShape'>;

/** `features` as a stream: batches in the order of the data set, in bounded memory. Returns where they come from. */
export async function* featureBatches(
  given: FeatureModel,
  data: Dataset<unknown>,
  { layer, pooling = 'auto', batchSize = 64, onProgress, ...own }: FeatureOptions = {},
): AsyncGenerator<FeatureBatch, Origin, void> {
  const model = given instanceof Module ? given : given.module;
  const { transforms = [], text } = given instanceof Module ? own : { ...given, ...own };
  const point = resolveLayer(model, layer);
  const inputs = inputsOf(model, data, { transforms, ...(text && { text }), batchSize });
  const field = classField(data);
  const restore = evaluationMode(model);
  let width: number | undefined;
  let layerShape: Shape = [];
  let done = 0;
  try {
    for await (const { batch, input } of inputs) {
      const value = samplesFirst(
        model,
        point,
        captureLayer(model, point, () => model.forward(input as Tensor)),
      );
      if (value.shape[0] !== batch.size) notPerSample(layerText(point), value.shape, batch.size);
      const mask = batch.attentionMask && tensor(batch.attentionMask.data, { shape: batch.attentionMask.shape });
      const pooled = pool(value, pooling, mask);
      layerShape = value.shape.slice(1);
      const found = pooled.shape[1] ?? 1;
      width ??= found;
      if (found !== width) ragged(layerText(point), width, found);
      const vectors = (await pooled.data()) as Float32Array;
      checkFinite(vectors, width, batch.ids, layerText(point));
      done += batch.size;
      const labels = field === undefined ? undefined : (batch as unknown as Record<string, HostArray>)[field]?.data;
      yield { vectors, size: batch.size, width, ids: batch.ids, ...(labels instanceof Int32Array && { labels }) };
      onProgress?.(done, data.length);
    }
  } finally {
    restore();
  }
  return { layer: layerText(point), pooling, layerShape };
}

/** Batches in order, with what the model takes of them; nothing random. */
export async function* inputsOf(
  model: Module,
  data: Dataset<unknown>,
  { transforms = [], text, batchSize }: InputOptions & { readonly batchSize: number },
): AsyncGenerator<{ batch: Batch & Partial<TokenBatch>; input: unknown }, void, void> {
  const isText = textFields(data.schema).length > 0;
  if (isText && !text)
    throw new UnsupportedError('TOKENIZER_MISSING', `${data.name} holds texts: how do they become tokens?`, {
      field: 'text',
      hint: 'pass text: { tokenizer }, by loadTokenizer or trainWordPiece',
    });
  if (batchSize < 1 || !Number.isInteger(batchSize))
    throw new ArgumentError('OPTION_INVALID', `batchSize: expected a whole number above 0, found ${batchSize}`, {
      field: 'batchSize',
      got: batchSize,
    });
  const loader = new DataLoader(data as Dataset<Record<string, never>>, {
    batchSize,
    transforms: isText ? [] : withoutRandom(transforms),
    ...(isText && { text: { ...(text as TextCollateOptions), bucketed: false } }),
  });
  const { graph } = splitPipeline(transforms);
  for await (const batch of loader.epoch(0) as AsyncIterable<unknown> as AsyncIterable<Batch & Partial<TokenBatch>>)
    yield { batch, input: isText ? textInput(model, batch as unknown as TokenBatch) : imageInput(batch, graph) };
}

/** A language model reads tokens alone: padding on the right changes nothing before it. */
function textInput(model: Module, batch: TokenBatch): Tensor | ReturnType<typeof tokenInputs> {
  const inputs = tokenInputs(batch);
  return model instanceof GPT2 ? inputs.inputIds : inputs;
}

/** Evaluation mode; the function returned puts every module back into the mode it was in. */
export function evaluationMode(model: Module): () => void {
  const modes = [...model.namedModules()].map(([, module]) => [module, module.training] as const);
  model.eval();
  return () => {
    for (const [module, training] of modes) module.training = training;
  };
}

function notPerSample(layer: string, shape: Shape, size: number): never {
  throw new ArgumentError('LAYER_NOT_PER_SAMPLE', `layer "${layer}" gives ${formatShape(shape)} for ${size} samples`, {
    field: 'layer',
    got: shape,
    expected: `first dimension ${size}`,
    hint: 'its rows are not the samples; name another layer, such as "input of head"',
  });
}

function ragged(layer: string, expected: number, got: number): never {
  throw new DataError('FEATURES_RAGGED', `layer "${layer}": some samples give ${expected} values, others ${got}`, {
    field: 'pooling',
    expected,
    got,
    hint: 'texts differ in length: use pooling "mean", "max" or "cls"',
  });
}

function checkFinite(vectors: Float32Array, width: number, ids: Int32Array, layer: string): void {
  for (let i = 0; i < vectors.length; i++) {
    if (Number.isFinite(vectors[i])) continue;
    const id = ids[Math.floor(i / width)];
    throw new NumericError('NON_FINITE', `layer "${layer}" gives ${vectors[i]} for sample ${id}`, {
      layer,
      sample: id,
      got: vectors[i],
      hint: 'the weights or this sample are not finite, or overflow on the way',
    });
  }
}
