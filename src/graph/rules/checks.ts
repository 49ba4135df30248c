/** What shape rules ask of their inputs. */
import { DTypeError, formatShape, isFloat, ShapeError, sameShape } from '../../base/index.ts';
import type { Operand } from '../attrs.ts';

/** Input `i`; the table checked the arity. */
export const input = (inputs: readonly Operand[], i: number): Operand => inputs[i] as Operand;

export function wantFloat(op: string, x: Operand): void {
  if (!isFloat(x.dtype))
    throw new DTypeError(
      'DTYPE_NOT_FLOAT',
      `[${op}] needs a floating-point tensor, got ${x.dtype} ${formatShape(x.shape)}`,
      {
        op,
        expected: 'f32 or f64',
        got: x.dtype,
        hint: "convert it first: x.cast('f32')",
      },
    );
}

export function wantSame(op: string, inputs: readonly Operand[]): void {
  const first = input(inputs, 0);
  for (const x of inputs)
    if (!sameShape(x.shape, first.shape) || x.dtype !== first.dtype)
      throw new ShapeError(
        'SHAPE_MISMATCH',
        `[${op}] operands differ: ${first.dtype} ${formatShape(first.shape)} and ${x.dtype} ${formatShape(x.shape)}`,
        { op, expected: first.shape, got: x.shape },
      );
}

export function wantRank(op: string, x: Operand, rank: number, what: string): void {
  if (x.shape.length !== rank)
    throw new ShapeError('SHAPE_RANK', `[${op}] ${what} must have ${rank} dimensions, got ${formatShape(x.shape)}`, {
      op,
      expected: rank,
      got: x.shape,
    });
}

export function wantIndex(op: string, x: Operand): void {
  if (x.dtype !== 'i32')
    throw new DTypeError('DTYPE_NOT_INDEX', `[${op}] indices must be i32, got ${x.dtype}`, {
      op,
      expected: 'i32',
      got: x.dtype,
    });
}
