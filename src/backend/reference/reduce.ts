/** Reductions, accumulated in double. */
import { sizeOf, type TypedArray } from '../../base/index.ts';
import { type Call, type Evaluate, forEachRow, type PlainEvaluate, rowMajor, value } from './arrays.ts';

/** Takes `run` elements of `data` in: into results[to] when `along` is 0, else into as many results side by side. */
type Row = (results: Float64Array, to: number, along: number, data: TypedArray, from: number, run: number) => void;

function reduce({ inputs, attrs: { axes }, shape, dtype, out }: Call<'sum' | 'max'>, start: number, row: Row): void {
  const x = value(inputs, 0);
  const kept = rowMajor(shape).map((s, i) => (axes.includes(i) ? 0 : s));
  const results = new Float64Array(sizeOf(shape)).fill(start);
  const run = x.shape.at(-1) ?? 1;
  const along = kept.at(-1) ?? 0;
  forEachRow(x.shape, kept, 0, (to, from) => row(results, to, along, x.data, from, run));
  // Whole numbers wrap, as each addition of i32 would.
  for (let i = 0; i < out.length; i++) out[i] = dtype === 'i32' ? (results[i] as number) | 0 : (results[i] as number);
}

const sumRow: Row = (results, to, along, data, from, run) => {
  if (along === 0) {
    let total = results[to] as number;
    for (let i = 0; i < run; i++) total += data[from + i] as number;
    results[to] = total;
  } else for (let i = 0; i < run; i++) (results[to + i] as number) += data[from + i] as number;
};

const maxRow: Row = (results, to, along, data, from, run) => {
  if (along === 0) {
    let most = results[to] as number;
    for (let i = 0; i < run; i++) most = Math.max(most, data[from + i] as number);
    results[to] = most;
  } else for (let i = 0; i < run; i++) results[to + i] = Math.max(results[to + i] as number, data[from + i] as number);
};

const sum: Evaluate<'sum'> = (call) => reduce(call, 0, sumRow);
const max: Evaluate<'max'> = (call) => reduce(call, Number.NEGATIVE_INFINITY, maxRow);

const argmax: Evaluate<'argmax'> = ({ inputs, attrs: { axis }, shape, out }) => {
  const x = value(inputs, 0);
  const inner = sizeOf(shape.slice(axis + 1));
  const count = x.shape[axis] as number;
  for (let i = 0; i < out.length; i++) {
    const base = Math.floor(i / inner) * count * inner + (i % inner);
    let best = 0;
    for (let k = 1; k < count; k++) {
      const [now, then] = [x.data[base + k * inner] as number, x.data[base + best * inner] as number];
      if (now > then || (Number.isNaN(now) && !Number.isNaN(then))) best = k;
    }
    out[i] = best;
  }
};

const logSumExp: PlainEvaluate = ({ inputs, out }) => {
  const { data, shape } = value(inputs, 0);
  const count = shape.at(-1) as number;
  for (let i = 0; i < out.length; i++) {
    const row = data.subarray(i * count, (i + 1) * count);
    let top = Number.NEGATIVE_INFINITY;
    for (const v of row) top = Math.max(top, v);
    let total = 0;
    for (const v of row) total += Math.exp(v - top);
    out[i] = Number.isFinite(top) ? top + Math.log(total) : top;
  }
};

export const reductions = { sum, max, argmax, logSumExp };
