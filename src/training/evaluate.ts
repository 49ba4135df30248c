/** Measures a model on a part of a data set: a forward pass a batch, counts in constant memory. */
import { NumericError } from '../base/errors.ts';
import type { TextCollateOptions, Transform } from '../data/index.ts';
import type { Module } from '../nn/index.ts';
import type { Task } from '../tasks/index.ts';
import { flush } from '../tensor/index.ts';
import { evaluationLoader, type Samples } from './inputs.ts';
import { ConfusionMatrix, Mean } from './metrics/index.ts';

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

export interface Evaluation {
  readonly n: number;
  /** Sample-weighted mean. */
  readonly loss: number;
  readonly accuracy: number;
  readonly confusion: ConfusionMatrix;
}

/** Undefined when `stop` ended it. @throws NumericError when the loss is not finite. */
export async function evaluate(
  model: Module,
  task: Task,
  dataset: Samples,
  { batchSize, transforms, text, stop = () => false, onProgress }: EvaluateOptions,
): Promise<Evaluation | undefined> {
  const loader = evaluationLoader(dataset, { batchSize, transforms, text });
  const confusion = new ConfusionMatrix(task.classes);
  const mean = new Mean();
  for await (const batch of loader.epoch(0)) {
    const { loss, predictions } = task.evaluate(model, batch);
    // Both in one program.
    await flush([loss.node, predictions.node]);
    confusion.update(await predictions.data(), batch.label.data);
    mean.add(await loss.item(), batch.size);
    onProgress?.(confusion.total, dataset.length);
    if (stop()) return undefined;
  }
  if (!Number.isFinite(mean.value))
    throw new NumericError('NON_FINITE', `${dataset.name}: the loss is NaN or infinite in evaluation`, {
      direction: 'forward',
      got: mean.value,
      hint: 'the weights have grown too large: try a smaller optimizer.lr',
    });
  return { n: confusion.total, loss: mean.value, accuracy: confusion.accuracy, confusion };
}

/** Accuracy of always answering the most frequent class: what any model must beat. */
export function majorityBaseline(confusion: ConfusionMatrix): { label: string; accuracy: number } {
  const support = confusion.classes.map((_, k) => confusion.support(k));
  const most = support.indexOf(Math.max(...support));
  return {
    label: confusion.classes[most] as string,
    accuracy: (support[most] as number) / Math.max(1, confusion.total),
  };
}
