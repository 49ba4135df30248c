/**
 * Every primitive, by table: the native kernels against the float64 reference over odd shapes, and each gradient rule
 * against central differences. A primitive without a row fails the last test.
 */
import { describe, expect, test } from 'vitest';
import { gradients } from '../../src/autograd/backward.ts';
import type { Backend, Graph } from '../../src/backend/index.ts';
import { loadAddon } from '../../src/backend/native/addon.ts';
import { NativeBackend } from '../../src/backend/native/backend.ts';
import { ReferenceBackend } from '../../src/backend/reference/index.ts';
import { type DType, dtypes, isFloat, Philox, sizeOf, type TypedArray } from '../../src/base/index.ts';
import {
  constantNode,
  iotaNode,
  makeNode,
  type Node,
  type OpName,
  ops,
  randomNode,
  Storage,
  sourceNode,
  topologicalOrder,
} from '../../src/graph/index.ts';

interface Input {
  shape: number[];
  dtype?: DType;
  /** Range of the values; integers below `high` for i32. */
  low?: number;
  high?: number;
}
interface Case {
  op: OpName;
  inputs: Input[];
  make: (nodes: Node[]) => Node;
  /** Allowed error in units of f32 rounding of the largest magnitude summed; 0 for exact. */
  ulps?: number;
  /** false: kinks or integers, where differences mean nothing. */
  gradient?: boolean;
}

const shapes = [[], [1], [7], [0, 3], [2, 3, 5], [33, 17], [64, 65], [1030]];
const cases: Case[] = [];
const add = (c: Case): void => void cases.push(c);

const unary: [OpName, number, number, number, boolean?][] = [
  ['neg', -3, 3, 0],
  ['abs', -3, 3, 0],
  ['sign', -3, 3, 0, false],
  ['exp', -10, 10, 4],
  ['log', 0.01, 20, 4],
  ['log1p', -0.9, 20, 6],
  ['expm1', -5, 5, 6],
  ['sqrt', 0.1, 9, 2],
  ['rsqrt', 0.1, 9, 4],
  ['reciprocal', 0.2, 9, 2],
  ['sin', -20, 20, 6],
  ['cos', -20, 20, 6],
  ['tanh', -6, 6, 6],
  ['sigmoid', -9, 9, 6],
  ['erf', -4, 4, 6],
  ['relu', -3, 3, 0],
  ['floor', -3, 3, 0, false],
  ['ceil', -3, 3, 0, false],
  ['round', -3, 3, 0, false],
];
for (const [op, low, high, ulps, gradient] of unary)
  for (const shape of shapes)
    add({ op, inputs: [{ shape, low, high }], make: ([x]) => makeNode(op as 'neg', [x as Node]), ulps, gradient });
const two = (op: OpName, low: number, high: number, ulps: number, gradient = true, dtype: DType = 'f32'): void => {
  for (const shape of shapes)
    add({
      op,
      inputs: [
        { shape, low, high, dtype },
        { shape, low, high, dtype },
      ],
      make: ([a, b]) => makeNode(op as 'add', [a as Node, b as Node]),
      ulps,
      gradient,
    });
};
two('add', -3, 3, 1);
two('sub', -3, 3, 1);
two('mul', -3, 3, 1);
two('div', 0.5, 3, 1);
two('pow', 0.3, 3, 8);
two('maximum', -3, 3, 0);
two('minimum', -3, 3, 0);
for (const op of ['eq', 'lt', 'le'] as const) {
  two(op, 0, 4, 0, false, 'i32');
  two(op, -1, 1, 0, false);
}
for (const op of ['add', 'sub', 'mul', 'maximum', 'minimum'] as const)
  two(op, -2147483648, 2147483647, 0, false, 'i32');
