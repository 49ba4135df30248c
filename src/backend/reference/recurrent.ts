/** Recurrent sequences and their gradient, unit by unit, in double. */
import type { TypedArray } from '../../base/index.ts';
import { ArgumentError } from '../../base/index.ts';
import { type OpName, type RecurrentAttrs, recurrentLayout } from '../../graph/index.ts';
import { type Call, type Evaluate, value } from './arrays.ts';
import { rounded, toBf16 } from './bf16.ts';

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

interface Walk {
  readonly t: number;
  /** Whether row b of the batch still has this step. */
  active(b: number): boolean;
  /** Position of slot 0 of row b before and after the step. */
  before(b: number): number;
  after(b: number): number;
}

/** The steps in the order they are processed. */
function* walk(
  attrs: RecurrentAttrs,
  steps: number,
  batch: number,
  line: number,
  lengths?: TypedArray,
): Generator<Walk> {
  for (let s = 0; s < steps; s++) {
    const t = attrs.reverse ? steps - 1 - s : s;
    yield {
      t,
      active: (b) => !lengths || t < (lengths[b] as number),
      before: (b) => ((attrs.reverse ? t + 1 : t) * batch + b) * line,
      after: (b) => ((attrs.reverse ? t : t + 1) * batch + b) * line,
    };
  }
}

function lengthsOf(
  { inputs, attrs }: Pick<Call<'recurrent'>, 'inputs' | 'attrs'>,
  steps: number,
): TypedArray | undefined {
  if (!attrs.masked) return undefined;
  const lengths = value(inputs, inputs.length - 1).data;
  lengths.forEach((n: number, b: number) => {
    if (n < 1 || n > steps)
      throw new ArgumentError('INDEX_OUT_OF_RANGE', `lengths[${b}] is ${n}, outside 1..${steps}`, {
        op: attrs.cell,
        position: b,
        got: n,
      });
  });
  return lengths;
}

/** The recurrent weight, and how the other operand of its products is read. */
const operand = (weight: TypedArray, { precision }: RecurrentAttrs): [TypedArray, (x: number) => number] =>
  precision === 'bf16' ? [rounded(weight), toBf16] : [weight, (x) => x];

const recurrent: Evaluate<'recurrent'> = (call) => {
  const { inputs, attrs, shape, out } = call;
  const { cell } = attrs;
  const [x, weight, h0] = inputs.map((i) => i.data) as [TypedArray, TypedArray, TypedArray];
  const [w, round] = operand(weight, attrs);
  const extra = cell === 'lstm' || cell === 'gru' ? value(inputs, 3).data : h0;
  const { gates, slots } = recurrentLayout[cell];
  const steps = (shape[0] as number) - 1;
  const [batch, H] = value(inputs, 2).shape as [number, number];
  const line = slots * H;
  const held = cell === 'lstm' ? 2 : 1;
  const initial = attrs.reverse ? steps * batch : 0;
  for (let b = 0; b < batch; b++)
    for (let u = 0; u < H; u++) {
      out[(initial + b) * line + u] = h0[b * H + u] as number;
      if (cell === 'lstm') out[(initial + b) * line + H + u] = extra[b * H + u] as number;
    }
  const raw = new Float64Array(gates);
  for (const { t, active, before, after } of walk(attrs, steps, batch, line, lengthsOf(call, steps)))
    for (let b = 0; b < batch; b++) {
      const [from, to] = [before(b), after(b)];
      for (let u = 0; u < H; u++) {
        if (!active(b)) {
          for (let k = 0; k < held; k++) out[to + k * H + u] = out[from + k * H + u] as number;
          continue;
        }
        for (let g = 0; g < gates; g++) {
          let total = 0;
          const row = (g * H + u) * H;
          for (let k = 0; k < H; k++) total += (w[row + k] as number) * round(out[from + k] as number);
          raw[g] = total;
        }
        const p = (g: number): number => x[(t * batch + b) * gates * H + g * H + u] as number;
        const q = (g: number): number => raw[g] as number;
        const put = (...values: number[]): void => {
          values.forEach((v, k) => {
            out[to + k * H + u] = v;
          });
        };
        if (cell === 'lstm') {
          const [i, f, o] = [sigmoid(p(0) + q(0)), sigmoid(p(1) + q(1)), sigmoid(p(3) + q(3))];
          const g = Math.tanh(p(2) + q(2));
          const c = f * (out[from + H + u] as number) + i * g;
          put(o * Math.tanh(c), c, i, f, g, o);
        } else if (cell === 'gru') {
          const [r, z] = [sigmoid(p(0) + q(0)), sigmoid(p(1) + q(1))];
          const hn = q(2) + (extra[u] as number);
          const n = Math.tanh(p(2) + r * hn);
          put(n + z * ((out[from + u] as number) - n), r, z, n, hn);
        } else {
          const a = p(0) + q(0);
          put(cell === 'tanh' ? Math.tanh(a) : a > 0 || Number.isNaN(a) ? a : 0);
        }
      }
    }
};

