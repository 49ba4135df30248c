/** Rows of the elementwise ops and the leaves. */
import type { DType } from '../../../src/base/index.ts';
import { constantNode, iotaNode, makeNode, type OpName, randomNode } from '../../../src/graph/index.ts';
import { type Bound, opCase, shapes } from '../op-case.ts';

const unary: [op: OpName, low: number, high: number, bound: Bound, gradient?: boolean][] = [
  ['neg', -3, 3, 'exact'],
  ['abs', -3, 3, 'exact'],
  ['sign', -3, 3, 'exact', false],
  ['exp', -10, 10, 2],
  ['log', 0.01, 20, 2],
  ['log1p', -0.9, 20, 4],
  ['expm1', -5, 5, 4],
  ['sqrt', 0.1, 9, 'exact'],
  ['rsqrt', 0.1, 9, 2],
  ['reciprocal', 0.2, 9, 'exact'],
  ['sin', -20, 20, 4],
  ['cos', -20, 20, 4],
  ['tanh', -6, 6, 4],
  ['sigmoid', -9, 9, 4],
  ['erf', -4, 4, 4],
  ['relu', -3, 3, 'exact'],
  ['floor', -3, 3, 'exact', false],
  ['ceil', -3, 3, 'exact', false],
  ['round', -3, 3, 'exact', false],
];
for (const [op, low, high, bound, gradient] of unary)
  for (const shape of shapes) opCase(op as 'neg', { inputs: [{ shape, low, high }], bound, gradient });

function binary(op: OpName, low: number, high: number, bound: Bound, dtype: DType = 'f32', gradient = true): void {
  for (const shape of shapes) {
    const input = { shape, low, high, dtype };
    opCase(op as 'add', { inputs: [input, input], bound, gradient: gradient && dtype === 'f32' });
  }
}
for (const op of ['add', 'sub', 'mul', 'maximum', 'minimum'] as const) {
  binary(op, -3, 3, 'exact');
  binary(op, -(2 ** 31), 2 ** 31 - 1, 'exact', 'i32');
}
binary('div', 0.5, 3, 'exact');
binary('pow', 0.3, 3, 4);
for (const op of ['eq', 'lt', 'le'] as const) {
  binary(op, -1, 1, 'exact', 'f32', false);
  binary(op, 0, 4, 'exact', 'i32');
  binary(op, 0, 4, 'exact', 'u8');
}
for (const op of ['and', 'or'] as const) binary(op, 0, 2, 'exact', 'bool');

const casts: [from: DType, to: DType, low: number, high: number][] = [
  ['f32', 'i32', -3e9, 3e9],
  ['f32', 'i32', -3.9, 300],
  ['f32', 'bool', -1, 1],
  ['f32', 'u8', -3.9, 300],
  ['i32', 'f32', -(2 ** 31), 2 ** 31 - 1],
  ['i32', 'u8', -300, 300],
  ['i32', 'bool', -2, 2],
  ['u8', 'f32', 0, 256],
  ['u8', 'i32', 0, 256],
  ['u8', 'bool', 0, 2],
  ['bool', 'f32', 0, 1],
  ['bool', 'i32', 0, 1],
  ['bool', 'u8', 0, 1],
];
for (const shape of shapes) {
  opCase('not', { inputs: [{ shape, dtype: 'bool' }], gradient: false });
  opCase('detach', { inputs: [{ shape }], make: (x) => makeNode('neg', [makeNode('detach', [x])]), gradient: false });
  opCase('where', { inputs: [{ shape, dtype: 'bool' }, { shape }, { shape }] });
  for (const [dtype, to, low, high] of casts)
    opCase('cast', { inputs: [{ shape, dtype, low, high }], attrs: { dtype: to }, gradient: false });
}

opCase('source', { inputs: [{ shape: [3, 4] }], make: (x) => makeNode('neg', [x]) });
opCase('constant', {
  inputs: [{ shape: [3, 4] }],
  make: (x) => makeNode('add', [constantNode(2.5, [3, 4], 'f32'), x]),
});
for (const [shape, axis] of [
  [[2, 3, 4], 1],
  [[7, 5], 0],
  [[33], 0],
] as const)
  opCase('iota', {
    inputs: [{ shape, dtype: 'i32' }],
    make: (x) => makeNode('add', [iotaNode(shape, axis), x]),
    gradient: false,
  });
for (const shape of [[], [5], [3, 7], [1001]])
  opCase('random', {
    inputs: [{ shape: [4], dtype: 'i32', low: -(2 ** 31), high: 2 ** 31 - 1 }],
    make: (key) => randomNode(key, shape),
    gradient: false,
  });
