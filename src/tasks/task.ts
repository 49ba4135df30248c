/** What a task is: the joint between batch, model, loss, metrics and prediction. The trainer knows only this. */
import type { LabelledBatch } from '../data/index.ts';
import type { Module } from '../nn/index.ts';
import type { Tensor } from '../tensor/index.ts';

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

export interface Task<B = LabelledBatch> {
  readonly name: string;
  /** Class names in the order of the model's outputs. */
  readonly classes: readonly string[];
  /** The mean loss of a batch, a scalar with a graph behind it. Puts the model in training mode. */
  loss(model: Module, batch: B): Tensor;
  /** Evaluation without gradients: loss as a scalar, predictions i32 (N). Puts the model in evaluation mode. */
  evaluate(model: Module, batch: B): { loss: Tensor; predictions: Tensor };
}
