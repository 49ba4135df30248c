/** How sure a measured share is: Wilson's score interval, which stays within 0..1 and is right for few samples too. */
import { ArgumentError } from '../../base/errors.ts';

export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** Two-sided 95 % quantile of the normal distribution. */
const Z95 = 1.959963984540054;

/** The interval of `successes` out of `total`; 0..1 for an empty sample. 95 % unless another quantile `z` is given. */
export function wilsonInterval(successes: number, total: number, z = Z95): Interval {
  if (!(Number.isSafeInteger(successes) && Number.isSafeInteger(total) && successes >= 0 && successes <= total))
    throw new ArgumentError('COUNT_INVALID', `${successes} of ${total} is not a share of counts`, {
      field: 'successes',
      expected: `0 to ${total}`,
      got: successes,
    });
  if (total === 0) return { low: 0, high: 1 };
  const p = successes / total;
  const z2 = z * z;
  const centre = (p + z2 / (2 * total)) / (1 + z2 / total);
  const half = (z / (1 + z2 / total)) * Math.sqrt((p * (1 - p)) / total + z2 / (4 * total * total));
  return { low: successes === 0 ? 0 : centre - half, high: successes === total ? 1 : centre + half };
}
