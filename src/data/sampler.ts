/** The order of samples and the cut into batches: functions of (seed, epoch) and the sizes, without state. */
import { orderStream } from './random.ts';

/** Positions in the order epoch `epoch` visits them. */
export function epochOrder(length: number, seed: number, epoch: number, shuffle: boolean): Int32Array {
  const order = new Int32Array(length);
  for (let i = 0; i < length; i++) order[i] = i;
  return shuffle ? orderStream(seed, epoch).shuffle(order) : order;
}

/** Batches in an epoch; a last one that is not full counts unless dropped. */
export const batchCount = (length: number, batchSize: number, dropLast = false): number =>
  dropLast ? Math.floor(length / batchSize) : Math.ceil(length / batchSize);
