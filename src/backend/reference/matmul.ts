/** Matrix products, and the routine convolution shares with them. */
import type { TypedArray } from '../../base/index.ts';
import { type Evaluate, value } from './arrays.ts';
import { operands } from './bf16.ts';

/** A matrix read through strides: element (i, j) is `data[offset + i * row + j * col]`. */
export interface Matrix {
  readonly data: TypedArray;
  readonly offset: number;
  readonly row: number;
  readonly col: number;
}

// The kernel keeps a TILE x TILE block of C in locals; DEPTH terms of a packed panel stay in the first cache.
const TILE = 4;
const DEPTH = 256;

/** Copies `depth` steps of up to TILE lanes to `out`, lanes side by side, missing ones 0. */
function pack(
  data: TypedArray,
  base: number,
  lane: number,
  step: number,
  lanes: number,
  depth: number,
  out: Float64Array,
  at: number,
): void {
  for (let l = 0; l < TILE; l++)
    for (let d = 0, to = at + l, from = base + l * lane; d < depth; d++, to += TILE, from += step)
      out[to] = l < lanes ? (data[from] as number) : 0;
}

/** tile = the product of two packed panels. */
function kernel(a: Float64Array, i: number, b: Float64Array, depth: number, tile: Float64Array): void {
  let c00 = 0;
  let c01 = 0;
  let c02 = 0;
  let c03 = 0;
  let c10 = 0;
  let c11 = 0;
  let c12 = 0;
  let c13 = 0;
  let c20 = 0;
  let c21 = 0;
  let c22 = 0;
  let c23 = 0;
  let c30 = 0;
  let c31 = 0;
  let c32 = 0;
  let c33 = 0;
  for (let j = 0, end = depth * TILE; j < end; j += TILE, i += TILE) {
    const b0 = b[j] as number;
    const b1 = b[j + 1] as number;
    const b2 = b[j + 2] as number;
    const b3 = b[j + 3] as number;
    let f = a[i] as number;
    c00 += f * b0;
    c01 += f * b1;
    c02 += f * b2;
    c03 += f * b3;
    f = a[i + 1] as number;
    c10 += f * b0;
    c11 += f * b1;
    c12 += f * b2;
    c13 += f * b3;
    f = a[i + 2] as number;
    c20 += f * b0;
    c21 += f * b1;
    c22 += f * b2;
    c23 += f * b3;
    f = a[i + 3] as number;
    c30 += f * b0;
    c31 += f * b1;
    c32 += f * b2;
    c33 += f * b3;
  }
  tile[0] = c00;
  tile[1] = c01;
  tile[2] = c02;
  tile[3] = c03;
  tile[4] = c10;
  tile[5] = c11;
  tile[6] = c12;
  tile[7] = c13;
  tile[8] = c20;
  tile[9] = c21;
  tile[10] = c22;
  tile[11] = c23;
  tile[12] = c30;
  tile[13] = c31;
  tile[14] = c32;
  tile[15] = c33;
}

/** C (M, N) row-major += A (M, K) B (K, N), in double. */
export function gemm(M: number, N: number, K: number, a: Matrix, b: Matrix, c: Float64Array): void {
  const depthMax = Math.min(K, DEPTH);
  const left = new Float64Array(Math.ceil(M / TILE) * TILE * depthMax);
  const right = new Float64Array(TILE * depthMax);
  const tile = new Float64Array(TILE * TILE);
  for (let k = 0; k < K; k += DEPTH) {
    const depth = Math.min(K - k, DEPTH);
    for (let m = 0; m < M; m += TILE)
      pack(a.data, a.offset + m * a.row + k * a.col, a.row, a.col, Math.min(TILE, M - m), depth, left, m * depth);
    for (let n = 0; n < N; n += TILE) {
      const cols = Math.min(TILE, N - n);
      pack(b.data, b.offset + n * b.col + k * b.row, b.col, b.row, cols, depth, right, 0);
      for (let m = 0; m < M; m += TILE) {
        kernel(left, m * depth, right, depth, tile);
        const rows = Math.min(TILE, M - m);
        for (let i = 0; i < rows; i++)
          for (let j = 0; j < cols; j++) (c[(m + i) * N + n + j] as number) += tile[i * TILE + j] as number;
      }
    }
  }
}

/** Row-major rows x cols from `offset`, or the transpose of a row-major cols x rows. */
const matrix = (data: TypedArray, offset: number, rows: number, cols: number, transposed: boolean): Matrix => ({
  data,
  offset,
  row: transposed ? 1 : cols,
  col: transposed ? rows : 1,
});

export const matmul: Evaluate<'matmul'> = ({ inputs, attrs, shape, out }) => {
  const { transA, transB } = attrs;
  const [a, b] = operands(inputs, attrs).map((x) => x.data) as [TypedArray, TypedArray];
  const [M, N] = shape.slice(-2) as [number, number];
  const K = value(inputs, 0).shape.at(transA ? -2 : -1) as number;
  if (M * N === 0) return;
  const c = new Float64Array(M * N);
  for (let batch = 0; batch < out.length / (M * N); batch++) {
    c.fill(0);
    gemm(M, N, K, matrix(a, batch * M * K, M, K, transA), matrix(b, batch * K * N, K, N, transB), c);
    out.set(c, batch * M * N);
  }
};
