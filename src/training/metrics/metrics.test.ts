import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ArgumentError, DataError } from '../../base/errors.ts';
import {
  type ClassificationReport,
  ConfusionMatrix,
  checkReport,
  classificationReport,
  formatConfusion,
  formatReport,
  Mean,
  reportRows,
  wilsonInterval,
  worstConfusions,
} from './index.ts';

interface Case {
  name: string;
  classes: string[];
  labels: number[] | null;
  digits: number;
  true: number[];
  pred: number[];
  json: Record<string, number | Record<string, number>>;
  text: string;
}
const golden = new URL('../../../test/golden/metrics/reports.json', import.meta.url);
const { cases } = JSON.parse(readFileSync(golden, 'utf8')) as { cases: Case[] };

const reportOf = (c: Case): ClassificationReport =>
  classificationReport(new ConfusionMatrix(c.classes).update(c.pred, c.true), { labels: c.labels ?? undefined });

describe.each(cases)('scikit-learn: $name', (c) => {
  test('JSON is equal, bit for bit, but for our counts', () => {
    const report = reportOf(c);
    const plain = Object.entries(report).map(([name, row]) => {
      if (typeof row === 'number') return [name, row];
      const { precision, recall, 'f1-score': f1, support } = row;
      return [name, { precision, recall, 'f1-score': f1, support }];
    });
    expect(Object.fromEntries(plain)).toEqual(c.json);
  });
  test('text is equal, byte for byte, also after a trip through JSON', () => {
    const report = reportOf(c);
    expect(formatReport(report, { digits: c.digits })).toBe(c.text);
    expect(formatReport(JSON.parse(JSON.stringify(report)), { digits: c.digits })).toBe(c.text);
  });
  test('passes the self-check, ours and theirs', () => {
    checkReport(JSON.parse(JSON.stringify(reportOf(c))));
    checkReport(c.json);
  });
});

test('any counts give a report that passes its check, and passes it after rounding', () => {
  const pairs = fc.integer({ min: 1, max: 6 }).chain((k) => {
    const index = fc.integer({ min: 0, max: k - 1 });
    return fc.record({ k: fc.constant(k), pairs: fc.array(fc.tuple(index, index), { maxLength: 60 }) });
  });
  fc.assert(
    fc.property(pairs, ({ k, pairs }) => {
      const matrix = new ConfusionMatrix(Array.from({ length: k }, (_, i) => `c${i}`));
      matrix.update(
        pairs.map(([p]) => p),
        pairs.map(([, t]) => t),
      );
      const report = classificationReport(matrix);
      checkReport(report);
      const rounded = JSON.stringify(report, (key, v) =>
        typeof v === 'number' && !['support', 'tp', 'predicted', 'row'].includes(key) ? Number(v.toFixed(3)) : v,
      );
      checkReport(JSON.parse(rounded), { digits: 3 });
      const { classes } = reportRows(report);
      for (const [, row] of classes) {
        delete (row as { tp?: number }).tp;
        delete (row as { predicted?: number }).predicted;
      }
      checkReport(report);
    }),
  );
});

test('a rare hit that rounds away is no contradiction', () => {
  const row = { precision: 1, recall: 0, 'f1-score': 0.001, support: 10_000 };
  const averages = { 'micro avg': row, 'macro avg': row, 'weighted avg': row };
  // 3 of 10,000 found, nothing else taken for it: recall 0.0003, F1 0.0006.
  checkReport({ a: row, ...averages }, { digits: 3 });
  expect(() => checkReport({ a: row, ...averages })).toThrow(DataError);
});

describe("the tutorial's invented report (section 5.4)", () => {
  const rows = [
    [0.979, 0.987, 0.986],
    [0.974, 0.967, 0.969],
    [0.975, 0.973, 0.974],
    [0.974, 0.972, 0.973],
    [0.976, 0.974, 0.975],
    [0.974, 0.972, 0.973],
    [0.976, 0.975, 0.975],
    [0.975, 0.972, 0.973],
    [0.974, 0.973, 0.973],
    [0.973, 0.975, 0.974],
  ];
  const row = ([precision, recall, f1]: number[], support = 600) => ({ precision, recall, 'f1-score': f1, support });
  const average = row([0.974, 0.974, 0.974], 6000);
  const averages = { 'micro avg': average, 'macro avg': average, 'weighted avg': average };
  const report = { ...Object.fromEntries(rows.map((r, i) => [i, row(r)])), ...averages };

  test('is refused, with the row named', () => {
    expect(() => checkReport(report, { digits: 3 })).toThrow(DataError);
    expect(() => checkReport(report, { digits: 3 })).toThrow(
      expect.objectContaining({ code: 'REPORT_INCONSISTENT', details: expect.objectContaining({ row: '0' }) }),
    );
  });
  test.each([0, 1, 4])('row %s alone is refused too', (i) => {
    const r = rows[i] as number[];
    const one = (support: number) => row(r, support);
    const alone = { [i]: one(600), 'micro avg': one(600), 'macro avg': one(600), 'weighted avg': one(600) };
    expect(() => checkReport(alone, { digits: 3 })).toThrow(
      expect.objectContaining({ details: expect.objectContaining({ row: String(i) }) }),
    );
  });
});

