/** Text classification: tokens and class indices in, logits to cross-entropy, classes with names out. */
import { DataError } from '../base/index.ts';
import type { TokenBatch } from '../data/index.ts';
import type { Module } from '../nn/index.ts';
import { type Tensor, tensor } from '../tensor/index.ts';
import { type Classification, classification } from './classification.ts';

/** What a text model's `forward` takes: i32 (B, T) each. */
export interface TokenInputs {
  readonly inputIds: Tensor;
  /** 1 for tokens, 0 for padding. */
  readonly attentionMask: Tensor;
  /** 0 for the first text, 1 for the second. */
  readonly tokenTypeIds: Tensor;
}

/** A module that reads tokens: BERT, the LSTM classifier, or your own. */
export type TextModel = Module & { forward(inputs: TokenInputs): Tensor };

export interface TextClassificationOptions {
  /** Names in the order of the model's outputs. */
  classes: readonly string[];
  /** Of the training loss; evaluation measures without. */
  labelSmoothing?: number;
  /** Of the training loss, one a class. */
  classWeights?: readonly number[];
}

export interface TextClassification extends Classification<TokenBatch> {
  input(batch: TokenBatch): TokenInputs;
}

/** Over any model whose `forward` takes `{ inputIds, attentionMask, tokenTypeIds }` and gives logits (B, classes). */
export function textClassification(options: TextClassificationOptions): TextClassification {
  const shared = classification<TokenBatch>({
    ...options,
    name: 'text-classification',
    forward: (model, batch) => (model as TextModel).forward(tokenInputs(batch)),
  });
  return { ...shared, input: tokenInputs };
}

/** A batch's tokens as a text model takes them. @throws DataError FEATURE_MISSING. */
export function tokenInputs(batch: TokenBatch): TokenInputs {
  const part = (field: keyof TokenInputs): Tensor => {
    const array = batch[field];
    if (!array)
      throw new DataError('FEATURE_MISSING', `the batch has no field "${field}"`, {
        field,
        hint: 'give the loader a tokenizer: text: { tokenizer }',
      });
    return tensor(array.data, { shape: array.shape, dtype: array.dtype });
  };
  return {
    inputIds: part('inputIds'),
    attentionMask: part('attentionMask'),
    tokenTypeIds: part('tokenTypeIds'),
  };
}
