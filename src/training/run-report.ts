/** The report of a run's one measurement on the test part: scikit-learn's table, the baseline, and what exactly was measured. */
import { invariant } from '../base/errors.ts';
import type { Evaluation } from './evaluate.ts';
import { majorityBaseline } from './evaluate.ts';

export interface ClassScores {
  precision: number;
  recall: number;
  'f1-score': number;
  support: number;
}

export interface ReportJson {
  n: number;
  accuracy: number;
  loss: number;
  classes: Record<string, ClassScores>;
  averages: { micro: ClassScores; macro: ClassScores; weighted: ClassScores };
  confusion: { classes: readonly string[]; counts: readonly (readonly number[])[] };
  baseline: { label: string; accuracy: number };
  data: string | null;
  weights: string | null;
}

export interface Report {
  readonly text: string;
  readonly json: ReportJson;
}

const DIGITS = 4;

/** @param hashes sha256 of the samples and of the weights file. */
export function makeReport(
  evaluation: Evaluation,
  classes: readonly string[],
  hashes: { data?: string; weights?: string },
): Report {
  const { counts, n, accuracy, loss } = evaluation;
  const scores = classes.map((_, c) => classScores(counts, c));
  const averages = averagesOf(scores, counts, n);
  checkReport(scores, counts, n);
  const json: ReportJson = {
    n,
    accuracy,
    loss,
    classes: Object.fromEntries(classes.map((name, c) => [name, scores[c] as ClassScores])),
    averages,
    confusion: { classes, counts },
    baseline: majorityBaseline(counts, classes),
    data: hashes.data ?? null,
    weights: hashes.weights ?? null,
  };
  return { text: reportText(json, classes, scores), json };
}

/** The report of a finished run; undefined where there is no test part. */
export function reportOf(
  result: { test?: Evaluation; weightsHash?: string; task: { classes: readonly string[] } },
  dataHash: string | undefined,
): Report | undefined {
  return result.test && makeReport(result.test, result.task.classes, { data: dataHash, weights: result.weightsHash });
}

// 0 / 0 is 0, as scikit-learn has it.
const ratio = (a: number, b: number): number => (b === 0 ? 0 : a / b);
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

function classScores(counts: Evaluation['counts'], c: number): ClassScores {
  const hit = counts[c]?.[c] as number;
  const support = sum(counts[c] as readonly number[]);
  const predicted = sum(counts.map((row) => row[c] as number));
  // 2 TP / (support + predicted) is the harmonic mean of the two, without their rounding.
  return {
    precision: ratio(hit, predicted),
    recall: ratio(hit, support),
    'f1-score': ratio(2 * hit, support + predicted),
    support,
  };
}

function averagesOf(scores: readonly ClassScores[], counts: Evaluation['counts'], n: number): ReportJson['averages'] {
  const mean = (weight: (s: ClassScores) => number): ClassScores => {
    const total = sum(scores.map(weight));
    const of = (key: keyof ClassScores): number => ratio(sum(scores.map((s) => weight(s) * s[key])), total);
    return { precision: of('precision'), recall: of('recall'), 'f1-score': of('f1-score'), support: n };
  };
  const hit = ratio(sum(counts.map((row, c) => row[c] as number)), n);
  return {
    micro: { precision: hit, recall: hit, 'f1-score': hit, support: n },
    macro: mean(() => 1),
    weighted: mean((s) => s.support),
  };
}

/** A report that contradicts itself is never shown. */
function checkReport(scores: readonly ClassScores[], counts: Evaluation['counts'], n: number): void {
  invariant(sum(scores.map((s) => s.support)) === n, 'supports add up to the number of samples');
  invariant(
    counts.flat().every((v) => Number.isInteger(v) && v >= 0),
    'counts are whole numbers',
  );
  for (const { precision, recall, 'f1-score': f1 } of scores) {
    const [low, high] = [Math.min(precision, recall), Math.max(precision, recall)];
    invariant(f1 >= low - 1e-12 && f1 <= high + 1e-12, 'F1 lies between precision and recall');
  }
}

/** The layout of sklearn.metrics.classification_report(digits=4), then what it does not say. */
function reportText(json: ReportJson, classes: readonly string[], scores: readonly ClassScores[]): string {
  const width = Math.max(...classes.map((name) => name.length), 'weighted avg'.length, DIGITS);
  const cell = (text: string): string => ` ${text.padStart(9)}`;
  const row = (name: string, s: ClassScores): string =>
    `${name.padStart(width)} ${[s.precision, s.recall, s['f1-score']].map((v) => cell(v.toFixed(DIGITS))).join('')}${cell(String(s.support))}`;
  const { accuracy, n, baseline } = json;
  return [
    `${' '.repeat(width)} ${['precision', 'recall', 'f1-score', 'support'].map(cell).join('')}`,
    '',
    ...classes.map((name, c) => row(name, scores[c] as ClassScores)),
    '',
    `${'accuracy'.padStart(width)} ${cell('')}${cell('')}${cell(accuracy.toFixed(DIGITS))}${cell(String(n))}`,
    row('macro avg', json.averages.macro),
    row('weighted avg', json.averages.weighted),
    '',
    `majority baseline (always ${baseline.label}): accuracy ${baseline.accuracy.toFixed(DIGITS)}`,
    `test loss ${json.loss.toFixed(DIGITS)}`,
    `data sha256 ${json.data ?? 'unknown'}`,
    `weights sha256 ${json.weights ?? 'unknown'}`,
    '',
  ].join('\n');
}
