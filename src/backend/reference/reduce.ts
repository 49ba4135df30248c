/** Reductions, accumulated in double. */
import { sizeOf } from '../../base/index.ts';
import { type Call, type Evaluate, forEachRow, rowMajor, value } from './arrays.ts';

function reduce(
  { inputs, attrs: { axes }, shape, dtype, out }: Call<'sum' | 'max'>,
  start: number,
  step: (sofar: number, x: number) => number,
): void {
  const x = value(inputs, 0);
  const kept = rowMajor(shape).map((s, i) => (axes.includes(i) ? 0 : s));
  const sums = new Float64Array(sizeOf(shape)).fill(start);
  const run = x.shape.at(-1) ?? 1;
  const along = kept.at(-1) ?? 0;
  forEachRow(x.shape, kept, 0, (to, from) => {
    for (let i = 0; i < run; i++)
      sums[to + i * along] = step(sums[to + i * along] as number, x.data[from + i] as number);
  });
  // Whole numbers wrap, as each addition of i32 would.
  for (let i = 0; i < out.length; i++) out[i] = dtype === 'i32' ? (sums[i] as number) | 0 : (sums[i] as number);
}

const sum: Evaluate<'sum'> = (call) => reduce(call, 0, (a, b) => a + b);
const max: Evaluate<'max'> = (call) => reduce(call, Number.NEGATIVE_INFINITY, Math.max);

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

export const reductions = { sum, max, argmax };
