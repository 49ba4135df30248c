/** Weights and data both sides make for themselves: the hash of test/golden/scripts/ops.py, exact in 32-bit integers. */
import { sizeOf } from '../../src/base/index.ts';
import { type Tensor, tensor } from '../../src/tensor/index.ts';

export function values(count: number, seed: number, scale = 1, shift = 0): Float32Array {
  const out = new Float32Array(count);
  const start = Math.imul(seed, 40503);
  for (let i = 0; i < count; i++) {
    let x = (Math.imul(i, 2654435761 | 0) + start) >>> 0;
    x ^= x >>> 16;
    x = Math.imul(x, 2246822507 | 0) >>> 0;
    x ^= x >>> 13;
    x = Math.imul(x, 3266489909 | 0) >>> 0;
    x = (x ^ (x >>> 16)) >>> 0;
    out[i] = (x / 4294967296 - 0.5) * 2 * scale + shift;
  }
  return out;
}

/** A tensor of the formula. */
export function formula(shape: readonly number[], seed: number, scale = 1, shift = 0): Tensor {
  return tensor(values(sizeOf(shape), seed, scale, shift), { shape });
}
