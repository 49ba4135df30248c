/** How often the true class is among the k most likely ones, counted batch by batch. */
import { ArgumentError, DataError, NumericError, printable } from '../../base/errors.ts';

export class TopK {
  readonly k: number;
  #correct = 0;
  #total = 0;

  constructor(k: number) {
    if (!Number.isSafeInteger(k) || k < 1)
      throw new ArgumentError('TOP_K_INVALID', `k is an integer from 1, got ${printable(k)}`, { field: 'k', got: k });
    this.k = k;
  }

  /**
   * Adds a batch: `scores` (logits or probabilities) row by row, one row of equal length a label. Of equal scores the
   * lower class comes first, as in argmax, so that k = 1 is the accuracy.
   * @throws ArgumentError for rows that do not come out even, DataError for a label out of range, NumericError for NaN;
   * then nothing is added.
   */
  update(scores: ArrayLike<number>, labels: ArrayLike<number>): this {
    const { length } = labels;
    if (length === 0 && scores.length === 0) return this;
    const classes = scores.length / length;
    if (!Number.isInteger(classes) || classes < 1)
      throw new ArgumentError('LENGTH_MISMATCH', `${scores.length} scores are not rows for ${length} labels`, {
        field: 'scores',
        expected: `a multiple of ${length}`,
        got: scores.length,
      });
    let correct = 0;
    for (let i = 0; i < length; i++) {
      const label = labels[i] as number;
      if (!Number.isInteger(label) || label < 0 || label >= classes)
        throw new DataError(
          'LABEL_OUT_OF_RANGE',
          `label ${i} is ${printable(label)}, the classes are 0 to ${classes - 1}`,
          { field: 'labels', index: i, expected: `0 to ${classes - 1}`, got: label },
        );
      if (rank(scores, i * classes, classes, label, i) < this.k) correct++;
    }
    this.#correct += correct;
    this.#total += length;
    return this;
  }

  /** Adds the counts of another part of the data. */
  merge(other: TopK): this {
    if (other.k !== this.k)
      throw new ArgumentError('TOP_K_MISMATCH', `top-${other.k} counts cannot be added to top-${this.k}`, {
        field: 'k',
        expected: this.k,
        got: other.k,
      });
    this.#correct += other.#correct;
    this.#total += other.#total;
    return this;
  }

  get correct(): number {
    return this.#correct;
  }
  get total(): number {
    return this.#total;
  }
  /** Share of samples; 0 when there are none. */
  get accuracy(): number {
    return this.#total === 0 ? 0 : this.#correct / this.#total;
  }
}

/** How many classes come before `label`. */
function rank(scores: ArrayLike<number>, from: number, classes: number, label: number, sample: number): number {
  const own = scores[from + label] as number;
  let before = 0;
  for (let k = 0; k < classes; k++) {
    const score = scores[from + k] as number;
    // Every comparison with NaN is false: a broken model would look perfect.
    if (Number.isNaN(score))
      throw new NumericError('NON_FINITE', `the score of sample ${sample} for class ${k} is NaN`, {
        field: 'scores',
        index: from + k,
        got: 'NaN',
      });
    if (score > own || (score === own && k < label)) before++;
  }
  return before;
}
