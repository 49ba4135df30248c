/**
 * Counter-based randomness: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
 * A stream is named, never advanced: element i of stream (seed, stream) is always the same number, on every
 * backend and thread count.
 */

const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;

// High 32 bits of an unsigned 32x32 product, without BigInt.
function mulHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const low = aLow * bLow;
  const mid1 = aHigh * bLow + (low >>> 16);
  const mid2 = aLow * bHigh + (mid1 & 0xffff);
  return (aHigh * bHigh + Math.floor(mid1 / 65536) + Math.floor(mid2 / 65536)) >>> 0;
}

/** Ten rounds of Philox on a 128-bit counter with a 64-bit key; writes four u32 into `out`. */
export function philox(counter: readonly number[], key0: number, key1: number, out: Uint32Array): void {
  let c0 = (counter[0] as number) >>> 0;
  let c1 = (counter[1] as number) >>> 0;
  let c2 = (counter[2] as number) >>> 0;
  let c3 = (counter[3] as number) >>> 0;
  let k0 = key0 >>> 0;
  let k1 = key1 >>> 0;
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(M0, c0);
    const low0 = Math.imul(M0, c0) >>> 0;
    const high1 = mulHigh(M1, c2);
    const low1 = Math.imul(M1, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + W0) >>> 0;
    k1 = (k1 + W1) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** The four words [seedLow, seedHigh, streamLow, streamHigh] that name a stream in a program input. */
export function streamKey(seed: number, stream: number): Int32Array {
  return new Int32Array([seed | 0, Math.floor(seed / 2 ** 32) | 0, stream | 0, Math.floor(stream / 2 ** 32) | 0]);
}

/** Element `index` of the u32 sequence named by `key`: word index & 3 of block index >> 2. */
export function fillUniform(key: Int32Array, out: Float32Array | Float64Array, start = 0): void {
  const block = new Uint32Array(4);
  const counter = [0, 0, key[2] as number, key[3] as number];
  let current = -1;
  for (let i = 0; i < out.length; i++) {
    const index = start + i;
    const quad = Math.floor(index / 4);
    if (quad !== current) {
      counter[0] = quad >>> 0;
      counter[1] = Math.floor(quad / 2 ** 32);
      philox(counter, key[0] as number, key[1] as number, block);
      current = quad;
    }
    // 24 bits: exactly representable in f32, in [0, 1).
    out[i] = ((block[index & 3] as number) >>> 8) * 2 ** -24;
  }
}

/** A seekable source of scalars for data order, augmentation and initialisation on the host. */
export class Philox {
  readonly #block = new Uint32Array(4);
  readonly #counter: number[];
  readonly #key: Int32Array;
  #next = 4;

  /** @param seed and `stream` are non-negative integers below 2^53 that name the sequence. */
  constructor(seed: number, stream = 0) {
    this.#key = streamKey(seed, stream);
    this.#counter = [0, 0, this.#key[2] as number, this.#key[3] as number];
  }

  /** Uniform 32-bit unsigned integer. */
  u32(): number {
    if (this.#next === 4) {
      philox(this.#counter, this.#key[0] as number, this.#key[1] as number, this.#block);
      this.#counter[0] = ((this.#counter[0] as number) + 1) >>> 0;
      if (this.#counter[0] === 0) this.#counter[1] = ((this.#counter[1] as number) + 1) >>> 0;
      this.#next = 0;
    }
    return this.#block[this.#next++] as number;
  }

  /** Uniform in [0, 1) with 53 bits. */
  uniform(): number {
    return ((this.u32() >>> 5) * 67108864 + (this.u32() >>> 6)) / 9007199254740992;
  }

  /** Uniform integer in [0, n), unbiased by rejection. */
  integer(n: number): number {
    const limit = Math.floor(4294967296 / n) * n;
    for (;;) {
      const value = this.u32();
      if (value < limit) return value % n;
    }
  }

  /** Standard normal (Box-Muller). */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /** Fisher-Yates in place. */
  shuffle<T extends { length: number; [index: number]: unknown }>(items: T): T {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      const swap = items[i];
      items[i] = items[j];
      items[j] = swap;
    }
    return items;
  }
}
