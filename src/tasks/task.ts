/** What a task is: the joint between batch, model, loss, metrics and prediction. The trainer knows only this. */
import type { LabelledBatch } from '../data/index.ts';
import type { Module } from '../nn/index.ts';
import type { Tensor } from '../tensor/index.ts';
import type { Head, HeadOutput } from './head.ts';

export interface Task<B = LabelledBatch> {
  readonly name: string;
  /** What is predicted: labels, in the order of the model's outputs. */
  readonly heads: readonly Head[];
  /** The mean loss of a batch, a scalar with a graph behind it. Puts the model in training mode. */
  loss(model: Module, batch: B): Tensor;
  /** Evaluation without gradients, an output for each head. Puts the model in evaluation mode. */
  evaluate(model: Module, batch: B): readonly HeadOutput[];
}
