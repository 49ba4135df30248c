/** What tests against PyTorch's goldens share: nested lists as tensors, a net of two layers, nearly equal numbers. */
import { expect } from 'vitest';
import { Linear, Module } from '../../src/nn/index.ts';
import { type Tensor, tensor } from '../../src/tensor/index.ts';

export type Nested = number | Nested[];

export const flat = (x: Nested): number[] => (Array.isArray(x) ? x.flatMap(flat) : [x]);
const shapeOf = (x: Nested): number[] => (Array.isArray(x) ? [x.length, ...shapeOf(x[0] as Nested)] : []);
export const array = (x: Nested): Tensor => tensor(flat(x), { shape: shapeOf(x) });

export const near = (a: ArrayLike<number>, b: ArrayLike<number>, tolerance = 1e-5): void => {
  expect(a.length).toBe(b.length);
  for (let i = 0; i < a.length; i++) expect(Math.abs((a[i] as number) - (b[i] as number))).toBeLessThan(tolerance);
};

export class TwoLayers extends Module {
  readonly first = new Linear(5, 7);
  readonly head = new Linear(7, 3);
  forward(x: Tensor): Tensor {
    return this.head.forward(this.first.forward(x).relu());
  }
  /** The values a golden starts from. */
  start(values: Readonly<Record<string, Nested>>): void {
    for (const name of ['first', 'head'] as const)
      this[name].reset(array(values[`${name}.weight`] as Nested), array(values[`${name}.bias`] as Nested));
  }
}
