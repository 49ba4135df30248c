/** What a run tells people: figures in short, counts as counts. */
import { expect, it } from 'vitest';
import { describeSchema } from '../data/index.ts';
import { headline, measuresText } from './progress.ts';

it('several heads: the loss of all and the first figure of each', () => {
  const measures = {
    loss: 1.5,
    'digit.loss': 0.1,
    'digit.accuracy': 0.987,
    'digit.macroF1': 0.98,
    'traits.loss': 0.2,
    'traits.microF1': 0.9,
    'traits.subsetAccuracy': 0.8,
    'boxes.loss': 0.3,
    'boxes.width.mae': 1,
    'boxes.height.mae': 2,
    'boxes.r2': 0.5,
  };
  expect(headline(measures)).toBe('loss 1.5000  digit.accuracy 98.70 %  traits.microF1 0.9000  boxes.r2 0.5000');
});

it('one head: as before, counts without decimals', () => {
  const one = { loss: 0.25, accuracy: 0.5, macroF1: 0.4 };
  expect(headline(one)).toBe(measuresText(one));
  expect(measuresText({ loss: 2, perplexity: Math.exp(2), predictions: 48_384 })).toBe(
    'loss 2.0000  perplexity 7.389  predictions 48,384',
  );
});

it('a schema without labels has no arrow', () => {
  expect(describeSchema({ features: { text: { kind: 'text' } }, labels: {} })).toBe('text text');
});
