/** Texts in the batches of training and validation: their order goes by length unless told, and every batch is padded to its longest. */
import {
  bucketedOrder,
  type Dataset,
  epochOrder,
  paddedLength,
  type Sample,
  samplesOf,
  type TextCollateOptions,
  TextCollator,
} from '../../data/index.ts';
import { sha256 } from '../../io/index.ts';
import type { Samples } from '../inputs.ts';

export interface TextBatches {
  /** Rows of an epoch of training, as the loader of texts visits them. */
  order(epoch: number): Int32Array;
  /** Lengths that batches of `batchSize` are padded to in these epochs. */
  padded(epochs: number): number[];
  /** The shortest texts: they fit into a batch of any of those lengths. */
  shortest(count: number): Int32Array;
}

export async function tokenCounts(data: Samples, text: TextCollateOptions): Promise<Int32Array> {
  const collator = new TextCollator(data.schema, text);
  const counts = new Int32Array(data.length);
  let row = 0;
  for await (const sample of samplesOf(data as Dataset<unknown> as Dataset<Sample>)) {
    const encoding = collator.encode(row, sample);
    // What is wrong with a sample is told by the loader that reads it.
    counts[row++] = typeof encoding === 'string' ? 0 : encoding.inputIds.length;
  }
  return counts;
}

/** In the order of `evaluate`. */
export const measuringOrder = (counts: Int32Array): Int32Array =>
  bucketedOrder(counts, Math.max(1, counts.length), { shuffle: false });

export function textBatches(
  counts: Int32Array,
  text: TextCollateOptions,
  { batchSize, seed }: { batchSize: number; seed: number },
): TextBatches {
  const { tokenizer, padToMultipleOf = 8, bucketed = true, maxLength = tokenizer.config.modelMaxLength } = text;
  const order = (epoch: number): Int32Array =>
    bucketed
      ? bucketedOrder(counts, batchSize, { seed, epoch, shuffle: true })
      : epochOrder(counts.length, seed, epoch, true);
  return {
    order,
    padded: (epochs) => {
      const found = new Set<number>();
      for (let epoch = 0; epoch < epochs; epoch++) {
        const rows = order(epoch);
        for (let at = 0; at < rows.length; at += batchSize) {
          const lengths = Array.from(rows.subarray(at, at + batchSize), (row) => counts[row] as number);
          found.add(
            paddedLength(lengths, { multipleOf: padToMultipleOf, ...(maxLength !== undefined && { most: maxLength }) }),
          );
        }
      }
      return [...found].sort((a, b) => a - b);
    },
    shortest: (count) => measuringOrder(counts).subarray(0, count),
  };
}

/** All that tokens of a text depend on, also what tokenizer_config.json says beside the tokenizer's own file. */
export const tokenIdentity = ({ tokenizer, maxLength, padToMultipleOf }: TextCollateOptions) => ({
  tokenizer: sha256(JSON.stringify(tokenizer.json)),
  special: [...tokenizer.specialIds],
  roles: tokenizer.specialTokens,
  paddingSide: tokenizer.config.paddingSide ?? 'right',
  maxLength: maxLength ?? tokenizer.config.modelMaxLength,
  padToMultipleOf,
});