const recurrentGrad: Evaluate<'recurrentGrad'> = (call) => {
  const { inputs, attrs, shape, out } = call;
  const { cell } = attrs;
  const [states, weight, gh, gc] = inputs.map((i) => i.data) as [TypedArray, TypedArray, TypedArray, TypedArray];
  const [w, round] = operand(weight, attrs);
  const { gates, slots, gradSlots } = recurrentLayout[cell];
  const [rows, batch] = shape as [number, number, number];
  const steps = rows - 1;
  const H = value(inputs, 2).shape[2] as number;
  const [line, gradLine] = [slots * H, gradSlots * H];
  const dh = new Float64Array(batch * H);
  const dc = cell === 'lstm' ? Float64Array.from(gc) : dh;
  // Where the gradient of gate g (torch's order) lies among the slots of the result.
  const slotOf = (g: number): number => (cell === 'gru' ? ([1, 2, 0][g] as number) : g);
  for (const { t, active, before, after } of [
    ...walk(attrs, steps, batch, line, attrs.masked ? value(inputs, inputs.length - 1).data : undefined),
  ].reverse())
    for (let b = 0; b < batch; b++) {
      for (let u = 0; u < H; u++) (dh[b * H + u] as number) += gh[(t * batch + b) * H + u] as number;
      if (!active(b)) continue;
      const to = (t * batch + b) * gradLine;
      for (let u = 0; u < H; u++) {
        const s = (k: number): number => states[after(b) + k * H + u] as number;
        const put = (...values: number[]): void => {
          values.forEach((v, k) => {
            out[to + k * H + u] = v;
          });
        };
        const at = b * H + u;
        const d = dh[at] as number;
        dh[at] = 0;
        if (cell === 'lstm') {
          const [i, f, g, o, th] = [s(2), s(3), s(4), s(5), Math.tanh(s(1))];
          const e = (dc[at] as number) + d * o * (1 - th * th);
          put(
            e * g * i * (1 - i),
            e * (states[before(b) + H + u] as number) * f * (1 - f),
            e * i * (1 - g * g),
            d * th * o * (1 - o),
          );
          dc[at] = e * f;
        } else if (cell === 'gru') {
          const [r, z, n, hn] = [s(1), s(2), s(3), s(4)];
          const dn = d * (1 - z) * (1 - n * n);
          put(dn * r, dn * hn * r * (1 - r), d * ((states[before(b) + u] as number) - n) * z * (1 - z), dn);
          dh[at] = d * z;
        } else put(cell === 'tanh' ? d * (1 - s(0) * s(0)) : s(0) > 0 ? d : 0);
      }
      for (let k = 0; k < H; k++) {
        let total = 0;
        for (let g = 0; g < gates; g++)
          for (let u = 0; u < H; u++)
            total += round(out[to + slotOf(g) * H + u] as number) * (w[(g * H + u) * H + k] as number);
        (dh[b * H + k] as number) += total;
      }
    }
  for (let b = 0; b < batch; b++) {
    const to = (steps * batch + b) * gradLine;
    out.set(dh.subarray(b * H, (b + 1) * H), to);
    if (cell === 'lstm') out.set(dc.subarray(b * H, (b + 1) * H), to + H);
  }
};

export const recurrences = { recurrent, recurrentGrad } satisfies { [K in OpName]?: Evaluate<K> };
