/** Masked language modelling (Devlin et al. 2019) and causal language modelling (Radford et al. 2019) over batches of token rows. */
import { DataError } from '../base/errors.ts';
import type { LanguageBatch } from '../data/index.ts';
import { crossEntropy, type Module } from '../nn/index.ts';
import { embedding, type Tensor, tensor, where } from '../tensor/index.ts';
import { type Measured, needMethods, type Objective } from './objective.ts';

/** A module with its two halves: tokens (B, T) -> features (B, T, hidden), features (..., hidden) -> logits (..., vocabulary). */
export interface LanguageModel {
  features(tokens: Tensor): Tensor;
  logits(features: Tensor): Tensor;
}

const IGNORED = -100;

/**
 * Predicts hidden tokens from both sides. The model's head reads the hidden positions alone: a seventh of the work over a
 * vocabulary.
 */
export const maskedLM = (): Objective<LanguageBatch> =>
  objective('masked-lm', 'masked token', (model, batch) => {
    const { positions } = batch;
    if (!positions)
      throw new DataError('FEATURE_MISSING', 'the batch has no field "positions"', {
        field: 'positions',
        hint: 'give the loader a masking: new BlockLoader(blocks, { masking: {} })',
      });
    const features = model.features(tokensOf(batch));
    const [, , hidden] = features.shape as [number, number, number];
    const rows = features.reshape([batch.inputIds.data.length, hidden]);
    return model.logits(embedding(rows, tensor(positions.data, { shape: positions.shape, dtype: 'i32' })));
  });

/** Predicts every token from those before it. */
export const causalLM = (): Objective<LanguageBatch> =>
  objective('causal-lm', 'token', (model, batch) => {
    const logits = model.logits(model.features(tokensOf(batch)));
    return logits.reshape([batch.label.data.length, logits.shape.at(-1) as number]);
  });

function objective(
  name: 'masked-lm' | 'causal-lm',
  unit: string,
  logitsOf: (model: LanguageModel, batch: LanguageBatch) => Tensor,
): Objective<LanguageBatch> {
  const logits = (model: Module, batch: LanguageBatch): Tensor =>
    logitsOf(needMethods<LanguageModel>(model, name, ['features', 'logits']), batch);
  return {
    name,
    unit,
    perplexity: true,
    loss: (model, batch) => crossEntropy(logits(model.train(), batch), targetsOf(batch), { ignoreIndex: IGNORED }),
    measure: (model, batch): Measured => {
      const y = logits(model.eval(), batch);
      const target = targetsOf(batch);
      const right = y.argmax(1).cast('i32').eq(target);
      return {
        loss: crossEntropy(y, target, { ignoreIndex: IGNORED }),
        correct: where(right, 1, 0).sum(),
        weight: batch.targets,
      };
    },
  };
}

const tokensOf = ({ inputIds }: LanguageBatch): Tensor =>
  tensor(inputIds.data, { shape: inputIds.shape, dtype: 'i32' });
const targetsOf = ({ label }: LanguageBatch): Tensor => tensor(label.data, { shape: label.shape, dtype: 'i32' });
