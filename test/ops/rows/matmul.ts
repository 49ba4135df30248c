/** Rows of the matrix product: vectors, empty sizes, sizes around tiles, both transposes, batches; in f32 and bf16. */
import { opCase } from '../op-case.ts';

const sizes: [m: number, k: number, n: number, batch?: number[]][] = [
  [1, 1, 1],
  [3, 4, 5],
  [1, 37, 1],
  [1, 64, 33],
  [31, 1, 32],
  [15, 16, 17],
  [33, 65, 17],
  [63, 64, 65],
  [16, 300, 129],
  [70, 5, 90],
  [2, 1000, 3],
  [3, 4, 5, [2]],
  [15, 31, 16, [2, 2]],
  [1, 7, 1, [3, 1, 2]],
  [0, 4, 5],
  [3, 0, 5],
  [3, 4, 0],
  [3, 4, 5, [0]],
];
for (const [m, k, n, batch = []] of sizes)
  for (const transA of [false, true])
    for (const transB of [false, true])
      opCase('matmul', {
        inputs: [
          { shape: [...batch, ...(transA ? [k, m] : [m, k])] },
          { shape: [...batch, ...(transB ? [n, k] : [k, n])] },
        ],
        attrs: { transA, transB },
        bound: 'sums',
      });

// Operands rounded to bf16: the oracle rounds them too, so the bound is that of f32 sums.
for (const [m, k, n, batch = []] of [...sizes, [7, 513, 70], [200, 300, 130], [40, 48, 33, [9]]] as typeof sizes)
  for (const [transA, transB] of [
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ] as const)
    opCase('matmul', {
      inputs: [
        { shape: [...batch, ...(transA ? [k, m] : [m, k])] },
        { shape: [...batch, ...(transB ? [n, k] : [k, n])] },
      ],
      attrs: { transA, transB, precision: 'bf16' },
      bound: 'sums',
      gradient: false,
    });
