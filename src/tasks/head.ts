/** What a model says of one label: which of its outputs those are, how they are learned, measured and read. */
import { DataError } from '../base/index.ts';
import type { Label, LabelledBatch } from '../data/index.ts';
import type { HostArray } from '../io/index.ts';
import { type Tensor, tensor } from '../tensor/index.ts';

/** One answer with the label's name. */
export interface Prediction {
  readonly label: string;
  /** Index of `label` among the classes. */
  readonly index: number;
  /** By class name, in class order; they add up to 1. */
  readonly probabilities: Readonly<Record<string, number>>;
  /** The likeliest classes, best first. */
  readonly top: readonly { readonly label: string; readonly probability: number }[];
}

/** Any number of labels. */
export interface LabelsPrediction {
  /** Those above the threshold, likeliest first. */
  readonly labels: readonly string[];
  /** By label, in order; each for itself. */
  readonly probabilities: Readonly<Record<string, number>>;
}

export interface NumberPrediction {
  /** In the units of the data. */
  readonly value: number;
}

export interface NumbersPrediction {
  /** By name, in the units of the data. */
  readonly values: Readonly<Record<string, number>>;
}

/** A class for each word. Words that were cut off, or of which the tokenizer makes nothing, are not among them. */
export interface TagsPrediction {
  readonly tags: readonly {
    /** Place of the word in the text. */
    readonly word: number;
    readonly label: string;
    readonly probability: number;
  }[];
  /** Where the classes say how words make entities (B-, I-, ...). */
  readonly entities?: readonly EntityPrediction[];
}

export interface EntityPrediction {
  readonly label: string;
  /** First word, and the one behind the last. */
  readonly start: number;
  readonly end: number;
  /** Mean of its words'. */
  readonly probability: number;
}

export type Answer = Prediction | LabelsPrediction | NumberPrediction | NumbersPrediction | TagsPrediction;

/** Of one evaluation batch. */
export interface HeadOutput {
  /** Mean over the samples that have this label, a scalar. */
  readonly loss: Tensor;
  /** class: i32 (N). tags: i32 (N, T). classes: probabilities f32 (N, outputs). number(s): f32 (N, outputs) in the units of the data. */
  readonly predictions: Tensor;
}

export interface Head {
  /** The label's field in batches. */
  readonly field: string;
  readonly kind: Label['kind'];
  /** Classes, or what the numbers are called, in the order of the outputs: one output each. */
  readonly names: readonly string[];
  /** What its loss counts in the sum of several heads'. */
  readonly weight: number;
  /** classes: the probability from which a label is said to apply. */
  readonly threshold?: number;
  /** Numbers that make the head again: plain JSON. */
  readonly options: HeadOptions;
  /**
   * The training loss of outputs (N, names.length), a scalar; of tags (N, T, names.length). With `lambda`, each sample was mixed of itself and, by 1 - lambda,
   * of its counterpart from the batch's other end: lambda L(y, label) + (1 - lambda) L(y, label reversed).
   */
  lossOf(y: Tensor, batch: LabelledBatch, lambda?: Tensor): Tensor;
  /** The measure, without what only training does (smoothing, weights). */
  measure(y: Tensor, batch: LabelledBatch): HeadOutput;
  /** Outputs (N, names.length) as numbers people can read: probabilities, or values in the units of the data. */
  readable(y: Tensor): Tensor;
  /** Those of one sample. `words` of tags: as in TokenBatch; every token is a word unless told. */
  answer(row: Float32Array, topK: number, words?: Int32Array): Answer;
}

interface CommonOptions {
  readonly field: string;
  readonly names: readonly string[];
  /** What the head's loss counts among several: 1 unless told. */
  readonly weight?: number | undefined;
  /** Samples may lack this label: they count in no loss of this head. */
  readonly optional?: boolean | undefined;
}

export interface ClassHeadOptions extends CommonOptions {
  readonly kind: 'class';
  readonly labelSmoothing?: number | undefined;
  /** Of the training loss, one a class: the mean is weighted, as PyTorch's. */
  readonly classWeights?: readonly number[] | undefined;
}

export interface MultiLabelHeadOptions extends CommonOptions {
  readonly kind: 'classes';
  /** 0.5 unless told. */
  readonly threshold?: number | undefined;
  /** Of the training loss, one a label: what a sample that has it counts there against one that has not (`pos_weight`). */
  readonly classWeights?: readonly number[] | undefined;
}

export interface TagHeadOptions extends CommonOptions {
  readonly kind: 'tags';
  readonly labelSmoothing?: number | undefined;
  /** Of the training loss, one a class: the mean over words is weighted, as PyTorch's. */
  readonly classWeights?: readonly number[] | undefined;
}

export const numberLosses = ['mse', 'l1', 'huber'] as const;
export type NumberLoss = (typeof numberLosses)[number];

export interface NumberHeadOptions extends CommonOptions {
  readonly kind: 'number' | 'numbers';
  /** mse unless told; l1: mean absolute error; huber: quadratic up to one deviation, then linear. */
  readonly loss?: NumberLoss | undefined;
  /** The model's outputs count deviations from the mean: value = output * std + mean. Of the training part, one a name. */
  readonly scale?: { readonly mean: readonly number[]; readonly std: readonly number[] } | undefined;
}

export type HeadOptions = ClassHeadOptions | MultiLabelHeadOptions | NumberHeadOptions | TagHeadOptions;

/** A batch's array of a label. @throws DataError LABEL_MISSING. */
export function labelArray(batch: LabelledBatch, field: string): HostArray {
  const array = (batch as unknown as Record<string, HostArray | undefined>)[field];
  if (array) return array;
  throw new DataError('LABEL_MISSING', `the batch has no field "${field}": a loss needs labels`, {
    field,
    hint: 'give the data set such a label in its schema (a class label, a number ...); the model itself never sees labels',
  });
}

/** Position of a value in a batch, by the sample's lasting number. */
export const sampleOf = ({ ids }: LabelledBatch, position: number): number => ids?.[position] ?? position;

/** What the batch's samples count, f32 (N), checked; undefined where all count the same. */
export function sampleWeights(batch: LabelledBatch): Tensor | undefined {
  const { weight } = batch as { weight?: HostArray };
  if (!weight) return undefined;
  const bad = (weight.data as Float32Array).findIndex((w) => !(w >= 0 && Number.isFinite(w)));
  if (bad >= 0)
    throw new DataError('WEIGHT_INVALID', `sample ${sampleOf(batch, bad)} has weight ${weight.data[bad]}`, {
      field: 'weight',
      sample: sampleOf(batch, bad),
      expected: 'a number of at least 0',
      got: weight.data[bad],
    });
  return tensor(weight.data, { shape: [batch.size] });
}

/** Sum of losses over the sum of what they count. Where nothing counts: 0 rather than NaN. */
export const weightedMean = (losses: Tensor, counts: Tensor): Tensor =>
  losses.mul(counts).sum().div(counts.sum().maximum(1e-12));
