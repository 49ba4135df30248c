/** Initial values of parameters, with PyTorch's formulas (torch.nn.init). Each draws from the global random stream. */
import { ArgumentError, type Shape, sizeOf } from '../base/index.ts';
import { normal, type Tensor, uniform, where } from '../tensor/index.ts';

export { normal, ones, uniform, zeros } from '../tensor/index.ts';

/** Whose variance is kept: that of activations (fanIn) or of gradients (fanOut). */
export type FanMode = 'fanIn' | 'fanOut';
export type Nonlinearity = 'linear' | 'sigmoid' | 'tanh' | 'relu' | 'leakyRelu' | 'selu';

interface KaimingOptions {
  mode?: FanMode;
  nonlinearity?: Nonlinearity;
  /** Slope of the leaky ReLU. */
  a?: number;
}

/** Connections into and out of one unit: dimension 1 and 0, times the receptive field. */
export function fans(shape: Shape): { fanIn: number; fanOut: number } {
  const field = sizeOf(shape.slice(2));
  return { fanIn: ((shape[1] ?? shape[0]) as number) * field, fanOut: (shape[0] as number) * field };
}

/** Standard deviation a nonlinearity takes away, to be given back (torch.nn.init.calculate_gain). */
export function gainOf(nonlinearity: Nonlinearity, a = 0.01): number {
  switch (nonlinearity) {
    case 'linear':
    case 'sigmoid':
      return 1;
    case 'tanh':
      return 5 / 3;
    case 'relu':
      return Math.SQRT2;
    case 'leakyRelu':
      return Math.sqrt(2 / (1 + a * a));
    case 'selu':
      return 3 / 4;
  }
}

const symmetric = (shape: Shape, bound: number): Tensor => uniform(shape, { low: -bound, high: bound });

function kaimingStd(shape: Shape, { mode = 'fanIn', nonlinearity = 'leakyRelu', a = 0 }: KaimingOptions): number {
  return gainOf(nonlinearity, a) / Math.sqrt(Math.max(1, fans(shape)[mode]));
}

/** He et al. 2015: uniform in +-sqrt(3) gain / sqrt(fan). Linear and Conv2d use it with a = sqrt(5). */
export function kaimingUniform(shape: Shape, options: KaimingOptions = {}): Tensor {
  return symmetric(shape, Math.sqrt(3) * kaimingStd(shape, options));
}
/** He et al. 2015: normal with deviation gain / sqrt(fan). */
export function kaimingNormal(shape: Shape, options: KaimingOptions = {}): Tensor {
  return normal(shape, { std: kaimingStd(shape, options) });
}

function xavierStd(shape: Shape, gain: number): number {
  const { fanIn, fanOut } = fans(shape);
  return gain * Math.sqrt(2 / (fanIn + fanOut));
}

/** Glorot and Bengio 2010: uniform in +-gain sqrt(6 / (fanIn + fanOut)). */
export function xavierUniform(shape: Shape, { gain = 1 }: { gain?: number } = {}): Tensor {
  return symmetric(shape, Math.sqrt(3) * xavierStd(shape, gain));
}
/** Glorot and Bengio 2010: normal with deviation gain sqrt(2 / (fanIn + fanOut)). */
export function xavierNormal(shape: Shape, { gain = 1 }: { gain?: number } = {}): Tensor {
  return normal(shape, { std: xavierStd(shape, gain) });
}

// Draws beyond the cut are replaced from the next of this many draws; 2 sigma leaves 0.0455^6 = 9e-9 to be clamped.
const REDRAWS = 5;

/** Normal with `mean` and `std`, cut to [low, high]; values beyond are drawn again. */
export function truncNormal(
  shape: Shape,
  { mean = 0, std = 1, low = -2, high = 2 }: { mean?: number; std?: number; low?: number; high?: number } = {},
): Tensor {
  if (!(low < high) || !(mean >= low && mean <= high))
    throw new ArgumentError(
      'RANGE_INVALID',
      `[truncNormal] needs low <= mean <= high, got [${low}, ${high}], ${mean}`,
      {
        op: 'truncNormal',
        got: [low, mean, high],
      },
    );
  let x = normal(shape, { mean, std });
  for (let i = 0; i < REDRAWS; i++) x = where(x.lt(low).or(x.gt(high)), normal(shape, { mean, std }), x);
  return x.clamp(low, high);
}

/** torch's for the bias of a layer with `fanIn` inputs: uniform in +-1 / sqrt(fanIn). */
export function biasUniform(size: number, fanIn: number): Tensor {
  return symmetric([size], fanIn > 0 ? 1 / Math.sqrt(fanIn) : 0);
}

/** torch's default for the weight of Linear and Conv2d: He uniform with a = sqrt(5), which is +-1 / sqrt(fanIn). */
export const defaultWeight = (shape: Shape): Tensor => kaimingUniform(shape, { a: Math.sqrt(5) });
