/** Which contractions multiply in bf16: asked for by a scope, granted by shape, inherited by gradients. */
import { ArgumentError, printable, type Shape } from '../base/index.ts';
import type { PrecisionAttrs } from './attrs.ts';

/** What heavy ops multiply in: 'fp32', or 'bf16' with fp32 operands in memory and fp32 sums. */
export type Precision = (typeof precisions)[number];
export const precisions = ['fp32', 'bf16'] as const;

let current: Precision = 'fp32';

/** Runs `body` with the contractions it builds in `precision`; scopes nest. Throws ArgumentError for an unknown one. */
export function withPrecision<T>(precision: Precision, body: () => T): T {
  if (!precisions.includes(precision))
    throw new ArgumentError('BAD_PRECISION', `[autocast] there is no precision ${printable(precision)}`, {
      op: 'autocast',
      expected: precisions,
      got: precision,
      hint: `choose one of ${precisions.join(', ')}`,
    });
  const outer = current;
  current = precision;
  try {
    return body();
  } finally {
    current = outer;
  }
}

// Below this a product is bound by memory or by its edges, where rounding would only cost.
const MIN_SIDE = 32;

const MIN_CHANNELS = 16;

const granted = (worth: boolean): PrecisionAttrs => (current === 'bf16' && worth ? { precision: 'bf16' } : {});

/** Of a product (..., M, K) x (..., K, N): the same answer for its two gradients, whose sides are the same three. */
export const productPrecision = (a: Shape, b: Shape): PrecisionAttrs =>
  granted(Math.min(a.at(-2) as number, a.at(-1) as number, b.at(-1) as number) >= MIN_SIDE);

/** Of a convolution whose weight is (O, C / groups, kh, kw). */
export const convPrecision = (weight: Shape, groups: number): PrecisionAttrs =>
  granted(Math.min((weight[0] as number) / groups, weight[1] as number) >= MIN_CHANNELS);

/** Of a recurrent sequence; the kernels take pairs of hidden units. */
export const recurrentPrecision = (hidden: number): PrecisionAttrs => granted(hidden >= MIN_SIDE && hidden % 2 === 0);

/** The attribute alone, for nodes made from others. */
export const inherited = ({ precision }: PrecisionAttrs): PrecisionAttrs => (precision ? { precision } : {});