const good = () =>
  JSON.parse(
    JSON.stringify(classificationReport(new ConfusionMatrix(['a', 'b']).update([0, 1, 1, 0, 1], [0, 1, 0, 0, 1]))),
  );
test.each([
  ['a', 'support', (r: ReturnType<typeof good>) => (r.a.support = 2.5)],
  ['a', 'recall', (r: ReturnType<typeof good>) => (r.a.recall = 0.7)],
  ['b', 'precision', (r: ReturnType<typeof good>) => (r.b.precision = 0.7)],
  ['b', 'f1-score', (r: ReturnType<typeof good>) => (r.b['f1-score'] = 0.5)],
  ['b', 'tp', (r: ReturnType<typeof good>) => (r.b.tp = 1.5)],
  ['b', 'precision', (r: ReturnType<typeof good>) => (r.b.precision = null)],
  ['macro avg', 'support', (r: ReturnType<typeof good>) => (r['macro avg'].support = 6)],
  ['weighted avg', 'recall', (r: ReturnType<typeof good>) => (r['weighted avg'].recall = 0.9)],
  ['weighted avg', 'row', (r: ReturnType<typeof good>) => delete r['weighted avg']],
  ['accuracy', 'accuracy', (r: ReturnType<typeof good>) => (r.accuracy = 0.9)],
  ['accuracy', 'accuracy', (r: ReturnType<typeof good>) => delete r.accuracy],
])('a wrong row %s (%s) is named', (row, field, spoil) => {
  const report = good();
  spoil(report);
  expect(() => checkReport(report, { file: 'report.json' })).toThrow(
    expect.objectContaining({
      details: expect.objectContaining({ row, field: `${row}.${field}`, file: 'report.json' }),
    }),
  );
});
test.each([null, 3, [], {}, 'text'])('%j is no report', (json) => expect(() => checkReport(json)).toThrow(DataError));

describe('confusion matrix', () => {
  test('counts batch by batch, merges, and comes back from JSON', () => {
    const a = new ConfusionMatrix(['x', 'y']).update([0, 1], [0, 0]).update(Int32Array.of(1), Int32Array.of(1));
    const b = new ConfusionMatrix(['x', 'y']).update([0], [1]);
    a.merge(b);
    expect(a.toJSON()).toEqual({
      classes: ['x', 'y'],
      counts: [
        [1, 1],
        [1, 1],
      ],
    });
    expect([...a.counts]).toEqual([1, 1, 1, 1]);
    expect([a.total, a.correct, a.accuracy, a.support(0), a.predicted(1)]).toEqual([4, 2, 0.5, 2, 2]);
    expect(ConfusionMatrix.fromJSON(JSON.parse(JSON.stringify(a))).toJSON()).toEqual(a.toJSON());
  });
  test.each([
    ['label', [0, 0], [0, 2]],
    ['label', [0, 0], [0, -1]],
    ['label', [0, 0], [0, 0.5]],
    ['prediction', [0, 2], [0, 0]],
    ['prediction', [0, Number.NaN], [0, 0]],
  ])('a %s out of range is named, and nothing is counted', (what, predictions, labels) => {
    const matrix = new ConfusionMatrix(['x', 'y']);
    expect(() => matrix.update(predictions, labels)).toThrow(
      expect.objectContaining({
        code: `${what.toUpperCase()}_OUT_OF_RANGE`,
        details: expect.objectContaining({ index: 1, field: `${what}s` }),
      }),
    );
    expect(matrix.total).toBe(0);
  });
  test.each([[[]], [['a', 'a']], [['accuracy']], [['macro avg', 'b']], [['__proto__']], [['']]])(
    'refuses classes %j',
    (names) => expect(() => new ConfusionMatrix(names)).toThrow(ArgumentError),
  );
  test('refuses lengths and classes that differ, and counts that are none', () => {
    const matrix = new ConfusionMatrix(['x', 'y']);
    expect(() => matrix.update([0], [0, 1])).toThrow(ArgumentError);
    expect(() => matrix.merge(new ConfusionMatrix(['y', 'x']))).toThrow(ArgumentError);
    expect(() => ConfusionMatrix.fromJSON({ classes: ['x', 'y'], counts: [[1]] })).toThrow(DataError);
    expect(() => ConfusionMatrix.fromJSON({ classes: ['x'], counts: [[-1]] })).toThrow(DataError);
    expect(() => classificationReport(matrix, { labels: ['z'] })).toThrow(ArgumentError);
    expect(() => classificationReport(matrix, { labels: [0, 'x'] })).toThrow(ArgumentError);
    expect(() => formatReport(classificationReport(matrix), { digits: -1 })).toThrow(ArgumentError);
  });
});

