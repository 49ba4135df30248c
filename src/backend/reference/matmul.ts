/** Matrix products, and the routine convolution shares with them. */
import type { TypedArray } from '../../base/index.ts';
import { type Evaluate, value } from './arrays.ts';

/** C (M, N) += A (M, K) B (K, N), all row-major, in double; blocked so that rows of B stay in cache. */
export function gemm(M: number, N: number, K: number, a: Float64Array, b: Float64Array, c: Float64Array): void {
  const BLOCK = 64;
  for (let k0 = 0; k0 < K; k0 += BLOCK) {
    const k1 = Math.min(K, k0 + BLOCK);
    for (let m = 0; m < M; m++) {
      const row = m * N;
      for (let k = k0; k < k1; k++) {
        const f = a[m * K + k] as number;
        const from = k * N;
        for (let n = 0; n < N; n++) (c[row + n] as number) += f * (b[from + n] as number);
      }
    }
  }
}

/** Rows x cols of `data` from `offset`, or its transpose, as doubles. */
function matrix(data: TypedArray, offset: number, rows: number, cols: number, transposed: boolean): Float64Array {
  const out = new Float64Array(rows * cols);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < cols; c++)
      out[r * cols + c] = data[offset + (transposed ? c * rows + r : r * cols + c)] as number;
  return out;
}

export const matmul: Evaluate<'matmul'> = ({ inputs, attrs: { transA, transB }, shape, out }) => {
  const [a, b] = [value(inputs, 0), value(inputs, 1)];
  const [M, N] = shape.slice(-2) as [number, number];
  const K = a.shape.at(transA ? -2 : -1) as number;
  if (M * N === 0) return;
  for (let batch = 0; batch < out.length / (M * N); batch++) {
    const c = new Float64Array(M * N);
    gemm(M, N, K, matrix(a.data, batch * M * K, M, K, transA), matrix(b.data, batch * K * N, K, N, transB), c);
    out.set(c as never, batch * M * N);
  }
};
