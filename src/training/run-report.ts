/** The report of a measurement: by head scikit-learn's tables, what was mixed up, the baseline, and what exactly was measured. */
import { type Evaluation, type HeadEvaluation, majorityBaseline } from './evaluate.ts';
import {
  type ClassificationReport,
  ConfusionMatrix,
  type ConfusionMatrixJson,
  checkReport,
  classificationReport,
  formatConfusion,
  formatReport,
  type Interval,
  type MultiLabelScores,
  type RegressionScores,
  type TagScores,
  wilsonInterval,
} from './metrics/index.ts';
import { gapText, overfitText, parametersText, partText, type RunFacts, tuningText } from './run-facts.ts';

/** Every sample has one class. */
export interface ClassReport {
  readonly accuracy: number;
  /** Within which the accuracy on more such samples lies, with 95 % confidence. */
  readonly interval: Interval;
  /** scikit-learn's keys, with the counts behind the ratios. */
  readonly report: ClassificationReport;
  readonly confusion: ConfusionMatrixJson;
  readonly baseline: { readonly label: string; readonly accuracy: number };
}

/** What was measured of one head. */
export type HeadReport = { readonly loss: number } & (
  | ({ readonly kind: 'class'; readonly n: number } & ClassReport)
  | ({ readonly kind: 'classes' } & MultiLabelScores)
  | ({ readonly kind: 'tags' } & TagScores)
  | { readonly kind: 'number' | 'numbers'; readonly numbers: Readonly<Record<string, RegressionScores>> }
);

/**
 * With the fields of ClassReport where one class a sample is all that is predicted, otherwise with `heads`; of a run with what
 * its facts are.
 */
export interface ReportJson extends Partial<ClassReport>, Partial<RunFacts> {
  readonly n: number;
  readonly loss: number;
  /** By label. */
  readonly heads?: Readonly<Record<string, HeadReport>>;
  /** Of texts: the accuracy of naive Bayes on the same parts. */
  readonly naiveBayes?: number;
  /** sha256 of the samples and of the weights file. */
  readonly data: string | null;
  readonly weights: string | null;
}

export interface Report {
  readonly text: string;
  readonly json: ReportJson;
}

// Two digits hide what tells a 99.3 % model from a 98.6 % one.
const DIGITS = 4;
const fixed = (value: number): string => value.toFixed(DIGITS);

export interface ReportRequest {
  /** sha256 of the samples and of the weights file. */
  readonly data?: string | undefined;
  readonly weights?: string | undefined;
  readonly naiveBayes?: number | undefined;
  /** Of a run. */
  readonly facts?: RunFacts | undefined;
}

export function makeReport(evaluation: Evaluation, { facts, ...hashes }: ReportRequest): Report {
  const { n, loss, confusion } = evaluation;
  const naiveBayes = hashes.naiveBayes === undefined ? {} : { naiveBayes: hashes.naiveBayes };
  const measured = { n, loss, ...naiveBayes, data: hashes.data ?? null, weights: hashes.weights ?? null };
  const head = facts ? `measured on: ${partText(facts, n)}\n\n` : '';
  const foot = (facts ? factsText(facts) : '') + footer(measured);
  if (confusion) {
    const own = classReport(confusion);
    return { text: head + classText(own) + foot, json: { ...measured, ...facts, ...own } };
  }
  const heads = evaluation.heads.map((one) => [one.field, headReport(one)] as const);
  const text = heads.map(([field, report]) => `${field}\n${headText(report)}\n`).join('');
  return { text: head + text + foot, json: { ...measured, ...facts, heads: Object.fromEntries(heads) } };
}

const classReport = (confusion: ConfusionMatrix): ClassReport => ({
  accuracy: confusion.accuracy,
  interval: wilsonInterval(confusion.correct, confusion.total),
  // A report that contradicts itself is never shown.
  report: checkReport(classificationReport(confusion)),
  confusion: confusion.toJSON(),
  baseline: majorityBaseline(confusion),
});

