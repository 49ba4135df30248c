/** What is learned without labels: from a batch to a loss, and to what validation reports. The trainer knows no more of it. */
import { DataError } from '../base/errors.ts';
import type { LabelledBatch } from '../data/index.ts';
import type { Module } from '../nn/index.ts';
import type { Tensor } from '../tensor/index.ts';

export const objectiveNames = [
  'masked-lm',
  'causal-lm',
  'denoising-autoencoder',
  'masked-autoencoder',
  'rotation',
  'contrastive',
] as const;
export type ObjectiveName = (typeof objectiveNames)[number];

/** Of one validation batch. */
export interface Measured {
  /** Mean over `weight` predictions, a scalar. */
  readonly loss: Tensor;
  /** How many predictions were right, a scalar f32; where they can be right or wrong. */
  readonly correct?: Tensor;
  /** Predictions (tokens, pictures) the batch has. */
  readonly weight: number;
}

export interface Objective<B = LabelledBatch> {
  readonly name: ObjectiveName;
  /** What is counted, for people: `masked token`. */
  readonly unit: string;
  /** Whether exp(loss) is a perplexity. */
  readonly perplexity: boolean;
  /** The mean loss of a batch, a scalar with a graph behind it. Puts the model in training mode. */
  loss(model: Module, batch: B): Tensor;
  /** Without gradients; puts the model in evaluation mode. */
  measure(model: Module, batch: B): Measured;
}

/** A method the objective needs of a model, or DataError MODEL_OBJECTIVE. */
export function needMethods<M>(model: Module, objective: ObjectiveName, methods: readonly string[]): M {
  const missing = methods.find((name) => typeof (model as unknown as Record<string, unknown>)[name] !== 'function');
  if (missing === undefined) return model as unknown as M;
  throw new DataError(
    'MODEL_OBJECTIVE',
    `${model.constructor.name} has no method ${missing}(): it cannot learn by ${objective}`,
    {
      expected: methods,
      got: model.constructor.name,
      hint: 'build the model for this objective: createModel(name, options, objective)',
    },
  );
}
