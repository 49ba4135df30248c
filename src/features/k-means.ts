/** k-means (Lloyd 1982) from k-means++ starts (Arthur and Vassilvitskii 2007), and how well clusters fit classes. */
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
  const x = await tensor(table.vectors, { shape: [rows, width] }).realize();
  const norms = squaredNorms(table);
  let best: KMeans | undefined;
  for (let start = 0; start < nInit; start++) {
    const first = options.centres ?? (await plusPlus(table, x, norms, k, new Philox(seed, start)));
    const found = await lloyd(table, x, norms, first, maxIterations);
    if (!best || found.inertia < best.inertia) best = found;
  }
  return best as KMeans;
}

/** Squared distances to each of (k, width) centres, (rows, k). */
async function distances(x: Tensor, norms: Float64Array, centres: Float32Array, width: number): Promise<Float64Array> {
  const k = centres.length / width;
  const products = (await x.matmul(tensor(centres, { shape: [k, width] }).transpose()).data()) as Float32Array;
  const own = squaredNorms({ vectors: centres, shape: [k, width], ids: new Int32Array(k) });
  return Float64Array.from(products, (p, i) =>
    Math.max(0, (norms[Math.floor(i / k)] as number) + (own[i % k] as number) - 2 * p),
  );
}

async function plusPlus(
  table: FeatureTable,
  x: Tensor,
  norms: Float64Array,
  k: number,
  random: Philox,
): Promise<Float32Array> {
  const [rows, width] = table.shape;
  const chosen = [random.integer(rows)];
  const nearest = new Float64Array(rows).fill(Number.POSITIVE_INFINITY);
  while (chosen.length < k) {
    const last = rowsOf(table, chosen.slice(-1)).vectors;
    (await distances(x, norms, last, width)).forEach((d, i) => {
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

async function lloyd(
  table: FeatureTable,
  x: Tensor,
  norms: Float64Array,
  start: Float32Array,
  maxIterations: number,
): Promise<KMeans> {
  const [rows, width] = table.shape;
  const k = start.length / width;
  let centres = start;
  const clusters = new Int32Array(rows).fill(-1);
  for (let iterations = 1; ; iterations++) {
    const all = await distances(x, norms, centres, width);
    let [changed, inertia] = [false, 0];
    for (let i = 0; i < rows; i++) {
      let at = 0;
      for (let c = 1; c < k; c++) if ((all[i * k + c] as number) < (all[i * k + at] as number)) at = c;
      if (clusters[i] !== at) changed = true;
      clusters[i] = at;
      inertia += all[i * k + at] as number;
    }
    if (!changed || iterations >= maxIterations) return { clusters, centres, inertia, iterations };
    centres = means(table, clusters, all, k);
  }
}

/** A cluster that lost all its samples begins anew at the one furthest from its centre. */
function means(table: FeatureTable, clusters: Int32Array, all: Float64Array, k: number): Float32Array {
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
    const off = (i: number): number => all[i * k + (clusters[i] as number)] as number;
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

/** Clusters against classes; as scikit-learn's metrics. Both arrays of one length, numbers from 0. */
export function clusterScores(clusters: Int32Array, labels: Int32Array): ClusterScores {
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
