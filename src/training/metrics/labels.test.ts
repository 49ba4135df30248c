/** Several labels a sample, and numbers: scikit-learn's and scipy's figures, and what must be refused. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { bceWithLogitsLoss } from '../../nn/index.ts';
import { tensor, Variable } from '../../tensor/index.ts';
import { checkReport, formatReport, MultiLabelCounter, RegressionCounter } from './index.ts';

const golden = JSON.parse(readFileSync(new URL('../../../test/golden/metrics/labels.json', import.meta.url), 'utf8'));

describe('several labels a sample', () => {
  const { names, scores, labels, report, text, subsetAccuracy, hammingLoss, averagePrecision } = golden.multiLabel;
  const count = (cut: number) => {
    const counter = new MultiLabelCounter(names);
    const width = names.length;
    for (let row = 0; row < scores.length / width; row += cut) {
      const part = (list: number[]) => Float32Array.from(list.slice(row * width, (row + cut) * width));
      counter.update(part(scores), part(labels));
    }
    return counter.scores;
  };

  test.each([1, 7, 100])("scikit-learn's figures, in batches of %i", (cut) => {
    const found = count(cut);
    for (const [name, row] of Object.entries<Record<string, number>>(report))
      for (const [key, value] of Object.entries(row))
        expect((found.report[name] as unknown as Record<string, number>)[key], `${name} ${key}`).toBeCloseTo(value, 12);
    expect(found.subsetAccuracy).toBeCloseTo(subsetAccuracy, 12);
    expect(found.hammingLoss).toBeCloseTo(hammingLoss, 12);
    for (const [name, value] of Object.entries<number | null>(averagePrecision)) {
      if (value === null) expect(found.averagePrecision?.[name]).toBeNull();
      else expect(found.averagePrecision?.[name]).toBeCloseTo(value, 12);
    }
    checkReport(found.report);
  });

  test("scikit-learn's text", () => {
    expect(formatReport(count(5).report, { digits: 4 })).toBe(text);
  });

  test('rows without labels are passed over; scores that are NaN are refused', () => {
    const counter = new MultiLabelCounter(['a', 'b']);
    expect(counter.update(Float32Array.of(0.9, 0.1, 0.9, 0.9), Float32Array.of(1, 0, Number.NaN, Number.NaN))).toBe(1);
    expect(counter.scores).toMatchObject({ n: 1, subsetAccuracy: 1, hammingLoss: 0 });
    expect(() => counter.update(Float32Array.of(Number.NaN, 0), Float32Array.of(0, 1))).toThrow(/score of a is NaN/);
    expect(() => counter.update(new Float32Array(3), new Float32Array(3))).toThrow(/3 scores/);
    expect(new MultiLabelCounter(['a']).scores).toMatchObject({ n: 0, subsetAccuracy: 0, meanAveragePrecision: null });
  });
});

describe('numbers', () => {
  const { values, predictions, ...figures } = golden.regression;
  test.each([1, 6, 50])("scikit-learn's and scipy's figures, in batches of %i", (cut) => {
    const counter = new RegressionCounter(['y']);
    for (let i = 0; i < values.length; i += cut)
      counter.update(Float32Array.from(predictions.slice(i, i + cut)), Float32Array.from(values.slice(i, i + cut)));
    const found = counter.scores.y as unknown as Record<string, number>;
    for (const [name, value] of Object.entries<number>(figures)) expect(found[name], name).toBeCloseTo(value, 10);
    expect(found.rmse).toBeCloseTo(Math.sqrt(figures.mse), 10);
  });

  test('several names; what is not there does not count; constants have no correlation', () => {
    const counter = new RegressionCounter(['a', 'b']);
    expect(counter.update(Float32Array.of(1, 5, 3, 9), Float32Array.of(2, 5, Number.NaN, 5))).toBe(3);
    const { a, b } = counter.scores;
    expect(a).toMatchObject({ n: 1, mae: 1, r2: 0, pearson: null, spearman: null });
    expect(b).toMatchObject({ n: 2, mse: 8, mae: 2, baseline: { rmse: 0, mae: 0 }, r2: 0 });
    expect(() => counter.update(Float32Array.of(Number.NaN, 0), Float32Array.of(0, 1))).toThrow(/prediction is NaN/);
  });
});

test("binary cross-entropy with a weight for positives: PyTorch's loss and gradient", async () => {
  const { logits, targets, posWeight, loss, gradient } = golden.bce;
  const x = new Variable(tensor(logits, { shape: [5, 3] }), { requiresGrad: true });
  const y = bceWithLogitsLoss(x, tensor(targets, { shape: [5, 3] }), { posWeight: tensor(posWeight) });
  y.backward();
  expect(await y.item()).toBeCloseTo(loss, 5);
  const found = await x.grad?.data();
  gradient.forEach((g: number, i: number) => {
    expect(found?.[i]).toBeCloseTo(g, 6);
  });
  expect(() => bceWithLogitsLoss(x, x, { posWeight: tensor([1, 2]) })).toThrow(/3 labels need as many weights/);
});
