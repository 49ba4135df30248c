/** Rows of reading and adding by index; few values, so that indices repeat. */
import { opCase } from '../op-case.ts';

const picks: [shape: number[], axis: number, count: number][] = [
  [[3, 5, 2], 1, 7],
  [[9, 4], 0, 2],
  [[4, 33], 1, 65],
  [[1], 0, 16],
  [[2, 3, 2, 3], 3, 1],
  [[5, 3], 0, 0],
];
for (const [shape, axis, count] of picks) {
  const picked = shape.map((d, i) => (i === axis ? count : d));
  const index = { shape: picked, dtype: 'i32', low: 0, high: shape[axis] as number } as const;
  opCase('gather', { inputs: [{ shape }, index], attrs: { axis } });
  const attrs = { axis, size: shape[axis] as number };
  opCase('scatterAdd', { inputs: [index, { shape: picked }], attrs, bound: 'sums' });
}
for (const [rows, width, index] of [
  [11, 6, [3, 4]],
  [1, 1, []],
  [3, 65, [70]],
  [100, 16, [0]],
  [7, 33, [2, 1, 3]],
] as const) {
  const ids = { shape: index, dtype: 'i32', low: 0, high: rows } as const;
  opCase('embedding', { inputs: [{ shape: [rows, width] }, ids] });
  opCase('embeddingGrad', { inputs: [ids, { shape: [...index, width] }], attrs: { rows }, bound: 'sums' });
}
