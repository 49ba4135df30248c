/** Precision, recall and F1 per class and on average: scikit-learn's classification_report, number for number, with counts. */
import { ArgumentError, printable } from '../../base/errors.ts';
import type { ConfusionMatrix } from './confusion-matrix.ts';

export interface AverageRow {
  readonly precision: number;
  readonly recall: number;
  readonly 'f1-score': number;
  readonly support: number;
}

export interface ClassRow extends AverageRow {
  /** Samples of this class that were predicted as it. */
  readonly tp: number;
  /** Samples predicted as this class. */
  readonly predicted: number;
  /** Place among the rows: JSON objects put names like "10" in an order of their own. */
  readonly row: number;
}

/**
 * Plain JSON. Keys are those of scikit-learn's `output_dict=True`: class names, then `accuracy` (or `micro avg` where
 * only some labels are reported and others occur, or samples have several), `macro avg` and `weighted avg`, and `samples avg`
 * where samples have several labels. Ratios over nothing are 0.
 */
export interface ClassificationReport {
  readonly [className: string]: ClassRow | AverageRow | number;
}

/** Typed access to the rows that every report has. */
export interface ReportRows {
  /** In the order of the text. */
  readonly classes: readonly (readonly [name: string, row: ClassRow])[];
  readonly accuracy: number | undefined;
  readonly micro: AverageRow | undefined;
  readonly macro: AverageRow;
  readonly weighted: AverageRow;
  /** Of several labels a sample: the mean over samples. */
  readonly samples: AverageRow | undefined;
}

export interface ReportOptions {
  /** Classes to report, by name or index, in this order; all unless told. */
  readonly labels?: readonly (string | number)[];
}

/** The report of the counts so far. */
export function classificationReport(matrix: ConfusionMatrix, { labels }: ReportOptions = {}): ClassificationReport {
  const chosen = labels ? resolve(matrix, labels) : matrix.classes.map((_, k) => k);
  // Micro averages are the accuracy as soon as every class that occurs is reported.
  const absent = matrix.classes.map((_, k) => k).filter((k) => !chosen.includes(k));
  const complete = absent.every((k) => matrix.support(k) === 0 && matrix.predicted(k) === 0);
  return reportOfCounts(
    chosen.map((k) => ({
      name: matrix.classes[k] as string,
      tp: matrix.at(k, k),
      predicted: matrix.predicted(k),
      support: matrix.support(k),
    })),
    complete,
  );
}

export interface LabelCounts {
  readonly name: string;
  readonly tp: number;
  readonly predicted: number;
  readonly support: number;
}

/** The report of counts; `accuracy` in place of the micro average where every sample has one of the labels and one prediction. */
export function reportOfCounts(counts: readonly LabelCounts[], accuracy: boolean): ClassificationReport {
  const rows = counts.map(({ tp, predicted, support }, row) => ({
    ...ratios(tp, predicted, support),
    support,
    tp,
    predicted,
    row,
  }));

  const total = (key: 'tp' | 'predicted' | 'support'): number => counts.reduce((sum, count) => sum + count[key], 0);
  const support = total('support');
  const micro = ratios(total('tp'), total('predicted'), support);
  const macro = (key: Ratio): number => pairwiseSum(rows.map((row) => row[key])) / rows.length;
  const weighted = (key: Ratio): number =>
    support === 0 ? 0 : pairwiseSum(rows.map((row) => row[key] * row.support)) / support;

  return {
    ...Object.fromEntries(rows.map((row, i) => [(counts[i] as LabelCounts).name, row])),
    ...(accuracy ? { accuracy: micro.precision } : { 'micro avg': { ...micro, support } }),
    'macro avg': average(macro, support),
    'weighted avg': average(weighted, support),
  };
}

const averages = ['accuracy', 'micro avg', 'macro avg', 'weighted avg', 'samples avg'];

/** The rows of a report, in order. */
export function reportRows(report: ClassificationReport): ReportRows {
  const classes = Object.entries(report)
    .filter(([name]) => !averages.includes(name))
    .map(([name, row]) => [name, row as ClassRow] as const)
    .sort(([, a], [, b]) => a.row - b.row);
  return {
    classes,
    accuracy: report.accuracy as number | undefined,
    micro: report['micro avg'] as AverageRow | undefined,
    macro: report['macro avg'] as AverageRow,
    weighted: report['weighted avg'] as AverageRow,
    samples: report['samples avg'] as AverageRow | undefined,
  };
}