function headReport(head: HeadEvaluation): HeadReport {
  const { kind, loss } = head;
  if (kind === 'class') return { kind, loss, n: head.confusion.total, ...classReport(head.confusion) };
  if (kind === 'classes') {
    const { scores } = head.labels;
    checkReport(scores.report);
    return { kind, loss, ...scores };
  }
  if (kind === 'tags') {
    const { scores } = head.tags;
    if (hasRows(scores.report)) checkReport(scores.report);
    return { kind, loss, ...scores };
  }
  return { kind, loss, numbers: head.numbers.scores };
}

const classText = ({ report, confusion, interval, baseline }: ClassReport): string =>
  `${formatReport(report, { digits: DIGITS })}\n` +
  `${formatConfusion(ConfusionMatrix.fromJSON(confusion))}\n` +
  `accuracy within ${fixed(interval.low)} .. ${fixed(interval.high)} (95 % confidence)\n` +
  `majority baseline (always ${baseline.label}): accuracy ${fixed(baseline.accuracy)}\n`;

function headText(head: HeadReport): string {
  if (head.kind === 'class') return classText(head);
  if (head.kind === 'classes') {
    const { report, threshold, subsetAccuracy, hammingLoss, meanAveragePrecision } = head;
    const lines = [
      `a label applies from probability ${threshold} on; all labels right ${fixed(subsetAccuracy)}, wrong answers ${fixed(hammingLoss)}`,
      ...(meanAveragePrecision === null ? [] : [`mean average precision ${fixed(meanAveragePrecision)}`]),
    ];
    return `${formatReport(report, { digits: DIGITS })}\n${lines.join('\n')}\n`;
  }
  if (head.kind === 'tags') return tagsText(head);
  return numbersText(head.numbers);
}

// Besides the three averages.
const hasRows = (report: ClassificationReport): boolean => Object.keys(report).length > 3;

function tagsText({ of, report, accuracy, words, baseline }: TagScores): string {
  const line = `words ${words}, accuracy ${fixed(accuracy)}; always ${baseline.label}: ${fixed(baseline.accuracy)}\n`;
  if (!hasRows(report)) return `no entities, neither tagged nor predicted\n${line}`;
  const what = of === 'entities' ? 'entities: right with all their words and their type\n' : '';
  return `${formatReport(report, { digits: DIGITS })}\n${what}${line}`;
}

function numbersText(numbers: Readonly<Record<string, RegressionScores>>): string {
  const columns = ['RMSE', 'MAE', 'R2', 'Pearson', 'Spearman', 'samples'];
  const rows = Object.entries(numbers).flatMap(([name, { rmse, mae, r2, pearson, spearman, n, baseline }]) => [
    [name, ...[rmse, mae, r2, pearson, spearman].map(significant), String(n)],
    ['always the mean', significant(baseline.rmse), significant(baseline.mae), '', '', '', ''],
  ]);
  const width = Math.max(...rows.map(([name]) => [...(name as string)].length));
  const line = ([name, ...cells]: readonly string[]): string =>
    `${(name as string).padStart(width)}${cells.map((cell) => cell.padStart(11)).join('')}`.trimEnd();
  return `${[line(['', ...columns]), ...rows.map(line)].join('\n')}\n`;
}

/** Units differ from data set to data set: four digits that count, of ratios and of thousands. */
export const significant = (value: number | null): string => {
  if (value === null) return '-';
  return Math.abs(value) >= 1e6 || (value !== 0 && Math.abs(value) < 1e-4)
    ? value.toExponential(3)
    : value.toFixed(Math.max(0, Math.min(DIGITS, 4 - Math.floor(Math.log10(Math.abs(value) || 1)))));
};

function factsText(facts: RunFacts): string {
  const { model, gap, overfit } = facts;
  return [
    `model ${model}: ${parametersText(facts)}`,
    `trained: ${tuningText(facts)}`,
    ...(gap ? [gapText(gap)] : []),
    ...(overfit ? [overfitText(overfit)] : []),
    '',
  ].join('\n');
}

function footer({ naiveBayes, loss, data, weights }: ReportJson): string {
  return [
    ...(naiveBayes === undefined ? [] : [`naive Bayes baseline: accuracy ${fixed(naiveBayes)}`]),
    `loss ${fixed(loss)}`,
    `data sha256    ${data ?? 'unknown'}`,
    `weights sha256 ${weights ?? 'unknown'}`,
    '',
  ].join('\n');
}
