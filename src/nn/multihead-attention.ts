/** Multi-head attention with torch.nn.MultiheadAttention's parameters, masks and results. */
import { ArgumentError, DTypeError, formatShape, isFloat, type Shape, ShapeError } from '../base/index.ts';
import { type Tensor, type Variable, where, zeros } from '../tensor/index.ts';
import { linear } from './functional.ts';
import { xavierUniform } from './init.ts';
import { Linear } from './linear.ts';
import { Module } from './module.ts';
import { positive, probability } from './options.ts';
import { attend, type Prefixable } from './prefix.ts';

const op = 'multiheadAttention';

export interface MultiheadAttentionOptions {
  /** Probability of dropping an attention weight, in training. Default 0. */
  dropout?: number;
  /** Whether the projections have biases. Default true. */
  bias?: boolean;
  /** Inputs and output are (B, T, features) instead of (T, B, features). Default false. */
  batchFirst?: boolean;
  /** Features of keys and values; embedDim by default. */
  kdim?: number;
  vdim?: number;
}

/**
 * Which keys each query may look at. As in torch.nn's layers, a bool mask is true where looking is FORBIDDEN (the masks of
 * `scaledDotProductAttention` are the other way round); a float mask is added to the scores.
 */
export interface AttentionMasks {
  /** (B, Tk): keys that are padding. */
  keyPaddingMask?: Tensor | null;
  /** (Tq, Tk), or (B * numHeads, Tq, Tk) for one per head. */
  attnMask?: Tensor | null;
  /** Query i sees keys 0 .. i only, besides what the masks forbid. */
  causal?: boolean;
}

/**
 * concat(head_1 .. head_h) W_o + b_o with head_i = softmax(q_i k_i' / sqrt(d)) v_i over h slices of the projected features
 * (Vaswani et al. 2017). A query that may look at nothing attends to zeros, where torch gives NaN.
 */
export class MultiheadAttention extends Module implements Prefixable {
  readonly inProjWeight: Variable | undefined; // (3 * embedDim, embedDim): of query, key and value
  readonly qProjWeight: Variable | undefined; // (embedDim, embedDim); these three when kdim or vdim differ
  readonly kProjWeight: Variable | undefined; // (embedDim, kdim)
  readonly vProjWeight: Variable | undefined; // (embedDim, vdim)
  readonly inProjBias: Variable | undefined; // (3 * embedDim)
  readonly outProj: Linear;
  readonly embedDim: number;
  readonly numHeads: number;
  readonly kdim: number;
  readonly vdim: number;
  readonly dropout: number;
  readonly batchFirst: boolean;

  constructor(embedDim: number, numHeads: number, options: MultiheadAttentionOptions = {}) {
    super();
    const { dropout = 0, bias = true, batchFirst = false, kdim = embedDim, vdim = embedDim } = options;
    positive(op, 'embedDim', embedDim);
    positive(op, 'numHeads', numHeads);
    positive(op, 'kdim', kdim);
    positive(op, 'vdim', vdim);
    probability(op, 'dropout', dropout);
    if (embedDim % numHeads !== 0)
      throw new ArgumentError('HEADS_INVALID', `[${op}] numHeads ${numHeads} must divide embedDim ${embedDim}`, {
        op,
        field: 'numHeads',
        expected: `a divisor of ${embedDim}`,
        got: numHeads,
      });
    this.embedDim = embedDim;
    this.numHeads = numHeads;
    this.kdim = kdim;
    this.vdim = vdim;
    this.dropout = dropout;
    this.batchFirst = batchFirst;
    if (kdim === embedDim && vdim === embedDim)
      this.inProjWeight = this.parameter(xavierUniform([3 * embedDim, embedDim]));
    else {
      this.qProjWeight = this.parameter(xavierUniform([embedDim, embedDim]));
      this.kProjWeight = this.parameter(xavierUniform([embedDim, kdim]));
      this.vProjWeight = this.parameter(xavierUniform([embedDim, vdim]));
    }
    if (bias) this.inProjBias = this.parameter(zeros([3 * embedDim]));
    this.outProj = new Linear(embedDim, embedDim, { bias });
    this.outProj.bias?.initialize(zeros([embedDim]));
  }

  get headShape(): readonly [number, number] {
    return [this.numHeads, this.embedDim / this.numHeads];
  }
  override get drawsRandom(): boolean {
    return this.dropout > 0;
  }

