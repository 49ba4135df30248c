/** Scaled dot-product attention and its gradient, one row of scores at a time, in double. */
import { fillUniform, sizeOf, type TypedArray } from '../../base/index.ts';
import { type AttentionAttrs, attentionSizes, isJoint, type OpName } from '../../graph/index.ts';
import { type Call, type Evaluate, type Value, value } from './arrays.ts';

/** Visits every (batch, head, query): the keys it sees, their weights, and what dropout multiplies them by. */
function forEachQuery(
  { inputs, attrs }: Pick<Call<'attention'>, 'inputs' | 'attrs'>,
  rest: readonly Value[],
  visit: (b: number, h: number, i: number, keys: number, weights: Float64Array, kept: Float64Array) => void,
): void {
  const { batch, heads, tq, tk, d } = attentionSizes(inputs);
  const [q, k] = [value(inputs, 0).data, value(inputs, 1).data];
  const mask = attrs.masked ? value(rest, 0).data : undefined;
  const weights = new Float64Array(tk);
  const kept = new Float64Array(tk);
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let i = 0; i < tq; i++) {
        const keys = attrs.causal ? Math.min(tk, i + 1) : tk;
        const row = (b * heads + h) * tq + i;
        const from = ((b * tq + i) * heads + h) * d;
        let top = -Infinity;
        for (let j = 0; j < keys; j++) {
          const to = ((b * tk + j) * heads + h) * d;
          let score = 0;
          for (let c = 0; c < d; c++) score += (q[from + c] as number) * (k[to + c] as number);
          score = score * attrs.scale + (mask ? (mask[row * tk + j] as number) : 0);
          weights[j] = score;
          if (score > top) top = score;
        }
        if (top === -Infinity) top = 0;
        let total = 0;
        for (let j = 0; j < keys; j++) {
          const e = Math.exp((weights[j] as number) - top);
          weights[j] = e;
          total += e;
        }
        for (let j = 0; j < keys; j++) weights[j] = total === 0 ? 0 : (weights[j] as number) / total;
        dropped(attrs, rest, row * tk, kept.subarray(0, keys));
        visit(b, h, i, keys, weights, kept);
      }
}

/** 0 or 1 / (1 - p) for each weight of a row; element `start` + j of the stream decides. */
function dropped({ dropout }: AttentionAttrs, rest: readonly Value[], start: number, kept: Float64Array): void {
  if (dropout === 0) {
    kept.fill(1);
    return;
  }
  fillUniform((rest.at(-1) as Value).data as Int32Array, kept, start);
  const limit = Math.fround(dropout);
  for (let j = 0; j < kept.length; j++) kept[j] = (kept[j] as number) >= limit ? 1 / (1 - dropout) : 0;
}

const attention: Evaluate<'attention'> = ({ inputs, attrs, out }) => {
  const { heads, tq, tk, dv } = attentionSizes(inputs);
  const v = value(inputs, 2).data;
  const sums = new Float64Array(dv);
  forEachQuery({ inputs, attrs }, inputs.slice(3), (b, h, i, keys, weights, kept) => {
    sums.fill(0);
    for (let j = 0; j < keys; j++) {
      const w = (weights[j] as number) * (kept[j] as number);
      const from = ((b * tk + j) * heads + h) * dv;
      for (let c = 0; c < dv; c++) (sums[c] as number) += w * (v[from + c] as number);
    }
    out.set(sums, ((b * tq + i) * heads + h) * dv);
  });
};

const attentionGrad: Evaluate<'attentionGrad'> = ({ inputs, attrs, out }) => {
  const { heads, tq, tk, d, dv } = attentionSizes(inputs);
  const [q, k, v, y, g] = inputs.map((x) => x.data) as [TypedArray, TypedArray, TypedArray, TypedArray, TypedArray];
  const parts = inputs.slice(0, 3).map((x) => new Float64Array(sizeOf(x.shape))) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const [gq, gk, gv] = parts;
  const slopes = new Float64Array(tk);
  forEachQuery({ inputs, attrs }, inputs.slice(5), (b, h, i, keys, weights, kept) => {
    const query = (b * tq + i) * heads + h;
    let mean = 0; // of the slopes, weighted
    for (let c = 0; c < dv; c++) mean += (g[query * dv + c] as number) * (y[query * dv + c] as number);
    for (let j = 0; j < keys; j++) {
      const key = (b * tk + j) * heads + h;
      const factor = kept[j] as number;
      let slope = 0;
      for (let c = 0; c < dv; c++) {
        slope += (g[query * dv + c] as number) * (v[key * dv + c] as number);
        (gv[key * dv + c] as number) += (weights[j] as number) * factor * (g[query * dv + c] as number);
      }
      slopes[j] = slope * factor;
    }
    for (let j = 0; j < keys; j++) {
      const key = (b * tk + j) * heads + h;
      const ds = (weights[j] as number) * ((slopes[j] as number) - mean) * attrs.scale;
      for (let c = 0; c < d; c++) {
        (gq[query * d + c] as number) += ds * (k[key * d + c] as number);
        (gk[key * d + c] as number) += ds * (q[query * d + c] as number);
      }
    }
  });
  if (!isJoint(inputs)) {
    let start = 0;
    for (const part of parts) {
      out.set(part, start);
      start += part.length;
    }
    return;
  }
  const width = heads * d;
  parts.forEach((part, which) => {
    for (let at = 0, row = 0; at < part.length; at += width, row++)
      out.set(part.subarray(at, at + width), (row * 3 + which) * width);
  });
};

export const attentions = { attention, attentionGrad } satisfies { [K in OpName]?: Evaluate<K> };
