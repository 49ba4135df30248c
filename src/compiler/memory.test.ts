import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Interval, planMemory } from './memory.ts';

const interval = fc
  .record({ bytes: fc.integer({ min: 1, max: 5000 }), first: fc.nat(20), length: fc.nat(10) })
  .map(({ bytes, first, length }): Interval => ({ bytes, first, last: first + length }));

test('values that live at the same time never share bytes', () => {
  fc.assert(
    fc.property(fc.array(interval, { maxLength: 40 }), (intervals) => {
      const { offsets, bytes } = planMemory(intervals);
      intervals.forEach((a, i) => {
        const start = offsets[i] as number;
        expect(start % 64).toBe(0);
        expect(start + a.bytes).toBeLessThanOrEqual(bytes);
        intervals.forEach((b, j) => {
          if (j <= i || a.last < b.first || b.last < a.first) return;
          const other = offsets[j] as number;
          expect(start + a.bytes <= other || other + b.bytes <= start).toBe(true);
        });
      });
    }),
  );
});

test('a chain of values needs room for two', () => {
  const chain = Array.from({ length: 10 }, (_, i) => ({ bytes: 1000, first: i, last: i + 1 }));
  expect(planMemory(chain).bytes).toBe(2048);
});
