/** A class a word: how many are right; and of entities seqeval's report, of other tags (parts of speech) scikit-learn's. */
import { ArgumentError } from '../../base/errors.ts';
import { areEntityTags, entitiesOf } from '../../tasks/index.ts';
import {
  type AverageRow,
  type ClassificationReport,
  type LabelCounts,
  reportOfCounts,
} from './classification-report.ts';

export interface TagScores {
  /** Sentences and words counted: those with a tag that the model saw. */
  readonly n: number;
  readonly words: number;
  /** Share of words whose class is right. */
  readonly accuracy: number;
  /** What the rows of `report` are. */
  readonly of: 'entities' | 'tags';
  /**
   * entities: of each type, where only an entity of the same type and the same words is right, as seqeval's `classification_report`
   * in its default mode. tags: of each class.
   */
  readonly report: ClassificationReport;
  /** Over all entities, or words. */
  readonly precision: number;
  readonly recall: number;
  readonly microF1: number;
  readonly macroF1: number;
  /** Of always answering the most frequent class: of its words. */
  readonly baseline: { readonly label: string; readonly accuracy: number };
}

interface Counts {
  tp: number;
  predicted: number;
  support: number;
}

const nothing = (): Counts => ({ tp: 0, predicted: 0, support: 0 });

export class TagCounter {
  readonly names: readonly string[];
  readonly #withEntities: boolean;
  readonly #tags: readonly Counts[];
  readonly #entities = new Map<string, Counts>();
  #n = 0;

  constructor(names: readonly string[]) {
    this.names = names;
    this.#withEntities = areEntityTags(names);
    this.#tags = names.map(nothing);
  }

  /**
   * Classes of a batch, (N, `steps`) each; negative labels (-100) are no words and are passed over.
   * @returns words counted. @throws ArgumentError LENGTHS_DIFFER.
   */
  update(predictions: ArrayLike<number>, labels: ArrayLike<number>, steps: number): number {
    if (predictions.length !== labels.length || labels.length % steps !== 0)
      throw new ArgumentError('LENGTHS_DIFFER', `${predictions.length} predictions for ${labels.length} labels`, {
        expected: labels.length,
        got: predictions.length,
      });
    let words = 0;
    for (let row = 0; row < labels.length; row += steps) {
      const truth: number[] = [];
      const said: number[] = [];
      for (let i = row; i < row + steps; i++) {
        if ((labels[i] as number) < 0) continue;
        truth.push(labels[i] as number);
        said.push(predictions[i] as number);
      }
      if (truth.length > 0) this.#sentence(truth, said);
      words += truth.length;
    }
    return words;
  }

  #sentence(truth: readonly number[], said: readonly number[]): void {
    this.#n++;
    for (const [i, tag] of truth.entries()) {
      const answer = said[i] as number;
      const [own, other] = [this.#tags[tag], this.#tags[answer]] as [Counts, Counts];
      own.support++;
      other.predicted++;
      if (tag === answer) own.tp++;
    }
    if (!this.#withEntities) return;
    const of = (tags: readonly number[]) => entitiesOf(tags.map((tag) => this.names[tag] as string));
    const key = ({ label, start, end }: { label: string; start: number; end: number }) => `${start} ${end} ${label}`;
    const real = of(truth);
    const known = new Set(real.map(key));
    for (const { label } of real) this.#of(label).support++;
    for (const entity of of(said)) {
      const counts = this.#of(entity.label);
      counts.predicted++;
      if (known.has(key(entity))) counts.tp++;
    }
  }

  #of(label: string): Counts {
    const found = this.#entities.get(label) ?? nothing();
    this.#entities.set(label, found);
    return found;
  }

  get scores(): TagScores {
    const ofTags = this.names.map((name, k): LabelCounts => ({ name, ...(this.#tags[k] as Counts) }));
    const ofEntities = [...this.#entities]
      .map(([name, counts]): LabelCounts => ({ name, ...counts }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    const words = ofTags.reduce((sum, { support }) => sum + support, 0);
    const share = (count: number): number => (words === 0 ? 0 : count / words);
    const most = ofTags.reduce((best, counts) => (counts.support > best.support ? counts : best));
    // Of entities every one counts; of tags every word has one, and the micro average is the accuracy.
    const report = withAverages(this.#withEntities ? ofEntities : ofTags, !this.#withEntities);
    const row = (name: string): AverageRow => report[name] as AverageRow;
    const accuracy = share(ofTags.reduce((sum, { tp }) => sum + tp, 0));
    const all = { precision: accuracy, recall: accuracy, 'f1-score': accuracy };
    const { precision, recall, 'f1-score': microF1 } = this.#withEntities ? row('micro avg') : all;
    return {
      n: this.#n,
      words,
      accuracy,
      of: this.#withEntities ? 'entities' : 'tags',
      report,
      precision,
      recall,
      microF1,
      macroF1: row('macro avg')['f1-score'],
      baseline: { label: most.name, accuracy: share(most.support) },
    };
  }

  toJSON(): TagScores {
    return this.scores;
  }
}

/** Nothing to report on has averages of 0 rather than NaN. */
function withAverages(counts: readonly LabelCounts[], accuracy: boolean): ClassificationReport {
  if (counts.length > 0) return reportOfCounts(counts, accuracy);
  const zero = { precision: 0, recall: 0, 'f1-score': 0, support: 0 };
  return { 'micro avg': zero, 'macro avg': zero, 'weighted avg': zero };
}
