/** The elementwise ops of one or two instructions, each a loop of its own, which the JIT compiles without a call. */
import type { TypedArray } from '../../base/index.ts';
import { type PlainEvaluate, value } from './arrays.ts';

const data = (inputs: Parameters<PlainEvaluate>[0]['inputs'], i: number): TypedArray => value(inputs, i).data;

// -0 stored in an Int32Array is 0.
export const neg: PlainEvaluate = ({ inputs, out }) => {
  const from = data(inputs, 0);
  for (let i = 0; i < out.length; i++) out[i] = -(from[i] as number);
};

export const abs: PlainEvaluate = ({ inputs, out }) => {
  const from = data(inputs, 0);
  for (let i = 0; i < out.length; i++) out[i] = Math.abs(from[i] as number);
};

export const sqrt: PlainEvaluate = ({ inputs, out }) => {
  const from = data(inputs, 0);
  for (let i = 0; i < out.length; i++) out[i] = Math.sqrt(from[i] as number);
};

export const rsqrt: PlainEvaluate = ({ inputs, out }) => {
  const from = data(inputs, 0);
  for (let i = 0; i < out.length; i++) out[i] = 1 / Math.sqrt(from[i] as number);
};

export const reciprocal: PlainEvaluate = ({ inputs, out }) => {
  const from = data(inputs, 0);
  for (let i = 0; i < out.length; i++) out[i] = 1 / (from[i] as number);
};

// Not Math.max: -0 stays -0, as in torch.
export const relu: PlainEvaluate = ({ inputs, out }) => {
  const from = data(inputs, 0);
  for (let i = 0; i < out.length; i++) {
    const x = from[i] as number;
    out[i] = x < 0 ? 0 : x;
  }
};

export const not: PlainEvaluate = ({ inputs, out }) => {
  const from = data(inputs, 0);
  for (let i = 0; i < out.length; i++) {
    const x = from[i] as number;
    out[i] = x === 0 ? 1 : 0;
  }
};

export const add: PlainEvaluate = ({ inputs, out }) => {
  const [l, r] = [data(inputs, 0), data(inputs, 1)];
  for (let i = 0; i < out.length; i++) out[i] = (l[i] as number) + (r[i] as number);
};

export const sub: PlainEvaluate = ({ inputs, out }) => {
  const [l, r] = [data(inputs, 0), data(inputs, 1)];
  for (let i = 0; i < out.length; i++) out[i] = (l[i] as number) - (r[i] as number);
};

export const mul: PlainEvaluate = ({ inputs, out }) => {
  const [l, r] = [data(inputs, 0), data(inputs, 1)];
  for (let i = 0; i < out.length; i++) out[i] = (l[i] as number) * (r[i] as number);
};

export const div: PlainEvaluate = ({ inputs, out }) => {
  const [l, r] = [data(inputs, 0), data(inputs, 1)];
  for (let i = 0; i < out.length; i++) out[i] = (l[i] as number) / (r[i] as number);
};

export const maximum: PlainEvaluate = ({ inputs, out }) => {
  const [l, r] = [data(inputs, 0), data(inputs, 1)];
  for (let i = 0; i < out.length; i++) out[i] = Math.max(l[i] as number, r[i] as number);
};

export const minimum: PlainEvaluate = ({ inputs, out }) => {
  const [l, r] = [data(inputs, 0), data(inputs, 1)];
  for (let i = 0; i < out.length; i++) out[i] = Math.min(l[i] as number, r[i] as number);
};

export const eq: PlainEvaluate = ({ inputs, out }) => {
  const [l, r] = [data(inputs, 0), data(inputs, 1)];
  for (let i = 0; i < out.length; i++) out[i] = (l[i] as number) === (r[i] as number) ? 1 : 0;
};

export const lt: PlainEvaluate = ({ inputs, out }) => {
  const [l, r] = [data(inputs, 0), data(inputs, 1)];
  for (let i = 0; i < out.length; i++) out[i] = (l[i] as number) < (r[i] as number) ? 1 : 0;
};

export const le: PlainEvaluate = ({ inputs, out }) => {
  const [l, r] = [data(inputs, 0), data(inputs, 1)];
  for (let i = 0; i < out.length; i++) out[i] = (l[i] as number) <= (r[i] as number) ? 1 : 0;
};

export const where: PlainEvaluate = ({ inputs, out }) => {
  const [c, l, r] = [data(inputs, 0), data(inputs, 1), data(inputs, 2)];
  for (let i = 0; i < out.length; i++) out[i] = (c[i] !== 0 ? l[i] : r[i]) as number;
};
