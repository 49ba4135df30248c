/** The report of a run's one measurement on the test part: scikit-learn's table, the baseline, and what exactly was measured. */
import { type Evaluation, majorityBaseline } from './evaluate.ts';
import {
  type ClassificationReport,
  type ConfusionMatrixJson,
  checkReport,
  classificationReport,
  formatReport,
  type Interval,
  wilsonInterval,
} from './metrics/index.ts';

export interface ReportJson {
  readonly n: number;
  readonly accuracy: number;
  /** Within which the accuracy on more such samples lies, with 95 % confidence. */
  readonly interval: Interval;
  readonly loss: number;
  /** scikit-learn's keys, with the counts behind the ratios. */
  readonly report: ClassificationReport;
  readonly confusion: ConfusionMatrixJson;
  readonly baseline: { readonly label: string; readonly accuracy: number };
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

export function makeReport(
  evaluation: Evaluation,
  hashes: { data?: string; weights?: string; naiveBayes?: number },
): Report {
  const { confusion, n, accuracy, loss } = evaluation;
  // A report that contradicts itself is never shown.
  const report = checkReport(classificationReport(confusion));
  const json: ReportJson = {
    n,
    accuracy,
    interval: wilsonInterval(confusion.correct, n),
    loss,
    report,
    confusion: confusion.toJSON(),
    baseline: majorityBaseline(confusion),
    ...(hashes.naiveBayes !== undefined && { naiveBayes: hashes.naiveBayes }),
    data: hashes.data ?? null,
    weights: hashes.weights ?? null,
  };
  return { text: `${formatReport(report, { digits: DIGITS })}\n${footer(json)}`, json };
}

/** The report of a finished run; undefined where there is no test part. */
export const reportOf = (
  result: { test?: Evaluation; weightsHash?: string },
  dataHash: string | undefined,
  naiveBayes?: number,
): Report | undefined =>
  result.test && makeReport(result.test, { data: dataHash, weights: result.weightsHash, naiveBayes });

function footer({ interval, baseline, naiveBayes, loss, data, weights }: ReportJson): string {
  const [low, high] = [interval.low, interval.high].map((v) => v.toFixed(DIGITS));
  return [
    `accuracy within ${low} .. ${high} (95 % confidence)`,
    `majority baseline (always ${baseline.label}): accuracy ${baseline.accuracy.toFixed(DIGITS)}`,
    ...(naiveBayes === undefined ? [] : [`naive Bayes baseline: accuracy ${naiveBayes.toFixed(DIGITS)}`]),
    `loss ${loss.toFixed(DIGITS)}`,
    `data sha256    ${data ?? 'unknown'}`,
    `weights sha256 ${weights ?? 'unknown'}`,
    '',
  ].join('\n');
}
