/** Option texts to values. @throws ConfigError OPTION_INVALID. */
import { ConfigError } from '../base/errors.ts';

export function number(name: string): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && Number.isFinite(value) && value >= 0) return value;
    throw new ConfigError('OPTION_INVALID', `option ${name}: expected a number of at least 0, found "${text}"`, {
      field: name,
      got: text,
    });
  };
}

export function positive(name: string): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && Number.isInteger(value) && value > 0) return value;
    throw new ConfigError('OPTION_INVALID', `option ${name}: expected a whole number above 0, found "${text}"`, {
      field: name,
      got: text,
    });
  };
}
