/** Elementwise ops, one scalar function each; results are rounded once, when stored. */
import { DTypeError } from '../../base/index.ts';
import { type Evaluate, type PlainEvaluate, value } from './arrays.ts';
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
const arithmetic = (
  float: (a: number, b: number) => number,
  integer: (a: number, b: number) => number,
): PlainEvaluate => {
  const [floats, integers] = [binary(float), binary(integer)];
  return (call) => (call.dtype === 'i32' ? integers(call) : floats(call));
};

/** Half to even. */
function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  if (x - floor !== 0.5) return Math.round(x);
  // -0.5 is -0, not 0.
  return floor % 2 === 0 ? floor : -(-1 - floor);
}

// Not Math.max: -0 stays -0, as in torch.
const relu = (x: number): number => (x < 0 ? 0 : x);

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

// -0 is not an i32.
const neg: PlainEvaluate = (call) => (call.dtype === 'i32' ? unary((a) => -a | 0) : unary((a) => -a))(call);

export const elementwise = {
  source: noHost('source'),
  neg,
  abs: unary(Math.abs),
  sign: unary(Math.sign),
  exp: unary(Math.exp),
  log: unary(Math.log),
  log1p: unary(Math.log1p),
  expm1: unary(Math.expm1),
  sqrt: unary(Math.sqrt),
  rsqrt: unary((x) => 1 / Math.sqrt(x)),
  reciprocal: unary((x) => 1 / x),
  sin: unary(Math.sin),
  cos: unary(Math.cos),
  tanh: unary(Math.tanh),
  sigmoid: unary(sigmoid),
  erf: unary(erf),
  relu: unary(relu),
  floor: unary(Math.floor),
  ceil: unary(Math.ceil),
  round: unary(roundHalfEven),
  not: unary((x) => Number(x === 0)),
  cast,
  add: arithmetic(
    (a, b) => a + b,
    (a, b) => (a + b) | 0,
  ),
  sub: arithmetic(
    (a, b) => a - b,
    (a, b) => (a - b) | 0,
  ),
  mul: arithmetic((a, b) => a * b, Math.imul),
  div: binary((a, b) => a / b),
  pow: binary((a, b) => (a === 1 || b === 0 ? 1 : a === -1 && !Number.isFinite(b) && !Number.isNaN(b) ? 1 : a ** b)),
  maximum: binary(Math.max),
  minimum: binary(Math.min),
  eq: binary((a, b) => Number(a === b)),
  lt: binary((a, b) => Number(a < b)),
  le: binary((a, b) => Number(a <= b)),
  and: binary((a, b) => Number(a !== 0 && b !== 0)),
  or: binary((a, b) => Number(a !== 0 || b !== 0)),
  where: (({ inputs, out }) => {
    const [c, a, b] = [value(inputs, 0).data, value(inputs, 1).data, value(inputs, 2).data];
    for (let i = 0; i < out.length; i++) out[i] = (c[i] !== 0 ? a[i] : b[i]) as number;
  }) as PlainEvaluate,
};
