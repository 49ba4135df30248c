/** Labels carried over: a head is trained on labelled vectors and answers for others, or becomes the head of a model. */
import { ArgumentError, DataError, printable, UnsupportedError } from '../base/index.ts';
import { replaceHead, structureOf } from '../models/index.ts';
import { Linear, type Module } from '../nn/index.ts';
import { tensor } from '../tensor/index.ts';
import { type LinearHead, type LinearProbeOptions, linearProbe } from './linear-probe.ts';
import { knnClassify, type Metric } from './neighbours.ts';
import { type FeatureTable, labelled } from './table.ts';

export const labelMethods = ['linear', 'knn'] as const;
export type LabelMethod = (typeof labelMethods)[number];

export interface ApplyLabelsOptions extends LinearProbeOptions {
  /** 'linear' (default): multinomial logistic regression. 'knn': what most of the nearest are. */
  readonly method?: LabelMethod;
  /** knn: neighbours, 5 unless told. */
  readonly k?: number;
  /** knn: 'cosine' unless told. */
  readonly metric?: Metric;
}

export interface AppliedLabels {
  readonly ids: Int32Array;
  /** Name of the class of each vector. */
  readonly labels: readonly string[];
  /** f32 (samples). Of that class; knn: the share of the neighbours. */
  readonly confidence: Float32Array;
  /** Positions in `classes`. */
  readonly predictions: Int32Array;
  readonly classes: readonly string[];
  /** Share of right ones, where the vectors have labels of their own. */
  readonly accuracy?: number;
  /** linear: what `attachHead` takes. */
  readonly head?: LinearHead;
}

/**
 * Trains on `from`, answers for `to` by the names of the classes.
 * @example const { labels } = await applyLabels(await features(model, labelledPart), await features(model, newPart));
 * @throws DataError LABEL_MISSING, CLASSES_TOO_FEW, CLASSES_MISMATCH, FEATURES_*; ArgumentError WIDTH_MISMATCH, OPTION_INVALID.
 */
export async function applyLabels(
  from: FeatureTable,
  to: FeatureTable,
  { method = 'linear', k, metric, ...linear }: ApplyLabelsOptions = {},
): Promise<AppliedLabels> {
  if (!labelMethods.includes(method))
    throw new ArgumentError('OPTION_INVALID', `method: expected linear or knn, found ${printable(method)}`, {
      field: 'method',
      expected: labelMethods,
      got: method,
    });
  const { classes } = labelled(from);
  const differs = to.labels && to.classes ? to.classes.findIndex((name, i) => name !== classes[i]) : -1;
  if (differs >= 0)
    throw new DataError(
      'CLASSES_MISMATCH',
      `class ${differs} is ${printable(classes[differs] ?? 'unknown')} in one file, ${printable(to.classes?.[differs])} in the other`,
      { expected: classes, got: to.classes, hint: 'write both from data with the same classes' },
    );
  const probe = method === 'linear' ? await linearProbe(from, to, linear) : undefined;
  const { predictions, probabilities, accuracy } =
    probe ?? (await knnClassify(from, to, { ...(k !== undefined && { k }), ...(metric && { metric }) }));
  return {
    ids: to.ids,
    labels: Array.from(predictions, (at) => classes[at] as string),
    confidence: Float32Array.from(predictions, (at, row) => probabilities[row * classes.length + at] as number),
    predictions,
    classes,
    ...(accuracy !== undefined && { accuracy }),
    ...(probe && { head: probe.head }),
  };
}

/**
 * Puts a classifier found on features of `input of head` in the place of a model's head: the model then answers as `applyLabels` did.
 * @throws UnsupportedError HEAD_UNKNOWN for a model whose head is no linear layer of as many features.
 */
export function attachHead(model: Module, { weight, bias, classes }: LinearHead): void {
  const { head, makeHead } = structureOf(model);
  const width = weight.length / classes.length;
  const made = makeHead?.(classes.length);
  const place = head === undefined ? undefined : new Map(model.namedModules()).get(head);
  const fits = (module: Module | undefined): module is Linear =>
    module instanceof Linear && module.inFeatures === width && module.bias !== undefined;
  if (!fits(place) || !fits(made))
    throw new UnsupportedError(
      'HEAD_UNKNOWN',
      `${model.constructor.name} has no linear head, with a bias, of ${width} features`,
      {
        expected: width,
        got: String(place ?? 'none'),
        hint: 'take the features from "input of head"; a convolutional head cannot be replaced by a linear one',
      },
    );
  replaceHead(model, { classes: classes.length });
  const next = new Map(model.namedModules()).get(head as string) as Linear;
  next.reset(tensor(weight, { shape: next.weight.shape }), tensor(bias, { shape: [classes.length] }));
}
