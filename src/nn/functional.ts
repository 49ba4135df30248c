/** Activations, normalisation and dropout as compositions of primitives; a backend may fuse them, never redefine them. */
import { formatShape, ShapeError } from '../base/index.ts';
import { type Tensor, uniform, where } from '../tensor/index.ts';
import { probability } from './options.ts';

/** x W^T + b.  x (..., in), weight (out, in), bias (out) -> (..., out). */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor | null): Tensor {
  const y = x.matmul(weight.transpose());
  return bias ? y.add(bias) : y;
}

/** exp(x - max) / sum along `axis`. */
export function softmax(x: Tensor, axis = -1): Tensor {
  const e = x.sub(x.max(axis, { keepDims: true }).detach()).exp();
  return e.div(e.sum(axis, { keepDims: true }));
}

/** x - max - log(sum(exp(x - max))) along `axis`. */
export function logSoftmax(x: Tensor, axis = -1): Tensor {
  const centred = x.sub(x.max(axis, { keepDims: true }).detach());
  return centred.sub(centred.exp().sum(axis, { keepDims: true }).log());
}

/** max(x, 0). */
export const relu = (x: Tensor): Tensor => x.relu();

/** x where positive, else slope * x. */
export const leakyRelu = (x: Tensor, slope = 0.01): Tensor => where(x.gt(0), x, x.mul(slope));

/** x where positive, else alpha * (exp(x) - 1) (Clevert et al. 2016). */
export function elu(x: Tensor, alpha = 1): Tensor {
  const positive = x.gt(0);
  // exp of what is not selected could be infinite, and 0 * infinity in its gradient NaN.
  return where(positive, x, where(positive, 0, x).expm1().mul(alpha));
}

/** x held in [min, max]; no gradient at or beyond the two, as torch has it. */
export const hardtanh = (x: Tensor, min = -1, max = 1): Tensor => where(x.le(min), min, where(x.ge(max), max, x));

/** x where positive, else weight * x.  x (N, C, ...), weight (1) or (C) (He et al. 2015). */
export function prelu(x: Tensor, weight: Tensor): Tensor {
  if (weight.rank !== 1 || (weight.size !== 1 && weight.size !== x.shape[1]))
    throw new ShapeError(
      'CHANNELS_MISMATCH',
      `[prelu] slopes ${formatShape(weight.shape)} are neither one nor one per channel of ${formatShape(x.shape)}`,
      { op: 'prelu', expected: x.shape[1], got: weight.shape },
    );
  return where(x.gt(0), x, x.mul(weight.size === 1 ? weight : perChannel(weight, x)));
}

// (C) as (1, C, 1, ...).
const perChannel = (v: Tensor, x: Tensor): Tensor => v.reshape(x.shape.map((_, i) => (i === 1 ? -1 : 1)));

/** x * Phi(x) (Hendrycks and Gimpel 2016); 'tanh' is their approximation. */
export function gelu(x: Tensor, approximate: 'none' | 'tanh' = 'none'): Tensor {
  if (approximate === 'none') return x.mul(0.5).mul(x.mul(Math.SQRT1_2).erf().add(1));
  const inner = x.add(x.mul(x).mul(x).mul(0.044715)).mul(Math.sqrt(2 / Math.PI));
  return x.mul(0.5).mul(inner.tanh().add(1));
}

/** x * sigmoid(x), also called swish (Elfwing et al. 2017). */
export const silu = (x: Tensor): Tensor => x.mul(x.sigmoid());

/**
 * log(1 + exp(x)), without overflow: max(x, 0) + log(1 + exp(-|x|)). `maximum` halves its slope at 0, where |x| has none,
 * so that the slope there is 1/2; relu's would be 0.
 */
export const softplus = (x: Tensor): Tensor => x.maximum(0).add(x.abs().neg().exp().log1p());

/**
 * Zeroes each element with probability p and scales the rest by 1 / (1 - p) (Srivastava et al. 2014).
 * The mask is a function of the random stream, so backward draws it again instead of keeping it.
 */
export function dropout(x: Tensor, p = 0.5, training = true): Tensor {
  probability('dropout', 'p', p);
  if (!training || p === 0) return x;
  // Not 1 / (1 - p), which is infinite.
  if (p === 1) return x.mul(0);
  return where(uniform(x.shape).ge(p), x.mul(1 / (1 - p)), 0);
}

/**
 * (x - mean) / sqrt(variance + eps) * weight + bias per channel.  x (N, C, ...), all others (C); see BatchNorm2d for where
 * the statistics come from.
 */
export function batchNorm(
  x: Tensor,
  mean: Tensor,
  variance: Tensor,
  weight?: Tensor | null,
  bias?: Tensor | null,
  eps = 1e-5,
): Tensor {
  const inverse = perChannel(variance.add(eps).rsqrt(), x);
  const y = x.sub(perChannel(mean, x)).mul(weight ? inverse.mul(perChannel(weight, x)) : inverse);
  return bias ? y.add(perChannel(bias, x)) : y;
}

/**
 * (x - mean) / sqrt(variance + eps) * weight + bias, mean and biased variance over each sample's channels in `numGroups`
 * equal groups (Wu and He 2018).  x (N, C, ...), weight and bias (C).
 */
export function groupNorm(
  x: Tensor,
  numGroups: number,
  weight?: Tensor | null,
  bias?: Tensor | null,
  eps = 1e-5,
): Tensor {
  const grouped = x.reshape(x.shape[0] as number, numGroups, -1);
  const y = layerNorm(grouped, 1, null, null, eps).reshape(x.shape);
  const scaled = weight ? y.mul(perChannel(weight, x)) : y;
  return bias ? scaled.add(perChannel(bias, x)) : scaled;
}

/** (x - mean) / sqrt(variance + eps) * weight + bias, over each channel of each sample (Ulyanov et al. 2016).  x (N, C, ...). */
export function instanceNorm(x: Tensor, weight?: Tensor | null, bias?: Tensor | null, eps = 1e-5): Tensor {
  const axes = x.shape.map((_, i) => i).slice(2);
  const centred = x.sub(x.mean(axes, { keepDims: true }));
  const inverse = centred.square().mean(axes, { keepDims: true }).add(eps).rsqrt();
  const y = centred.mul(weight ? inverse.mul(perChannel(weight, x)) : inverse);
  return bias ? y.add(perChannel(bias, x)) : y;
}

/** (x - mean) / sqrt(variance + eps) * weight + bias over the last `normalizedRank` axes (Ba et al. 2016). */
export function layerNorm(
  x: Tensor,
  normalizedRank: number,
  weight?: Tensor | null,
  bias?: Tensor | null,
  eps = 1e-5,
): Tensor {
  const axes = Array.from({ length: normalizedRank }, (_, i) => i - normalizedRank);
  const centred = x.sub(x.mean(axes, { keepDims: true }));
  const variance = centred.square().mean(axes, { keepDims: true });
  const y = centred.mul(variance.add(eps).rsqrt());
  const scaled = weight ? y.mul(weight) : y;
  return bias ? scaled.add(bias) : scaled;
}
