import { DataError, printable } from '../base/errors.ts';

/** A field of a model folder's files that is not what it must be. @throws DataError MODEL_CONFIG, always. */
export function badConfig(file: string, field: string, expected: string, got: unknown): never {
  throw new DataError(
    'MODEL_CONFIG',
    `${printable(file)}: ${field}: expected ${expected}, found ${printable(got ?? null)}`,
    { file, field, expected, got },
  );
}
