/** The order of samples and the cut into batches: functions of (seed, epoch) and the sizes, without state. */
import { bucketStream, orderStream } from './random.ts';

/** Positions in the order epoch `epoch` visits them. */
export function epochOrder(length: number, seed: number, epoch: number, shuffle: boolean): Int32Array {
  const order = new Int32Array(length);
  for (let i = 0; i < length; i++) order[i] = i;
  return shuffle ? orderStream(seed, epoch).shuffle(order) : order;
}

/** Batches in an epoch; a last one that is not full counts unless dropped. */
export const batchCount = (length: number, batchSize: number, dropLast = false): number =>
  dropLast ? Math.floor(length / batchSize) : Math.ceil(length / batchSize);

/**
 * An order in which every `batchSize` neighbours are of about one length, so that padding is little: the shuffled samples
 * are sorted within windows of `window` batches, and the batches shuffled. A last batch that is not full stays last. A
 * function of (seed, epoch) and the lengths; without shuffling all samples are sorted.
 */
export function bucketedOrder(
  lengths: ArrayLike<number>,
  batchSize: number,
  { seed = 0, epoch = 0, shuffle = true, window = 64 } = {},
): Int32Array {
  const count = lengths.length;
  const order = epochOrder(count, seed, epoch, shuffle);
  const size = shuffle ? window * batchSize : count;
  for (let start = 0; start < count; start += size) {
    const part = order.subarray(start, start + size);
    // Ties keep the shuffled order: sorting is stable.
    part.sort((a, b) => (lengths[a] as number) - (lengths[b] as number));
  }
  if (!shuffle) return order;
  const full = Math.floor(count / batchSize);
  const batches = bucketStream(seed, epoch).shuffle(Int32Array.from({ length: full }, (_, i) => i));
  const out = Int32Array.from(order);
  batches.forEach((from, to) => {
    out.set(order.subarray(from * batchSize, (from + 1) * batchSize), to * batchSize);
  });
  return out;
}