/** The text scikit-learn prints, byte for byte (except `2` for its `2.0` where no sample is right and only some labels are reported). */
export function formatReport(report: ClassificationReport, { digits = 2 }: { digits?: number } = {}): string {
  if (!Number.isInteger(digits) || digits < 0 || digits > 20)
    throw new ArgumentError('DIGITS_INVALID', `digits is an integer from 0 to 20, got ${printable(digits)}`, {
      field: 'digits',
      got: digits,
    });
  const { classes, accuracy, micro, macro, weighted, samples } = reportRows(report);
  const width = Math.max(...classes.map(([name]) => codePoints(name)), 'weighted avg'.length, digits);
  const line = (name: string, cells: readonly string[]): string =>
    `${right(name, width)} ${cells.map((cell) => ` ${right(cell, 9)}`).join('')}\n`;
  // scikit-learn counts in floats, and shows it, when not one sample is right. A report of some labels cannot tell.
  const floats = accuracy === 0 && macro.support > 0;
  const count = (support: number): string => `${support}${floats ? '.0' : ''}`;
  const rowLine = (name: string, row: AverageRow): string =>
    line(name, [...ratioKeys.map((key) => fixed(row[key], digits)), count(row.support)]);

  let text = `${line('', [...ratioKeys, 'support'])}\n`;
  for (const [name, row] of classes) text += rowLine(name, row);
  text += '\n';
  if (accuracy !== undefined) text += line('accuracy', ['', '', fixed(accuracy, digits), count(macro.support)]);
  if (micro) text += rowLine('micro avg', micro);
  text += rowLine('macro avg', macro) + rowLine('weighted avg', weighted);
  return samples ? text + rowLine('samples avg', samples) : text;
}

export type Ratio = 'precision' | 'recall' | 'f1-score';
const ratioKeys: readonly Ratio[] = ['precision', 'recall', 'f1-score'];

const share = (count: number, of: number): number => (of === 0 ? 0 : count / of);

export function ratios(tp: number, predicted: number, support: number): Record<Ratio, number> {
  return {
    precision: share(tp, predicted),
    recall: share(tp, support),
    'f1-score': share(2 * tp, predicted + support),
  };
}

const average = (of: (key: Ratio) => number, support: number): AverageRow => ({
  precision: of('precision'),
  recall: of('recall'),
  'f1-score': of('f1-score'),
  support,
});

function resolve(matrix: ConfusionMatrix, labels: readonly (string | number)[]): number[] {
  const fail = (words: string, got: unknown): never => {
    throw new ArgumentError('LABELS_INVALID', words, { field: 'labels', got });
  };
  if (labels.length === 0) fail('a report needs at least one label', 0);
  const chosen = labels.map((label) => {
    const k = typeof label === 'string' ? matrix.classes.indexOf(label) : label;
    return matrix.classes[k] === undefined ? fail(`there is no class ${printable(label)}`, label) : k;
  });
  if (new Set(chosen).size !== chosen.length) fail('a label is given twice', labels);
  return chosen;
}

/** The sum in numpy's order of additions: sequential below 8, eight accumulators up to 128, halves beyond. */
export function pairwiseSum(values: readonly number[]): number {
  const at = (i: number): number => values[i] as number;
  const sum = (from: number, count: number): number => {
    if (count < 8) {
      let total = 0;
      for (let i = 0; i < count; i++) total += at(from + i);
      return total;
    }
    if (count > 128) {
      const half = Math.floor(count / 2 / 8) * 8;
      return sum(from, half) + sum(from + half, count - half);
    }
    const r = Array.from({ length: 8 }, (_, j) => at(from + j)) as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    let i = 8;
    for (; i < count - (count % 8); i += 8) for (let j = 0; j < 8; j++) r[j] = (r[j] as number) + at(from + i + j);
    let total = r[0] + r[1] + (r[2] + r[3]) + (r[4] + r[5] + (r[6] + r[7]));
    for (; i < count; i++) total += at(from + i);
    return total;
  };
  return sum(0, values.length);
}

/** `value.toFixed(digits)`, but exact ties go to the even digit, as in Python (JavaScript takes the larger number). */
function fixed(value: number, digits: number): string {
  const text = value.toFixed(digits);
  // A hundred decimals are all there are of a ratio of counts, so a tie shows exactly.
  const exact = value.toFixed(100);
  const point = exact.indexOf('.');
  if (!/^50*$/.test(exact.slice(point + 1 + digits))) return text;
  const down = exact.slice(0, digits === 0 ? point : point + 1 + digits);
  return Number(down.at(-1)) % 2 === 0 ? down : text;
}

const codePoints = (text: string): number => [...text].length;
const right = (text: string, width: number): string => ' '.repeat(Math.max(0, width - codePoints(text))) + text;
