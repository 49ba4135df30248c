/** What every task with labels shares, whatever the model reads: heads over its outputs, their loss, measurement and answers. */
import { ArgumentError, formatShape, NumericError, ShapeError } from '../base/index.ts';
import { type Label, type LabelledBatch, type Schema, weightField } from '../data/index.ts';
import type { HostArray } from '../io/index.ts';
import type { Module } from '../nn/index.ts';
import { scalar, type Tensor } from '../tensor/index.ts';
import { classHead } from './class-head.ts';
import { type Teacher, withTeacher } from './distillation.ts';
import type { Answer, Head, HeadOptions } from './head.ts';
import { multiLabelHead } from './multi-label-head.ts';
import { numberHead } from './number-head.ts';
import { tagHead } from './tag-head.ts';
import type { Task } from './task.ts';

/** By the label's field. */
export type Answers = Readonly<Record<string, Answer>>;

/** A task whose model gives outputs (N, all heads'), or of tags (N, T, all heads'). `I` is what the model needs of a batch. */
export interface Supervised<I> extends Task<I & LabelledBatch> {
  /**
   * The training loss of outputs (N, all heads'): the sum of the heads' by their weights. With `lambda` the samples are mixed
   * with their counterparts (see Head.lossOf).
   */
  lossOf(y: Tensor, batch: LabelledBatch, lambda?: number): Tensor;
  /** Outputs (N, all heads') in evaluation mode: logits, or numbers as deviations from their mean. */
  outputs(model: Module, batch: I): Tensor;
  /** Readable answers; of classes the likeliest `topK` in `top` (5 unless told). @throws NumericError NON_FINITE. */
  answers(model: Module, batch: I, options?: { topK?: number }): Promise<Answers[]>;
}

/** A head from its options. @throws ArgumentError. */
export function makeHead(options: HeadOptions): Head {
  if (options.kind === 'class') return classHead(options);
  if (options.kind === 'tags') return tagHead(options);
  return options.kind === 'classes' ? multiLabelHead(options) : numberHead(options);
}

/** The heads a schema's labels ask for, in its order. `weight` is no label: it says what a sample counts. */
export const headsOf = ({ labels }: Schema, more: Readonly<Record<string, Partial<HeadOptions>>> = {}): HeadOptions[] =>
  Object.entries(labels)
    .filter(([field]) => field !== weightField)
    .map(([field, label]) => ({ field, ...describe(field, label), ...more[field] }) as HeadOptions);

function describe(field: string, label: Label): Omit<HeadOptions, 'field'> {
  const { optional } = label;
  const names = label.kind === 'number' ? [field] : label.names;
  return { kind: label.kind, names, ...(optional && { optional }) };
}

/** How many outputs of the model are whose, by field: what a model of several heads is built from. */
export const headSizes = (heads: readonly Pick<Head, 'field' | 'names'>[]): Record<string, number> =>
  Object.fromEntries(heads.map(({ field, names }) => [field, names.length]));

export interface SupervisedOptions<I> {
  readonly name: string;
  readonly heads: readonly HeadOptions[];
  /** The model's answer (N, all heads'), in whichever mode it is. */
  readonly forward: (model: Module, batch: I) => Tensor;
  /** Whose answers the training loss has a share of. */
  readonly teacher?: Teacher | undefined;
}

/** @throws ArgumentError for heads that cannot be. */
export function supervised<I>({ name, heads: wanted, forward: ask, teacher }: SupervisedOptions<I>): Supervised<I> {
  const heads = wanted.map(makeHead);
  if (heads.length === 0 || new Set(heads.map(({ field }) => field)).size !== heads.length)
    throw new ArgumentError('HEADS_INVALID', 'a task needs one head for each of its labels', {
      field: 'heads',
      got: wanted.map(({ field }) => field),
    });
  const ofTokens = heads[0]?.kind === 'tags';
  if (heads.some(({ kind }) => (kind === 'tags') !== ofTokens))
    throw new ArgumentError('HEADS_INVALID', 'labels of words and labels of the whole need models of their own', {
      field: 'heads',
      got: wanted.map(({ field, kind }) => `${field}: ${kind}`),
    });
  const total = heads.reduce((sum, { names }) => sum + names.length, 0);
  const rank = ofTokens ? 3 : 2;
  const [only] = heads.length === 1 ? heads : [];
  const forward = (model: Module, batch: I): Tensor => {
    const y = ask(model, batch);
    if (y.rank === rank && y.shape.at(-1) === total) return y;
    const many = only?.kind === 'class' ? `${total} classes` : `${total} values to predict`;
    const what = ofTokens ? `${total} classes for each token` : many;
    const hint =
      y.rank === rank
        ? `build the model with numClasses: ${total}`
        : ofTokens
          ? 'the model answers for a text as a whole: take a token classifier (BertForTokenClassification, perToken: true)'
          : 'the model answers for each token: give data with tags (readTokenDataset), or a classifier of sequences';
    throw new ShapeError('CLASSES_MISMATCH', `the model gives ${formatShape(y.shape)}, the data have ${what}`, {
      expected: ofTokens ? ['N', 'T', total] : ['N', total],
      got: y.shape,
      hint,
    });
  };
  const outputs = (model: Module, batch: I): Tensor => forward(model.eval(), batch);
  const parts = (y: Tensor): (readonly [Head, Tensor])[] => {
    let from = 0;
    return heads.map((head) => {
      if (only) return [head, y];
      const part = y.slice(-1, from, from + head.names.length);
      from += head.names.length;
      return [head, part];
    });
  };
  const lossOf = (y: Tensor, batch: LabelledBatch, lambda?: number): Tensor => {
    // A program input: every batch has another.
    const share = lambda === undefined ? undefined : scalar(lambda);
    const losses = parts(y).map(([head, part]) => {
      const loss = head.lossOf(part, batch, share);
      return head.weight === 1 ? loss : loss.mul(head.weight);
    });
    return losses.reduce((sum, loss) => sum.add(loss));
  };
  return {
    name,
    heads,
    outputs,
    lossOf,
    loss: (model, batch) => {
      const y = forward(model.train(), batch);
      const labels = lossOf(y, batch);
      return teacher ? withTeacher(labels, y, teacher, batch) : labels;
    },
    evaluate: (model, batch) => parts(outputs(model, batch)).map(([head, part]) => head.measure(part, batch)),
    answers: async (model, batch, { topK = 5 } = {}) => {
      const y = outputs(model, batch);
      const rows = Array.from({ length: y.shape[0] as number }, (): Record<string, Answer> => ({}));
      for (const [head, part] of parts(y)) {
        const values = (await head.readable(part).data()) as Float32Array;
        if (values.some(Number.isNaN))
          throw new NumericError('NON_FINITE', 'the model answers NaN: its weights or this input are not finite', {
            hint: 'train with a smaller learning rate, or load weights that are finite',
          });
        const width = values.length / rows.length;
        const { words } = batch as { words?: HostArray };
        const steps = y.shape[1] as number;
        const firsts = ofTokens ? (words?.data as Int32Array | undefined) : undefined;
        for (const [i, row] of rows.entries())
          row[head.field] = head.answer(
            values.subarray(i * width, (i + 1) * width),
            topK,
            firsts?.subarray(i * steps, (i + 1) * steps),
          );
      }
      return rows;
    },
  };
}
