/** Numbers against numbers: errors in the units of the data, the share of variance explained, and correlations. */
import { ArgumentError, DataError } from '../../base/errors.ts';

export interface RegressionScores {
  /** Samples that have the number. */
  readonly n: number;
  readonly mse: number;
  /** Square root of mse, in the units of the data. */
  readonly rmse: number;
  /** Mean absolute error. */
  readonly mae: number;
  /** Share of variance explained: 1 - sum (y - p)^2 / sum (y - mean y)^2; NaN-free: 1 or 0 where y does not vary. */
  readonly r2: number;
  /** Correlations of values and of ranks (ties share the mean rank); null where either side does not vary. */
  readonly pearson: number | null;
  readonly spearman: number | null;
  /** Of always answering the mean of these very samples: what any model must beat. */
  readonly baseline: { readonly rmse: number; readonly mae: number };
}

/** Keeps predictions and values, 8 bytes a number, and measures them in float64. */
export class RegressionCounter {
  readonly names: readonly string[];
  readonly #pairs: { predictions: Float32Array; values: Float32Array }[] = [];

  constructor(names: readonly string[]) {
    this.names = names;
  }

  /**
   * (N, names) each; a value that is NaN is not there.
   * @returns numbers counted. @throws ArgumentError for arrays of other sizes, DataError for predictions that are not finite.
   */
  update(predictions: Float32Array, values: Float32Array): number {
    if (predictions.length !== values.length || values.length % this.names.length !== 0)
      throw new ArgumentError('LENGTHS_DIFFER', `${predictions.length} predictions for ${values.length} values`, {
        expected: values.length,
        got: predictions.length,
      });
    const bad = predictions.find((value, i) => !Number.isFinite(value) && !Number.isNaN(values[i]));
    if (bad !== undefined) throw new DataError('NON_FINITE', `a prediction is ${bad}`, { got: bad });
    this.#pairs.push({ predictions: predictions.slice(), values: values.slice() });
    return values.reduce((count, value) => count + Number(!Number.isNaN(value)), 0);
  }

  /** By name. */
  get scores(): Record<string, RegressionScores> {
    return Object.fromEntries(this.names.map((name, k) => [name, this.#scoresOf(k)]));
  }

  toJSON(): Record<string, RegressionScores> {
    return this.scores;
  }

  #scoresOf(k: number): RegressionScores {
    const width = this.names.length;
    const [y, p]: [number[], number[]] = [[], []];
    for (const { predictions, values } of this.#pairs)
      for (let i = k; i < values.length; i += width) {
        if (Number.isNaN(values[i])) continue;
        y.push(values[i] as number);
        p.push(predictions[i] as number);
      }
    const n = y.length;
    const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / Math.max(1, list.length);
    const middle = mean(y);
    const errors = y.map((value, i) => value - (p[i] as number));
    const mse = mean(errors.map((e) => e * e));
    const variance = mean(y.map((value) => (value - middle) ** 2));
    const [ranksY, ranksP] = [ranks(y), ranks(p)];
    return {
      n,
      mse,
      rmse: Math.sqrt(mse),
      mae: mean(errors.map(Math.abs)),
      r2: variance > 0 ? 1 - mse / variance : Number(mse === 0),
      pearson: correlation(y, p),
      spearman: correlation(ranksY, ranksP),
      baseline: { rmse: Math.sqrt(variance), mae: mean(y.map((value) => Math.abs(value - middle))) },
    };
  }
}

function correlation(a: readonly number[], b: readonly number[]): number | null {
  const mean = (list: readonly number[]): number => list.reduce((x, y) => x + y, 0) / Math.max(1, list.length);
  const [ma, mb] = [mean(a), mean(b)];
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [(a[i] as number) - ma, (b[i] as number) - mb];
    [ab, aa, bb] = [ab + x * y, aa + x * x, bb + y * y];
  }
  return aa > 0 && bb > 0 ? Math.max(-1, Math.min(1, ab / Math.sqrt(aa * bb))) : null;
}

/** From 1; equal values share the mean of theirs. */
function ranks(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((i, j) => (values[i] as number) - (values[j] as number));
  const out = new Array<number>(values.length);
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    while (to < order.length && values[order[to] as number] === values[order[from] as number]) to++;
    for (let i = from; i < to; i++) out[order[i] as number] = (from + 1 + to) / 2;
    from = to;
  }
  return out;
}
