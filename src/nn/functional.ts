/** Activations, normalisation and dropout as compositions of primitives; a backend may fuse them, never redefine them. */
import { ArgumentError } from '../base/index.ts';
import { type Tensor, uniform, where } from '../tensor/index.ts';

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

/** x * Phi(x) (Hendrycks and Gimpel 2016); 'tanh' is their approximation. */
export function gelu(x: Tensor, approximate: 'none' | 'tanh' = 'none'): Tensor {
  if (approximate === 'none') return x.mul(0.5).mul(x.mul(Math.SQRT1_2).erf().add(1));
  const inner = x.add(x.mul(x).mul(x).mul(0.044715)).mul(Math.sqrt(2 / Math.PI));
  return x.mul(0.5).mul(inner.tanh().add(1));
}

/** x * sigmoid(x). */
export const silu = (x: Tensor): Tensor => x.mul(x.sigmoid());

/** x where positive, else slope * x. */
export const leakyRelu = (x: Tensor, slope = 0.01): Tensor => where(x.gt(0), x, x.mul(slope));

/** Zeroes each element with probability p and scales the rest by 1 / (1 - p) (Srivastava et al. 2014). */
export function dropout(x: Tensor, p = 0.5, training = true): Tensor {
  if (!(p >= 0 && p <= 1))
    throw new ArgumentError('PROBABILITY_INVALID', `[dropout] p must be in [0, 1], got ${p}`, {
      op: 'dropout',
      got: p,
    });
  if (!training || p === 0) return x;
  if (p === 1) return x.mul(0);
  return where(uniform(x.shape).ge(p), x.mul(1 / (1 - p)), 0);
}

/** (x - mean) / sqrt(var + eps) * weight + bias over the last `weight.rank` axes (Ba et al. 2016). */
export function layerNorm(x: Tensor, normalizedRank: number, weight?: Tensor, bias?: Tensor, eps = 1e-5): Tensor {
  const axes = Array.from({ length: normalizedRank }, (_, i) => i - normalizedRank);
  const centred = x.sub(x.mean(axes, { keepDims: true }));
  const variance = centred.square().mean(axes, { keepDims: true });
  const y = centred.mul(variance.add(eps).rsqrt());
  const scaled = weight ? y.mul(weight) : y;
  return bias ? scaled.add(bias) : scaled;
}
