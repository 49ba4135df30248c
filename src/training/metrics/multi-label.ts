/** Several labels a sample: precision, recall and F1 of each, how often all are right, and the ranking behind the threshold. */
import { ArgumentError, DataError } from '../../base/errors.ts';
import { type ClassificationReport, ratios, reportOfCounts } from './classification-report.ts';

export interface MultiLabelScores {
  /** Samples counted. */
  readonly n: number;
  readonly threshold: number;
  readonly report: ClassificationReport;
  /** Share of samples whose labels are all right (scikit-learn's accuracy_score of indicators). */
  readonly subsetAccuracy: number;
  /** Share of single answers that are wrong. */
  readonly hammingLoss: number;
  readonly microF1: number;
  readonly macroF1: number;
  /** By label: area under precision over recall (average_precision_score); null for one no sample has. */
  readonly averagePrecision: Readonly<Record<string, number | null>> | null;
  /** Mean of those; null where there are none, or more answers than are kept (2^25). */
  readonly meanAveragePrecision: number | null;
}

/** Answers kept for the ranking: 256 MiB of scores and labels at most. */
const KEPT = 2 ** 25;

/** Counts batches of probabilities against indicators. */
export class MultiLabelCounter {
  readonly names: readonly string[];
  readonly threshold: number;
  readonly #tp: Float64Array;
  readonly #predicted: Float64Array;
  readonly #support: Float64Array;
  readonly #perSample = { precision: 0, recall: 0, 'f1-score': 0 };
  #n = 0;
  #exact = 0;
  #wrong = 0;
  /** One array of scores and labels a batch; dropped when there are too many. */
  #kept: { scores: Float32Array; labels: Float32Array }[] | undefined = [];

  constructor(names: readonly string[], threshold = 0.5) {
    this.names = names;
    this.threshold = threshold;
    this.#tp = new Float64Array(names.length);
    this.#predicted = new Float64Array(names.length);
    this.#support = new Float64Array(names.length);
  }

  /**
   * Probabilities and 0/1, (N, labels) each. Rows whose labels are NaN have none and are passed over.
   * @returns samples counted. @throws ArgumentError for arrays of other sizes, DataError for scores that are NaN.
   */
  update(scores: Float32Array, labels: Float32Array): number {
    const width = this.names.length;
    if (scores.length !== labels.length || scores.length % width !== 0)
      throw new ArgumentError('LENGTHS_DIFFER', `${scores.length} scores for ${labels.length} labels`, {
        expected: labels.length,
        got: scores.length,
      });
    const rows = Array.from({ length: labels.length / width }, (_, i) => i).filter(
      (i) => !Number.isNaN(labels[i * width]),
    );
    const [keptScores, keptLabels] = [new Float32Array(rows.length * width), new Float32Array(rows.length * width)];
    for (const [place, i] of rows.entries()) {
      let [tp, predicted, support, wrong] = [0, 0, 0, 0];
      for (let k = 0; k < width; k++) {
        const score = scores[i * width + k] as number;
        if (Number.isNaN(score))
          throw new DataError('NON_FINITE', `the score of ${this.names[k]} is NaN`, { got: score });
        const [is, said] = [labels[i * width + k] === 1, score >= this.threshold];
        if (is) this.#support[k] = (this.#support[k] as number) + 1;
        if (said) this.#predicted[k] = (this.#predicted[k] as number) + 1;
        if (is && said) this.#tp[k] = (this.#tp[k] as number) + 1;
        [tp, predicted, support] = [tp + Number(is && said), predicted + Number(said), support + Number(is)];
        wrong += Number(is !== said);
        keptScores[place * width + k] = score;
        keptLabels[place * width + k] = Number(is);
      }
      const own = ratios(tp, predicted, support);
      for (const key of ['precision', 'recall', 'f1-score'] as const) this.#perSample[key] += own[key];
      this.#wrong += wrong;
      this.#exact += Number(wrong === 0);
    }
    this.#n += rows.length;
    if (this.#n * width > KEPT) this.#kept = undefined;
    this.#kept?.push({ scores: keptScores, labels: keptLabels });
    return rows.length;
  }

  get scores(): MultiLabelScores {
    const { names, threshold } = this;
    const n = this.#n;
    const counts = names.map((name, k) => ({
      name,
      tp: this.#tp[k] as number,
      predicted: this.#predicted[k] as number,
      support: this.#support[k] as number,
    }));
    const report = reportOfCounts(counts, false);
    const support = counts.reduce((sum, count) => sum + count.support, 0);
    const mean = (total: number): number => (n === 0 ? 0 : total / n);
    const { precision, recall, 'f1-score': f1 } = this.#perSample;
    const ranked = this.#kept && names.map((name, k) => [name, this.#averagePrecision(k)] as const);
    const known = (ranked ?? []).flatMap(([, value]) => (value === null ? [] : [value]));
    return {
      n,
      threshold,
      report: {
        ...report,
        'samples avg': { precision: mean(precision), recall: mean(recall), 'f1-score': mean(f1), support },
      },
      subsetAccuracy: mean(this.#exact),
      hammingLoss: mean(this.#wrong / names.length),
      microF1: (report['micro avg'] as { 'f1-score': number })['f1-score'],
      macroF1: (report['macro avg'] as { 'f1-score': number })['f1-score'],
      averagePrecision: ranked ? Object.fromEntries(ranked) : null,
      meanAveragePrecision: known.length > 0 ? known.reduce((a, b) => a + b, 0) / known.length : null,
    };
  }

  toJSON(): MultiLabelScores {
    return this.scores;
  }

  /** Sum over thresholds of (recall - recall before) * precision; equal scores are one threshold. */
  #averagePrecision(k: number): number | null {
    const width = this.names.length;
    const pairs = (this.#kept ?? []).flatMap(({ scores, labels }) =>
      Array.from({ length: scores.length / width }, (_, i) => ({
        score: scores[i * width + k] as number,
        is: labels[i * width + k] as number,
      })),
    );
    const positives = this.#support[k] as number;
    if (positives === 0) return null;
    pairs.sort((a, b) => b.score - a.score);
    let [area, tp, before] = [0, 0, 0];
    pairs.forEach(({ score, is }, i) => {
      tp += is;
      if (i + 1 < pairs.length && pairs[i + 1]?.score === score) return;
      area += ((tp - before) / positives) * (tp / (i + 1));
      before = tp;
    });
    return area;
  }
}
