/**
 * The random streams of this floor. One seed serves a whole run, so every user of it names a counter range of its own;
 * a number depends on (seed, purpose, epoch, sample, place) alone and never on who asked first.
 */
import { Philox, philox } from '../base/rng.ts';

/** Streams of Philox(seed, stream); far above the small numbers other floors count up from. */
export const streams = { order: 2 ** 50, split: 2 ** 51, bucket: 2 ** 51 + 2 ** 50 } as const;

/** The generator that shuffles epoch `epoch`. */
export const orderStream = (seed: number, epoch: number): Philox => new Philox(seed, streams.order + epoch);

/** The generator that shuffles the batches of epoch `epoch`, where samples are bucketed by length. */
export const bucketStream = (seed: number, epoch: number): Philox => new Philox(seed, streams.bucket + epoch);

// Second counter word: plain streams have only their block number's high half there, which stays near zero.
const SAMPLE = 0x5a000000;

/** Scalars for one sample. `start` renames it, so that one object serves a whole run without garbage. */
export class SampleRandom {
  readonly #block = new Uint32Array(4);
  readonly #counter = [0, 0, 0, 0];
  #key0 = 0;
  #key1 = 0;
  #next = 4;

  /** @param place which use within the sample (position of a transform, purpose); below 2^24. */
  start(seed: number, epoch: number, sample: number, place: number): this {
    this.#key0 = seed >>> 0;
    this.#key1 = Math.floor(seed / 2 ** 32) >>> 0;
    this.#counter[0] = 0;
    this.#counter[1] = SAMPLE + place;
    this.#counter[2] = sample;
    this.#counter[3] = epoch;
    this.#next = 4;
    return this;
  }

  u32(): number {
    if (this.#next === 4) {
      philox(this.#counter, this.#key0, this.#key1, this.#block);
      this.#counter[0] = (this.#counter[0] as number) + 1;
      this.#next = 0;
    }
    return this.#block[this.#next++] as number;
  }

  /** Uniform in [0, 1), 32 bits: plenty for a pose. */
  uniform(): number {
    return this.u32() * 2 ** -32;
  }

  between(low: number, high: number): number {
    return low + (high - low) * this.uniform();
  }

  /** Near normal: the sum of four uniforms, scaled to deviation 1 and bounded by 3.5; no logarithm, no cosine. */
  wobble(): number {
    return (this.uniform() + this.uniform() + this.uniform() + this.uniform() - 2) * Math.sqrt(3);
  }
}
