/** The learning rate range test: a curve, a suggestion that learns, and weights as they were. */
import { expect, test } from 'vitest';
import type { CambiumError } from '../../src/base/index.ts';
import { digits } from '../../src/data/index.ts';
import { MnistCnn } from '../../src/models/index.ts';
import { manualSeed } from '../../src/tensor/index.ts';
import { findLearningRate, fineTune, lrFindText } from '../../src/training/index.ts';
import { suggestions } from '../../src/training/lr-find.ts';

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

test('suggestions on a curve that falls and rises; none where it only rises', () => {
  const curve = (f: (x: number) => number) =>
    Array.from({ length: 61 }, (_, i) => ({ lr: 10 ** (-6 + i / 10), loss: 0, smoothed: f(-6 + i / 10) }));
  const { steepest = 0, valley = 0 } = suggestions(
    curve((x) => 2 - 1.5 / (1 + Math.exp(-3 * (x + 3))) + Math.max(0, x + 1) ** 2),
  );
  expect(Math.abs(Math.log10(steepest) + 3)).toBeLessThan(0.2);
  expect(valley).toBeGreaterThan(1e-6);
  expect(valley).toBeLessThan(1e-2);
  expect(suggestions(curve((x) => x))).toEqual({});
  expect(suggestions([])).toEqual({});
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
