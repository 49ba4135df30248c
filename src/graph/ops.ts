/**
 * The primitives of the graph, one row each: kind, number of inputs, and the rule (rules/) that gives its result's shape
 * and dtype. A primitive is one row here and one row in every other total table (gradient, reference); the compiler
 * (tsc) names the tables that miss a row. Everything else users call is a composition of these.
 */
import { DTypeError, formatShape, ShapeError, sameShape } from '../base/index.ts';
import type { Attrs, Operand, OpInfo, OpName } from './attrs.ts';
import { inferAttention, inferAttentionGrad } from './rules/attention.ts';
import { input, wantFloat, wantRank } from './rules/checks.ts';
import {
  argmax,
  arithmetic,
  comparison,
  floatUnary,
  logical,
  logSumExp,
  numberUnary,
  reduction,
  where,
} from './rules/elementwise.ts';
import { conv2dInputGrad, conv2dWeightGrad, inferConv, inferPool, resized } from './rules/image.ts';
import { embedding, embeddingGrad, gather, scatterAdd } from './rules/indexing.ts';
import { concat, expand, pad, permute, reshape, slice } from './rules/movement.ts';
import { inferRecurrent, inferRecurrentGrad } from './rules/recurrent.ts';

function inferMatmul([a, b]: readonly Operand[], { transA, transB }: Attrs<'matmul'>): Operand {
  const op = 'matmul';
  if (!a || !b || a.shape.length < 2 || a.shape.length !== b.shape.length)
    throw new ShapeError('SHAPE_RANK', '[matmul] operands must have equal rank of at least 2', {
      op,
      got: [a?.shape, b?.shape],
    });
  wantFloat(op, a);
  if (a.dtype !== b.dtype)
    throw new DTypeError('DTYPE_MISMATCH', `[matmul] dtypes differ: ${a.dtype} and ${b.dtype}`, { op });
  const r = a.shape.length;
  const m = a.shape[transA ? r - 1 : r - 2] as number;
  const k = a.shape[transA ? r - 2 : r - 1] as number;
  const k2 = b.shape[transB ? r - 1 : r - 2] as number;
  const n = b.shape[transB ? r - 2 : r - 1] as number;
  if (k !== k2 || !sameShape(a.shape.slice(0, -2), b.shape.slice(0, -2)))
    throw new ShapeError(
      'SHAPE_MISMATCH',
      `[matmul] inner dimensions differ: ${formatShape(a.shape)}${transA ? ' transposed' : ''} x ${formatShape(b.shape)}${transB ? ' transposed' : ''} (${k} against ${k2})`,
      { op, expected: k, got: k2 },
    );
  return { shape: [...a.shape.slice(0, -2), m, n], dtype: a.dtype };
}

/** The total table of primitives. */
export const ops: { readonly [K in OpName]: OpInfo<K> } = {
  source: { kind: 'leaf', arity: 0, infer: () => unreachable('source') },
  constant: { kind: 'leaf', arity: 0, infer: () => unreachable('constant') },
  iota: { kind: 'leaf', arity: 0, infer: () => unreachable('iota') },
  random: { kind: 'elementwise', arity: 1, infer: () => unreachable('random') },
  neg: numberUnary,
  abs: numberUnary,
  sign: numberUnary,
  exp: floatUnary('exp'),
  log: floatUnary('log'),
  log1p: floatUnary('log1p'),
  expm1: floatUnary('expm1'),
  sqrt: floatUnary('sqrt'),
  rsqrt: floatUnary('rsqrt'),
  reciprocal: floatUnary('reciprocal'),
  sin: floatUnary('sin'),
  cos: floatUnary('cos'),
  tanh: floatUnary('tanh'),
  sigmoid: floatUnary('sigmoid'),
  erf: floatUnary('erf'),
  relu: floatUnary('relu'),
  floor: floatUnary('floor'),
  ceil: floatUnary('ceil'),
  round: floatUnary('round'),
  not: logical('not', 1),
  cast: { kind: 'elementwise', arity: 1, infer: (inputs, { dtype }) => ({ shape: input(inputs, 0).shape, dtype }) },
  add: arithmetic('add'),
  sub: arithmetic('sub'),
  mul: arithmetic('mul'),
  div: arithmetic('div', true),
  pow: arithmetic('pow', true),
  maximum: arithmetic('maximum'),
  minimum: arithmetic('minimum'),
  eq: comparison('eq'),
  lt: comparison('lt'),
  le: comparison('le'),
  and: logical('and', 2),
  or: logical('or', 2),
  where,
  sum: reduction('sum'),
  max: reduction('max'),
  argmax,
  logSumExp,
  detach: { kind: 'movement', arity: 1, infer: (inputs) => input(inputs, 0) },
  reshape,
  permute,
  expand,
  slice,
  pad,
  concat,
  matmul: { kind: 'heavy', arity: 2, infer: inferMatmul },
  conv2d: { kind: 'heavy', arity: 2, infer: inferConv },
  conv2dInputGrad,
  conv2dWeightGrad,
  maxPool2d: { kind: 'heavy', arity: 1, infer: (inputs, a) => inferPool('maxPool2d', input(inputs, 0), a) },
  maxPool2dGrad: { kind: 'heavy', arity: 2, infer: (inputs) => input(inputs, 0) },
  avgPool2d: { kind: 'heavy', arity: 1, infer: (inputs, a) => inferPool('avgPool2d', input(inputs, 0), a) },
  avgPool2dGrad: { kind: 'heavy', arity: 1, infer: (inputs, a) => resized(input(inputs, 0), a) },
  adaptiveAvgPool2d: {
    kind: 'heavy',
    arity: 1,
    infer: (inputs, a) => {
      wantRank('adaptiveAvgPool2d', input(inputs, 0), 4, 'input (N, C, H, W)');
      wantFloat('adaptiveAvgPool2d', input(inputs, 0));
      return resized(input(inputs, 0), a);
    },
  },
  adaptiveAvgPool2dGrad: { kind: 'heavy', arity: 1, infer: (inputs, a) => resized(input(inputs, 0), a) },
  attention: { kind: 'heavy', arity: -1, infer: inferAttention },
  attentionGrad: { kind: 'heavy', arity: -1, infer: inferAttentionGrad },
  recurrent: { kind: 'heavy', arity: -1, infer: inferRecurrent },
  recurrentGrad: { kind: 'heavy', arity: -1, infer: inferRecurrentGrad },
  gather,
  scatterAdd,
  embedding,
  embeddingGrad,
};

function unreachable(op: string): never {
  throw new TypeError(`${op} is made with its own shape`);
}
