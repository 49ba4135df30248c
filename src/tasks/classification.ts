/** Every sample has one class: what only a supervised task with that one head can say. */
import type { LabelledBatch } from '../data/index.ts';
import type { Module } from '../nn/index.ts';
import type { HeadOutput, Prediction } from './head.ts';
import type { Supervised } from './supervised.ts';

/** A task whose model gives logits (N, classes). `I` is what the model needs of a batch. */
export interface Classification<I> extends Supervised<I> {
  /** Names in the order of the model's outputs. */
  readonly classes: readonly string[];
  /** What there is to measure of a batch: the loss, and predictions i32 (N). */
  evaluate(model: Module, batch: I & LabelledBatch): readonly [HeadOutput];
  /** Answers with names and probabilities, most likely first in `top` (`topK` of them, 5 unless told). */
  predict(model: Module, batch: I, options?: { topK?: number }): Promise<Prediction[]>;
}

export const asClassification = <I>(
  task: Supervised<I>,
  classes: readonly string[],
  field: string,
): Classification<I> => ({
  ...task,
  classes,
  evaluate: (model, batch) => task.evaluate(model, batch) as readonly [HeadOutput],
  predict: async (model, batch, options) =>
    (await task.answers(model, batch, options)).map((answers) => answers[field] as Prediction),
});
