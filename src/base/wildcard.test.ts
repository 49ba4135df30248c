import fc from 'fast-check';
import { expect, test } from 'vitest';
import { matchesWildcard } from './wildcard.ts';

test('matches as a regular expression would, in no time', () => {
  const words = fc.array(fc.constantFrom('a', 'b', '.', '*'), { maxLength: 8 }).map((list) => list.join(''));
  fc.assert(
    fc.property(words, words, (pattern, word) => {
      const text = word.replaceAll('*', 'a');
      const expression = new RegExp(`^${pattern.replaceAll('.', '\\.').replaceAll(/\*+/g, '.*')}$`);
      expect(matchesWildcard(text, pattern)).toBe(expression.test(text));
    }),
    { numRuns: 2000 },
  );
  expect(matchesWildcard('a'.repeat(5000), `${'*a'.repeat(2000)}*x`)).toBe(false);
});
