/** The autocast scope: what it marks, what it leaves alone, and what gradients inherit. */
import { describe, expect, test } from 'vitest';
import { toBf16 } from '../../src/backend/reference/bf16.ts';
import { type Node, topologicalOrder } from '../../src/graph/index.ts';
import { linear } from '../../src/nn/functional.ts';
import { autocast, type Tensor, Variable, zeros } from '../../src/tensor/index.ts';
import { formula } from './formula.ts';

const contractions = (roots: readonly Tensor[]): Node[] =>
  topologicalOrder(roots.map((t) => t.node)).filter((n) => ['matmul', 'conv2d'].includes(n.op) || /^conv2d/.test(n.op));
const precisionOf = (node: Node): unknown => (node.attrs as { precision?: string }).precision;

describe('toBf16', () => {
  test.each([
    [1, 1],
    [1 + 2 ** -8, 1], // half way: to even
    [1 + 3 * 2 ** -8, 1 + 2 ** -6],
    [-(1 + 2 ** -8 + 2 ** -20), -(1 + 2 ** -7)],
    [3.4e38, Number.POSITIVE_INFINITY],
    [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY],
    [1e-40, 0],
    [Number.NaN, Number.NaN],
  ])('%d -> %d', (x, want) => expect(toBf16(x)).toBe(want));
});

describe('autocast', () => {
  test('marks products and their gradients, not small ones', () => {
    const x = zeros([64, 48]);
    const w = new Variable(formula([40, 48], 1), { requiresGrad: true });
    const y = autocast('bf16', () => linear(x, w));
    y.sum().backward();
    const nodes = contractions([y, w.grad as Tensor]);
    expect(nodes.length).toBeGreaterThanOrEqual(2);
    expect(nodes.map(precisionOf)).toEqual(nodes.map(() => 'bf16'));
    expect(contractions([autocast('bf16', () => linear(zeros([16, 48]), w))]).map(precisionOf)).toEqual([undefined]);
    expect(contractions([linear(x, w)]).map(precisionOf)).toEqual([undefined]);
  });

  test('nests, and ends with an exception', () => {
    const product = (): unknown => precisionOf(contractions([zeros([32, 32]).matmul(zeros([32, 32]))])[0] as Node);
    expect(autocast('bf16', () => [product(), autocast('fp32', product), product()])).toEqual([
      'bf16',
      undefined,
      'bf16',
    ]);
    expect(() =>
      autocast('bf16', () => {
        throw new Error('mine');
      }),
    ).toThrow('mine');
    expect(product()).toBeUndefined();
  });

  test('refuses what it does not know', () => {
    expect(() => autocast('fp16' as 'bf16', () => 1)).toThrow(expect.objectContaining({ code: 'BAD_PRECISION' }));
    expect(() => autocast('bf16', async () => 1)).toThrow(expect.objectContaining({ code: 'ASYNC_SCOPE' }));
  });

  test('rounds operands once and sums in f32', async () => {
    const [a, b] = [formula([33, 70], 1), formula([70, 41], 2)];
    const got = await autocast('bf16', () => a.matmul(b)).data();
    const [x, y] = [await a.data(), await b.data()];
    for (let i = 0; i < 33; i++)
      for (let j = 0; j < 41; j++) {
        let want = 0;
        for (let k = 0; k < 70; k++) want += toBf16(x[i * 70 + k] as number) * toBf16(y[k * 41 + j] as number);
        expect(Math.abs((got[i * 41 + j] as number) - want)).toBeLessThan(1e-5);
      }
  });
});
