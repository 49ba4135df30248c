/**
 * Multinomial naive Bayes over bags of character pairs (Chinese) or words and word pairs: the baseline a text model must
 * beat.
 */
import { ArgumentError } from '../base/index.ts';
import type { Dataset, TextSample } from '../data/index.ts';
import { classNames } from '../data/index.ts';

export interface NaiveBayesOptions {
  /** Added to every count (Laplace); 1 unless told. */
  readonly smoothing?: number;
}

/**
 * Texts with Chinese, Japanese or Korean: pairs of neighbouring characters, blanks left out. Others: words in lower case,
 * signs, and pairs of neighbours.
 */
export function bagOfWords(text: string): string[] {
  const bigrams = (units: readonly string[], between: string): string[] =>
    units.slice(1).map((unit, i) => `${units[i]}${between}${unit}`);
  if (CJK.test(text)) {
    const characters = Array.from(text.replace(/\s+/g, ''));
    return characters.length === 1 ? characters : bigrams(characters, '');
  }
  const words = text.toLowerCase().match(WORDS) ?? [];
  return [...words, ...bigrams(words, ' ')];
}
const CJK = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/u;
const WORDS = /[\p{L}\p{M}]+|\p{N}+|[^\s\p{L}\p{M}\p{N}]/gu;

/** log p(class) + sum of log p(unit | class), Manning et al., Introduction to Information Retrieval, 13.2. */
export class NaiveBayes {
  readonly classes: readonly string[];
  readonly #logPrior: Float64Array;
  /** Per unit, the logarithm of its smoothed share in each class. */
  readonly #logLikelihood: ReadonlyMap<string, Float64Array>;

  private constructor(classes: readonly string[], prior: Float64Array, likelihood: Map<string, Float64Array>) {
    this.classes = classes;
    this.#logPrior = prior;
    this.#logLikelihood = likelihood;
  }

  /** Counts once through the samples. @throws ArgumentError for a smoothing that is not positive, or no samples. */
  static async fit(dataset: Dataset<TextSample>, { smoothing = 1 }: NaiveBayesOptions = {}): Promise<NaiveBayes> {
    if (!(smoothing > 0) || dataset.length === 0)
      throw new ArgumentError('OPTION_INVALID', 'naive Bayes needs samples, and a smoothing above 0', {
        field: 'smoothing',
        got: smoothing,
      });
    const classes = classNames(dataset.schema);
    const k = classes.length;
    const samples = new Float64Array(k);
    const totals = new Float64Array(k);
    const counts = new Map<string, Float64Array>();
    for (let i = 0; i < dataset.length; i++) {
      const { text, pair, label } = await dataset.get(i);
      samples[label] = (samples[label] as number) + 1;
      for (const unit of bagOf(text, pair)) {
        let row = counts.get(unit);
        if (!row) {
          row = new Float64Array(k);
          counts.set(unit, row);
        }
        row[label] = (row[label] as number) + 1;
        totals[label] = (totals[label] as number) + 1;
      }
    }
    for (const row of counts.values())
      for (let c = 0; c < k; c++)
        row[c] = Math.log(((row[c] as number) + smoothing) / ((totals[c] as number) + smoothing * counts.size));
    // A class without samples is never the answer.
    const prior = samples.map((n) => Math.log(n / dataset.length));
    return new NaiveBayes(classes, prior, counts);
  }

  /** The likeliest class; ties go to the first. */
  predict(text: string, pair?: string): number {
    const scores = Float64Array.from(this.#logPrior);
    for (const unit of bagOf(text, pair)) {
      const row = this.#logLikelihood.get(unit);
      if (row) for (let c = 0; c < scores.length; c++) scores[c] = (scores[c] as number) + (row[c] as number);
    }
    return scores.indexOf(Math.max(...scores));
  }

  /** Share of samples it labels right. */
  async accuracy(dataset: Dataset<TextSample>): Promise<number> {
    let right = 0;
    for (let i = 0; i < dataset.length; i++) {
      const { text, pair, label } = await dataset.get(i);
      if (this.predict(text, pair) === label) right++;
    }
    return right / Math.max(1, dataset.length);
  }
}

const bagOf = (text: string, pair: string | undefined): string[] =>
  pair === undefined ? bagOfWords(text) : [...bagOfWords(text), ...bagOfWords(pair)];
