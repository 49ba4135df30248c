/** A layer's output for a batch to one vector a sample. */
import { ArgumentError, formatShape } from '../base/index.ts';
import { type Tensor, where } from '../tensor/index.ts';

/**
 * - `auto`: global average of maps (N, C, H, W), mean over the tokens of (N, T, D), vectors (N, D) as they are
 * - `mean`, `max`: over all positions of maps, or over tokens; padding does not count
 * - `cls`: the first token of (N, T, D)
 * - `flatten`: all values of a sample in a row
 */
export const poolings = ['auto', 'flatten', 'mean', 'max', 'cls'] as const;
export type Pooling = (typeof poolings)[number];

/**
 * x (N, ...) -> f32 (N, D). `mask` (N, T), 1 for tokens and 0 for padding, counts where x is (N, T, D).
 * @throws ArgumentError POOLING_INVALID where x has no such axes.
 */
export function pool(x: Tensor, pooling: Pooling = 'auto', mask?: Tensor): Tensor {
  const wrong = (expected: string): never => {
    throw new ArgumentError(
      'POOLING_INVALID',
      `pooling "${pooling}" does not fit an output of ${formatShape(x.shape)}`,
      {
        field: 'pooling',
        got: pooling,
        expected,
        hint: x.rank === 2 ? 'these are vectors already: leave pooling out' : 'use "flatten", or another layer',
      },
    );
  };
  if (!poolings.includes(pooling)) wrong(poolings.join(', '));
  if (x.rank < 2) wrong('an output with one row a sample');
  const y = x.cast('f32');
  if (pooling === 'flatten' || (pooling === 'auto' && x.rank === 2)) return y.flatten(1);
  if (pooling === 'cls') return x.rank === 3 ? y.slice(1, 0, 1).flatten(1) : wrong('tokens (N, T, D)');
  const kind = pooling === 'auto' ? 'mean' : pooling;
  if (x.rank === 4) return kind === 'mean' ? y.mean([2, 3]) : y.max([2, 3]);
  if (x.rank !== 3) return wrong('maps (N, C, H, W) or tokens (N, T, D)');
  const masked = mask && mask.shape[0] === x.shape[0] && mask.shape[1] === x.shape[1];
  if (!masked) return kind === 'mean' ? y.mean(1) : y.max(1);
  const [n, t] = x.shape as [number, number];
  const isToken = mask.ne(0).reshape(n, t, 1);
  if (kind === 'max') return where(isToken, y, Number.NEGATIVE_INFINITY).max(1);
  // A text without a token has no mean; 0 is said of it.
  return where(isToken, y, 0).sum(1).div(isToken.cast('f32').sum(1).maximum(1));
}
