/** Counts of true against predicted classes, batch by batch: all a classification report needs, in constant memory. */
import { ArgumentError, type CambiumError, DataError, printable } from '../../base/errors.ts';
import { allocate } from '../../io/failure.ts';

/** What `toJSON` gives: `counts[true][predicted]`. */
export interface ConfusionMatrixJson {
  readonly classes: readonly string[];
  readonly counts: readonly (readonly number[])[];
}

// They are rows of the report; a class of that name would be taken for one.
const reserved = new Set(['accuracy', 'micro avg', 'macro avg', 'weighted avg', '__proto__']);

/** Throws ArgumentError unless the names can head the rows of a report: at least one, distinct, none reserved. */
export function checkClassNames(names: readonly string[]): void {
  const fail = (words: string, got: unknown): never => {
    throw new ArgumentError('CLASSES_INVALID', words, { field: 'classes', got });
  };
  if (names.length === 0) fail('a confusion matrix needs at least one class', 0);
  const seen = new Set<string>();
  for (const name of names) {
    if (typeof name !== 'string' || name === '') fail(`a class name is a text, got ${printable(name)}`, name);
    if (reserved.has(name))
      fail(`a class cannot be called ${printable(name)}: the report has a row of that name`, name);
    if (seen.has(name)) fail(`the class ${printable(name)} is named twice`, name);
    seen.add(name);
  }
}

export class ConfusionMatrix {
  readonly classes: readonly string[];
  // Doubles count exactly up to 2^53, 32-bit integers would not last.
  readonly #counts: Float64Array;
  #total = 0;

  constructor(classNames: readonly string[]) {
    checkClassNames(classNames);
    this.classes = Object.freeze([...classNames]);
    const cells = classNames.length ** 2;
    this.#counts = allocate(
      () => new Float64Array(cells),
      cells * 8,
      `a confusion matrix of ${classNames.length} classes`,
    );
  }

  static fromJSON({ classes, counts }: ConfusionMatrixJson): ConfusionMatrix {
    const matrix = new ConfusionMatrix(classes);
    const size = classes.length;
    if (!Array.isArray(counts) || counts.length !== size || counts.some((row) => row?.length !== size))
      throw new DataError('CONFUSION_MATRIX', `${size} classes need ${size} rows of ${size} counts`, {
        field: 'counts',
      });
    matrix.#counts.set(counts.flat());
    matrix.#counts.forEach((count, i) => {
      if (!Number.isSafeInteger(count) || count < 0) {
        const field = `counts[${Math.floor(i / size)}][${i % size}]`;
        throw new DataError('CONFUSION_MATRIX', `${field} is ${count}, not a count`, { field, got: count });
      }
      matrix.#total += count;
    });
    return matrix;
  }

  /**
   * Adds the outcomes of a batch: class indices as the model gave them and as they are.
   * @throws ArgumentError for lengths that differ, DataError naming the first index out of range; then nothing is added.
   */
  update(predictions: ArrayLike<number>, labels: ArrayLike<number>): this {
    const { length } = labels;
    if (predictions.length !== length)
      throw new ArgumentError('LENGTH_MISMATCH', `${predictions.length} predictions for ${length} labels`, {
        field: 'predictions',
        expected: length,
        got: predictions.length,
      });
    this.#check('label', labels);
    this.#check('prediction', predictions);
    const size = this.classes.length;
    for (let i = 0; i < length; i++) {
      const cell = (labels[i] as number) * size + (predictions[i] as number);
      this.#counts[cell] = (this.#counts[cell] as number) + 1;
    }
    this.#total += length;
    return this;
  }

  /** Adds the counts of another matrix over the same classes. */
  merge(other: ConfusionMatrix): this {
    if (other.classes.length !== this.classes.length || other.classes.some((name, i) => name !== this.classes[i]))
      throw new ArgumentError('CLASSES_MISMATCH', 'only matrices over the same classes can be merged', {
        field: 'classes',
        expected: this.classes.slice(0, 20),
        got: other.classes.slice(0, 20),
      });
    const { counts } = other;
    counts.forEach((count, i) => {
      this.#counts[i] = (this.#counts[i] as number) + count;
    });
    this.#total += other.#total;
    return this;
  }

  /** Row-major copy: row = true class, column = predicted class. */
  get counts(): Float64Array {
    return this.#counts.slice();
  }
  /** Samples counted. */
  get total(): number {
    return this.#total;
  }
  /** Samples predicted right. */
  get correct(): number {
    let sum = 0;
    for (let k = 0; k < this.classes.length; k++) sum += this.at(k, k);
    return sum;
  }
  /** Share of samples predicted right; 0 when there are none. */
  get accuracy(): number {
    return this.#total === 0 ? 0 : this.correct / this.#total;
  }

  /** Samples of class `label` predicted as class `prediction`. */
  at(label: number, prediction: number): number {
    return this.#counts[label * this.classes.length + prediction] as number;
  }
  /** Samples that are of class `k`. */
  support(k: number): number {
    let sum = 0;
    for (let j = 0; j < this.classes.length; j++) sum += this.at(k, j);
    return sum;
  }
  /** Samples predicted as class `k`. */
  predicted(k: number): number {
    let sum = 0;
    for (let j = 0; j < this.classes.length; j++) sum += this.at(j, k);
    return sum;
  }

  toJSON(): ConfusionMatrixJson {
    const size = this.classes.length;
    const row = (k: number): number[] => [...this.#counts.subarray(k * size, (k + 1) * size)];
    return { classes: this.classes, counts: this.classes.map((_, k) => row(k)) };
  }

  #check(what: 'label' | 'prediction', indices: ArrayLike<number>): void {
    const size = this.classes.length;
    for (let i = 0; i < indices.length; i++) {
      const k = indices[i] as number;
      if (Number.isInteger(k) && k >= 0 && k < size) continue;
      const error: CambiumError = new DataError(
        `${what.toUpperCase()}_OUT_OF_RANGE`,
        `${what} ${i} is ${printable(k)}, the classes are 0 to ${size - 1}`,
        { field: `${what}s`, index: i, expected: `0 to ${size - 1}`, got: k },
      );
      throw error;
    }
  }
}