for (const op of ['and', 'or'] as const) two(op, 0, 2, 0, false, 'bool');
for (const shape of shapes) {
  add({ op: 'not', inputs: [{ shape, dtype: 'bool' }], make: ([x]) => makeNode('not', [x as Node]), gradient: false });
  add({
    op: 'detach',
    inputs: [{ shape }],
    make: ([x]) => makeNode('neg', [makeNode('detach', [x as Node])]),
    gradient: false,
  });
  add({
    op: 'where',
    inputs: [{ shape, dtype: 'bool' }, { shape }, { shape }],
    make: ([c, a, b]) => makeNode('where', [c as Node, a as Node, b as Node]),
  });
  for (const [from, to] of [
    ['f32', 'i32'],
    ['f32', 'bool'],
    ['f32', 'u8'],
    ['i32', 'f32'],
    ['i32', 'u8'],
    ['i32', 'bool'],
    ['u8', 'f32'],
    ['u8', 'i32'],
    ['bool', 'f32'],
    ['bool', 'i32'],
  ] as const)
    add({
      op: 'cast',
      inputs: [{ shape, dtype: from, low: from === 'f32' ? -3.9 : 0, high: from === 'f32' ? 300 : 300 }],
      make: ([x]) => makeNode('cast', [x as Node], { dtype: to }),
      gradient: false,
    });
}
const reductions: [number[], number[]][] = [
  [[5], [0]],
  [[3, 4], [0]],
  [[3, 4], [1]],
  [
    [2, 3, 4],
    [0, 2],
  ],
  [[2, 3, 4], [1]],
  [
    [2, 3, 4, 5],
    [0, 2, 3],
  ],
  [[0, 3], [0]],
  [[17, 33], [1]],
  [[300, 7], [0]],
  [[2, 20000], [1]],
  [[9000], [0]],
  [
    [1, 1, 6],
    [0, 2],
  ],
];
for (const [shape, axes] of reductions) {
  add({ op: 'sum', inputs: [{ shape }], make: ([x]) => makeNode('sum', [x as Node], { axes }), ulps: 60 });
  add({
    op: 'sum',
    inputs: [{ shape, dtype: 'i32', low: -9, high: 9 }],
    make: ([x]) => makeNode('sum', [x as Node], { axes }),
    gradient: false,
  });
  if (shape.includes(0)) continue;
  add({ op: 'max', inputs: [{ shape }], make: ([x]) => makeNode('max', [x as Node], { axes }) });
  add({
    op: 'max',
    inputs: [{ shape, dtype: 'i32', low: -9, high: 9 }],
    make: ([x]) => makeNode('max', [x as Node], { axes }),
    gradient: false,
  });
  add({
    op: 'argmax',
    inputs: [{ shape }],
    make: ([x]) => makeNode('argmax', [x as Node], { axis: axes[0] as number }),
    gradient: false,
  });
}
for (const dtype of ['f32', 'i32', 'u8', 'bool'] as const) {
  const keep = (x: Node): Node => x;
  const move = (op: OpName, shape: number[], make: (x: Node) => Node): void =>
    add({ op, inputs: [{ shape, dtype, low: 0, high: 9 }], make: ([x]) => make(x as Node), gradient: dtype === 'f32' });
  move('reshape', [4, 6], (x) => makeNode('reshape', [x], { shape: [3, 8] }));
  move('reshape', [4, 6], (x) => makeNode('reshape', [makeNode('permute', [x], { axes: [1, 0] })], { shape: [3, 8] }));
  move('permute', [2, 3, 4, 5], (x) => makeNode('permute', [x], { axes: [3, 0, 2, 1] }));
  move('permute', [65, 33], (x) => makeNode('permute', [x], { axes: [1, 0] }));
  move('expand', [3, 1, 4, 1], (x) => makeNode('expand', [x], { shape: [3, 5, 4, 2] }));
  move('slice', [7, 9], (x) => makeNode('slice', [x], { start: [1, 8], step: [2, -3], count: [3, 3] }));
  move('slice', [7, 9], (x) => makeNode('slice', [x], { start: [6, 0], step: [-1, 4], count: [7, 3] }));
  move('pad', [3, 4], (x) => makeNode('pad', [x], { before: [1, 0], after: [2, 3], value: 1 }));
  move('concat', [3, 4], (x) =>
    makeNode('concat', [x, keep(x), makeNode('slice', [x], { start: [2, 0], step: [-1, 1], count: [2, 4] })], {
      axis: 0,
    }),
  );
  move('concat', [3, 4], (x) => makeNode('concat', [x, x], { axis: 1 }));
}
const products: [number[], number[], boolean, boolean][] = [
  [[3, 4], [4, 5], false, false],
  [[4, 3], [4, 5], true, false],
  [[3, 4], [5, 4], false, true],
  [[4, 3], [5, 4], true, true],
  [[2, 3, 4], [2, 4, 5], false, false],
  [[1, 1], [1, 1], false, false],
  [[33, 65], [65, 17], false, false],
  [[16, 300], [129, 300], false, true],
  [[0, 4], [4, 5], false, false],
  [[3, 0], [0, 5], false, false],
  [[70, 5], [70, 90], true, false],
  [[2, 2, 15, 31], [2, 2, 16, 31], false, true],
];
for (const [a, b, transA, transB] of products)
  add({
    op: 'matmul',
    inputs: [{ shape: a }, { shape: b }],
    make: ([x, y]) => makeNode('matmul', [x as Node, y as Node], { transA, transB }),
    ulps: 80,
  });

