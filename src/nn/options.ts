/** Checks of layer arguments, so that a wrong one is named where the layer is made and not where it is used. */
import { ArgumentError, printable } from '../base/index.ts';

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

export const invalidOption = (field: string, expected: string, got: unknown): ArgumentError =>
  new ArgumentError('OPTION_INVALID', `${field}: expected ${expected}, found ${printable(got)}`, {
    field,
    expected,
    got,
  });

/** The largest rank, size or length of an adapter: what a file may ask for. */
const LARGEST_SIZE = 65_536;

/** Throws ArgumentError unless `value` is a whole number from 1 to 65,536. */
export function wholeSize(field: string, value: unknown): void {
  if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > LARGEST_SIZE)
    throw invalidOption(field, `a whole number from 1 to ${LARGEST_SIZE}`, value);
}

/** Throws ArgumentError unless `value` is a list of at least one name. */
export function layerNames(field: string, value: unknown): void {
  if (!Array.isArray(value) || value.length === 0 || !value.every((name) => typeof name === 'string' && name !== ''))
    throw invalidOption(field, 'a list of names', value);
}
