/** The order of samples and the cut into batches: functions of (seed, epoch) and the sizes, without state. */
import { ArgumentError } from '../base/errors.ts';
import { bucketStream, orderStream } from './random.ts';

/** Positions in the order epoch `epoch` visits them. */
export function epochOrder(length: number, seed: number, epoch: number, shuffle: boolean): Int32Array {
  const order = new Int32Array(length);
  for (let i = 0; i < length; i++) order[i] = i;
  return shuffle ? orderStream(seed, epoch).shuffle(order) : order;
}

/**
 * As many draws with replacement as there are samples, each by its share of the weights (PyTorch's WeightedRandomSampler).
 * A function of (seed, epoch) and the weights.
 * @throws ArgumentError WEIGHTS_INVALID for a negative or infinite weight, or none above 0.
 */
export function weightedOrder(weights: ArrayLike<number>, seed: number, epoch: number): Int32Array {
  const sums = new Float64Array(weights.length);
  let total = 0;
  for (let i = 0; i < sums.length; i++) {
    const weight = weights[i] as number;
    if (!(weight >= 0 && Number.isFinite(weight))) invalidWeights(`sample ${i} has weight ${weight}`, weight);
    total += weight;
    sums[i] = total;
  }
  if (!(total > 0)) invalidWeights('no sample has a weight above 0', total);
  const random = orderStream(seed, epoch);
  return Int32Array.from(sums, () => {
    const wanted = random.uniform() * total;
    let [low, high] = [0, sums.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((sums[middle] as number) > wanted) high = middle;
      else low = middle + 1;
    }
    return low;
  });
}

function invalidWeights(message: string, got: number): never {
  throw new ArgumentError('WEIGHTS_INVALID', message, { field: 'weights', expected: 'numbers of at least 0', got });
}

/** Batches in an epoch; a last one that is not full counts unless dropped. */
export const batchCount = (length: number, batchSize: number, dropLast = false): number =>
  dropLast ? Math.floor(length / batchSize) : Math.ceil(length / batchSize);

export interface BucketOptions {
  seed?: number;
  epoch?: number;
  shuffle?: boolean;
  window?: number;
  /** Of a weighted order, in place of the shuffled one. */
  weights?: ArrayLike<number> | undefined;
}

/**
 * An order in which every `batchSize` neighbours are of about one length, so that padding is little: the shuffled samples
 * are sorted within windows of `window` batches, and the batches shuffled. A last batch that is not full stays last. A
 * function of (seed, epoch) and the lengths; without shuffling all samples are sorted.
 */
export function bucketedOrder(
  lengths: ArrayLike<number>,
  batchSize: number,
  { seed = 0, epoch = 0, shuffle = true, window = 64, weights }: BucketOptions = {},
): Int32Array {
  const count = lengths.length;
  const order = weights ? weightedOrder(weights, seed, epoch) : epochOrder(count, seed, epoch, shuffle);
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