const window = { stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1] } as const;
const convs = [
  { x: [2, 3, 7, 8], w: [4, 3, 3, 3], padding: [1, 1, 1, 1] },
  { x: [1, 1, 5, 5], w: [1, 1, 1, 1] },
  { x: [2, 4, 9, 7], w: [6, 2, 3, 2], groups: 2, stride: [2, 1], padding: [1, 0, 2, 1] },
  { x: [2, 6, 8, 8], w: [6, 1, 3, 3], groups: 6, padding: [1, 1, 1, 1], stride: [2, 2] },
  { x: [1, 2, 11, 11], w: [3, 2, 3, 3], dilation: [2, 3] },
  { x: [3, 16, 4, 4], w: [32, 16, 3, 3], padding: [1, 1, 1, 1] },
  { x: [2, 5, 2, 2], w: [33, 5, 3, 3], padding: [1, 1, 1, 1] },
] as const;
for (const c of convs)
  for (const channelsLast of [false, true]) {
    const attrs = { ...window, groups: 1, ...c, channelsLast } as never as import('../../src/graph/index.ts').ConvAttrs;
    const last = ([n, ch, h, w]: readonly number[]): number[] =>
      (channelsLast ? [n, h, w, ch] : [n, ch, h, w]) as number[];
    const { stride, padding, dilation, groups } = attrs;
    const plain = { stride, padding, dilation, groups, channelsLast };
    add({
      op: 'conv2d',
      inputs: [{ shape: last(c.x) }, { shape: [...c.w] }],
      make: ([x, w]) => makeNode('conv2d', [x as Node, w as Node], plain),
      ulps: 80,
    });
    const y = makeNode('conv2d', [source(last(c.x)), source([...c.w])], plain);
    add({
      op: 'conv2dInputGrad',
      inputs: [{ shape: [...y.shape] }, { shape: [...c.w] }],
      make: ([g, w]) => makeNode('conv2dInputGrad', [g as Node, w as Node], { ...plain, size: [c.x[2], c.x[3]] }),
      ulps: 80,
    });
    add({
      op: 'conv2dWeightGrad',
      inputs: [{ shape: last(c.x) }, { shape: [...y.shape] }],
      make: ([x, g]) =>
        makeNode('conv2dWeightGrad', [x as Node, g as Node], { ...plain, kernelSize: [c.w[2], c.w[3]] }),
      ulps: 200,
    });
  }
const pools = [
  { x: [2, 3, 8, 6], kernelSize: [2, 2], stride: [2, 2] },
  { x: [1, 2, 7, 7], kernelSize: [3, 3], stride: [2, 2], padding: [1, 1, 1, 1] },
  { x: [1, 17, 5, 9], kernelSize: [3, 2], stride: [1, 3], padding: [0, 1, 1, 0] },
] as const;
for (const p of pools)
  for (const channelsLast of [false, true]) {
    const shape = (channelsLast ? [p.x[0], p.x[2], p.x[3], p.x[1]] : [...p.x]) as number[];
    const attrs = {
      ...window,
      kernelSize: p.kernelSize,
      stride: p.stride,
      padding: 'padding' in p ? p.padding : window.padding,
      channelsLast,
    } as never as import('../../src/graph/index.ts').PoolAttrs;
    const y = makeNode('maxPool2d', [source(shape)], attrs);
    add({ op: 'maxPool2d', inputs: [{ shape }], make: ([x]) => makeNode('maxPool2d', [x as Node], attrs) });
    add({
      op: 'maxPool2dGrad',
      inputs: [{ shape }, { shape: [...y.shape] }],
      make: ([x, g]) => makeNode('maxPool2dGrad', [x as Node, g as Node], attrs),
      ulps: 4,
      gradient: false,
    });
    // PyTorch's average pooling pads evenly; uneven padding comes from maxPool2d's ceilMode alone.
    for (const countIncludePad of attrs.padding[0] === attrs.padding[1] ? [true, false] : []) {
      add({
        op: 'avgPool2d',
        inputs: [{ shape }],
        make: ([x]) => makeNode('avgPool2d', [x as Node], { ...attrs, countIncludePad }),
        ulps: 8,
      });
      add({
        op: 'avgPool2dGrad',
        inputs: [{ shape: [...y.shape] }],
        make: ([g]) => makeNode('avgPool2dGrad', [g as Node], { ...attrs, countIncludePad, size: [p.x[2], p.x[3]] }),
        ulps: 8,
      });
    }
    for (const size of [
      [1, 1],
      [3, 4],
      [9, 2],
    ] as const) {
      add({
        op: 'adaptiveAvgPool2d',
        inputs: [{ shape }],
        make: ([x]) => makeNode('adaptiveAvgPool2d', [x as Node], { size, channelsLast }),
        ulps: 8,
      });
      const z = makeNode('adaptiveAvgPool2d', [source(shape)], { size, channelsLast });
      add({
        op: 'adaptiveAvgPool2dGrad',
        inputs: [{ shape: [...z.shape] }],
        make: ([g]) => makeNode('adaptiveAvgPool2dGrad', [g as Node], { size: [p.x[2], p.x[3]], channelsLast }),
        ulps: 8,
      });
    }
  }
