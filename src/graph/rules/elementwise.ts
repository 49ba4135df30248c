/** Shape and dtype rules of elementwise ops and reductions. */
import { DTypeError, formatShape, ShapeError, sameShape } from '../../base/index.ts';
import type { Operand, OpInfo, OpName, Row } from '../attrs.ts';
import { input, wantFloat, wantSame } from './checks.ts';

export const floatUnary = (op: OpName): Row => ({
  kind: 'elementwise',
  arity: 1,
  infer: (inputs) => {
    wantFloat(op, input(inputs, 0));
    return input(inputs, 0);
  },
});

export const numberUnary: Row = {
  kind: 'elementwise',
  arity: 1,
  infer: (inputs) => {
    const x = input(inputs, 0);
    if (x.dtype === 'bool' || x.dtype === 'u8')
      throw new DTypeError('DTYPE_NOT_NUMBER', `arithmetic needs f32 or i32, got ${x.dtype}`, {
        got: x.dtype,
        hint: "x.cast('f32')",
      });
    return x;
  },
};

export const arithmetic = (op: OpName, floatOnly = false): Row => ({
  kind: 'elementwise',
  arity: 2,
  infer: (inputs) => {
    wantSame(op, inputs);
    const x = input(inputs, 0);
    if (floatOnly) wantFloat(op, x);
    if (x.dtype === 'bool' || x.dtype === 'u8')
      throw new DTypeError('DTYPE_NOT_NUMBER', `[${op}] arithmetic needs f32 or i32, got ${x.dtype}`, {
        op,
        got: x.dtype,
        hint: "x.cast('f32')",
      });
    return x;
  },
});

export const comparison = (op: OpName): Row => ({
  kind: 'elementwise',
  arity: 2,
  infer: (inputs) => {
    wantSame(op, inputs);
    return { shape: input(inputs, 0).shape, dtype: 'bool' };
  },
});

export const logical = (op: OpName, arity: number): Row => ({
  kind: 'elementwise',
  arity,
  infer: (inputs) => {
    for (const x of inputs)
      if (x.dtype !== 'bool')
        throw new DTypeError('DTYPE_NOT_BOOL', `[${op}] needs bool, got ${x.dtype}`, {
          op,
          expected: 'bool',
          got: x.dtype,
        });
    wantSame(op, inputs);
    return input(inputs, 0);
  },
});

export const reduction = (
  op: OpName,
): { kind: 'reduce'; arity: 1; infer: (i: readonly Operand[], a: { axes: readonly number[] }) => Operand } => ({
  kind: 'reduce',
  arity: 1,
  infer: (inputs, { axes }) => {
    const x = input(inputs, 0);
    if (x.dtype === 'bool' || x.dtype === 'u8')
      throw new DTypeError('DTYPE_NOT_NUMBER', `[${op}] needs f32 or i32, got ${x.dtype}`, {
        op,
        got: x.dtype,
        hint: "x.cast('f32')",
      });
    return { shape: x.shape.map((d, i) => (axes.includes(i) ? 1 : d)), dtype: x.dtype };
  },
});

export const where: OpInfo<'where'> = {
  kind: 'elementwise',
  arity: 3,
  infer: (inputs) => {
    const c = input(inputs, 0);
    if (c.dtype !== 'bool')
      throw new DTypeError('DTYPE_NOT_BOOL', `[where] the condition must be bool, got ${c.dtype}`, {
        op: 'where',
        got: c.dtype,
      });
    wantSame('where', inputs.slice(1));
    if (!sameShape(c.shape, input(inputs, 1).shape))
      wantSame('where', [c, { shape: input(inputs, 1).shape, dtype: c.dtype }]);
    return input(inputs, 1);
  },
};

export const argmax: OpInfo<'argmax'> = {
  kind: 'heavy',
  arity: 1,
  infer: (inputs, { axis }) => {
    const x = input(inputs, 0);
    wantFloat('argmax', x);
    if (x.shape[axis] === 0)
      throw new ShapeError('REDUCE_EMPTY', `[argmax] axis ${axis} of ${formatShape(x.shape)} is empty`, {
        op: 'argmax',
      });
    return { shape: x.shape.map((d, i) => (i === axis ? 1 : d)), dtype: 'i32' };
  },
};

export const logSumExp: OpInfo<'logSumExp'> = {
  kind: 'heavy',
  arity: 1,
  infer: (inputs) => {
    const x = input(inputs, 0);
    wantFloat('logSumExp', x);
    if (x.shape.length === 0)
      throw new ShapeError('SHAPE_RANK', '[logSumExp] needs at least one dimension, got a scalar', {
        op: 'logSumExp',
        got: x.shape,
      });
    return { shape: [...x.shape.slice(0, -1), 1], dtype: x.dtype };
  },
};
