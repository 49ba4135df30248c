/** Inputs shared with test/golden/scripts/parity.py (the same Philox streams), its answers, and how closely they must be met. */
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { fillUniform, Philox, type Shape, sizeOf, streamKey } from '../../src/base/index.ts';
import type { Module, StoredTensor } from '../../src/nn/index.ts';
import { type Tensor, tensor } from '../../src/tensor/index.ts';

const SEED = 20260301;

/** Float values of stream `stream` in [low, high), rounded once from double, as the script makes them. */
export function uniformData(stream: number, size: number, low: number, high: number): Float32Array {
  const u = new Float64Array(size);
  fillUniform(streamKey(SEED, stream), u);
  return Float32Array.from(u, (v) => v * (high - low) + low);
}
export const stream = (number: number, shape: Shape, low: number, high: number): Tensor =>
  tensor(uniformData(number, sizeOf(shape), low, high), { shape });

/** Words of the stream modulo `below`. */
export function integers(number: number, shape: Shape, below: number): Tensor {
  const words = new Philox(SEED, number);
  return tensor(
    Int32Array.from({ length: sizeOf(shape) }, () => words.u32() % below),
    { shape },
  );
}

/** As `initial` in the script: He uniform for what has more than one dimension, norms 1 and 0, biases 0. */
export function initialise(model: Module): void {
  const entries = [...model.stateDict()].map(([name, { shape, dtype, size }], i): [string, StoredTensor] => {
    const bound = Math.sqrt(6 / sizeOf(shape.slice(1)));
    if (shape.length > 1) return [name, { shape, dtype, data: uniformData(1000 + i, size, -bound, bound) }];
    if (dtype === 'i32') return [name, { shape, dtype, data: new Int32Array(size) }];
    const one = name.endsWith('running_var') || name.endsWith('.weight');
    return [name, { shape, dtype, data: new Float32Array(size).fill(one ? 1 : 0) }];
  });
  model.loadStateDict(new Map(entries));
}

/** A committed answer file. */
export function golden<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../golden/parity/${name}.json`, import.meta.url), 'utf8')) as T;
}

/** Every element within `tolerance` of the expected one, relative to it or to 1 where it is smaller. */
export function expectClose(
  got: ArrayLike<number>,
  expected: readonly number[],
  tolerance: number,
  what: string,
): void {
  expect(got.length, `${what}: number of elements`).toBe(expected.length);
  expected.forEach((value, i) => {
    const error = Math.abs((got[i] as number) - value) / Math.max(1, Math.abs(value));
    if (!(error <= tolerance))
      expect.fail(`${what}[${i}]: ${got[i]}, PyTorch ${value} (error ${error.toExponential(2)})`);
  });
}
