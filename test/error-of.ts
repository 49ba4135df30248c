import { expect } from 'vitest';
import type { CambiumError } from '../src/base/index.ts';

/** What `body` throws; fails where it throws nothing. */
export async function errorOf(body: () => unknown): Promise<CambiumError> {
  try {
    await body();
  } catch (error) {
    return error as CambiumError;
  }
  return expect.fail('nothing was thrown');
}
