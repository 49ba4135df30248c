/** What a tokenizer gives a model: ids, mask and types of one text, and of a batch padded to one length. */
import { ArgumentError } from '../../base/errors.ts';
import type { HostArray } from '../../io/host-array.ts';

/** One text (or pair), not padded. */
export interface Encoding {
  /** Token ids, special tokens included. */
  readonly inputIds: Int32Array;
  /** 0 for the first text and its special tokens, 1 for the second. */
  readonly tokenTypeIds: Int32Array;
  /** Of a text in words: the word whose first piece stands here, -1 elsewhere (transformers' `word_ids` without repeats). */
  readonly words?: Int32Array;
  /** How many tokens truncation cut off. */
  readonly truncated: number;
}

/** Three arrays i32 (B, T): what BERT's `forward` takes; and of texts in words, where each word begins. */
export interface TokenBatch {
  readonly inputIds: HostArray;
  /** 1 for tokens, 0 for padding. */
  readonly attentionMask: HostArray;
  readonly tokenTypeIds: HostArray;
  /** As in Encoding: -1 where no word begins. */
  readonly words?: HostArray;
}

export interface PadOptions {
  readonly padId: number;
  /** T exactly; the longest of the batch unless told. */
  readonly length?: number;
  /** T is rounded up to a multiple of this, so that few shapes (compiled programs) occur; 1 unless told. */
  readonly multipleOf?: number;
  /** But never above this, e.g. the positions a model has. */
  readonly most?: number;
  /** Where the padding goes; `left` for generation. Default `right`. */
  readonly side?: 'right' | 'left';
}

/** The padded length of texts of these lengths. */
export function paddedLength(
  lengths: Iterable<number>,
  { length, multipleOf = 1, most }: Omit<PadOptions, 'padId'>,
): number {
  let longest = 0;
  for (const n of lengths) longest = Math.max(longest, n);
  if (length !== undefined && longest > length)
    throw new ArgumentError('LENGTH_EXCEEDED', `a text of ${longest} tokens does not fit into ${length}`, {
      field: 'length',
      expected: `<= ${length}`,
      got: longest,
      hint: 'give the tokenizer a maxLength, so that it truncates',
    });
  // A model reads no sequence of length 0.
  const least = Math.max(1, length ?? longest);
  const rounded = Math.ceil(least / multipleOf) * multipleOf;
  return most === undefined ? rounded : Math.max(least, Math.min(rounded, most));
}

/** Pads to one length. @throws ArgumentError LENGTH_EXCEEDED for a text longer than `length`. */
export function padEncodings(encodings: readonly Encoding[], options: PadOptions): TokenBatch {
  const { padId, side = 'right' } = options;
  const steps = paddedLength(
    encodings.map((e) => e.inputIds.length),
    options,
  );
  const shape = [encodings.length, steps];
  const make = (fill: number): Int32Array => new Int32Array(encodings.length * steps).fill(fill);
  const [ids, mask, types] = [make(padId), make(0), make(0)];
  const firsts = encodings.some(({ words }) => words) ? make(-1) : undefined;
  encodings.forEach(({ inputIds, tokenTypeIds, words }, row) => {
    const n = inputIds.length;
    const at = row * steps + (side === 'left' ? steps - n : 0);
    ids.set(inputIds, at);
    mask.fill(1, at, at + n);
    types.set(tokenTypeIds, at);
    if (words) firsts?.set(words, at);
  });
  const array = (data: Int32Array): HostArray => ({ dtype: 'i32', shape, data });
  const arrays = { inputIds: array(ids), attentionMask: array(mask), tokenTypeIds: array(types) };
  return firsts ? { ...arrays, words: array(firsts) } : arrays;
}
