import { expect, test } from 'vitest';
import { fuzz } from './run.ts';
import { makeTarget, targetNames } from './targets.ts';

// `npm run fuzz` runs as many as wanted.
test.each(targetNames)(
  '%s: mutated files are read, or refused by a typed error, in little time and memory',
  async (name) => {
    const target = await makeTarget(name);
    const count = name === 'index' || name === 'csv' || name === 'jsonl' ? 300 : 1000;
    try {
      const { accepted, rejected } = await fuzz(target, { seed: 7, count, timeLimit: 10_000 });
      expect(accepted + Object.values(rejected).reduce((sum, n) => sum + n, 0)).toBe(count);
      // A parser that accepts nothing, or rejects for one reason only, is not being tested.
      expect(accepted).toBeGreaterThan(0);
      expect(Object.keys(rejected).length).toBeGreaterThan(1);
    } finally {
      target.close?.();
    }
  },
);
