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
 * Calls `visit(from, to)` for each element of `shape` in row-major order: `to` counts up, `from` walks `strides` from `offset`.
 */
export function walk(
  shape: Shape,
  strides: readonly number[],
  offset: number,
  visit: (from: number, to: number) => void,
): void {
  const total = sizeOf(shape);
  const rank = shape.length;
  const index = new Array<number>(rank).fill(0);
  let from = offset;
  for (let to = 0; to < total; to++) {
    visit(from, to);
    for (let axis = rank - 1; axis >= 0; axis--) {
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
  walk(shape, strides, offset, (i, j) => {
    out[j] = from[i] as number;
  });
}

export const rowMajor = stridesOf;
