/** k-means (Lloyd 1982) from k-means++ starts (Arthur and Vassilvitskii 2007), and how well clusters fit classes. */
import { ArgumentError, DataError } from '../base/errors.ts';
import { Philox } from '../base/rng.ts';
import { type Tensor, tensor } from '../tensor/index.ts';
import { squaredNorms } from './neighbours.ts';
import { checkTable, type FeatureTable, rowsOf, wholeNumber } from './table.ts';

export interface KMeansOptions {
  readonly k: number;
  /** Starts, of which the best is kept: 4 unless told. */
  readonly nInit?: number;
  /** Rounds of a start at most: 300. */
  readonly maxIterations?: number;
  readonly seed?: number;
  /** (k, width) row-major in place of k-means++; one start. */
  readonly centres?: Float32Array;
}

export interface KMeans {
  /** Cluster of each sample. */
  readonly clusters: Int32Array;
  /** f32 (k, width). */
  readonly centres: Float32Array;
  /** Sum of squared distances to the centres. */
  readonly inertia: number;
  readonly iterations: number;
}

/** @throws ArgumentError OPTION_INVALID for k; DataError FEATURES_*. */
export async function kMeans(table: FeatureTable, options: KMeansOptions): Promise<KMeans> {
  checkTable(table);
  const [rows, width] = table.shape;
  const { k, nInit = options.centres ? 1 : 4, maxIterations = 300, seed = 0 } = options;
  wholeNumber('k', k, 1, rows);
  wholeNumber('nInit', nInit, 1, 1000);
  const { centres: given } = options;
  if (given && given.length !== k * width)
    throw new ArgumentError('OPTION_INVALID', `centres: ${given.length} numbers are not ${k} centres of ${width}`, {
      field: 'centres',
      expected: k * width,
      got: given.length,
    });
  const x = await tensor(table.vectors, { shape: [rows, width] }).realize();
  const norms = squaredNorms(table);
  const data: Data = { table, x, norms };
  let best: KMeans | undefined;
  for (let start = 0; start < nInit; start++) {
    const first = given ?? (await plusPlus(data, k, new Philox(seed, start)));
    const found = await lloyd(data, first, maxIterations);
    if (!best || found.inertia < best.inertia) best = found;
  }
  return best as KMeans;
}

interface Data {
  readonly table: FeatureTable;
  /** The vectors (rows, width), computed once. */
  readonly x: Tensor;
  readonly norms: Float64Array;
}

// Distances of a block of rows to all centres, as f32 numbers: 16 MiB.
const BLOCK = 2 ** 22;

/** The nearest of (k, width) centres to each row, and its squared distance: a block of rows at a time. */
async function nearestOf(
  { table, x, norms }: Data,
  centres: Float32Array,
): Promise<{ clusters: Int32Array; distances: Float64Array }> {
  const [rows, width] = table.shape;
  const k = centres.length / width;
  const own = squaredNorms({ vectors: centres, shape: [k, width], ids: new Int32Array(k) });
  const across = await tensor(centres, { shape: [k, width] })
    .transpose()
    .realize();
  const clusters = new Int32Array(rows);
  const distances = new Float64Array(rows).fill(Number.POSITIVE_INFINITY);
  const block = Math.max(1, Math.floor(BLOCK / k));
  for (let start = 0; start < rows; start += block) {
    const end = Math.min(rows, start + block);
    const part = rows <= block ? x : x.slice(0, start, end);
    const products = (await part.matmul(across).data()) as Float32Array;
    for (let i = start; i < end; i++)
      for (let c = 0; c < k; c++) {
        const product = products[(i - start) * k + c] as number;
        const distance = Math.max(0, (norms[i] as number) + (own[c] as number) - 2 * product);
        if (distance >= (distances[i] as number)) continue;
        distances[i] = distance;
        clusters[i] = c;
      }
  }
  return { clusters, distances };
}

async function plusPlus(data: Data, k: number, random: Philox): Promise<Float32Array> {
  const { table } = data;
  const [rows] = table.shape;
  const chosen = [random.integer(rows)];
  const nearest = new Float64Array(rows).fill(Number.POSITIVE_INFINITY);
  while (chosen.length < k) {
    const { distances } = await nearestOf(data, rowsOf(table, chosen.slice(-1)).vectors);
    distances.forEach((d, i) => {
      nearest[i] = Math.min(nearest[i] as number, d);
    });
    const total = nearest.reduce((a, b) => a + b, 0);
    let left = random.uniform() * total;
    // All samples are among the centres: any will do.
    const passes = (d: number): boolean => {
      left -= d;
      return left < 0;
    };
    let next = total > 0 ? nearest.findIndex(passes) : random.integer(rows);
    if (next < 0) next = rows - 1;
    chosen.push(next);
  }
  return rowsOf(table, chosen).vectors;
}

