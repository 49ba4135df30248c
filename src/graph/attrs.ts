/** What every primitive is called and told: attributes by op name, and the shape of a row of the total table (ops.ts). */
import type { DType, Shape } from '../base/index.ts';
import type { AttentionAttrs } from './rules/attention.ts';
import type { RecurrentAttrs } from './rules/recurrent.ts';

/** 'bf16': the float operands are rounded to bfloat16 (nearest even) before they are multiplied; sums stay in f32. */
export interface PrecisionAttrs {
  precision?: 'bf16' | undefined;
}

/** Window geometry of convolution and pooling; padding is [top, bottom, left, right]. */
export interface WindowAttrs {
  stride: readonly [number, number];
  padding: readonly [number, number, number, number];
  dilation: readonly [number, number];
}

export interface ConvAttrs extends WindowAttrs, PrecisionAttrs {
  groups: number;
  /** Activations are (N, H, W, C) instead of (N, C, H, W); set by the layout pass only. Weights never change. */
  channelsLast: boolean;
}

export interface PoolAttrs extends WindowAttrs {
  kernelSize: readonly [number, number];
  channelsLast: boolean;
}

export interface AvgPoolAttrs extends PoolAttrs {
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
  /** log(sum(exp(x))) over the last axis, kept as size 1; for rows too long to be fused. */
  logSumExp: NoAttrs;
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
  matmul: { transA: boolean; transB: boolean } & PrecisionAttrs;
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
  /** One direction of a recurrent layer over a whole sequence, its states in one value (rules/recurrent.ts). */
  recurrent: RecurrentAttrs;
  /** (states, recurrent weight, gradients of h and the last c) -> gradients of the gates and the initial state. */
  recurrentGrad: RecurrentAttrs;
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

export interface OpInfo<K extends OpName> {
  readonly kind: OpKind;
  /** Number of inputs; -1 is one or more. */
  readonly arity: number;
  readonly infer: (inputs: readonly Operand[], attrs: Attrs<K>) => Operand;
}

/** A row whose rule needs no attributes. */
export interface Row {
  readonly kind: OpKind;
  readonly arity: number;
  readonly infer: (inputs: readonly Operand[]) => Operand;
}
