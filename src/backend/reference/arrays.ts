/** Values as the reference backend holds them: a typed array with a shape. */
import { type DType, type Shape, sizeOf, stridesOf, type TypedArray } from '../../base/index.ts';
import type { Attrs, OpName } from '../../graph/index.ts';

export interface Value {
  readonly data: TypedArray;
  readonly shape: Shape;
  readonly dtype: DType;
}

/** What an op's row computes: fills `out` from the inputs. */
export interface Call<K extends OpName> {
  readonly inputs: readonly Value[];
  readonly attrs: Attrs<K>;
  readonly shape: Shape;
  readonly dtype: DType;
  readonly out: TypedArray;
}
export type Evaluate<K extends OpName> = (call: Call<K>) => void;
/** A row that needs no attributes. */
export type PlainEvaluate = (call: Omit<Call<OpName>, 'attrs'>) => void;

export const value = (inputs: readonly Value[], i: number): Value => inputs[i] as Value;

/**
 * Calls `visit(from, to)` once for each row of `shape` (its elements along the last axis), in row-major order: `to` counts
 * elements, `from` walks `strides` from `offset`. A scalar is one row of one element.
 */
export function forEachRow(
  shape: Shape,
  strides: readonly number[],
  offset: number,
  visit: (from: number, to: number) => void,
): void {
  const total = sizeOf(shape);
  const run = shape.at(-1) ?? 1;
  const index = shape.map(() => 0);
  let from = offset;
  for (let to = 0; to < total; to += run) {
    visit(from, to);
    for (let axis = shape.length - 2; axis >= 0; axis--) {
      from += strides[axis] as number;
      index[axis] = (index[axis] as number) + 1;
      if ((index[axis] as number) < (shape[axis] as number)) break;
      from -= (strides[axis] as number) * (shape[axis] as number);
      index[axis] = 0;
    }
  }
}

/** Copies the strided elements of `from` over `out` in row-major order of `shape`. */
export function copyStrided(
  from: TypedArray,
  shape: Shape,
  strides: readonly number[],
  offset: number,
  out: TypedArray,
): void {
  const run = shape.at(-1) ?? 1;
  const step = strides.at(-1) ?? 0;
  forEachRow(shape, strides, offset, (first, to) => {
    for (let i = 0; i < run; i++) out[to + i] = from[first + i * step] as number;
  });
}

export const rowMajor = stridesOf;