async function lloyd(data: Data, start: Float32Array, maxIterations: number): Promise<KMeans> {
  const { table } = data;
  let centres = start;
  let before: Int32Array | undefined;
  for (let iterations = 1; ; iterations++) {
    const { clusters, distances } = await nearestOf(data, centres);
    const inertia = distances.reduce((a, b) => a + b, 0);
    const changed = !before || clusters.some((c, i) => c !== before?.[i]);
    if (!changed || iterations >= maxIterations) return { clusters, centres, inertia, iterations };
    before = clusters;
    centres = means(table, clusters, distances, centres.length / table.shape[1]);
  }
}

/** A cluster that lost all its samples begins anew at the one furthest from its centre. */
function means(table: FeatureTable, clusters: Int32Array, distances: Float64Array, k: number): Float32Array {
  const [rows, width] = table.shape;
  const sums = new Float64Array(k * width);
  const counts = new Int32Array(k);
  for (let i = 0; i < rows; i++) {
    const c = clusters[i] as number;
    counts[c] = (counts[c] as number) + 1;
    for (let j = 0; j < width; j++)
      sums[c * width + j] = (sums[c * width + j] as number) + (table.vectors[i * width + j] as number);
  }
  const taken = new Set<number>();
  for (let c = 0; c < k; c++) {
    if (counts[c] !== 0) continue;
    let far = -1;
    const off = (i: number): number => distances[i] as number;
    for (let i = 0; i < rows; i++) if (!taken.has(i) && (far < 0 || off(i) > off(far))) far = i;
    taken.add(far);
    counts[c] = 1;
    sums.set(table.vectors.subarray(far * width, (far + 1) * width), c * width);
  }
  return Float32Array.from(sums, (v, i) => v / (counts[Math.floor(i / width)] as number));
}

export interface ClusterScores {
  /** Share of samples of their cluster's most frequent class. */
  readonly purity: number;
  /** Normalised mutual information, by the arithmetic mean of the entropies; 0 to 1. */
  readonly nmi: number;
  /** Adjusted Rand index (Hubert and Arabie 1985); 0 by chance, 1 at best. */
  readonly ari: number;
}

/**
 * Clusters against classes; as scikit-learn's metrics. Numbers from 0.
 * @throws ArgumentError LENGTHS_DIFFER; DataError LABEL_OUTSIDE for a sample without a class.
 */
export function clusterScores(clusters: Int32Array, labels: Int32Array): ClusterScores {
  if (clusters.length !== labels.length)
    throw new ArgumentError('LENGTHS_DIFFER', `${clusters.length} clusters for ${labels.length} labels`, {
      expected: labels.length,
      got: clusters.length,
    });
  const bad = labels.findIndex((label, i) => label < 0 || (clusters[i] as number) < 0);
  if (bad >= 0)
    throw new DataError('LABEL_OUTSIDE', `sample ${bad} has class ${labels[bad]} and cluster ${clusters[bad]}`, {
      sample: bad,
      expected: 'both of at least 0',
      got: labels[bad],
    });
  const n = labels.length;
  const size = (values: Int32Array): number => values.reduce((a, b) => Math.max(a, b), 0) + 1;
  const [k, classes] = [size(clusters), size(labels)];
  const counts = new Float64Array(k * classes);
  const [rows, columns] = [new Float64Array(k), new Float64Array(classes)];
  for (let i = 0; i < n; i++) {
    const [c, l] = [clusters[i] as number, labels[i] as number];
    counts[c * classes + l] = (counts[c * classes + l] as number) + 1;
    rows[c] = (rows[c] as number) + 1;
    columns[l] = (columns[l] as number) + 1;
  }
  const entropy = (parts: Float64Array): number =>
    parts.reduce((sum, v) => (v > 0 ? sum - (v / n) * Math.log(v / n) : sum), 0);
  const pairs = (parts: Float64Array): number => parts.reduce((sum, v) => sum + (v * (v - 1)) / 2, 0);
  const mutual = entropy(rows) + entropy(columns) - entropy(counts);
  const mean = (entropy(rows) + entropy(columns)) / 2;
  let most = 0;
  for (let c = 0; c < k; c++) most += Math.max(...counts.subarray(c * classes, (c + 1) * classes));
  const [together, byRow, byColumn] = [pairs(counts), pairs(rows), pairs(columns)];
  const expected = (byRow * byColumn) / ((n * (n - 1)) / 2);
  const highest = (byRow + byColumn) / 2;
  return {
    purity: most / n,
    nmi: mean > 0 ? Math.max(0, mutual) / mean : 1,
    ari: highest === expected ? 1 : (together - expected) / (highest - expected),
  };
}
