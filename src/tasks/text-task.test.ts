/** Tokens in, loss and named answers out; and the baseline a text model must beat. */
import { describe, expect, test } from 'vitest';
import { DataLoader, InMemoryTextDataset, trainWordPiece } from '../data/index.ts';
import { LSTMClassifier } from '../models/index.ts';
import { Adam } from '../optim/index.ts';
import { manualSeed } from '../tensor/index.ts';
import { bagOfWords, NaiveBayes, textClassification } from './index.ts';

const classes = ['bad', 'good'];
const good = ['很 好 good', 'really good food', '好吃 very good', 'good good'];
const bad = ['不好 bad', 'really bad food', '难吃 very bad', 'bad bad service'];
const dataset = new InMemoryTextDataset({
  name: 'reviews',
  texts: [...bad, ...good],
  labels: Int32Array.of(0, 0, 0, 0, 1, 1, 1, 1),
  classes,
});
const tokenizer = await trainWordPiece(dataset.texts, { vocabSize: 60, minFrequency: 1 });

describe('text classification', () => {
  const loader = new DataLoader(dataset, { batchSize: 8, text: { tokenizer } });
  const make = (): LSTMClassifier =>
    new LSTMClassifier({ vocabSize: tokenizer.vocabSize, embeddingDim: 8, hiddenSize: 8, pooling: 'mean' });

  test('an LSTM learns the batch, and padding does not change its answer', async () => {
    manualSeed(1);
    const task = textClassification({ classes });
    const model = make();
    const optimizer = new Adam(model.parameters(), { lr: 0.02 });
    const batch = await loader.batch(0, 0);
    const losses: number[] = [];
    for (let i = 0; i < 40; i++) {
      const loss = task.loss(model, batch);
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      losses.push(await loss.item());
    }
    expect(losses.at(-1)).toBeLessThan((losses[0] as number) / 4);
    expect(await task.evaluate(model, batch)[0].predictions.toArray()).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
    const [alone] = await task.predict(model, tokenizer.encodeBatch(['really good food']));
    const [padded] = await task.predict(
      model,
      tokenizer.encodeBatch(['really good food'], { padding: 'maxLength', maxLength: 20 }),
    );
    expect(alone?.label).toBe('good');
    expect(padded?.probabilities.good).toBeCloseTo(alone?.probabilities.good as number, 5);
  });

  test('what is missing is named', async () => {
    const task = textClassification({ classes: ['a', 'b', 'c'] });
    const batch = await loader.batch(0, 0);
    expect(() => task.loss(make(), batch)).toThrowError(expect.objectContaining({ code: 'CLASSES_MISMATCH' }));
    const { attentionMask, ...rest } = batch;
    expect(() => task.input(rest as typeof batch)).toThrowError(expect.objectContaining({ code: 'FEATURE_MISSING' }));
    expect(() => textClassification({ classes: ['a'] })).toThrowError(
      expect.objectContaining({ code: 'CLASSES_INVALID' }),
    );
  });
});

describe('naive Bayes', () => {
  test('units and pairs of neighbours', () => {
    expect(bagOfWords('Very good!')).toEqual(['very', 'good', '!', 'very good', 'good !']);
    expect(bagOfWords('好 吃!')).toEqual(['好吃', '吃!']);
    expect(bagOfWords('好')).toEqual(['好']);
    expect(bagOfWords('')).toEqual([]);
  });
  test('the counts by hand', async () => {
    // "a" 2 of 3 units in class 0 (a, a, "a a"), 0 of 1 in class 1 (b); three units in all.
    const tiny = new InMemoryTextDataset({ name: 't', texts: ['a a', 'b'], labels: Int32Array.of(0, 1), classes });
    const bayes = await NaiveBayes.fit(tiny);
    // a: 0.5 * 3/6 against 0.5 * 1/4; b: 0.5 * 1/6 against 0.5 * 2/4; a b: 3/6 * 1/6 against 1/4 * 2/4, "a b" is unknown.
    expect(['a', 'b', 'a b'].map((text) => bayes.predict(text))).toEqual([0, 1, 1]);
    expect(await bayes.accuracy(tiny)).toBe(1);
    await expect(NaiveBayes.fit(tiny, { smoothing: 0 })).rejects.toMatchObject({ code: 'OPTION_INVALID' });
  });
  test('it tells the reviews apart', async () => {
    expect(await (await NaiveBayes.fit(dataset)).accuracy(dataset)).toBe(1);
  });
});
