/** Tasks on texts: tokens and labels in, outputs to losses, answers with names out. */
import { DataError } from '../base/index.ts';
import type { TokenBatch } from '../data/index.ts';
import type { Module } from '../nn/index.ts';
import { type Tensor, tensor } from '../tensor/index.ts';
import { asClassification, type Classification } from './classification.ts';
import type { Teacher } from './distillation.ts';
import type { HeadOptions } from './head.ts';
import { type Supervised, supervised } from './supervised.ts';

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

export interface TextTaskOptions {
  /** For messages and saved models; `text-labelling` unless told. */
  name?: string;
  /** What is predicted, in the order of the model's outputs; `headsOf(schema)` gives those of a data set. */
  heads: readonly HeadOptions[];
  teacher?: Teacher | undefined;
}

export interface TextClassificationOptions {
  /** Names in the order of the model's outputs. */
  classes: readonly string[];
  /** Of the training loss; evaluation measures without. */
  labelSmoothing?: number;
  /** Of the training loss, one a class. */
  classWeights?: readonly number[];
}

export interface TextTask extends Supervised<TokenBatch> {
  input(batch: TokenBatch): TokenInputs;
}

export interface TextClassification extends Classification<TokenBatch>, Pick<TextTask, 'input'> {}

/**
 * Classes, any number of labels, numbers, or several of them from one trunk, over any model whose `forward` takes
 * `{ inputIds, attentionMask, tokenTypeIds }` and gives outputs (B, all heads'). @throws ArgumentError for heads that cannot be.
 */
export function textTask({ name = 'text-labelling', heads, teacher }: TextTaskOptions): TextTask {
  const shared = supervised<TokenBatch>({
    name,
    heads,
    teacher,
    forward: (model, batch) => (model as TextModel).forward(tokenInputs(batch)),
  });
  return { ...shared, input: tokenInputs };
}

/** One class of several. */
export function textClassification({
  classes,
  labelSmoothing,
  classWeights,
}: TextClassificationOptions): TextClassification {
  const head = { kind: 'class', field: 'label', names: classes, labelSmoothing, classWeights } as const;
  const task = textTask({ name: 'text-classification', heads: [head] });
  return { ...asClassification(task, classes, 'label'), input: tokenInputs };
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