add({
  op: 'gather',
  inputs: [{ shape: [3, 5, 2] }, { shape: [3, 7, 2], dtype: 'i32', low: 0, high: 5 }],
  make: ([x, i]) => makeNode('gather', [x as Node, i as Node], { axis: 1 }),
});
add({
  op: 'gather',
  inputs: [{ shape: [9, 4] }, { shape: [2, 4], dtype: 'i32', low: 0, high: 9 }],
  make: ([x, i]) => makeNode('gather', [x as Node, i as Node], { axis: 0 }),
});
add({
  op: 'scatterAdd',
  inputs: [{ shape: [3, 7, 2], dtype: 'i32', low: 0, high: 5 }, { shape: [3, 7, 2] }],
  make: ([i, s]) => makeNode('scatterAdd', [i as Node, s as Node], { axis: 1, size: 5 }),
  ulps: 8,
});
add({
  op: 'embedding',
  inputs: [{ shape: [11, 6] }, { shape: [3, 4], dtype: 'i32', low: 0, high: 11 }],
  make: ([t, i]) => makeNode('embedding', [t as Node, i as Node]),
});
add({
  op: 'embeddingGrad',
  inputs: [{ shape: [3, 4], dtype: 'i32', low: 0, high: 11 }, { shape: [3, 4, 6] }],
  make: ([i, g]) => makeNode('embeddingGrad', [i as Node, g as Node], { rows: 11 }),
  ulps: 8,
});
add({
  op: 'iota',
  inputs: [{ shape: [2, 3, 4], dtype: 'i32' }],
  make: ([x]) => makeNode('add', [iotaNode([2, 3, 4], 1), x as Node]),
  gradient: false,
});
add({ op: 'iota', inputs: [{ shape: [5] }], make: () => iotaNode([7, 5], 0), gradient: false });
add({
  op: 'constant',
  inputs: [{ shape: [3, 4] }],
  make: ([x]) => makeNode('add', [constantNode(2.5, [3, 4], 'f32'), x as Node]),
});
add({ op: 'source', inputs: [{ shape: [3, 4] }], make: ([x]) => makeNode('neg', [x as Node]) });
for (const shape of [[5], [3, 7], [1001]])
  add({
    op: 'random',
    inputs: [{ shape: [4], dtype: 'i32', low: 0, high: 1000 }],
    make: ([key]) => randomNode(key as Node, shape),
    gradient: false,
  });

function source(shape: number[], dtype: DType = 'f32'): Node {
  return sourceNode(new Storage(dtype, sizeOf(shape)), shape);
}

const random = new Philox(11);
function fill({ shape, dtype = 'f32', low = -2, high = 2 }: Input): TypedArray {
  const data = new dtypes[dtype].array(sizeOf(shape));
  for (let i = 0; i < data.length; i++) {
    const v = low + random.uniform() * (high - low);
    data[i] = dtype === 'bool' ? Number(v > 0) : isFloat(dtype) ? v : Math.floor(v);
  }
  return data;
}

