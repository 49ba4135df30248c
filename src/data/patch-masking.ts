/** Hidden patches of pictures, for masked autoencoders. */
import { ArgumentError } from '../base/errors.ts';
import type { HostArray } from '../io/host-array.ts';
import type { LabelledBatch } from './loader.ts';
import { SampleRandom } from './random.ts';

/** Epochs of batches that can be entered anywhere. */
interface Batches {
  readonly length: number;
  epoch(epoch: number, options?: { startBatch?: number }): AsyncIterable<LabelledBatch>;
}

// Beyond the places that transforms and masked words take.
const MASKS = 0x6e0000;

/** Which patches of each picture are hidden: a function of (seed, epoch, sample). */
export class PatchMasking {
  readonly #patches: number;
  readonly #hidden: number;
  readonly #draw = new SampleRandom();

  /** @throws ArgumentError OPTION_INVALID for a ratio that hides none or all. */
  constructor(patches: number, ratio: number) {
    this.#patches = patches;
    this.#hidden = Math.round(ratio * patches);
    if (!(ratio > 0 && ratio < 1) || this.#hidden < 1 || this.#hidden >= patches)
      throw new ArgumentError('OPTION_INVALID', `maskRatio ${ratio} of ${patches} patches hides none or all`, {
        field: 'maskRatio',
        expected: 'a share between 0 and 1 that leaves and hides at least one patch',
        got: ratio,
      });
  }

  /** i32 rows among the N P patches: `kept` (N K), `hidden` (N M); `restore` (N P) says where each is among the kept, N K for hidden ones. */
  of(batch: LabelledBatch, seed: number): Record<'kept' | 'restore' | 'hidden', HostArray> {
    const [p, m, n] = [this.#patches, this.#hidden, batch.size];
    const k = p - m;
    const [kept, restore, hidden] = [new Int32Array(n * k), new Int32Array(n * p), new Int32Array(n * m)];
    const order = new Int32Array(p);
    for (let b = 0; b < n; b++) {
      for (let i = 0; i < p; i++) order[i] = i;
      this.#draw.start(seed, batch.epoch, batch.ids[b] as number, MASKS);
      // The first m places of a shuffle (Fisher and Yates) are hidden.
      for (let i = 0; i < m; i++) {
        const j = i + Math.floor(this.#draw.uniform() * (p - i));
        const drawn = order[j] as number;
        order[j] = order[i] as number;
        order[i] = drawn;
      }
      hidden.set(
        order
          .subarray(0, m)
          .toSorted()
          .map((at) => b * p + at),
        b * m,
      );
      restore.fill(n * k, b * p, (b + 1) * p);
      order
        .subarray(m)
        .toSorted()
        .forEach((at, i) => {
          kept[b * k + i] = b * p + at;
          restore[b * p + at] = b * k + i;
        });
    }
    const array = (data: Int32Array): HostArray => ({ dtype: 'i32', shape: [data.length], data });
    return { kept: array(kept), restore: array(restore), hidden: array(hidden) };
  }

  /** Every batch of `inner` with its masks. */
  over(inner: Batches, seed: number): Batches {
    const maskOf = (batch: LabelledBatch) => this.of(batch, seed);
    return {
      length: inner.length,
      epoch: async function* (epoch, options) {
        for await (const batch of inner.epoch(epoch, options)) yield { ...batch, ...maskOf(batch) };
      },
    };
  }
}
