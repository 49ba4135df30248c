/** Shapes as plain arrays of non-negative integers, row-major; broadcasting and axes as in NumPy. */
import { ArgumentError, ShapeError } from './errors.ts';

export type Shape = readonly number[];

/** Number of elements; 1 for a scalar. */
export const sizeOf = (shape: Shape): number => {
  let n = 1;
  for (const d of shape) n *= d;
  return n;
};

export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((d, i) => d === b[i]);

export const formatShape = (shape: Shape): string => `(${shape.join(', ')}${shape.length === 1 ? ',' : ''})`;

/** Row-major strides in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let n = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = n;
    n *= shape[i] as number;
  }
  return strides;
}

/** Largest number of elements of one tensor: what a typed array can index. */
export const MAX_ELEMENTS = 2 ** 32 - 1;

/** Throws ShapeError unless every dimension is a non-negative integer and the product can be indexed. */
export function checkShape(shape: Shape, op: string): void {
  for (const d of shape)
    if (!Number.isInteger(d) || d < 0)
      throw new ShapeError(
        'SHAPE_INVALID',
        `[${op}] dimensions must be non-negative integers, got ${formatShape(shape)}`,
        {
          op,
          got: shape,
        },
      );
  if (!(sizeOf(shape) <= MAX_ELEMENTS))
    throw new ShapeError('SHAPE_TOO_LARGE', `[${op}] ${formatShape(shape)} has more than ${MAX_ELEMENTS} elements`, {
      op,
      got: shape,
    });
}

/** The shape both broadcast to (NumPy rules). Throws ShapeError naming both. */
export function broadcastShapes(a: Shape, b: Shape, op: string): number[] {
  const rank = Math.max(a.length, b.length);
  const out = new Array<number>(rank);
  for (let i = 0; i < rank; i++) {
    const da = a[a.length - rank + i] ?? 1;
    const db = b[b.length - rank + i] ?? 1;
    if (da !== db && da !== 1 && db !== 1)
      throw new ShapeError(
        'SHAPE_BROADCAST',
        `[${op}] shapes ${formatShape(a)} and ${formatShape(b)} do not broadcast: ${da} against ${db} in dimension ${i - rank}`,
        { op, expected: a, got: b, hint: 'dimensions must be equal, or one of them 1' },
      );
    out[i] = da === 1 ? db : da;
  }
  return out;
}

/** Resolves a possibly negative axis. Throws ArgumentError when outside. */
export function normalizeAxis(axis: number, rank: number, op: string): number {
  if (!Number.isInteger(axis) || axis < -rank || axis >= rank)
    throw new ArgumentError('AXIS_INVALID', `[${op}] axis ${axis} is outside a tensor of rank ${rank}`, {
      op,
      expected: `-${rank} <= axis < ${rank}`,
      got: axis,
    });
  return axis < 0 ? axis + rank : axis;
}

/** Sorted unique axes; undefined means all. */
export function normalizeAxes(axes: number | readonly number[] | undefined, rank: number, op: string): number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, i) => i);
  const list = (typeof axes === 'number' ? [axes] : [...axes]).map((a) => normalizeAxis(a, rank, op));
  if (new Set(list).size !== list.length)
    throw new ArgumentError('AXIS_DUPLICATE', `[${op}] an axis is named twice in ${JSON.stringify(axes)}`, {
      op,
      got: axes,
    });
  return list.sort((a, b) => a - b);
}
