/**
 * The primitives of the graph: attributes of each op, and the rule that gives its result's shape and dtype.
 * A primitive is one row here and one row in every other total table (gradient, reference); the compiler
 * (tsc) names the tables that miss a row. Everything else users call is a composition of these.
 */
import {
  ArgumentError,
  type DType,
  DTypeError,
  formatShape,
  isFloat,
  type Shape,
  ShapeError,
  sameShape,
  sizeOf,
} from '../base/index.ts';
import { type AttentionAttrs, inferAttention, inferAttentionGrad } from './attention.ts';

/** Window geometry of convolution and pooling; padding is [top, bottom, left, right]. */
export interface WindowAttrs {
  stride: readonly [number, number];
  padding: readonly [number, number, number, number];
  dilation: readonly [number, number];
}

export interface ConvAttrs extends WindowAttrs {
  groups: number;
  /** Activations are (N, H, W, C) instead of (N, C, H, W); set by the layout pass only. Weights never change. */
  channelsLast: boolean;
}

export interface PoolAttrs extends WindowAttrs {
  kernelSize: readonly [number, number];
  channelsLast: boolean;
}

interface AvgPoolAttrs extends PoolAttrs {
  /** Padding zeros count in the divisor. */
  countIncludePad: boolean;
}

type NoAttrs = Record<never, never>;

/** Attributes of every primitive; the keys are the op names. */
export interface OpAttrs {
  // leaves
  /** Elements held by a Storage; the node carries it. */
  source: NoAttrs;
  constant: { value: number };
  /** Index along `axis`, i32. */
  iota: { axis: number };
  /** Uniform [0, 1) f32 of the stream named by the input key i32[4] (src/base/rng.ts). */
  random: NoAttrs;
  // elementwise
  neg: NoAttrs;
  abs: NoAttrs;
  sign: NoAttrs;
  exp: NoAttrs;
  log: NoAttrs;
  log1p: NoAttrs;
  expm1: NoAttrs;
  sqrt: NoAttrs;
  rsqrt: NoAttrs;
  reciprocal: NoAttrs;
  sin: NoAttrs;
  cos: NoAttrs;
  tanh: NoAttrs;
  sigmoid: NoAttrs;
  erf: NoAttrs;
  relu: NoAttrs;
  floor: NoAttrs;
  ceil: NoAttrs;
  round: NoAttrs;
  not: NoAttrs;
  cast: { dtype: DType };
  add: NoAttrs;
  sub: NoAttrs;
  mul: NoAttrs;
  div: NoAttrs;
  pow: NoAttrs;
  maximum: NoAttrs;
  minimum: NoAttrs;
  eq: NoAttrs;
  lt: NoAttrs;
  le: NoAttrs;
  and: NoAttrs;
  or: NoAttrs;
  where: NoAttrs;
  // reductions; the reduced axes stay as size 1
  sum: { axes: readonly number[] };
  max: { axes: readonly number[] };
  /** Index of the first maximum along `axis` (kept as size 1), i32; NaN wins. */
  argmax: { axis: number };
  // movement
  /** The same value, with no gradient. */
  detach: NoAttrs;
  reshape: { shape: Shape };
  permute: { axes: readonly number[] };
  /** Size-1 axes repeated to `shape`; same rank. */
  expand: { shape: Shape };
  /** Elements start, start + step, ... (count of them) per axis; negative steps flip. */
  slice: { start: readonly number[]; step: readonly number[]; count: readonly number[] };
  pad: { before: readonly number[]; after: readonly number[]; value: number };
  concat: { axis: number };
  // contraction
  /** (..., M, K) x (..., K, N); transA/transB read the last two axes swapped. Batch axes are equal. */
  matmul: { transA: boolean; transB: boolean };
  /** x (N, C, H, W), weight (O, C / groups, kh, kw). */
  conv2d: ConvAttrs;
  /** (gradient of y, weight) -> gradient of x with `size` = [H, W]. */
  conv2dInputGrad: ConvAttrs & { size: readonly [number, number] };
  /** (x, gradient of y) -> gradient of weight with `kernelSize`. */
  conv2dWeightGrad: ConvAttrs & { kernelSize: readonly [number, number] };
  maxPool2d: PoolAttrs;
  /** (x, gradient of y): goes to the first maximum of each window. */
  maxPool2dGrad: PoolAttrs;
  avgPool2d: AvgPoolAttrs;
  avgPool2dGrad: AvgPoolAttrs & { size: readonly [number, number] };
  adaptiveAvgPool2d: { size: readonly [number, number]; channelsLast: boolean };
  adaptiveAvgPool2dGrad: { size: readonly [number, number]; channelsLast: boolean };
  /** q, k, v, then mask if `masked`, then a stream key if `dropout` > 0 (graph/attention.ts). */
  attention: AttentionAttrs;
  /** q, k, v, the output, its gradient, then mask and key -> the gradients of q, k and v as one value. */
  attentionGrad: AttentionAttrs;
  // indexing
  /** torch.gather: y[..., j, ...] = x[..., index[..., j, ...], ...] along `axis`. */
  gather: { axis: number };
  /** zeros(shape) with y[..., index, ...] += src along `axis`. Inputs: index, src. */
  scatterAdd: { axis: number; size: number };
  /** table (V, D), index (...) -> (..., D). */
  embedding: NoAttrs;
  /** (index (...), gradient (..., D)) -> (rows, D). */
  embeddingGrad: { rows: number };
}

