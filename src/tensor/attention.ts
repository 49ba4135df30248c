/** Scaled dot-product attention as one op: no (Tq, Tk) matrix is kept, forward or backward. */
import {
  ArgumentError,
  broadcastShapes,
  DTypeError,
  formatShape,
  isFloat,
  type Shape,
  ShapeError,
  sizeOf,
  streamKey,
} from '../base/index.ts';
import * as build from '../graph/build.ts';
import { constantNode, makeNode, type Node, Storage, sourceNode } from '../graph/index.ts';
import { generator } from './creation.ts';
import { Tensor } from './tensor.ts';

export interface AttentionOptions {
  /** Broadcast to (..., Tq, Tk). bool: true where a query may look at a key; float: added to the scores. */
  mask?: Tensor | null;
  /** Query i sees keys 0 .. i only. */
  causal?: boolean;
  /** Probability with which a weight becomes 0; the others are scaled by 1 / (1 - dropout). Default 0. */
  dropout?: number;
  /** Default 1 / sqrt(D). */
  scale?: number;
}

/**
 * softmax(q k' scale + mask) v (Vaswani et al. 2017) with torch's rules. q (..., Tq, D), k (..., Tk, D), v (..., Tk, Dv)
 * -> (..., Tq, Dv); leading axes broadcast. A query that may look at nothing gives 0.
 *
 * The next draw of the global stream decides what dropout takes, and backward draws it again. Throws ShapeError,
 * DTypeError or ArgumentError for operands that do not fit.
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor {
  const op = 'attention';
  const { mask, causal = false, dropout = 0 } = options;
  for (const x of [q, k, v])
    if (x.rank < 2)
      throw new ShapeError('SHAPE_RANK', `[${op}] q, k and v end in (steps, features), got ${formatShape(x.shape)}`, {
        op,
        got: x.shape,
      });
  const d = q.shape.at(-1) as number;
  const { scale = 1 / Math.sqrt(Math.max(1, d)) } = options;
  if (!(dropout >= 0 && dropout <= 1))
    throw new ArgumentError('PROBABILITY_INVALID', `[${op}] dropout must be in [0, 1], got ${dropout}`, {
      op,
      field: 'dropout',
      got: dropout,
    });
  if (!Number.isFinite(scale))
    throw new ArgumentError('OPTION_INVALID', `[${op}] scale must be finite, got ${scale}`, {
      op,
      field: 'scale',
      got: scale,
    });
  // The scores of everything dropped are multiplied by 0, not by 1 / (1 - 1).
  if (dropout === 1) return attention(q, k, v, { ...options, dropout: 0 }).mul(0);

  const lead = [k, v].reduce((s, x) => broadcastShapes(s, x.shape.slice(0, -2), op), q.shape.slice(0, -2));
  const heads = lead.at(-1) ?? 1;
  const batch = sizeOf(lead.slice(0, -1));
  const fold = (x: Node, inner: Shape): Node =>
    build.reshape(build.broadcastTo(x, [...lead, ...inner]), [batch, heads, ...inner]);
  // [batch, step, head, feature], where projections put them: for those the transpositions cancel.
  const stepsFirst = (x: Tensor): Node => build.permute(fold(x.node, x.shape.slice(-2)), [0, 2, 1, 3]);
  const inputs = [stepsFirst(q), stepsFirst(k), stepsFirst(v)];
  const [tq, tk] = [q.shape.at(-2) as number, k.shape.at(-2) as number];
  if (mask) {
    const added = additive(op, mask);
    if (broadcastShapes(added.shape, [...lead, tq, tk], op).join() !== [...lead, tq, tk].join())
      throw new ShapeError(
        'SHAPE_BROADCAST',
        `[${op}] the mask ${formatShape(mask.shape)} does not broadcast to ${formatShape([...lead, tq, tk])}`,
        { op, expected: [...lead, tq, tk], got: mask.shape },
      );
    inputs.push(fold(added, [tq, tk]));
  }
  if (dropout > 0) inputs.push(sourceNode(new Storage('i32', 4, streamKey(generator.seed, generator.stream++)), [4]));
  const y = makeNode('attention', inputs, { scale, causal, masked: Boolean(mask), dropout });
  return new Tensor(build.reshape(build.permute(y, [0, 2, 1, 3]), [...lead, tq, v.shape.at(-1) as number]));
}

function additive(op: string, mask: Tensor): Node {
  if (isFloat(mask.dtype)) return mask.node;
  if (mask.dtype !== 'bool')
    throw new DTypeError('DTYPE_MASK', `[${op}] a mask is bool or floating-point, got ${mask.dtype}`, {
      op,
      expected: 'bool or f32',
      got: mask.dtype,
      hint: 'mask.ne(0)',
    });
  const value = (x: number): Node => constantNode(x, mask.shape, 'f32');
  return build.where(mask.node, value(0), value(-Infinity));
}