test('a report of nothing is zeros', () => {
  expect(reportRows(classificationReport(new ConfusionMatrix(['x', 'y']))).accuracy).toBe(0);
});

test('mean is weighted by items and the same however it is cut', () => {
  expect(new Mean().add(1, 3).add(5, 1).value).toBe(2);
  expect(new Mean().value).toBeNaN();
  const whole = new Mean();
  const parts = [new Mean(), new Mean()];
  for (let i = 0; i < 1000; i++) {
    whole.add(i / 7, 3);
    parts[i % 2]?.add(i / 7, 3);
  }
  const merged = new Mean().merge(parts[0] as Mean).merge(parts[1] as Mean);
  expect(merged.items).toBe(3000);
  expect(merged.value).toBeCloseTo(whole.value, 12);
  expect(new Mean().add(1e16).add(1).add(-1e16).value).toBe(1 / 3);
  expect(new Mean().add(Number.POSITIVE_INFINITY).value).toBe(Number.POSITIVE_INFINITY);
  expect(() => new Mean().add(1, -1)).toThrow(ArgumentError);
});

// From scipy: binomtest(successes, total).proportion_ci(method='wilson').
test.each([
  [0, 10, 0, 0.27753279986288926],
  [10, 10, 0.7224672001371109, 1],
  [9, 10, 0.5958499732047615, 0.9821237869049271],
  [974, 1000, 0.96217617115731, 0.9821960617983836],
])('Wilson interval of %d out of %d', (successes, total, low, high) => {
  const interval = wilsonInterval(successes, total);
  expect(interval.low).toBeCloseTo(low, 12);
  expect(interval.high).toBeCloseTo(high, 12);
});
test('Wilson interval of nothing, and of what is no share', () => {
  expect(wilsonInterval(0, 0)).toEqual({ low: 0, high: 1 });
  for (const [a, b] of [
    [2, 1],
    [-1, 1],
    [0.5, 1],
  ] as const)
    expect(() => wilsonInterval(a, b)).toThrow(ArgumentError);
});

describe('confusion matrix in the terminal', () => {
  const matrix = new ConfusionMatrix(['猫', 'a dog', '\u001b[2J'])
    .update([0, 0, 1, 1, 1, 2], [0, 0, 1, 1, 0, 2])
    .update([1, 0], [0, 1]);
  test('is a table where it fits, safe to print', () => {
    expect(formatConfusion(matrix)).toBe(
      [
        'true \\ predicted        猫     a dog  \\u001b[…',
        '猫                       2         2         .',
        'a dog                    1         2         .',
        '\\u001b[2J                .         .         1',
        '',
      ].join('\n'),
    );
  });
  test('else a list of the worst', () => {
    expect(formatConfusion(matrix, { columns: 20, pairs: 1 })).toBe(
      'most frequent confusions (of 3), true -> predicted\n2   50.0 %  猫 -> a dog\n',
    );
    expect(formatConfusion(new ConfusionMatrix(['a', 'b']), { columns: 1 })).toBe('no confusions\n');
    expect(worstConfusions(matrix).map(({ label, count }) => [label, count])).toEqual([
      ['猫', 2],
      ['a dog', 1],
    ]);
  });
  test('a thousand classes neither overflow nor take long', () => {
    const names = Array.from({ length: 1000 }, (_, i) => `c${i}`);
    const big = new ConfusionMatrix(names).update([1], [0]);
    expect(formatConfusion(big)).toBe('most frequent confusions (of 1), true -> predicted\n1  100.0 %  c0 -> c1\n');
  });
});
