/** Checks of layer arguments, so that a wrong one is named where the layer is made and not where it is used. */
import { ArgumentError } from '../base/index.ts';

/** Throws ArgumentError unless `value` is an integer >= 1. */
export function positive(op: string, field: string, value: number): void {
  if (!Number.isInteger(value) || value < 1)
    throw new ArgumentError('SIZE_INVALID', `[${op}] ${field} must be an integer >= 1, got ${value}`, {
      op,
      field,
      expected: 'an integer >= 1',
      got: value,
    });
}

/** Throws ArgumentError unless `p` is in [0, 1]. */
export function probability(op: string, field: string, p: number): void {
  if (!(p >= 0 && p <= 1))
    throw new ArgumentError('PROBABILITY_INVALID', `[${op}] ${field} must be in [0, 1], got ${p}`, {
      op,
      field,
      expected: '0 <= p <= 1',
      got: p,
    });
}
