import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Shape, sizeOf, stridesOf } from '../base/index.ts';
import { breakpoints, dimsFrom, isContiguous, restride } from './view.ts';

/** Offsets of the elements in row-major order. */
function offsets(shape: Shape, strides: readonly number[]): number[] {
  let list = [0];
  shape.forEach((size, i) => {
    list = list.flatMap((o) => Array.from({ length: size }, (_, k) => o + k * (strides[i] as number)));
  });
  return list;
}

const view = fc
  .array(fc.record({ size: fc.integer({ min: 1, max: 4 }), keep: fc.boolean() }), { maxLength: 5 })
  .chain((dims) =>
    fc
      .shuffledSubarray(
        dims.map((_, i) => i),
        { minLength: dims.length },
      )
      .map((order) => {
        const full = stridesOf(dims.map((d) => d.size));
        return {
          shape: order.map((i) => (dims[i] as { size: number }).size),
          strides: order.map((i) => (dims[i]?.keep ? (full[i] as number) : 0)),
        };
      }),
  );

test('a view broken at its breakpoints walks the same elements', () => {
  fc.assert(
    fc.property(view, ({ shape, strides }) => {
      const dims = dimsFrom(sizeOf(shape), breakpoints(shape, strides));
      expect(dims).toBeDefined();
      const next = restride(shape, strides, dims as number[]);
      expect(next).toBeDefined();
      expect(offsets(dims as number[], next as number[])).toEqual(offsets(shape, strides));
    }),
  );
});

test('contiguous means one step after the other', () => {
  fc.assert(
    fc.property(view, ({ shape, strides }) => {
      const inOrder = offsets(shape, strides).every((o, i) => o === i);
      expect(isContiguous({ shape, strides })).toBe(inOrder);
    }),
  );
});

test('dimensions that do not nest have no loops', () => {
  expect(dimsFrom(12, [4, 6])).toBeUndefined();
  expect(dimsFrom(12, [3, 6])).toEqual([2, 2, 3]);
});
