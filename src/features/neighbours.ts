/** Nearest vectors, exactly, a block of queries at a time; and what their classes say. */
import { ArgumentError } from '../base/index.ts';
import { tensor } from '../tensor/index.ts';
import { checkTable, type FeatureTable, labelled, sameWidth, wholeNumber } from './table.ts';

export const metrics = ['cosine', 'euclidean'] as const;
/** 'cosine': similarity in [-1, 1], larger is nearer. 'euclidean': distance. */
export type Metric = (typeof metrics)[number];

export interface Neighbour {
  readonly id: number;
  /** Position in the index. */
  readonly row: number;
  /** Similarity or distance. */
  readonly score: number;
  readonly label?: number;
}

export interface SearchOptions {
  /** How many; 5 unless told. */
  readonly k?: number;
  readonly metric?: Metric;
  /** Leaves out the query itself where queries are of the index: the vector of the same id. */
  readonly excludeSelf?: boolean;
}

// Scores of a block of queries, as f32 numbers.
const BLOCK = 2 ** 22;

/**
 * The k vectors of `index` nearest to each query, nearest first; equally near ones in the order of the index. Memory: the scores of a
 * block of queries, 16 MiB.
 * @throws ArgumentError WIDTH_MISMATCH, OPTION_INVALID for k; DataError FEATURES_*.
 */
export async function similaritySearch(
  index: FeatureTable,
  queries: FeatureTable,
  { k = 5, metric = 'cosine', excludeSelf = false }: SearchOptions = {},
): Promise<Neighbour[][]> {
  checkTable(index);
  checkTable(queries);
  sameWidth(index, queries);
  const [rows, width] = index.shape;
  wholeNumber('k', k, 1, rows - Number(excludeSelf));
  if (!metrics.includes(metric))
    throw new ArgumentError('OPTION_INVALID', `metric: expected ${metrics.join(' or ')}, found ${String(metric)}`, {
      field: 'metric',
      got: metric,
    });
  const cosine = metric === 'cosine';
  const known = await tensor(cosine ? unitRows(index) : index.vectors, { shape: [rows, width] })
    .transpose()
    .realize();
  const asked = cosine ? unitRows(queries) : queries.vectors;
  const squares = cosine ? undefined : squaredNorms(index);
  const block = Math.max(1, Math.floor(BLOCK / rows));
  const found: Neighbour[][] = [];
  for (let start = 0; start < queries.shape[0]; start += block) {
    const size = Math.min(block, queries.shape[0] - start);
    const part = tensor(asked.subarray(start * width, (start + size) * width), { shape: [size, width] });
    const products = (await part.matmul(known).data()) as Float32Array;
    for (let b = 0; b < size; b++) {
      const scores = products.subarray(b * rows, (b + 1) * rows);
      // |q - x|^2 = |q|^2 + |x|^2 - 2 q.x: the nearest has the largest q.x - |x|^2 / 2.
      if (squares) for (let i = 0; i < rows; i++) scores[i] = (scores[i] as number) - (squares[i] as number) / 2;
      const self = excludeSelf ? (queries.ids[start + b] as number) : undefined;
      const best = largest(scores, k, (row) => self !== undefined && index.ids[row] === self);
      found.push(
        best.map((row) => ({
          id: index.ids[row] as number,
          row,
          score: cosine ? (scores[row] as number) : distance(index, row, queries, start + b),
          ...(index.labels && { label: index.labels[row] as number }),
        })),
      );
    }
  }
  return found;
}

/** Rows of the k largest scores, largest first, earlier rows first among equals. */
function largest(scores: Float32Array, k: number, skip: (row: number) => boolean): number[] {
  const best: number[] = [];
  for (let row = 0; row < scores.length; row++) {
    const score = scores[row] as number;
    if (best.length === k && score <= (scores[best[k - 1] as number] as number)) continue;
    if (skip(row)) continue;
    let at = best.length;
    while (at > 0 && (scores[best[at - 1] as number] as number) < score) at--;
    best.splice(at, 0, row);
    if (best.length > k) best.pop();
  }
  return best;
}

/** Computed from the difference: near neighbours would drown in the rounding of the products. */
function distance(a: FeatureTable, i: number, b: FeatureTable, j: number): number {
  const width = a.shape[1];
  let sum = 0;
  for (let c = 0; c < width; c++)
    sum += ((a.vectors[i * width + c] as number) - (b.vectors[j * width + c] as number)) ** 2;
  return Math.sqrt(sum);
}

/** Rows of length 1; a row of zeros stays. */
export function unitRows({ vectors, shape: [rows, width] }: FeatureTable): Float32Array {
  const out = new Float32Array(vectors.length);
  for (let i = 0; i < rows; i++) {
    const row = vectors.subarray(i * width, (i + 1) * width);
    const norm = Math.sqrt(row.reduce((sum, v) => sum + v * v, 0));
    for (let c = 0; c < width; c++) out[i * width + c] = norm > 0 ? (row[c] as number) / norm : 0;
  }
  return out;
}

export function squaredNorms({ vectors, shape: [rows, width] }: FeatureTable): Float64Array {
  return Float64Array.from({ length: rows }, (_, i) =>
    vectors.subarray(i * width, (i + 1) * width).reduce((sum, v) => sum + v * v, 0),
  );
}

export interface Classified {
  readonly predictions: Int32Array;
  /** Share of right ones, where the samples have labels. */
  readonly accuracy?: number;
}

/**
 * The class most of the k nearest have; probabilities (samples, classes) are shares of them; the nearest one's among equals. `test` may be the table itself: each sample is then
 * classified by the others.
 * @throws what `similaritySearch` throws; DataError LABEL_MISSING, CLASSES_TOO_FEW.
 */
export async function knnClassify(
  train: FeatureTable,
  test: FeatureTable,
  options: Omit<SearchOptions, 'excludeSelf'> = {},
): Promise<Classified & { readonly probabilities: Float32Array }> {
  const { classes } = labelled(train);
  const neighbours = await similaritySearch(train, test, { ...options, excludeSelf: train === test });
  const probabilities = new Float32Array(neighbours.length * classes.length);
  const predictions = Int32Array.from(neighbours, (nearest, row) => {
    const votes = new Int32Array(classes.length);
    for (const { label } of nearest) votes[label as number] = (votes[label as number] as number) + 1;
    probabilities.set(
      Array.from(votes, (n) => n / nearest.length),
      row * classes.length,
    );
    const most = Math.max(...votes);
    return (nearest.find(({ label }) => votes[label as number] === most) as Neighbour).label as number;
  });
  return { predictions, probabilities, ...(test.labels && { accuracy: accuracyOf(predictions, test.labels) }) };
}

export const accuracyOf = (predictions: Int32Array, labels: Int32Array): number =>
  predictions.reduce((right, p, i) => right + Number(p === labels[i]), 0) / labels.length;
