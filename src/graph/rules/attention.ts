/** Shape rules of scaled dot-product attention and its gradient; rows of the total table are in ops.ts. */
import {
  ArgumentError,
  DTypeError,
  formatShape,
  isFloat,
  type Shape,
  ShapeError,
  sameShape,
  sizeOf,
} from '../../base/index.ts';
import type { Operand } from '../attrs.ts';

/**
 * softmax(q k' scale + mask) v over [batch, step, head, feature] operands: as projections give them, so that heads need
 * no transposition. Inputs: q [B, Tq, H, D], k [B, Tk, H, D], v [B, Tk, H, Dv], then mask [B, H, Tq, Tk] (added to the
 * scores) if `masked`, then an i32[4] stream key if `dropout` > 0. A row whose every score is -Infinity gives 0.
 */
export interface AttentionAttrs {
  /** Factor of the scores, usually 1 / sqrt(D). */
  scale: number;
  /** Query i sees keys 0 .. i only, also where Tq and Tk differ (torch's `is_causal`). */
  causal: boolean;
  masked: boolean;
  /** Probability with which a weight becomes 0; the others are scaled by 1 / (1 - dropout). Drawn over [B, H, Tq, Tk]. */
  dropout: number;
}

export interface AttentionSizes {
  batch: number;
  heads: number;
  tq: number;
  tk: number;
  d: number;
  dv: number;
}

export function attentionSizes(inputs: readonly { readonly shape: Shape }[]): AttentionSizes {
  const [q, k, v] = inputs.map((x) => x.shape) as [Shape, Shape, Shape];
  const [batch, tq, heads, d] = q as [number, number, number, number];
  return { batch, heads, tq, tk: k[1] as number, d, dv: v[3] as number };
}

export function inferAttention(inputs: readonly Operand[], attrs: AttentionAttrs): Operand {
  const op = 'attention';
  const [q, k, v] = inputs as [Operand, Operand, Operand];
  for (const x of [q, k, v])
    if (x?.shape.length !== 4)
      throw new ShapeError('SHAPE_RANK', `[${op}] q, k and v have 4 dimensions, got ${formatShape(x?.shape ?? [])}`, {
        op,
        expected: 4,
        got: x?.shape,
      });
  for (const x of [q, k, v])
    if (!isFloat(x.dtype) || x.dtype !== q.dtype)
      throw new DTypeError('DTYPE_NOT_FLOAT', `[${op}] q, k and v share one floating-point dtype, got ${x.dtype}`, {
        op,
        expected: q.dtype,
        got: x.dtype,
        hint: "x.cast('f32')",
      });
  const { batch, heads, tq, tk, d, dv } = attentionSizes(inputs);
  const want = (x: Operand, expected: Shape, what: string): void => {
    if (!sameShape(x.shape, expected))
      throw new ShapeError(
        'SHAPE_MISMATCH',
        `[${op}] ${what} ${formatShape(x.shape)} should be ${formatShape(expected)}`,
        {
          op,
          expected,
          got: x.shape,
          hint: 'q (B, Tq, H, D), k (B, Tk, H, D), v (B, Tk, H, Dv)',
        },
      );
  };
  want(k, [batch, tk, heads, d], 'k');
  want(v, [batch, tk, heads, dv], 'v');
  if (attrs.masked) want(inputs[3] as Operand, [batch, heads, tq, tk], 'mask');
  if (!(attrs.dropout >= 0 && attrs.dropout < 1))
    throw new ArgumentError('PROBABILITY_INVALID', `[${op}] dropout must be in [0, 1), got ${attrs.dropout}`, {
      op,
      field: 'dropout',
      got: attrs.dropout,
    });
  return { shape: [batch, tq, heads, dv], dtype: q.dtype };
}

/**
 * Gradients of q, k and v as one value. Where the three have one shape it is [B, T, 3, H, D], the layout of a joint
 * projection; else they lie one after the other.
 */
export function inferAttentionGrad(inputs: readonly Operand[]): Operand {
  const [q, k, v] = inputs as [Operand, Operand, Operand];
  const { batch, heads, tq, d } = attentionSizes(inputs);
  const shape = isJoint(inputs) ? [batch, tq, 3, heads, d] : [sizeOf(q.shape) + sizeOf(k.shape) + sizeOf(v.shape)];
  return { shape, dtype: q.dtype };
}

/** Whether q, k and v have one shape. */
export const isJoint = (inputs: readonly { readonly shape: Shape }[]): boolean =>
  [1, 2].every((i) => sameShape((inputs[0] as Operand).shape, (inputs[i] as Operand).shape));
