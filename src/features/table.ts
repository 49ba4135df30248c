/** Vectors with ids and labels, as `features` gives and files hold them; and the checks everything on them begins with. */
import { ArgumentError, DataError, printable } from '../base/index.ts';
import type { FeatureOrigin } from './origin.ts';

export interface FeatureTable {
  /** f32, row-major of `shape`. */
  readonly vectors: Float32Array;
  /** (samples, width). */
  readonly shape: readonly [number, number];
  /** Lasting number of each sample. */
  readonly ids: Int32Array;
  readonly labels?: Int32Array;
  readonly classes?: readonly string[];
  /** What each sample is called, such as its file. */
  readonly names?: readonly string[];
  readonly origin?: FeatureOrigin;
}

/** @throws DataError FEATURES_INVALID for sizes that do not fit or no rows; FEATURES_NOT_FINITE naming the row. */
export function checkTable({ vectors, shape: [rows, width], ids, labels, names }: FeatureTable): void {
  if (
    rows < 1 ||
    width < 1 ||
    vectors.length !== rows * width ||
    ids.length !== rows ||
    (labels?.length ?? rows) !== rows ||
    (names?.length ?? rows) !== rows
  )
    throw new DataError('FEATURES_INVALID', `features of shape ${rows} x ${width}: the arrays do not fit`, {
      expected: { vectors: rows * width, ids: rows },
      got: { vectors: vectors.length, ids: ids.length, labels: labels?.length, names: names?.length },
    });
  const bad = vectors.findIndex((v) => !Number.isFinite(v));
  if (bad >= 0)
    throw new DataError(
      'FEATURES_NOT_FINITE',
      `the vector of sample ${ids[Math.floor(bad / width)]} has ${vectors[bad]} in it`,
      {
        sample: ids[Math.floor(bad / width)],
        got: vectors[bad],
        hint: 'the model that made it is damaged, or was given pictures of another kind',
      },
    );
}

/** Labels and the names of the classes. @throws DataError LABEL_MISSING, LABEL_OUTSIDE naming the sample, CLASSES_TOO_FEW. */
export function labelled({ labels, classes, ids }: FeatureTable): { labels: Int32Array; classes: readonly string[] } {
  if (!labels)
    throw new DataError('LABEL_MISSING', 'these features have no labels', {
      hint: 'write them from labelled data: cambium features RUN --out FILE; a .npy needs its .labels.npy beside it',
    });
  const most = labels.reduce((a, b) => Math.max(a, b), 0);
  const count = classes?.length ?? most + 1;
  const bad = labels.findIndex((label) => label < 0 || label >= count);
  if (bad >= 0)
    throw new DataError(
      'LABEL_OUTSIDE',
      `sample ${ids[bad]} has the label ${labels[bad]}, there are ${count} classes`,
      {
        sample: ids[bad],
        expected: `0..${count - 1}`,
        got: labels[bad],
      },
    );
  const distinct = new Set(labels).size;
  if (distinct < 2)
    throw new DataError('CLASSES_TOO_FEW', `all ${labels.length} samples are of one class`, {
      expected: '>= 2',
      got: distinct,
    });
  return { labels, classes: classes ?? Array.from({ length: most + 1 }, (_, i) => String(i)) };
}

/** Rows of a table, in the order told. */
export function rowsOf(table: FeatureTable, rows: ArrayLike<number>): FeatureTable {
  const [, width] = table.shape;
  const vectors = new Float32Array(rows.length * width);
  const pick = (from: Int32Array): Int32Array =>
    Int32Array.from({ length: rows.length }, (_, i) => from[rows[i] as number] as number);
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i] as number;
    vectors.set(table.vectors.subarray(row * width, (row + 1) * width), i * width);
  }
  return {
    vectors,
    shape: [rows.length, width],
    ids: pick(table.ids),
    ...(table.labels && { labels: pick(table.labels) }),
    ...(table.classes && { classes: table.classes }),
    ...(table.names && { names: Array.from(rows, (row) => table.names?.[row] as string) }),
    ...(table.origin && { origin: table.origin }),
  };
}

/** @throws ArgumentError WIDTH_MISMATCH. */
export function sameWidth(a: FeatureTable, b: FeatureTable): void {
  if (a.shape[1] === b.shape[1]) return;
  throw new ArgumentError(
    'WIDTH_MISMATCH',
    `vectors of ${a.shape[1]} and of ${b.shape[1]} numbers cannot be compared`,
    {
      expected: a.shape[1],
      got: b.shape[1],
      hint: 'take both from the same layer with the same pooling',
    },
  );
}

/** @throws ArgumentError OPTION_INVALID. */
export function wholeNumber(field: string, value: number, low: number, high: number): void {
  if (Number.isInteger(value) && value >= low && value <= high) return;
  throw new ArgumentError(
    'OPTION_INVALID',
    `${field}: expected a whole number from ${low} to ${high}, found ${printable(value)}`,
    {
      field,
      expected: `${low}..${high}`,
      got: value,
    },
  );
}
