/** Ops that move elements, and values made from their position. */
import { fillUniform, sizeOf } from '../../base/index.ts';
import { copyStrided, type Evaluate, forEachRow, type PlainEvaluate, rowMajor, value } from './arrays.ts';

const same: PlainEvaluate = ({ inputs, out }) => out.set(value(inputs, 0).data);

const permute: Evaluate<'permute'> = ({ inputs, attrs, shape, out }) => {
  const x = value(inputs, 0);
  const strides = rowMajor(x.shape);
  copyStrided(
    x.data,
    shape,
    attrs.axes.map((a) => strides[a] as number),
    0,
    out,
  );
};

const expand: Evaluate<'expand'> = ({ inputs, shape, out }) => {
  const x = value(inputs, 0);
  const strides = rowMajor(x.shape).map((s, i) => (x.shape[i] === shape[i] ? s : 0));
  copyStrided(x.data, shape, strides, 0, out);
};

const slice: Evaluate<'slice'> = ({ inputs, attrs: { start, step }, shape, out }) => {
  const x = value(inputs, 0);
  const strides = rowMajor(x.shape);
  const offset = strides.reduce((sum, s, i) => sum + s * (start[i] as number), 0);
  copyStrided(
    x.data,
    shape,
    strides.map((s, i) => s * (step[i] as number)),
    offset,
    out,
  );
};

const pad: Evaluate<'pad'> = ({ inputs, attrs: { before, value: fill }, shape, out }) => {
  const x = value(inputs, 0);
  const strides = rowMajor(shape);
  out.fill(fill);
  const offset = strides.reduce((sum, s, i) => sum + s * (before[i] as number), 0);
  const run = x.shape.at(-1) ?? 1;
  forEachRow(x.shape, strides, offset, (to, from) => out.set(x.data.subarray(from, from + run), to));
};

const concat: Evaluate<'concat'> = ({ inputs, attrs: { axis }, shape, out }) => {
  const inner = sizeOf(shape.slice(axis + 1));
  const outer = sizeOf(shape.slice(0, axis));
  let to = 0;
  for (let o = 0; o < outer; o++)
    for (const x of inputs) {
      const run = (x.shape[axis] as number) * inner;
      out.set(x.data.subarray(o * run, (o + 1) * run), to);
      to += run;
    }
};

const constant: Evaluate<'constant'> = ({ attrs, out }) => void out.fill(attrs.value);

const iota: Evaluate<'iota'> = ({ attrs: { axis }, shape, out }) => {
  const inner = sizeOf(shape.slice(axis + 1));
  const count = shape[axis] as number;
  for (let i = 0; i < out.length; i++) out[i] = Math.floor(i / inner) % count;
};

const random: PlainEvaluate = ({ inputs, out }) =>
  fillUniform(value(inputs, 0).data as Int32Array, out as Float32Array | Float64Array);

export const movement = { detach: same, reshape: same, permute, expand, slice, pad, concat, constant, iota, random };
