import { expect, test } from 'vitest';
import { fuzzWeights } from './weights.ts';

test('two thousand mutated files per weight parser: accepted, or a typed error with its place', async () => {
  for (const [name, { accepted, rejected }] of await fuzzWeights(2000, 7)) {
    const total = Object.values(rejected).reduce((sum, n) => sum + n, 0);
    expect(accepted + total, name).toBe(2000);
    // A parser that accepts nothing, or rejects for one reason only, is not being tested.
    expect(Object.keys(rejected).length, name).toBeGreaterThan(3);
  }
});
