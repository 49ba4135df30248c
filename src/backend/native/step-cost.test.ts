import { expect, it } from 'vitest';
import type { NativeProgram, Step } from '../../compiler/index.ts';
import { stepBytes, stepClass, stepFlops } from './step-cost.ts';

const step = (kernel: string, attrs: Record<string, number>, more: Partial<Step> = {}): Step => ({
  kernel,
  name: kernel,
  in: [],
  out: [],
  attrs,
  ...more,
});
const program = (lengths: number[]): NativeProgram => ({ arenaBytes: 0, buffers: [], lengths, steps: [] });

it('counts products', () => {
  expect(stepFlops(step('gemm', { batch: 3, M: 4, N: 5, K: 6 }))).toBe(2 * 3 * 4 * 5 * 6);
  expect(stepFlops(step('recurrent', { cell: 1, steps: 7, batch: 2, hidden: 5 }))).toBe(2 * 7 * 2 * 3 * 25);
});

it('leaves out padding zeros of convolutions', () => {
  const same = { n: 2, ih: 4, iw: 4, ic: 3, oh: 4, ow: 4, oc: 5, kh: 3, kw: 3, groups: 1 };
  const conv = { ...same, strideH: 1, strideW: 1, padH: 1, padW: 1, dilH: 1, dilW: 1 };
  // Along an axis of 4 with a window of 3: 2 + 3 + 3 + 2 positions inside.
  for (const kernel of ['conv2d', 'conv2d-input-grad', 'conv2d-weight-grad'])
    expect(stepFlops(step(kernel, conv))).toBe(2 * 2 * 5 * 3 * 10 * 10);
});

it('leaves out what a causal mask hides', () => {
  const sizes = { batch: 2, heads: 3, tq: 4, tk: 4, d: 8, dv: 8 };
  expect(stepFlops(step('attention', { ...sizes, causal: 0 }))).toBe(2 * 6 * 16 * 16);
  expect(stepFlops(step('attention', { ...sizes, causal: 1 }))).toBe(2 * 6 * 10 * 16);
});

it('counts each value once', () => {
  expect(stepBytes(step('gemm', {}, { in: [0, 1], out: [2] }), program([100, 200, 400]))).toBe(700);
  expect(stepBytes(step('gemm', {}, { in: [0, 0], out: [1] }), program([100, 200]))).toBe(300);
  const operand = (buffer: number, strides: number[]) => ({ buffer, dtype: 'f32' as const, offset: 0, strides });
  const fused = {
    dims: [8, 4],
    cols: 0,
    // Whole; one row spread over all; a shifted view of the first.
    inputs: [operand(0, [4, 1]), operand(1, [0, 1]), operand(0, [4, 1])],
    outputs: [{ ...operand(2, [4, 1]), reg: 0 }],
    registers: [],
    code: [],
  };
  expect(stepBytes(step('fused', {}, { fused }), program([128, 16, 128]))).toBe(128 + 16 + 128);
});

it('names classes', () => {
  expect(
    ['gemm', 'conv2d-input-grad', 'recurrent-grad', 'fused', 'max-pool'].map((k) => stepClass(step(k, {}))),
  ).toEqual(['gemm', 'convolution', 'attention and recurrent', 'memory-bound', 'memory-bound']);
});
