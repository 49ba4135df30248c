/** Rows of the ops that move elements, in every dtype. */
import { makeNode, type Node, type OpName } from '../../../src/graph/index.ts';
import { opCase } from '../op-case.ts';

for (const dtype of ['f32', 'i32', 'u8', 'bool'] as const) {
  const move = (op: OpName, shape: number[], make: (x: Node) => Node): void =>
    opCase(op as 'neg', { inputs: [{ shape, dtype, low: 0, high: 9 }], make, gradient: dtype === 'f32' });
  const permute = (x: Node, ...axes: number[]): Node => makeNode('permute', [x], { axes });
  move('reshape', [4, 6], (x) => makeNode('reshape', [x], { shape: [3, 8] }));
  move('reshape', [4, 6], (x) => makeNode('reshape', [permute(x, 1, 0)], { shape: [3, 8] }));
  move('reshape', [], (x) => makeNode('reshape', [x], { shape: [1, 1] }));
  move('reshape', [0, 3], (x) => makeNode('reshape', [x], { shape: [2, 0] }));
  move('permute', [2, 3, 4, 5], (x) => permute(x, 3, 0, 2, 1));
  move('permute', [65, 33], (x) => permute(x, 1, 0));
  move('permute', [2, 17, 16], (x) => permute(x, 0, 2, 1));
  move('permute', [3, 0, 2], (x) => permute(x, 2, 0, 1));
  move('permute', [1, 2, 3, 2, 1, 2], (x) => permute(x, 5, 3, 1, 0, 2, 4));
  move('expand', [3, 1, 4, 1], (x) => makeNode('expand', [x], { shape: [3, 5, 4, 2] }));
  move('expand', [1], (x) => makeNode('expand', [x], { shape: [65] }));
  move('expand', [1, 3], (x) => makeNode('expand', [x], { shape: [0, 3] }));
  move('slice', [7, 9], (x) => makeNode('slice', [x], { start: [1, 8], step: [2, -3], count: [3, 3] }));
  move('slice', [7, 9], (x) => makeNode('slice', [x], { start: [6, 0], step: [-1, 4], count: [7, 3] }));
  move('slice', [5], (x) => makeNode('slice', [x], { start: [0], step: [1], count: [0] }));
  move('slice', [5, 3], (x) => makeNode('slice', [x], { start: [4, 1], step: [-7, 1], count: [1, 2] }));
  move('pad', [3, 4], (x) => makeNode('pad', [x], { before: [1, 0], after: [2, 3], value: 1 }));
  move('pad', [0, 2], (x) => makeNode('pad', [x], { before: [1, 1], after: [1, 0], value: 0 }));
  move('pad', [17], (x) => makeNode('pad', [x], { before: [0], after: [16], value: 0 }));
  move('concat', [3, 4], (x) =>
    makeNode('concat', [x, x, makeNode('slice', [x], { start: [2, 0], step: [-1, 1], count: [2, 4] })], { axis: 0 }),
  );
  move('concat', [3, 4], (x) => makeNode('concat', [x, x], { axis: 1 }));
  move('concat', [4, 4], (x) => makeNode('concat', [x, permute(x, 1, 0)], { axis: 1 }));
  move('concat', [5], (x) => makeNode('concat', [x], { axis: 0 }));
  move('concat', [2, 0, 3], (x) => makeNode('concat', [x, x], { axis: 1 }));
}
