/** Rows of the reductions: axes at the front, in the middle, at the end, long and short, empty and of one element. */
import { opCase } from '../op-case.ts';

const reductions: [shape: number[], axes: number[]][] = [
  [[5], [0]],
  [[1], [0]],
  [[3, 4], [0]],
  [[3, 4], [1]],
  [
    [3, 4],
    [0, 1],
  ],
  [
    [2, 3, 4],
    [0, 2],
  ],
  [[2, 3, 4], [1]],
  [
    [2, 3, 4, 5],
    [0, 2, 3],
  ],
  [
    [2, 3, 2, 3, 2, 3],
    [1, 3, 5],
  ],
  [[17, 33], [1]],
  [[33, 17], [0]],
  [[63, 65], [0]],
  [[64, 31], [1]],
  [[300, 7], [0]],
  [[2, 20000], [1]],
  [[9000], [0]],
  [
    [1, 1, 6],
    [0, 2],
  ],
];
const empty: [shape: number[], axes: number[]][] = [
  [[0], [0]],
  [[0, 3], [0]],
  [[0, 3], [1]],
  [
    [3, 0, 2],
    [1, 2],
  ],
];

for (const [shape, axes] of [...reductions, ...empty]) {
  const integers = { shape, dtype: 'i32', low: -9, high: 9 } as const;
  opCase('sum', { inputs: [{ shape }], attrs: { axes }, bound: 'sums' });
  opCase('sum', { inputs: [integers], attrs: { axes }, gradient: false });
  opCase('sum', {
    inputs: [{ ...integers, low: -(2 ** 31), high: 2 ** 31 - 1 }],
    attrs: { axes },
    gradient: false,
  });
  if (axes.some((a) => shape[a] === 0)) continue;
  opCase('max', { inputs: [{ shape }], attrs: { axes } });
  opCase('max', { inputs: [integers], attrs: { axes }, gradient: false });
  opCase('argmax', { inputs: [{ shape }], attrs: { axis: axes[0] as number }, gradient: false });
}

for (const shape of [[1], [7], [3, 16], [2, 3, 33], [2, 4096], [3, 5001], [4, 0], [0, 4]])
  opCase('logSumExp', { inputs: [{ shape }], bound: { absolute: 4e-6 } });
