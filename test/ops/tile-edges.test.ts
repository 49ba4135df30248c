/**
 * Sizes one below, at and one above every block of the native kernels, results and gradients against the reference backend
 * in double precision: products (6 rows, 32 and 64 columns, depth 128, tiles of 96 by 256, 64 rows to be skinny, 256 to be
 * few), Winograd's tiles of 2 and 4, blocks of attention (96 rows, depth 128), vectors of recurrent cells, pieces of
 * log-sum-exp (4096).
 */
import { afterEach, describe, expect, test } from 'vitest';
import type { Backend } from '../../src/backend/index.ts';
import { loadAddon } from '../../src/backend/native/addon.ts';
import { NativeBackend } from '../../src/backend/native/backend.ts';
import { Conv2d, GRU, LSTM } from '../../src/nn/index.ts';
import { attention, type Tensor, useBackend } from '../../src/tensor/index.ts';
import { oracle } from './backends.ts';
import { formula } from './formula.ts';

const found = loadAddon();
afterEach(() => useBackend(undefined));

const leaf = (shape: readonly number[], seed: number, scale = 1): Tensor => {
  const x = formula(shape, seed, scale);
  x.requiresGrad = true;
  return x;
};

/** The values of `build`'s result and of the gradients of all leaves. */
async function results(backend: Backend, build: () => { y: Tensor; leaves: Tensor[] }): Promise<ArrayLike<number>[]> {
  useBackend(backend);
  const { y, leaves } = build();
  y.backward(formula([...y.shape], 99));
  return Promise.all([y.data(), ...leaves.map((x) => (x.grad as Tensor).data())]);
}

/** Errors are of the largest value: sums cancel. */
async function compare(build: () => { y: Tensor; leaves: Tensor[] }, bound = 3e-6): Promise<void> {
  if (!('addon' in found)) return;
  const want = await results(oracle, build);
  const got = await results(new NativeBackend(found.addon), build);
  for (const [i, values] of want.entries()) {
    const size = Array.from(values).reduce((most, v) => Math.max(most, Math.abs(v)), 1e-30);
    const other = got[i] as ArrayLike<number>;
    expect(other.length).toBe(values.length);
    for (let k = 0; k < values.length; k++)
      if (!(Math.abs((other[k] as number) - (values[k] as number)) <= bound * size))
        expect.fail(`result ${i}, element ${k}: ${other[k]} against ${values[k]}, the largest ${size}`);
  }
}

const around = (...sizes: number[]): number[] => sizes.flatMap((n) => [n - 1, n, n + 1]);

describe.skipIf(!('addon' in found))('tile edges', () => {
  const product = (m: number, n: number, k: number) => () => {
    const leaves = [leaf([m, k], 1), leaf([k, n], 2)];
    return { y: (leaves[0] as Tensor).matmul(leaves[1] as Tensor), leaves };
  };
  test.each(around(6, 12, 64, 96, 192, 256))('product of %i rows', (m) => compare(product(m, 40, 130)));
  test.each(around(16, 32, 64, 128, 256, 512))('product of %i columns', (n) => compare(product(13, n, 40)));
  test.each(around(2, 16, 128, 256, 384))('product of depth %i', (k) => compare(product(70, 65, k)));
  test.each(around(64, 256))('%i rows, a large B', (m) => compare(product(m, 1025, 129)), 30_000);

  const image = (h: number, w: number, ic: number, oc: number) => () => {
    const conv = new Conv2d(ic, oc, 3, { padding: 1 });
    conv.loadStateDict(new Map([...conv.stateDict()].map(([k, v], i) => [k, formula([...v.shape], 20 + i, 0.5)])));
    const x = leaf([2, ic, h, w], 1);
    return { y: conv.forward(x), leaves: [x, ...conv.parameters()] };
  };
  test.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 16, 17])('3x3 convolution of %i pixels', (side) =>
    compare(image(side, Math.max(1, 14 - side), 18, 34), 1e-5),
  );
  test.each(around(16, 32, 64))('3x3 convolution of %i channels', async (channels) => {
    await compare(image(7, 9, channels, 33), 1e-5);
    await compare(image(9, 6, 17, channels), 1e-5);
  });

  const attended = (tq: number, tk: number, d: number, causal: boolean) => () => {
    const leaves = [leaf([1, 2, tq, d], 1, 2), leaf([1, 2, tk, d], 2, 2), leaf([1, 2, tk, d], 3)];
    return { y: attention(leaves[0] as Tensor, leaves[1] as Tensor, leaves[2] as Tensor, { causal }), leaves };
  };
  test.each(around(16, 32, 64, 96, 128, 192))('attention of %i steps', async (t) => {
    await compare(attended(t, t, 20, true), 1e-5);
    await compare(attended(t, 70, 20, false), 1e-5);
    await compare(attended(35, t, 20, false), 1e-5);
  });
  test.each(around(2, 16, 32, 64, 128))('attention of %i features', (d) => compare(attended(40, 41, d, true), 1e-5));

  test.each(around(16, 32, 48, 64))('LSTM and GRU %i wide', async (size) => {
    for (const Cell of [LSTM, GRU])
      for (const [batch, hidden] of [
        [size, 10],
        [5, size],
      ] as const)
        await compare(() => {
          const layer = new Cell(7, hidden);
          layer.loadStateDict(
            new Map([...layer.stateDict()].map(([k, v], i) => [k, formula([...v.shape], 20 + i, 0.4)])),
          );
          const x = leaf([3, batch, 7], 1);
          return { y: layer.forward(x), leaves: [x, ...layer.parameters()] };
        }, 1e-5);
  });

  test.each(around(16, 64, 4096, 8192))('logSumExp of %i', (count) =>
    compare(() => {
      const x = leaf([3, count], 1, 5);
      return { y: x.logSumExp(), leaves: [x] };
    }),
  );
});
