/** Vectors in two dimensions, as data for plots: PCA, and the maps of neighbours of DruidJS (UMAP, t-SNE, PaCMAP). */
import { PaCMAP, TSNE, UMAP } from '@saehrimnir/druidjs';
import { EigenvalueDecomposition, Matrix } from 'ml-matrix';
import { ArgumentError } from '../base/index.ts';
import { tensor } from '../tensor/index.ts';
import { checkTable, type FeatureTable, wholeNumber } from './table.ts';

export const projections = ['pca', 'umap', 'tsne', 'pacmap'] as const;
export type ProjectionMethod = (typeof projections)[number];

export interface ProjectOptions {
  readonly method?: ProjectionMethod;
  /** 2 unless told. */
  readonly dimensions?: number;
  /** UMAP and PaCMAP: neighbours of a point, 15 and 10; t-SNE: the perplexity, 30. */
  readonly neighbours?: number;
  readonly seed?: number;
}

export interface Projection {
  readonly method: ProjectionMethod;
  /** (samples, dimensions), row-major. */
  readonly points: Float64Array;
  readonly dimensions: number;
  /** PCA: share of the variance along each direction. */
  readonly explained?: readonly number[];
}

/**
 * Projects vectors to few dimensions; the same for the same seed.
 * @throws ArgumentError OPTION_INVALID for an unknown method, more dimensions or neighbours than there are; DataError FEATURES_*.
 */
export async function project(table: FeatureTable, options: ProjectOptions = {}): Promise<Projection> {
  checkTable(table);
  const { method = 'pca', dimensions = 2, seed = 0 } = options;
  const [rows, width] = table.shape;
  wholeNumber('dimensions', dimensions, 1, Math.min(rows, width));
  if (method === 'pca') return { method, dimensions, ...(await pca(table, dimensions)) };
  if (!projections.includes(method))
    throw new ArgumentError(
      'OPTION_INVALID',
      `method: expected one of ${projections.join(', ')}, found ${String(method)}`,
      {
        field: 'method',
        expected: projections,
        got: method,
      },
    );
  if (rows < LEAST)
    throw new ArgumentError('FEATURES_TOO_FEW', `${method} of ${rows} samples: a map of neighbours needs ${LEAST}`, {
      expected: `>= ${LEAST}`,
      got: rows,
      hint: 'use pca, or features of more samples',
    });
  const neighbours =
    options.neighbours ?? Math.min({ umap: 15, pacmap: 10, tsne: 30 }[method], Math.floor((rows - 1) / 3));
  wholeNumber('neighbours', neighbours, 1, rows - 1);
  // t-SNE keeps several matrices of all pairs.
  if (method === 'tsne' && rows > MOST_PAIRED)
    throw new ArgumentError(
      'FEATURES_TOO_MANY',
      `t-SNE of ${rows} samples would need their ${rows} x ${rows} distances`,
      {
        expected: `<= ${MOST_PAIRED}`,
        got: rows,
        hint: 'use umap or pacmap, or features of fewer samples (--limit)',
      },
    );
  // The many columns of wide layers say little more than their main directions, and cost as much each.
  const narrow = width > WIDE ? await pca(table, Math.min(50, rows)) : undefined;
  const columns = narrow ? Math.min(50, rows) : width;
  const values = narrow?.points ?? table.vectors;
  const points = Array.from({ length: rows }, (_, i) => Array.from(values.subarray(i * columns, (i + 1) * columns)));
  const common = { d: dimensions, seed };
  const placed =
    method === 'umap'
      ? UMAP.transform(points, { ...common, n_neighbors: neighbours })
      : method === 'tsne'
        ? TSNE.transform(points, { ...common, perplexity: neighbours })
        : PaCMAP.transform(points, { ...common, n_neighbors: neighbours });
  return { method, dimensions, points: Float64Array.from((placed as number[][]).flat()) };
}

const WIDE = 100;
// With fewer no point has neighbours and others.
const LEAST = 8;
const MOST_PAIRED = 5000;
// A matrix of so many rows takes seconds; more would take minutes.
const LARGEST = 4096;

/**
 * Principal components of centred vectors: eigenvectors of the covariance, or of the Gram matrix where there are fewer samples than
 * columns. The sign of each direction is that of its largest component, as scikit-learn's.
 */
async function pca(
  table: FeatureTable,
  dimensions: number,
): Promise<Pick<Projection, 'points' | 'explained'> & { points: Float64Array }> {
  const [rows, width] = table.shape;
  const small = Math.min(rows, width);
  if (small > LARGEST)
    throw new ArgumentError(
      'FEATURES_TOO_WIDE',
      `${rows} vectors of ${width} numbers: PCA is for at most ${LARGEST} of either`,
      {
        expected: `<= ${LARGEST}`,
        got: small,
        hint: 'pool the layer (--pooling mean), or project fewer samples',
      },
    );
  const centred = centre(table);
  const x = await tensor(centred, { shape: [rows, width] }).realize();
  const gram = width <= rows ? x.transpose().matmul(x) : x.matmul(x.transpose());
  const values = Array.from((await gram.data()) as Float32Array);
  const square = Matrix.from1DArray(small, small, values);
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(square.add(square.transpose()).mul(0.5), {
    assumeSymmetric: true,
  });
  const order = realEigenvalues
    .map((_, i) => i)
    .sort((a, b) => (realEigenvalues[b] as number) - (realEigenvalues[a] as number));
  const total = realEigenvalues.reduce((sum, v) => sum + Math.max(0, v), 0);
  const points = new Float64Array(rows * dimensions);
  const explained: number[] = [];
  for (let d = 0; d < dimensions; d++) {
    const at = order[d] as number;
    const eigenvalue = Math.max(0, realEigenvalues[at] as number);
    const vector = eigenvectorMatrix.getColumn(at);
    explained.push(total > 0 ? eigenvalue / total : 0);
    const scores = width <= rows ? times(centred, vector, rows, width) : vector.map((v) => v * Math.sqrt(eigenvalue));
    const direction = width <= rows ? vector : timesTransposed(centred, scores, rows, width);
    const sign = direction.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0) < 0 ? -1 : 1;
    scores.forEach((v, i) => {
      points[i * dimensions + d] = sign * v;
    });
  }
  return { points, explained };
}

function centre({ vectors, shape: [rows, width] }: FeatureTable): Float32Array {
  const mean = new Float64Array(width);
  vectors.forEach((v, i) => {
    mean[i % width] = (mean[i % width] as number) + v / rows;
  });
  return vectors.map((v, i) => v - (mean[i % width] as number));
}

const times = (x: Float32Array, v: readonly number[], rows: number, width: number): number[] =>
  Array.from({ length: rows }, (_, i) => {
    let sum = 0;
    for (let c = 0; c < width; c++) sum += (x[i * width + c] as number) * (v[c] as number);
    return sum;
  });

function timesTransposed(x: Float32Array, v: readonly number[], rows: number, width: number): number[] {
  const out = new Array<number>(width).fill(0);
  for (let i = 0; i < rows; i++)
    for (let c = 0; c < width; c++) out[c] = (out[c] as number) + (x[i * width + c] as number) * (v[i] as number);
  return out;
}
