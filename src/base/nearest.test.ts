/** Which names are near enough to be suggested. */
import { expect, test } from 'vitest';
import { nearest } from './errors.ts';

test.each([
  ['meh', ['neg', 'pos'], undefined],
  ['ngg', ['neg', 'pos'], 'neg'],
  ['adm', ['sgd', 'adam'], 'adam'],
  ['txet', ['label', 'text'], 'text'],
  ['TEXT', ['label', 'text'], 'text'],
  ['cat', ['dog', 'cow'], undefined],
  ['positve', ['negative', 'positive'], 'positive'],
  ['resent18', ['resnet34', 'resnet18'], 'resnet18'],
  ['batchsize', ['epochs', 'batchSize'], 'batchSize'],
  ['xyz', [], undefined],
])('%s among %j: %s', (word, known, wanted) => {
  expect(nearest(word, known)).toBe(wanted);
});
