/**
 * Elementwise ops; results are rounded once, when stored. Cheap ones have a loop of their own (cheap.ts): calling a
 * function for every element would cost more than the op. The others are one scalar function each.
 */
import { DTypeError } from '../../base/index.ts';
import { type Evaluate, type PlainEvaluate, value } from './arrays.ts';
import * as cheap from './cheap.ts';
import { erf } from './erf.ts';

const unary =
  (f: (x: number) => number): PlainEvaluate =>
  ({ inputs, out }) => {
    const { data } = value(inputs, 0);
    for (let i = 0; i < out.length; i++) out[i] = f(data[i] as number);
  };

const binary =
  (f: (a: number, b: number) => number): PlainEvaluate =>
  ({ inputs, out }) => {
    const a = value(inputs, 0).data;
    const b = value(inputs, 1).data;
    for (let i = 0; i < out.length; i++) out[i] = f(a[i] as number, b[i] as number);
  };

/** Integers wrap; floats are floats. */
const arithmetic =
  (floats: PlainEvaluate, integers: PlainEvaluate): PlainEvaluate =>
  (call) =>
    (call.dtype === 'i32' ? integers : floats)(call);

/** Half to even. */
function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  if (x - floor !== 0.5) return Math.round(x);
  // -0.5 is -0, not 0.
  return floor % 2 === 0 ? floor : -(-1 - floor);
}

const sigmoid = (x: number): number => {
  if (x >= 0) return 1 / (1 + Math.exp(-x));
  const e = Math.exp(x);
  return e / (1 + e);
};

const toInt32 = (x: number): number =>
  Number.isNaN(x) ? 0 : x >= 2147483647 ? 2147483647 : x <= -2147483648 ? -2147483648 : Math.trunc(x);

const cast: Evaluate<'cast'> = ({ inputs, out, attrs: { dtype } }) => {
  const { data, dtype: from } = value(inputs, 0);
  const float = from === 'f32' || from === 'f64';
  if (dtype === 'bool') for (let i = 0; i < out.length; i++) out[i] = Number((data[i] as number) !== 0);
  else if (dtype === 'i32')
    for (let i = 0; i < out.length; i++) out[i] = float ? toInt32(data[i] as number) : (data[i] as number);
  // A Uint8Array takes what it is given truncated, modulo 256; the rest is exact.
  else for (let i = 0; i < out.length; i++) out[i] = data[i] as number;
};

const noHost =
  (op: string): PlainEvaluate =>
  () => {
    throw new DTypeError('INTERNAL', `${op} is evaluated by the interpreter itself`);
  };

export const elementwise = {
  source: noHost('source'),
  neg: cheap.neg,
  abs: cheap.abs,
  sign: unary(Math.sign),
  exp: unary(Math.exp),
  log: unary(Math.log),
  log1p: unary(Math.log1p),
  expm1: unary(Math.expm1),
  sqrt: cheap.sqrt,
  rsqrt: cheap.rsqrt,
  reciprocal: cheap.reciprocal,
  sin: unary(Math.sin),
  cos: unary(Math.cos),
  tanh: unary(Math.tanh),
  sigmoid: unary(sigmoid),
  erf: unary(erf),
  relu: cheap.relu,
  floor: unary(Math.floor),
  ceil: unary(Math.ceil),
  round: unary(roundHalfEven),
  not: cheap.not,
  cast,
  add: arithmetic(
    cheap.add,
    binary((a, b) => (a + b) | 0),
  ),
  sub: arithmetic(
    cheap.sub,
    binary((a, b) => (a - b) | 0),
  ),
  mul: arithmetic(cheap.mul, binary(Math.imul)),
  div: cheap.div,
  pow: binary((a, b) => (a === 1 || b === 0 ? 1 : a === -1 && !Number.isFinite(b) && !Number.isNaN(b) ? 1 : a ** b)),
  maximum: cheap.maximum,
  minimum: cheap.minimum,
  eq: cheap.eq,
  lt: cheap.lt,
  le: cheap.le,
  and: binary((a, b) => Number(a !== 0 && b !== 0)),
  or: binary((a, b) => Number(a !== 0 || b !== 0)),
  where: cheap.where,
};
