/** Measures a model on a part of a data set: a forward pass a batch, and what each head's answers are worth. */
import { NumericError } from '../base/errors.ts';
import type { LabelledBatch, TextCollateOptions, Transform } from '../data/index.ts';
import type { HostArray } from '../io/index.ts';
import type { Module } from '../nn/index.ts';
import { areEntityTags, type Head, type Task } from '../tasks/index.ts';
import { flush } from '../tensor/index.ts';
import type { Measures } from './events.ts';
import { evaluationLoader, type Samples } from './inputs.ts';
import {
  ConfusionMatrix,
  classificationReport,
  Mean,
  MultiLabelCounter,
  RegressionCounter,
  reportRows,
  TagCounter,
} from './metrics/index.ts';

export interface EvaluateOptions {
  readonly batchSize: number;
  /** All of the model's transforms; random ones are left out here. */
  readonly transforms?: readonly Transform[];
  /** Of texts. */
  readonly text?: TextCollateOptions;
  /** Asked after each batch; true ends the measurement without a result. */
  readonly stop?: () => boolean;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Of one head: what was counted, by its kind. */
export type HeadEvaluation = {
  readonly field: string;
  /** Mean over the samples (of tags: words) that have the label. */
  readonly loss: number;
} & (
  | { readonly kind: 'class'; readonly confusion: ConfusionMatrix }
  | { readonly kind: 'classes'; readonly labels: MultiLabelCounter }
  | { readonly kind: 'tags'; readonly tags: TagCounter }
  | { readonly kind: 'number' | 'numbers'; readonly numbers: RegressionCounter }
);

export interface Evaluation {
  /** Samples seen. */
  readonly n: number;
  /** Sample-weighted mean; of several heads the sum of theirs by their weights. */
  readonly loss: number;
  /** By name, as `selectBy` takes them. */
  readonly measures: Measures;
  readonly heads: readonly HeadEvaluation[];
  /** Where every sample has one class, and nothing else is predicted. */
  readonly accuracy?: number;
  readonly confusion?: ConfusionMatrix;
}

/** Undefined when `stop` ended it. @throws NumericError when the loss is not finite. */
export async function evaluate(
  model: Module,
  task: Task,
  dataset: Samples,
  { batchSize, transforms, text, stop = () => false, onProgress }: EvaluateOptions,
): Promise<Evaluation | undefined> {
  const loader = evaluationLoader(dataset, { batchSize, transforms, text });
  const counters = task.heads.map(counterOf);
  const means = task.heads.map(() => new Mean());
  let n = 0;
  for await (const batch of loader.epoch(0)) {
    const outputs = task.evaluate(model, batch);
    // All in one program.
    await flush(outputs.flatMap(({ loss, predictions }) => [loss.node, predictions.node]));
    for (const [i, { loss, predictions }] of outputs.entries()) {
      const { field } = task.heads[i] as Head;
      const { data, shape } = labelsOf(batch, field);
      const counted = (counters[i] as Counter).update(await predictions.data(), data, shape.at(-1) as number);
      (means[i] as Mean).add(await loss.item(), counted);
    }
    n += batch.size;
    onProgress?.(n, dataset.length);
    if (stop()) return undefined;
  }
  const heads = counters.map(
    ({ result }, i) => ({ ...(result as object), loss: valueOf(means[i] as Mean) }) as unknown as HeadEvaluation,
  );
  const loss = heads.reduce((sum, head, i) => sum + (task.heads[i]?.weight ?? 1) * head.loss, 0);
  if (!Number.isFinite(loss))
    throw new NumericError('NON_FINITE', `${dataset.name}: the loss is NaN or infinite in evaluation`, {
      direction: 'forward',
      got: loss,
      hint: 'the weights have grown too large: try a smaller optimizer.lr',
    });
  const [only] = heads.length === 1 ? heads : [];
  return {
    n,
    loss,
    measures: { loss, ...(only ? measuresOf(only) : prefixed(heads)) },
    heads,
    ...(only?.kind === 'class' && { accuracy: only.confusion.accuracy, confusion: only.confusion }),
  };
}

/** A head that no sample of the part has a label for was not measured. */
const valueOf = (mean: Mean): number => (mean.items === 0 ? 0 : mean.value);

const labelsOf = (batch: LabelledBatch, field: string): HostArray =>
  (batch as unknown as Record<string, HostArray>)[field] as HostArray;

interface Counter {
  readonly result: { readonly field: string; readonly kind: Head['kind'] };
  /** `steps`: the last axis of both. @returns samples (of numbers: numbers, of tags: words) counted. */
  update(predictions: ArrayLike<number>, labels: ArrayLike<number>, steps: number): number;
}

function counterOf({ field, kind, names, threshold }: Head): Counter {
  if (kind === 'class') {
    const confusion = new ConfusionMatrix(names);
    const update = (predictions: Int32Array, labels: Int32Array): number => {
      const there = labels.every((label) => label >= 0)
        ? undefined
        : [...labels.keys()].filter((i) => at(labels, i) >= 0);
      const of = (values: Int32Array) => (there ? Int32Array.from(there, (i) => at(values, i)) : values);
      confusion.update(of(predictions), of(labels));
      return there?.length ?? labels.length;
    };
    return { result: { field, kind, confusion } as Counter['result'], update: update as Counter['update'] };
  }
  if (kind === 'tags') {
    const tags = new TagCounter(names);
    return {
      result: { field, kind, tags } as Counter['result'],
      update: (predictions, labels, steps) => tags.update(predictions, labels, steps),
    };
  }
  const counter = kind === 'classes' ? new MultiLabelCounter(names, threshold) : new RegressionCounter(names);
  const result = { field, kind, [kind === 'classes' ? 'labels' : 'numbers']: counter };
  return {
    result,
    update: (predictions, labels) => counter.update(predictions as Float32Array, labels as Float32Array),
  };
}

const at = (values: ArrayLike<number>, i: number): number => values[i] as number;

/** What can be selected by, of one head. */
function measuresOf(head: HeadEvaluation): Record<string, number> {
  if (head.kind === 'class') {
    const rows = reportRows(classificationReport(head.confusion));
    return { accuracy: head.confusion.accuracy, macroF1: rows.macro['f1-score'] };
  }
  if (head.kind === 'classes') {
    const { microF1, macroF1, subsetAccuracy, meanAveragePrecision } = head.labels.scores;
    return {
      microF1,
      macroF1,
      subsetAccuracy,
      ...(meanAveragePrecision !== null && { meanAveragePrecision }),
    };
  }
  if (head.kind === 'tags') {
    const { accuracy, precision, recall, microF1, macroF1, of } = head.tags.scores;
    return of === 'tags' ? { accuracy, macroF1 } : { accuracy, precision, recall, microF1, macroF1 };
  }
  const scores = Object.entries(head.numbers.scores);
  const r2 = scores.reduce((sum, [, score]) => sum + score.r2, 0) / scores.length;
  if (head.kind === 'number') {
    const [[, { rmse, mae }]] = scores as [(typeof scores)[number]];
    return { rmse, mae, r2 };
  }
  return { ...Object.fromEntries(scores.map(([name, { mae }]) => [`${name}.mae`, mae])), r2 };
}

const prefixed = (heads: readonly HeadEvaluation[]): Record<string, number> =>
  Object.fromEntries(
    heads.flatMap((head) =>
      Object.entries({ loss: head.loss, ...measuresOf(head) }).map(([name, value]) => [`${head.field}.${name}`, value]),
    ),
  );

/** The names of what `evaluate` measures of a task, `loss` first. */
export function measureNames(heads: readonly Head[]): string[] {
  const of = ({ kind, names }: Head): string[] => {
    if (kind === 'class') return ['accuracy', 'macroF1'];
    if (kind === 'classes') return ['microF1', 'macroF1', 'subsetAccuracy', 'meanAveragePrecision'];
    if (kind === 'tags')
      return areEntityTags(names) ? ['accuracy', 'precision', 'recall', 'microF1', 'macroF1'] : ['accuracy', 'macroF1'];
    return kind === 'number' ? ['rmse', 'mae', 'r2'] : [...names.map((name) => `${name}.mae`), 'r2'];
  };
  const [only] = heads.length === 1 ? heads : [];
  if (only) return ['loss', ...of(only)];
  return ['loss', ...heads.flatMap((head) => ['loss', ...of(head)].map((name) => `${head.field}.${name}`))];
}

/** Whether more of a measure is better. */
export const modeOf = (metric: string): 'max' | 'min' => (/(^|\.)(loss|rmse|mae)$/.test(metric) ? 'min' : 'max');

/** Accuracy of always answering the most frequent class: what any model must beat. */
export function majorityBaseline(confusion: ConfusionMatrix): { label: string; accuracy: number } {
  const support = confusion.classes.map((_, k) => confusion.support(k));
  const most = support.indexOf(Math.max(...support));
  return {
    label: confusion.classes[most] as string,
    accuracy: (support[most] as number) / Math.max(1, confusion.total),
  };
}
