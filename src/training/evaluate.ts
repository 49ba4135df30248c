/** Measures a model on a part of a data set: a forward pass a batch, counts in constant memory. */
import { DataLoader, type Transform, withoutRandom } from '../data/index.ts';
import type { Module } from '../nn/index.ts';
import type { Task } from '../tasks/index.ts';
import { flush } from '../tensor/index.ts';
import type { Images } from './data-source.ts';

export interface EvaluateOptions {
  readonly batchSize: number;
  /** All of the model's transforms; random ones are left out here. */
  readonly transforms?: readonly Transform[];
  /** Asked after each batch; true ends the measurement without a result. */
  readonly stop?: () => boolean;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface Evaluation {
  readonly n: number;
  /** Sample-weighted mean. */
  readonly loss: number;
  readonly accuracy: number;
  /** counts[true class][predicted class]. */
  readonly counts: readonly (readonly number[])[];
}

/** Undefined when `stop` ended it. */
export async function evaluate(
  model: Module,
  task: Task,
  dataset: Images,
  { batchSize, transforms = [], stop = () => false, onProgress }: EvaluateOptions,
): Promise<Evaluation | undefined> {
  const loader = new DataLoader(dataset, { batchSize, transforms: withoutRandom(transforms) });
  const counts = task.classes.map(() => task.classes.map(() => 0));
  let [n, lossSum, correct] = [0, 0, 0];
  for await (const batch of loader.epoch(0)) {
    const { loss, predictions } = task.evaluate(model, batch);
    await flush([loss.node, predictions.node]);
    const answers = await predictions.data();
    lossSum += (await loss.item()) * batch.size;
    for (let i = 0; i < batch.size; i++) {
      const [truth, answer] = [batch.label.data[i] as number, answers[i] as number];
      const row = counts[truth] as number[];
      row[answer] = (row[answer] as number) + 1;
      if (truth === answer) correct++;
    }
    n += batch.size;
    onProgress?.(n, dataset.length);
    if (stop()) return undefined;
  }
  return { n, loss: lossSum / n, accuracy: correct / n, counts };
}

/** Accuracy of always answering the most frequent class: what any model must beat. */
export function majorityBaseline(
  counts: Evaluation['counts'],
  classes: readonly string[],
): { label: string; accuracy: number } {
  const support = counts.map((row) => row.reduce((a, b) => a + b, 0));
  const most = support.indexOf(Math.max(...support));
  const total = support.reduce((a, b) => a + b, 0);
  return { label: classes[most] as string, accuracy: (support[most] as number) / Math.max(1, total) };
}
