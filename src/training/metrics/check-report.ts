/** Whether a classification report can be true: invented or mistyped numbers contradict each other, and the row is named. */
import { DataError, printable } from '../../base/errors.ts';
import type { ClassificationReport, Ratio } from './classification-report.ts';

export interface CheckOptions {
  /** Decimals the numbers were rounded to; they are taken as full doubles unless told. */
  readonly digits?: number;
  /** Path for error messages. */
  readonly file?: string;
}

interface Row {
  readonly name: string;
  readonly precision: number;
  readonly recall: number;
  readonly 'f1-score': number;
  readonly support: number;
  readonly tp?: number;
  readonly predicted?: number;
}

const ratioKeys: readonly Ratio[] = ['precision', 'recall', 'f1-score'];
const averageNames = ['micro avg', 'macro avg', 'weighted avg'];

/**
 * Checks a report read from somewhere (ours, or scikit-learn's JSON without counts): supports add up, true positives
 * are integers, ratios are counts over counts, F1 lies between precision and recall, averages follow from the rows.
 * @throws DataError REPORT_INCONSISTENT with `row` and `field`.
 */
export function checkReport(json: unknown, { digits, file }: CheckOptions = {}): ClassificationReport {
  const where = file === undefined ? '' : `${printable(file)}: `;
  // Half a unit of the last printed digit, with room for the doubles' own rounding.
  const slack = (digits === undefined ? 0 : 0.5 * 10 ** -digits) + 1e-9;
  const near = (a: number, b: number, times = 1): boolean => Math.abs(a - b) <= slack * times;

  const object = isObject(json)
    ? json
    : fail('report', 'report', 'a report is an object of rows', 'an object', typeof json);
  const read = (name: string): Row => {
    const row = object[name];
    if (!isObject(row)) return fail(name, 'row', 'is missing or not an object', 'an object', row);
    for (const key of ratioKeys) {
      const value = row[key];
      if (typeof value !== 'number' || !(value >= 0 && value <= 1))
        fail(name, key, `${key} is ${printable(value)}, not a number from 0 to 1`, '0 to 1', value);
    }
    for (const key of ['support', 'tp', 'predicted']) {
      const value = row[key];
      if (key !== 'support' && value === undefined) continue;
      if (!Number.isSafeInteger(value) || (value as number) < 0)
        fail(name, key, `${key} is ${printable(value)}, not a count`, 'a count', value);
    }
    return { ...(row as unknown as Row), name };
  };

  const rows = Object.keys(object)
    .filter((name) => name !== 'accuracy' && name !== 'samples avg' && !averageNames.includes(name))
    .map(read);
  if (rows.length === 0) fail('report', 'report', 'a report has at least one class');
  for (const row of rows) checkRow(row);

  const sum = (of: (row: Row) => number): number => rows.reduce((total, row) => total + of(row), 0);
  const n = sum((row) => row.support);
  // Samples are not known here: of their average only that it is one.
  if (object['samples avg'] !== undefined) read('samples avg');
  for (const name of averageNames) {
    if (name === 'micro avg' && object[name] === undefined) continue;
    const row = read(name);
    if (row.support !== n)
      fail(name, 'support', `support is ${row.support}, the classes' add up to ${n}`, n, row.support);
    for (const key of ratioKeys) checkAverage(row, key);
  }
  const { accuracy } = object;
  if (accuracy !== undefined) {
    if (typeof accuracy !== 'number') fail('accuracy', 'accuracy', 'is not a number', 'a number', accuracy);
    // Over all classes the accuracy is the recall weighted by support.
    const expected = n === 0 ? 0 : sum((row) => row.recall * row.support) / n;
    if (!near(accuracy as number, expected, 2))
      fail('accuracy', 'accuracy', 'does not follow from the recalls', expected, accuracy);
  } else if (object['micro avg'] === undefined) fail('accuracy', 'accuracy', 'is missing, and so is "micro avg"');
  return object as ClassificationReport;

  function fail(row: string, field: string, words: string, expected?: unknown, got?: unknown): never {
    throw new DataError('REPORT_INCONSISTENT', `${where}row ${printable(row)}: ${words}`, {
      file,
      row,
      field: `${row}.${field}`,
      expected,
      got,
    });
  }

  // Rounded ratios stand for several counts; a row can be true if some whole numbers give all three.
  function checkRow(row: Row): void {
    const { name, precision, recall, support, 'f1-score': f1 } = row;
    const low = Math.min(precision, recall);
    const high = Math.max(precision, recall);
    if (f1 < low - 2 * slack || f1 > high + 2 * slack)
      fail(name, 'f1-score', `F1 ${f1} is not between precision and recall`, [low, high], f1);
    const tps = within(row.tp, recall * support, slack * support).filter(
      (tp) => tp <= support && near(recall, support === 0 ? 0 : tp / support),
    );
    if (tps.length === 0) {
      const nearest = row.tp ?? Math.round(recall * support);
      fail(name, 'recall', `recall ${recall} is no count out of ${support}`, nearest / support, recall);
    }
    const possible = tps
      .map((tp) => ({ tp, range: predictions(tp, precision, 0, row.predicted) }))
      .filter(({ range: [least, most] }) => least <= most);
    if (possible.length === 0)
      fail(name, 'precision', `precision ${precision} is no share of ${tps[0]} true positives`, undefined, precision);
    const follows = possible.some(({ tp, range }) => {
      // F1 is 2 tp out of (predicted + support).
      const [least, most] = predictions(2 * tp, f1, support, row.predicted);
      return Math.max(least, range[0]) <= Math.min(most, range[1]);
    });
    const expected = precision + recall === 0 ? 0 : (2 * precision * recall) / (precision + recall);
    if (!follows) fail(name, 'f1-score', `F1 ${f1} does not follow from precision and recall`, expected, f1);
  }

  /** The whole numbers that may be meant: the one that is known, or all within `wanted` of `value` (the 100,000 nearest). */
  function within(known: number | undefined, value: number, wanted: number): number[] {
    if (known !== undefined) return [known];
    const margin = Math.min(wanted, 50_000);
    const first = Math.max(0, Math.ceil(value - margin));
    return Array.from({ length: Math.max(0, Math.floor(value + margin) - first + 1) }, (_, i) => first + i);
  }

  /** Least and most predictions for which `part` out of (predictions + `others`) is `share`; none if least > most. */
  function predictions(part: number, share: number, others: number, known: number | undefined): [number, number] {
    const none: [number, number] = [1, 0];
    if (known !== undefined) {
      const whole = known + others;
      return part <= whole && near(share, whole === 0 ? 0 : part / whole) ? [known, known] : none;
    }
    if (part === 0) return share <= slack ? [0, Number.POSITIVE_INFINITY] : none;
    const most = share > slack ? Math.floor(part / (share - slack)) : Number.POSITIVE_INFINITY;
    return [Math.max(part, Math.ceil(part / (share + slack))) - others, most - others];
  }

  function checkAverage(row: Row, key: Ratio): void {
    const expected =
      row.name === 'macro avg'
        ? sum((r) => r[key]) / rows.length
        : row.name === 'weighted avg'
          ? n === 0
            ? 0
            : sum((r) => r[key] * r.support) / n
          : micro(key);
    if (expected !== undefined && !near(row[key], expected, 2))
      fail(row.name, key, `${key} ${row[key]} does not follow from the classes`, expected, row[key]);
  }

  // Needs counts: how many were predicted in all cannot be had from rounded ratios.
  function micro(key: Ratio): number | undefined {
    if (rows.some((row) => row.tp === undefined || row.predicted === undefined)) return undefined;
    const tp = sum((row) => row.tp as number);
    const predicted = sum((row) => row.predicted as number);
    const of = { precision: predicted, recall: n, 'f1-score': (predicted + n) / 2 }[key];
    return of === 0 ? 0 : tp / of;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
