/** Losses over a vocabulary take a path of their own: it must agree with the composition they are defined by. */
import { describe, expect, test } from 'vitest';
import { crossEntropy, logSoftmax, nllLoss } from '../../src/nn/index.ts';
import { tensor } from '../../src/tensor/index.ts';
import { formula } from './formula.ts';

const N = 6;
const C = 5003;
const target = tensor(new Int32Array([0, 5002, -100, 17, 4096, 2500]));

async function lossAndGrad(f: (x: ReturnType<typeof formula>) => ReturnType<typeof formula>) {
  const x = formula([N, C], 1, 6);
  x.requiresGrad = true;
  const loss = f(x);
  loss.sum().backward();
  return { loss: await loss.data(), grad: x.grad ? await x.grad.data() : [] };
}

describe('cross-entropy over 5003 classes', () => {
  test.each(['mean', 'sum', 'none'] as const)('%s: as logSoftmax and nllLoss', async (reduction) => {
    const want = await lossAndGrad((x) => nllLoss(logSoftmax(x), target, { reduction }));
    const got = await lossAndGrad((x) => crossEntropy(x, target, { reduction }));
    for (const [i, v] of want.loss.entries()) expect(got.loss[i]).toBeCloseTo(v, 4);
    for (const [i, v] of want.grad.entries())
      if (!(Math.abs((got.grad[i] as number) - v) <= 2e-6)) expect.fail(`gradient ${i}: ${got.grad[i]} against ${v}`);
  });

  test('label smoothing: as the mean over all classes', async () => {
    const options = { reduction: 'none' } as const;
    const want = await lossAndGrad((x) =>
      nllLoss(logSoftmax(x), target, options)
        .mul(0.9)
        .add(logSoftmax(x).mean(-1).mul(-0.1).mul(target.ne(-100))),
    );
    const got = await lossAndGrad((x) => crossEntropy(x, target, { ...options, labelSmoothing: 0.1 }));
    for (const [i, v] of want.loss.entries()) expect(got.loss[i]).toBeCloseTo(v, 4);
    for (const [i, v] of want.grad.entries())
      if (!(Math.abs((got.grad[i] as number) - v) <= 2e-6)) expect.fail(`gradient ${i}: ${got.grad[i]} against ${v}`);
  });

  test('a target outside the classes gives NaN', async () => {
    const { loss } = await lossAndGrad((x) =>
      crossEntropy(x, tensor(new Int32Array([0, 1, 2, C, -1, 3])), { reduction: 'none' }),
    );
    expect(Array.from(loss, Number.isNaN)).toEqual([false, false, false, true, true, false]);
  });
});

test('logSumExp of infinities and NaN', async () => {
  const inf = Infinity;
  const x = tensor([
    [1, -inf, -inf],
    [-inf, -inf, -inf],
    [0, inf, 1],
    [inf, Number.NaN, 0],
    [Number.NaN, -inf, -inf],
  ]);
  expect(Array.from(await x.logSumExp().data())).toEqual([1, -inf, inf, Number.NaN, Number.NaN]);
  expect(Array.from(await x.slice(1, 0, 1).logSumExp(0, { keepDims: true }).data())).toEqual([Number.NaN]);
});