async function run(
  backend: Backend,
  nodes: readonly Node[],
  data: readonly TypedArray[],
  wanted: readonly Node[],
): Promise<TypedArray[]> {
  const used = new Set(topologicalOrder(wanted));
  const inputs = nodes.map((node, i) => ({ node, data: data[i] as TypedArray })).filter(({ node }) => used.has(node));
  const graph: Graph = {
    inputs: inputs.map((i) => i.node),
    outputs: wanted,
    overwrites: wanted.map(() => -1),
    checks: [],
  };
  const outputs = wanted.map((node) => backend.allocate(node.dtype, sizeOf(node.shape)));
  await backend.compile(graph).run(
    inputs.map((i) => i.data),
    outputs,
  );
  return outputs;
}

const oracle = new ReferenceBackend({ float64: true });
const found = loadAddon();
const native = 'addon' in found ? new NativeBackend(found.addon) : undefined;
const plain = native && 'addon' in found ? new NativeBackend(found.addon, { epilogues: false }) : undefined;
const backends: [string, Backend][] = [
  ['reference', new ReferenceBackend()],
  ...(native ? ([['native', native]] as [string, Backend][]) : []),
  ...(plain ? ([['native without epilogues', plain]] as [string, Backend][]) : []),
];

const describeCase = (c: Case): string => `${c.op} ${c.inputs.map((i) => `${i.dtype ?? 'f32'}[${i.shape}]`).join(' ')}`;

describe.each(backends)('%s agrees with the float64 reference', (_, backend) => {
  test.each(cases.map((c) => [describeCase(c), c] as const))('%s', async (_name, c) => {
    const nodes = c.inputs.map((i) => source(i.shape, i.dtype));
    const data = c.inputs.map(fill);
    const node = c.make(nodes);
    const [exact] = await run(oracle, nodes, data, [node]);
    const [got] = await run(backend, nodes, data, [node]);
    const scale = isFloat(node.dtype) ? Math.max(...Array.from(exact as TypedArray, Math.abs), 1e-30) : 0;
    const tolerance = (c.ulps ?? 0) * 2 ** -24 * scale;
    (got as TypedArray).forEach((v, i) => {
      const want = (exact as TypedArray)[i] as number;
      const rounded = isFloat(node.dtype) ? Math.fround(want) : want;
      if (!(Math.abs(v - rounded) <= tolerance || Object.is(v, rounded) || v === rounded))
        expect.fail(`element ${i}: ${v}, expected ${rounded} within ${tolerance}`);
    });
    expect((got as TypedArray).length).toBe(sizeOf(node.shape));
  });
});

describe('gradients against central differences in float64', () => {
  const wanted = cases.filter((c) => c.gradient !== false && c.inputs.every((i) => sizeOf(i.shape) <= 1200));
  test.each(wanted.map((c) => [describeCase(c), c] as const))('%s', async (_name, c) => {
    const nodes = c.inputs.map((i) => source(i.shape, i.dtype));
    const data = c.inputs.map((i) => (isFloat(i.dtype ?? 'f32') ? Float64Array.from(fill(i)) : fill(i)));
    const y = c.make(nodes);
    // A random direction for the output makes one scalar of it.
    const direction = source([...y.shape]);
    const directionData = Float64Array.from(fill({ shape: [...y.shape] }));
    const loss = makeNode('sum', [makeNode('mul', [y, direction])], { axes: y.shape.map((_, i) => i) });
    const floats = nodes.filter((n) => isFloat(n.dtype));
    const grads = gradients(loss, floats);
    const all = [...nodes, direction];
    const arrays = [...data, directionData];
    const values = await run(oracle, all, arrays, grads as Node[]);
    for (const [k, node] of floats.entries()) {
      const at = nodes.indexOf(node);
      const array = data[at] as Float64Array;
      for (let t = 0; t < Math.min(6, array.length); t++) {
        const i = (t * 7919) % array.length;
        const keep = array[i] as number;
        const h = 1e-6 * Math.max(1, Math.abs(keep));
        const sides: number[] = [];
        for (const side of [keep + h, keep - h]) {
          array[i] = side;
          sides.push((await run(oracle, all, arrays, [loss]))[0]?.[0] as number);
        }
        array[i] = keep;
        const expected = ((sides[0] as number) - (sides[1] as number)) / (2 * h);
        const got = (values[k] as TypedArray)[i] as number;
        expect(Math.abs(got - expected), `input ${at} element ${i}: ${got} against ${expected}`).toBeLessThan(
          1e-5 * Math.max(1, Math.abs(expected)),
        );
      }
    }
  });
});

test('every primitive has a row', () => {
  const covered = new Set(cases.map((c) => c.op));
  expect(Object.keys(ops).filter((op) => !covered.has(op as OpName))).toEqual([]);
});
