/** Gradient clipping, on `.grad` before `optimizer.step()`. */
import { ArgumentError } from '../base/index.ts';
import { type Tensor, type Variable, zeros } from '../tensor/index.ts';

function positive(field: string, value: number): void {
  if (!(value > 0))
    throw new ArgumentError('OPTION_INVALID', `${field} must be positive, got ${value}`, { field, got: value });
}

/** Scales all gradients so that their joint L2 norm is at most `maxNorm`; returns the norm before (Pascanu et al. 2013). */
export function clipGradNorm(parameters: readonly Variable[], maxNorm: number): Tensor {
  positive('maxNorm', maxNorm);
  const withGrad = parameters.filter((p) => p.grad);
  if (withGrad.length === 0) return zeros([]);
  const norm = withGrad
    .map((p) => (p.grad as Tensor).square().sum())
    .reduce((a, b) => a.add(b))
    .sqrt();
  const scale = norm.add(1e-6).reciprocal().mul(maxNorm).minimum(1);
  for (const p of withGrad) p.grad = (p.grad as Tensor).mul(scale);
  return norm;
}

/** Limits each element of every gradient to [-maxValue, maxValue]. */
export function clipGradValue(parameters: readonly Variable[], maxValue: number): void {
  positive('maxValue', maxValue);
  for (const p of parameters) if (p.grad) p.grad = p.grad.clamp(-maxValue, maxValue);
}
