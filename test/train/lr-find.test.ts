/** The learning rate range test: a curve, a suggestion that learns, and weights as they were. */
import { expect, test } from 'vitest';
import type { CambiumError } from '../../src/base/index.ts';
import { Philox } from '../../src/base/rng.ts';
import { digits, phrases, trainWordPiece } from '../../src/data/index.ts';
import { createModel, MnistCnn } from '../../src/models/index.ts';
import { manualSeed } from '../../src/tensor/index.ts';
import { findLearningRate, fineTune, lrFindText } from '../../src/training/index.ts';
import { type LrPoint, suggestions } from '../../src/training/lr-find.ts';

const data = { train: digits({ split: 'train', size: 400 }), validation: digits({ split: 'test', size: 100 }) };
const model = (): MnistCnn => {
  manualSeed(1);
  return new MnistCnn({ dropout: 0 });
};

test('finds a rate that learns, and leaves the weights alone', async () => {
  const cnn = model();
  const before = await Promise.all([...cnn.stateDict().values()].map((v) => v.data()));
  const finding = await findLearningRate({ model: cnn, data, batchSize: 32 }, { minLr: 1e-6, maxLr: 10, steps: 60 });
  const after = await Promise.all([...cnn.stateDict().values()].map((v) => v.data()));
  expect(after).toEqual(before);
  expect(finding.valley).toBeGreaterThan(1e-5);
  expect(finding.valley).toBeLessThan(0.1);
  expect(finding.points[0]?.lr).toBeCloseTo(1e-6, 12);
  expect(lrFindText(finding)).toContain('--set optimizer.lr=');
  const again = await findLearningRate({ model: model(), data, batchSize: 32 }, { minLr: 1e-6, maxLr: 10, steps: 60 });
  expect(again).toEqual(finding);
  const sgd = { model: model(), data, batchSize: 32, optimizer: { name: 'sgd', lr: 1 } } as const;
  const broken = await findLearningRate(sgd, { minLr: 1e-3, maxLr: 1e6, steps: 60 });
  expect(broken.diverged).toBeLessThan(1e6);
  expect(broken.points.length).toBeLessThan(60);
  const accuracy = async (lr: number): Promise<number> => {
    const { history } = await fineTune({
      model: model(),
      data,
      batchSize: 32,
      epochs: 2,
      optimizer: { name: 'adamw', lr },
    });
    return history[1]?.validation?.accuracy as number;
  };
  expect(await accuracy(finding.valley as number)).toBeGreaterThan((await accuracy(1e-6)) + 0.2);
});

/** A sweep over 61 rates from 1e-6 to 1, smoothed as the finder does; noise of a fixed sequence. */
function sweep(f: (x: number) => number, noise = 0): LrPoint[] {
  const random = new Philox(7, 0);
  const keep = Math.exp(-15 / 61);
  let mean = 0;
  return Array.from({ length: 61 }, (_, i) => {
    const loss = f(-6 + i / 10) + noise * (2 * random.uniform() - 1);
    mean = keep * mean + (1 - keep) * loss;
    return { lr: 10 ** (-6 + i / 10), loss, smoothed: mean / (1 - keep ** (i + 1)) };
  });
}
const bowl = (x: number): number => 2 - 1.5 / (1 + Math.exp(-3 * (x + 3))) + Math.max(0, x + 1) ** 2;

test('suggestions on a curve that falls and rises, with noise and without', () => {
  for (const noise of [0, 0.05, 0.2]) {
    const { steepest = 0, valley = 0, minimum = 0, ...said } = suggestions(sweep(bowl, noise));
    expect(Math.abs(Math.log10(steepest) + 2.7)).toBeLessThan(0.6);
    expect(Math.abs(Math.log10(valley) + 2.8)).toBeLessThan(0.7);
    expect(Math.abs(Math.log10(minimum) + 2)).toBeLessThan(0.8);
    expect(valley).toBeLessThan(10 * minimum);
    expect(said.fall).toBeGreaterThan(1);
    expect(said.fall).toBeGreaterThan(8 * said.noise);
    const text = lrFindText({ points: sweep(bowl, noise), ...suggestions(sweep(bowl, noise)) });
    expect(text).toContain('--set optimizer.lr=');
    expect(text).toContain('where a third of that is done');
    expect(text).toContain('did not diverge up to 1.0, but the loss rises');
  }
});

test('no suggestion from a flat curve of noise, a rise, or nothing; what helps is said', () => {
  const curves = [
    sweep(() => 0.69, 0.03),
    sweep(() => 0.69, 1e-6),
    sweep((x) => 10 + x),
    sweep((x) => 10 + x, 0.5),
    [],
  ];
  for (const points of curves) {
    const found = suggestions(points);
    expect(Object.keys(found).sort()).toEqual(['fall', 'noise']);
    const text = lrFindText({ points, ...found });
    expect(text).toContain('no suggestion');
    expect(text).toContain('--steps');
    expect(text).not.toContain('optimizer.lr');
  }
  // Losses that scatter at high rates alone.
  const wild = new Philox(5, 0);
  const scattered = sweep((x) => 0.69 + Math.max(0, x + 3) * 0.05 * (2 * wild.uniform() - 1), 0.002);
  expect(suggestions(scattered)).not.toHaveProperty('valley');
  // The outlier a first batch may be is no fall.
  const [first, ...rest] = sweep(() => 1, 0.02);
  expect(suggestions([{ ...(first as LrPoint), loss: 9, smoothed: 9 }, ...rest])).not.toHaveProperty('valley');
});

test('a text model of a flat curve gets no suggestion from noise', async () => {
  const tokenizer = await trainWordPiece(['good bad food hotel'], { vocabSize: 60 });
  manualSeed(1);
  const lstm = createModel('lstm-classifier', {
    vocabSize: tokenizer.vocabSize,
    numClasses: 2,
    embeddingDim: 8,
    hiddenSize: 8,
  });
  const texts = { train: phrases({ split: 'train', size: 200 }) as never };
  const options = { model: lstm, data: texts, text: { tokenizer, maxLength: 8 }, batchSize: 16 };
  const finding = await findLearningRate(options, { minLr: 1e-9, maxLr: 1e-6, steps: 40 });
  expect(finding.valley).toBeUndefined();
  expect(finding.noise).toBeGreaterThan(0);
});

test('wrong ranges are refused', async () => {
  for (const [options, field] of [
    [{ minLr: 0 }, 'minLr'],
    [{ minLr: 1, maxLr: 0.1 }, 'minLr'],
    [{ steps: 3 }, 'steps'],
  ] as const) {
    const error = (await findLearningRate({ model: model(), data }, options).catch((e: unknown) => e)) as CambiumError;
    expect([error.code, error.details.field]).toEqual(['OPTION_INVALID', field]);
  }
});