export type OpName = keyof OpAttrs;
export type Attrs<K extends OpName> = OpAttrs[K];

/** What a shape rule sees of an input. */
export interface Operand {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** How the passes may treat an op; they ask these properties, never for names. */
export type OpKind = 'leaf' | 'elementwise' | 'reduce' | 'movement' | 'heavy';

interface OpInfo<K extends OpName> {
  readonly kind: OpKind;
  /** Number of inputs; -1 is one or more. */
  readonly arity: number;
  readonly infer: (inputs: readonly Operand[], attrs: Attrs<K>) => Operand;
}

/** A row whose rule needs no attributes. */
interface Row {
  readonly kind: OpKind;
  readonly arity: number;
  readonly infer: (inputs: readonly Operand[]) => Operand;
}

const input = (inputs: readonly Operand[], i: number): Operand => inputs[i] as Operand;

function wantFloat(op: string, x: Operand): void {
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

function wantSame(op: string, inputs: readonly Operand[]): void {
  const first = input(inputs, 0);
  for (const x of inputs)
    if (!sameShape(x.shape, first.shape) || x.dtype !== first.dtype)
      throw new ShapeError(
        'SHAPE_MISMATCH',
        `[${op}] operands differ: ${first.dtype} ${formatShape(first.shape)} and ${x.dtype} ${formatShape(x.shape)}`,
        { op, expected: first.shape, got: x.shape },
      );
}

function wantRank(op: string, x: Operand, rank: number, what: string): void {
  if (x.shape.length !== rank)
    throw new ShapeError('SHAPE_RANK', `[${op}] ${what} must have ${rank} dimensions, got ${formatShape(x.shape)}`, {
      op,
      expected: rank,
      got: x.shape,
    });
}

function wantIndex(op: string, x: Operand): void {
  if (x.dtype !== 'i32')
    throw new DTypeError('DTYPE_NOT_INDEX', `[${op}] indices must be i32, got ${x.dtype}`, {
      op,
      expected: 'i32',
      got: x.dtype,
    });
}

const floatUnary = (op: OpName): Row => ({
  kind: 'elementwise',
  arity: 1,
  infer: (inputs) => {
    wantFloat(op, input(inputs, 0));
    return input(inputs, 0);
  },
});

const numberUnary: Row = {
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

const arithmetic = (op: OpName, floatOnly = false): Row => ({
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

const comparison = (op: OpName): Row => ({
  kind: 'elementwise',
  arity: 2,
  infer: (inputs) => {
    wantSame(op, inputs);
    return { shape: input(inputs, 0).shape, dtype: 'bool' };
  },
});

const logical = (op: OpName, arity: number): Row => ({
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

const reduction = (
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

/** Positions of [channels, height, width] in an activation. */
export const imageAxes = (channelsLast: boolean): { c: number; h: number; w: number } =>
  channelsLast ? { c: 3, h: 1, w: 2 } : { c: 1, h: 2, w: 3 };

/** A (N, C, H, W) shape in either layout. */
export function imageShape(n: number, c: number, h: number, w: number, channelsLast: boolean): number[] {
  return channelsLast ? [n, h, w, c] : [n, c, h, w];
}

/** Reads N, C, H, W of an activation in either layout. */
export function imageSizes(shape: Shape, channelsLast: boolean): { n: number; c: number; h: number; w: number } {
  const axes = imageAxes(channelsLast);
  return { n: shape[0] as number, c: shape[axes.c] as number, h: shape[axes.h] as number, w: shape[axes.w] as number };
}

/** Output size of a sliding window; ShapeError when the window does not fit. */
export function windowSize(op: string, size: number, kernel: number, a: WindowAttrs, dim: 0 | 1): number {
  const pad = a.padding[dim * 2] as number;
  const padEnd = a.padding[dim * 2 + 1] as number;
  const extent = a.dilation[dim] * (kernel - 1) + 1;
  const out = Math.floor((size + pad + padEnd - extent) / a.stride[dim]) + 1;
  if (out < 1)
    throw new ShapeError(
      'INPUT_TOO_SMALL',
      `[${op}] a window of ${extent} does not fit an input ${dim === 0 ? 'height' : 'width'} of ${size} with padding ${pad}+${padEnd}`,
      {
        op,
        expected: `at least ${extent - pad - padEnd}`,
        got: size,
        hint: 'pad or resize the input, or use fewer pooling layers',
      },
    );
  return out;
}

function checkWindow(op: string, a: WindowAttrs & { kernelSize?: readonly number[] }): void {
  const positive = [...a.stride, ...a.dilation, ...(a.kernelSize ?? [])];
  if (positive.some((v) => !Number.isInteger(v) || v < 1) || a.padding.some((v) => !Number.isInteger(v) || v < 0))
    throw new ArgumentError(
      'WINDOW_INVALID',
      `[${op}] kernel size, stride and dilation must be integers >= 1, padding integers >= 0`,
      {
        op,
        got: a,
      },
    );
}

function inferConv([x, w]: readonly Operand[], a: ConvAttrs): Operand {
  const op = 'conv2d';
  if (!x || !w) throw new ShapeError('SHAPE_RANK', '[conv2d] needs an input and a weight', { op });
  wantRank(op, x, 4, 'input (N, C, H, W)');
  wantRank(op, w, 4, 'weight (O, C / groups, kh, kw)');
  wantFloat(op, x);
  if (w.dtype !== x.dtype)
    wantSame(op, [
      { shape: [], dtype: x.dtype },
      { shape: [], dtype: w.dtype },
    ]);
  checkWindow(op, a);
  const { n, c, h, w: width } = imageSizes(x.shape, a.channelsLast);
  const [o, cg, kh, kw] = w.shape as [number, number, number, number];
  if (!Number.isInteger(a.groups) || a.groups < 1 || c % a.groups !== 0 || o % a.groups !== 0)
    throw new ShapeError(
      'GROUPS_INVALID',
      `[conv2d] groups ${a.groups} must divide input channels ${c} and output channels ${o}`,
      {
        op,
        got: a.groups,
      },
    );
  if (c / a.groups !== cg)
    throw new ShapeError(
      'CHANNELS_MISMATCH',
      `[conv2d] input ${formatShape(x.shape)} has ${c} channels, weight ${formatShape(w.shape)} takes ${cg * a.groups}`,
      {
        op,
        expected: cg * a.groups,
        got: c,
        hint: 'build the model with inChannels equal to the data, or convert the images',
      },
    );
  return {
    shape: imageShape(n, o, windowSize(op, h, kh, a, 0), windowSize(op, width, kw, a, 1), a.channelsLast),
    dtype: x.dtype,
  };
}

function inferPool(op: string, x: Operand, a: PoolAttrs): Operand {
  wantRank(op, x, 4, 'input (N, C, H, W)');
  wantFloat(op, x);
  checkWindow(op, a);
  for (const dim of [0, 1] as const)
    if (Math.max(a.padding[dim * 2] as number, a.padding[dim * 2 + 1] as number) * 2 > a.kernelSize[dim])
      throw new ArgumentError('PADDING_TOO_LARGE', `[${op}] padding must be at most half the kernel size`, {
        op,
        got: a.padding,
      });
  const { n, c, h, w } = imageSizes(x.shape, a.channelsLast);
  return {
    shape: imageShape(
      n,
      c,
      windowSize(op, h, a.kernelSize[0], a, 0),
      windowSize(op, w, a.kernelSize[1], a, 1),
      a.channelsLast,
    ),
    dtype: x.dtype,
  };
}

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
  where: {
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
  },
  sum: reduction('sum'),
  max: reduction('max'),
  argmax: {
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
  },
  detach: { kind: 'movement', arity: 1, infer: (inputs) => input(inputs, 0) },
  reshape: {
    kind: 'movement',
    arity: 1,
    infer: (inputs, { shape }) => {
      const x = input(inputs, 0);
      if (sizeOf(shape) !== sizeOf(x.shape))
        throw new ShapeError(
          'SHAPE_MISMATCH',
          `[reshape] ${formatShape(x.shape)} has ${sizeOf(x.shape)} elements, ${formatShape(shape)} has ${sizeOf(shape)}`,
          { op: 'reshape', expected: sizeOf(x.shape), got: shape },
        );
      return { shape, dtype: x.dtype };
    },
  },
  permute: {
    kind: 'movement',
    arity: 1,
    infer: (inputs, { axes }) => {
      const x = input(inputs, 0);
      return { shape: axes.map((a) => x.shape[a] as number), dtype: x.dtype };
    },
  },
  expand: {
    kind: 'movement',
    arity: 1,
    infer: (inputs, { shape }) => {
      const x = input(inputs, 0);
      if (x.shape.length !== shape.length || x.shape.some((d, i) => d !== 1 && d !== shape[i]))
        throw new ShapeError(
          'SHAPE_BROADCAST',
          `[expand] ${formatShape(x.shape)} cannot be repeated to ${formatShape(shape)}`,
          {
            op: 'expand',
            expected: shape,
            got: x.shape,
          },
        );
      return { shape, dtype: x.dtype };
    },
  },
  slice: {
    kind: 'movement',
    arity: 1,
    infer: (inputs, { start, step, count }) => {
      const x = input(inputs, 0);
      x.shape.forEach((d, i) => {
        const first = start[i] as number;
        const last = first + ((count[i] as number) - 1) * (step[i] as number);
        if ((count[i] as number) > 0 && (first < 0 || first >= d || last < 0 || last >= d))
          throw new ArgumentError(
            'SLICE_OUT_OF_RANGE',
            `[slice] ${first}..${last} is outside axis ${i} of ${formatShape(x.shape)}`,
            {
              op: 'slice',
            },
          );
      });
      return { shape: count, dtype: x.dtype };
    },
  },
  pad: {
    kind: 'movement',
    arity: 1,
    infer: (inputs, { before, after }) => {
      const x = input(inputs, 0);
      return { shape: x.shape.map((d, i) => d + (before[i] as number) + (after[i] as number)), dtype: x.dtype };
    },
  },
  concat: {
    kind: 'movement',
    arity: -1,
    infer: (inputs, { axis }) => {
      const first = input(inputs, 0);
      let total = 0;
      for (const x of inputs) {
        if (
          x.dtype !== first.dtype ||
          x.shape.length !== first.shape.length ||
          x.shape.some((d, i) => i !== axis && d !== first.shape[i])
        )
          throw new ShapeError(
            'SHAPE_MISMATCH',
            `[concat] ${first.dtype} ${formatShape(first.shape)} and ${x.dtype} ${formatShape(x.shape)} differ outside axis ${axis}`,
            { op: 'concat' },
          );
        total += x.shape[axis] as number;
      }
      return { shape: first.shape.map((d, i) => (i === axis ? total : d)), dtype: first.dtype };
    },
  },
  matmul: { kind: 'heavy', arity: 2, infer: inferMatmul },
  conv2d: { kind: 'heavy', arity: 2, infer: inferConv },
  conv2dInputGrad: {
    kind: 'heavy',
    arity: 2,
    infer: ([gy, w], a) => {
      const { n } = imageSizes((gy as Operand).shape, a.channelsLast);
      const c = ((w as Operand).shape[1] as number) * a.groups;
      return { shape: imageShape(n, c, a.size[0], a.size[1], a.channelsLast), dtype: (gy as Operand).dtype };
    },
  },
  conv2dWeightGrad: {
    kind: 'heavy',
    arity: 2,
    infer: ([x, gy], a) => {
      const c = imageSizes((x as Operand).shape, a.channelsLast).c;
      const o = imageSizes((gy as Operand).shape, a.channelsLast).c;
      return { shape: [o, c / a.groups, ...a.kernelSize], dtype: (gy as Operand).dtype };
    },
  },
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
  gather: {
    kind: 'heavy',
    arity: 2,
    infer: ([x, index], { axis }) => {
      const [a, i] = [x as Operand, index as Operand];
      wantIndex('gather', i);
      if (a.shape.length !== i.shape.length || a.shape.some((d, k) => k !== axis && d !== i.shape[k]))
        throw new ShapeError(
          'SHAPE_MISMATCH',
          `[gather] ${formatShape(a.shape)} and index ${formatShape(i.shape)} differ outside axis ${axis}`,
          {
            op: 'gather',
          },
        );
      return { shape: i.shape, dtype: a.dtype };
    },
  },
  scatterAdd: {
    kind: 'heavy',
    arity: 2,
    infer: ([index, src], { axis, size }) => {
      const [i, s] = [index as Operand, src as Operand];
      wantIndex('scatterAdd', i);
      wantFloat('scatterAdd', s);
      if (!sameShape(i.shape, s.shape))
        throw new ShapeError(
          'SHAPE_MISMATCH',
          `[scatterAdd] index ${formatShape(i.shape)} and source ${formatShape(s.shape)} differ`,
          {
            op: 'scatterAdd',
          },
        );
      return { shape: s.shape.map((d, k) => (k === axis ? size : d)), dtype: s.dtype };
    },
  },
  embedding: {
    kind: 'heavy',
    arity: 2,
    infer: ([table, index]) => {
      const [t, i] = [table as Operand, index as Operand];
      wantRank('embedding', t, 2, 'table (rows, width)');
      wantIndex('embedding', i);
      return { shape: [...i.shape, t.shape[1] as number], dtype: t.dtype };
    },
  },
  embeddingGrad: {
    kind: 'heavy',
    arity: 2,
    infer: ([, grad], { rows }) => {
      const g = grad as Operand;
      return { shape: [rows, g.shape.at(-1) as number], dtype: g.dtype };
    },
  },
};

function resized(x: Operand, a: { size: readonly [number, number]; channelsLast: boolean }): Operand {
  const { n, c } = imageSizes(x.shape, a.channelsLast);
  return { shape: imageShape(n, c, a.size[0], a.size[1], a.channelsLast), dtype: x.dtype };
}

function unreachable(op: string): never {
  throw new TypeError(`${op} is made with its own shape`);
}
