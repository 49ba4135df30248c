/** Data that are read in order and not kept: files larger than memory. */
import { ArgumentError, printable, UnsupportedError } from '../base/errors.ts';
import { orderStream } from './random.ts';
import type { Schema } from './schema.ts';

/** A schema and a way to read all samples once; `samples` may be called for every epoch. */
export interface IterableDataset<S> {
  readonly name: string;
  readonly schema: Schema;
  samples(): AsyncIterable<S>;
}

/** Refuses a stream where samples are read by their position. @throws UnsupportedError STREAM_UNSUPPORTED. */
export function requireIndexed(dataset: { readonly name: string }, field: string, hint: string): void {
  const { get, length } = dataset as { readonly get?: unknown; readonly length?: unknown };
  if (typeof get === 'function' && Number.isInteger(length)) return;
  throw new UnsupportedError(
    'STREAM_UNSUPPORTED',
    `${field}: ${printable(dataset.name)} is a stream, here samples are read by their position`,
    { field, expected: 'a data set with length and get', got: 'a stream', hint },
  );
}

/**
 * The samples of a stream in an order of (seed, epoch): a buffer is kept full and a random one of its samples is next. It
 * mixes over about `buffer` places, so a file sorted by class should be shuffled first.
 */
export async function* shuffled<S>(
  samples: AsyncIterable<S>,
  { buffer, seed = 0, epoch = 0 }: { buffer: number; seed?: number; epoch?: number },
): AsyncGenerator<S, void, void> {
  if (!Number.isInteger(buffer) || buffer < 1)
    throw new ArgumentError('OPTION_INVALID', `buffer: expected a whole number above 0, found ${buffer}`, {
      field: 'buffer',
      got: buffer,
    });
  const random = orderStream(seed, epoch);
  const kept: S[] = [];
  for await (const sample of samples) {
    if (kept.length < buffer) {
      kept.push(sample);
      continue;
    }
    const at = random.integer(buffer);
    yield kept[at] as S;
    kept[at] = sample;
  }
  yield* random.shuffle(kept);
}

/** Groups of `size` in order; the last may be smaller. */
export async function* batched<S>(samples: AsyncIterable<S>, size: number): AsyncGenerator<S[], void, void> {
  let group: S[] = [];
  for await (const sample of samples) {
    group.push(sample);
    if (group.length < size) continue;
    yield group;
    group = [];
  }
  if (group.length > 0) yield group;
}
