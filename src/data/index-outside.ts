/** The refusal of an index that a data set does not have. */
import { ArgumentError } from '../base/errors.ts';

/** @throws ArgumentError INDEX_OUTSIDE. */
export function indexOutside(
  name: string,
  index: number,
  length: number,
  what: 'sample' | 'text' | 'row' = 'sample',
): never {
  throw new ArgumentError('INDEX_OUTSIDE', `${name}: there is no ${what} ${index} among ${length}`, {
    expected: `0..${length - 1}`,
    got: index,
  });
}