  /**
   * query (Tq, B, embedDim), key (Tk, B, kdim), value (Tk, B, vdim) -> (Tq, B, embedDim), or batches first. Without key and
   * value: self-attention. Throws ShapeError or DTypeError for inputs or masks that do not fit.
   */
  forward(query: Tensor, key: Tensor = query, value: Tensor = key, masks: AttentionMasks = {}): Tensor {
    this.#check('query', query, this.embedDim);
    this.#check('key', key, this.kdim);
    this.#check('value', value, this.vdim);
    const [b, t] = this.batchFirst ? [0, 1] : [1, 0];
    const [batch, tq, tk] = [query.shape[b], query.shape[t], key.shape[t]] as [number, number, number];
    if (key.shape[b] !== batch || value.shape[b] !== batch || value.shape[t] !== tk)
      throw new ShapeError(
        'SHAPE_MISMATCH',
        `[${op}] query ${formatShape(query.shape)}, key ${formatShape(key.shape)} and value ${formatShape(value.shape)} ` +
          'must agree in the batch, and key and value in their steps',
        { op, expected: key.shape, got: value.shape },
      );
    const heads = this.#project(query, key, value).map((x) => {
      const [first, second] = x.shape as [number, number];
      const split = x.reshape(first, second, ...this.headShape); // (B, T, heads, d) or (T, B, heads, d)
      return this.batchFirst ? split.permute(0, 2, 1, 3) : split.permute(1, 2, 0, 3); // (B, heads, T, d)
    }) as [Tensor, Tensor, Tensor];
    const y = attend(this, ...heads, {
      mask: mergeMasks(masks, [batch, this.numHeads, tq, tk]),
      causal: masks.causal ?? false,
      dropout: this.training ? this.dropout : 0,
    });
    const joined = this.batchFirst ? y.permute(0, 2, 1, 3) : y.permute(2, 0, 1, 3);
    return this.outProj.forward(joined.reshape(query.shape));
  }

  /** Queries, keys and values of all heads side by side. Inputs that are the same tensor share one product. */
  #project(query: Tensor, key: Tensor, value: Tensor): Tensor[] {
    const [e, weight, bias] = [this.embedDim, this.inProjWeight, this.inProjBias];
    if (weight && query === key && key === value) {
      const all = linear(query, weight, bias);
      return [0, 1, 2].map((i) => all.slice(-1, i * e, (i + 1) * e));
    }
    const own = [this.qProjWeight, this.kProjWeight, this.vProjWeight];
    return [query, key, value].map((x, i) => {
      const rows = (all: Tensor): Tensor => all.slice(0, i * e, (i + 1) * e);
      return linear(x, weight ? rows(weight) : (own[i] as Variable), bias && rows(bias));
    });
  }

  #check(name: string, x: Tensor, features: number): void {
    if (x.rank === 3 && x.shape[2] === features) return;
    const layout = this.batchFirst ? 'B, T' : 'T, B';
    throw new ShapeError(
      x.rank === 3 ? 'FEATURES_MISMATCH' : 'SHAPE_RANK',
      `[${op}] ${name} is (${layout}, ${features}), got ${formatShape(x.shape)}`,
      { op, field: name, expected: `(${layout}, ${features})`, got: x.shape },
    );
  }

  override describe(): string {
    return `${this.embedDim}, ${this.numHeads} heads`;
  }
}

/** Both masks as one for `attention`, broadcastable to (B, heads, Tq, Tk), or null. */
function mergeMasks({ keyPaddingMask, attnMask }: AttentionMasks, scores: readonly number[]): Tensor | null {
  const [batch, heads, tq, tk] = scores as [number, number, number, number];
  const padding = keyPaddingMask && fitting('keyPaddingMask', keyPaddingMask, [[batch, tk]]).reshape(batch, 1, 1, tk);
  const perPair =
    attnMask &&
    fitting('attnMask', attnMask, [
      [tq, tk],
      [batch * heads, tq, tk],
    ]);
  const pairs = perPair && (perPair.rank === 2 ? perPair : perPair.reshape(batch, heads, tq, tk));
  if (padding && pairs) {
    if (padding.dtype === 'bool' && pairs.dtype === 'bool') return padding.or(pairs).not();
    return additive(padding).add(additive(pairs));
  }
  const one = padding || pairs;
  return one ? (one.dtype === 'bool' ? one.not() : one) : null;
}

const additive = (mask: Tensor): Tensor => (mask.dtype === 'bool' ? where(mask, -Infinity, 0) : mask);

function fitting(field: string, mask: Tensor, shapes: readonly Shape[]): Tensor {
  if (mask.dtype !== 'bool' && !isFloat(mask.dtype))
    throw new DTypeError('DTYPE_MASK', `[${op}] ${field} is bool or floating-point, got ${mask.dtype}`, {
      op,
      field,
      expected: 'bool or f32',
      got: mask.dtype,
      hint: 'mask.eq(0) forbids where a 0/1 mask holds 0',
    });
  if (!shapes.some((shape) => shape.join() === mask.shape.join()))
    throw new ShapeError(
      'SHAPE_MISMATCH',
      `[${op}] ${field} is ${shapes.map(formatShape).join(' or ')}, got ${formatShape(mask.shape)}`,
      { op, field, expected: shapes, got: mask.shape },
    );
  return mask;
}
