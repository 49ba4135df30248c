/**
 * What the op tables do not say: special values (PyTorch's), random geometry against direct loops and the native
 * kernels, and the contract of `run`. test/ops/ holds the tables of primitives and PyTorch's goldens.
 */
import { describe, expect, test } from 'vitest';
import { type DType, dtypes, Philox, type Shape, sizeOf, type TypedArray } from '../../base/index.ts';
import {
  type ConvAttrs,
  imageShape,
  imageSizes,
  makeNode,
  type Node,
  type OpName,
  type PoolAttrs,
  Storage,
  sourceNode,
} from '../../graph/index.ts';
import type { Backend, Graph } from '../backend.ts';
import { loadAddon } from '../native/addon.ts';
import { NativeBackend } from '../native/backend.ts';
import { erf } from './erf.ts';
import { ReferenceBackend } from './index.ts';

const oracle = new ReferenceBackend({ float64: true });
const found = loadAddon();
const backends: [string, Backend][] = [
  ['reference', new ReferenceBackend()],
  ...('addon' in found ? [['native', new NativeBackend(found.addon)] as [string, Backend]] : []),
];

interface Input {
  shape: Shape;
  dtype: DType;
  data: TypedArray;
}
const input = (values: readonly number[], dtype: DType = 'f32', shape: Shape = [values.length]): Input => {
  const data = new dtypes[dtype].array(values.length);
  data.set(values);
  return { shape, dtype, data };
};
const source = ({ shape, dtype }: Pick<Input, 'shape' | 'dtype'>): Node =>
  sourceNode(new Storage(dtype, sizeOf(shape)), shape);

async function evaluate(backend: Backend, inputs: readonly Input[], make: (...nodes: Node[]) => Node) {
  const nodes = inputs.map(source);
  const node = make(...nodes);
  const out = backend.allocate(node.dtype, sizeOf(node.shape));
  const graph: Graph = { inputs: nodes, outputs: [node], overwrites: [-1], checks: [] };
  await backend.compile(graph).run(
    inputs.map((i) => i.data),
    [out],
  );
  return out;
}

test('erf is exact to the last digits', () => {
  // math.erf of Python 3 (the C library's).
  const known: [number, number][] = [
    [1e-300, 1.1283791670955126e-300],
    [1e-9, 1.1283791670955127e-9],
    [0.1, 0.1124629160182849],
    [0.46875, 0.49261347321793797],
    [0.47, 0.4937450508860821],
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [1.5, 0.9661051464753108],
    [2.25, 0.9985372834133188],
    [3.9, 0.9999999652077514],
    [4.5, 0.9999999998033839],
    [7, 1],
  ];
  for (const [x, y] of known) {
    expect(Math.abs(erf(x) / y - 1), `erf(${x})`).toBeLessThan(5e-16);
    expect(erf(-x)).toBe(-erf(x));
  }
  expect([erf(0), erf(-0), erf(Number.POSITIVE_INFINITY), erf(Number.NaN)]).toEqual([0, -0, 1, Number.NaN]);
});

const [NaN_, inf] = [Number.NaN, Number.POSITIVE_INFINITY];
const special: [OpName, object, Input[], number[]][] = [
  ['relu', {}, [input([NaN_, -inf, -0, 0, -1e-40, 2])], [NaN_, 0, -0, 0, 0, 2]],
  [
    'round',
    {},
    [input([0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 0.3, inf, NaN_, 8388609])],
    [0, -0, 2, -2, 2, -2, 0, inf, NaN_, 8388609],
  ],
  ['sign', {}, [input([NaN_, -inf, -0, 3])], [NaN_, -1, -0, 1]],
  ['sigmoid', {}, [input([inf, -inf, 200, -200, 0, NaN_])], [1, 0, 1, 0, 0.5, NaN_]],
  ['tanh', {}, [input([inf, -inf, 100, -0, NaN_])], [1, -1, 1, -0, NaN_]],
  ['log', {}, [input([0, -1, inf, 1])], [-inf, NaN_, inf, 0]],
  ['sqrt', {}, [input([-1, -0, inf, 4])], [NaN_, -0, inf, 2]],
  ['cast', { dtype: 'u8' }, [input([300.7, 3e9, -3, 256, 1e20, inf, NaN_, -300.2])], [44, 0, 253, 0, 0, 0, 0, 212]],
  [
    'cast',
    { dtype: 'i32' },
    [input([3.9, -3.9, 3e9, -3e9, NaN_, inf])],
    [3, -3, 2147483647, -2147483648, 0, 2147483647],
  ],
  ['cast', { dtype: 'bool' }, [input([0, -0, 0.5, NaN_, -inf])], [0, 0, 1, 1, 1]],
  ['cast', { dtype: 'bool' }, [input([0, -1, 256, -2147483648], 'i32')], [0, 1, 1, 1]],
  ['add', {}, [input([2147483647], 'i32'), input([1], 'i32')], [-2147483648]],
  ['mul', {}, [input([65537, -2147483648], 'i32'), input([65537, -1], 'i32')], [131073, -2147483648]],
  ['sum', { axes: [0] }, [input([2147483647, 2147483647, 5], 'i32')], [3]],
  ['neg', {}, [input([0, -2147483648], 'i32')], [0, -2147483648]],
  ['maximum', {}, [input([NaN_, 1, -inf]), input([1, NaN_, -2])], [NaN_, NaN_, -2]],
  ['minimum', {}, [input([NaN_, 1, inf]), input([1, NaN_, 2])], [NaN_, NaN_, 2]],
  ['pow', {}, [input([0, NaN_, 1, -1, -8, 2]), input([0, 0, NaN_, inf, 3, -1])], [1, 1, 1, 1, -512, 0.5]],
  ['eq', {}, [input([NaN_, 0, inf]), input([NaN_, -0, inf])], [0, 1, 1]],
  ['le', {}, [input([NaN_, 1, 2]), input([1, 1, 1])], [0, 1, 0]],
  ['max', { axes: [1] }, [input([1, NaN_, 3, -inf, -inf, -inf, 2, 5, 5], 'f32', [3, 3])], [NaN_, -inf, 5]],
  ['argmax', { axis: 1 }, [input([1, NaN_, NaN_, -inf, -inf, -inf, 2, 5, 5], 'f32', [3, 3])], [1, 0, 1]],
  ['argmax', { axis: 0 }, [input([1, 5, NaN_, 5, 3, inf], 'f32', [3, 2])], [1, 2]],
];
describe.each(backends)('special values, %s', (_, backend) => {
  test.each(
    special.map(
      ([op, attrs, inputs, expected], i) =>
        [`${i} ${op} ${JSON.stringify(attrs)}`, op, attrs, inputs, expected] as const,
    ),
  )('%s', async (_name, op, attrs, inputs, expected) => {
    const got = await evaluate(backend, inputs, (...nodes) => makeNode(op as 'add', nodes, attrs));
    expect([...got]).toEqual(expected);
  });
});

describe.each(backends)('indices out of range, %s', (_, backend) => {
  const wrong: [string, Input[], (...nodes: Node[]) => Node, string][] = [
    [
      'gather',
      [input([1, 2, 3]), input([0, 3], 'i32')],
      (x, i) => makeNode('gather', [x, i] as Node[], { axis: 0 }),
      'index[1] is 3, outside 0..2',
    ],
    [
      'scatterAdd',
      [input([0, -1], 'i32'), input([1, 2])],
      (i, x) => makeNode('scatterAdd', [i, x] as Node[], { axis: 0, size: 2 }),
      'index[1] is -1, outside 0..1',
    ],
    [
      'embedding',
      [input([1, 2, 3, 4], 'f32', [2, 2]), input([2], 'i32')],
      (t, i) => makeNode('embedding', [t, i] as Node[]),
      'index[0] is 2, outside 0..1',
    ],
    [
      'embeddingGrad',
      [input([0, 9], 'i32'), input([1, 2, 3, 4], 'f32', [2, 2])],
      (i, g) => makeNode('embeddingGrad', [i, g] as Node[], { rows: 3 }),
      'index[1] is 9, outside 0..2',
    ],
  ];
  test.each(wrong)('%s', async (_name, inputs, make, message) => {
    await expect(evaluate(backend, inputs, make)).rejects.toMatchObject({ code: 'INDEX_OUT_OF_RANGE', message });
  });
});

// --- random geometry -------------------------------------------------------------------------------------------------

const random = new Philox(5);
const between = (low: number, high: number): number => low + random.integer(high - low + 1);
const noise = (shape: Shape): Input => ({
  shape,
  dtype: 'f32',
  data: new Float32Array(sizeOf(shape)).map(() => random.uniform() * 2 - 1),
});

interface Image {
  at: (n: number, c: number, y: number, x: number) => number;
  n: number;
  c: number;
  h: number;
  w: number;
}
function image(shape: Shape, channelsLast: boolean): Image {
  const sizes = imageSizes(shape, channelsLast);
  const { c, h, w } = sizes;
  return {
    ...sizes,
    at: (n, k, y, x) => (channelsLast ? ((n * h + y) * w + x) * c + k : ((n * c + k) * h + y) * w + x),
  };
}

/** Calls `visit` with the offsets of every product a convolution sums: in x, in the weight, in y. */
function products(
  x: Image,
  y: Image,
  [kh, kw]: readonly number[],
  a: ConvAttrs,
  visit: (x: number, w: number, y: number) => void,
): void {
  const [ci, co] = [x.c / a.groups, y.c / a.groups];
  for (let n = 0; n < x.n; n++)
    for (let o = 0; o < y.c; o++)
      for (let c = 0; c < ci; c++)
        for (let i = 0; i < (kh as number); i++)
          for (let j = 0; j < (kw as number); j++)
            for (let oy = 0; oy < y.h; oy++)
              for (let ox = 0; ox < y.w; ox++) {
                const iy = oy * a.stride[0] - (a.padding[0] as number) + i * a.dilation[0];
                const ix = ox * a.stride[1] - (a.padding[2] as number) + j * a.dilation[1];
                if (iy < 0 || iy >= x.h || ix < 0 || ix >= x.w) continue;
                const from = x.at(n, Math.floor(o / co) * ci + c, iy, ix);
                visit(from, ((o * ci + c) * (kh as number) + i) * (kw as number) + j, y.at(n, o, oy, ox));
              }
}

function randomConv(): { x: Shape; w: Shape; attrs: ConvAttrs } {
  const groups = [1, 1, 1, 2, 3][between(0, 4)] as number;
  const [ci, co] = [between(1, 9), between(1, 9)];
  const kernel = [between(1, 4), between(1, 4)];
  const dilation = [between(1, 2), between(1, 3)] as const;
  const padding = [between(0, 3), between(0, 3), between(0, 3), between(0, 3)] as const;
  const size = kernel.map((k, d) => (k - 1) * (dilation[d] as number) + between(1, 9));
  const channelsLast = random.uniform() < 0.5;
  const attrs = { stride: [between(1, 3), between(1, 3)], padding, dilation, groups, channelsLast } as const;
  const x = imageShape(between(1, 3), ci * groups, size[0] as number, size[1] as number, channelsLast);
  return { x, w: [co * groups, ci, ...kernel], attrs };
}

/** `got` agrees with what float64 says, within rounding of the largest sum. */
function agree(got: TypedArray, exact: TypedArray, limit: number, what: string): void {
  const scale = Math.max(1, ...Array.from(exact, Math.abs));
  for (const [i, want] of exact.entries())
    if (!(Math.abs((got[i] as number) - want) <= limit * scale))
      expect.fail(`${what}: element ${i} is ${got[i]}, expected ${want}`);
}

/** Against a direct computation in float64, then every backend against the oracle. */
async function check(what: string, inputs: readonly Input[], make: (...nodes: Node[]) => Node, direct?: TypedArray) {
  const exact = await evaluate(oracle, inputs, make);
  if (direct) agree(exact, direct, 1e-13, `oracle ${what}`);
  for (const [name, backend] of backends) agree(await evaluate(backend, inputs, make), exact, 2e-6, `${name} ${what}`);
}

test('60 random convolutions and their gradients', async () => {
  for (let t = 0; t < 60; t++) {
    const { x, w, attrs } = randomConv();
    const y = makeNode('conv2d', [source({ shape: x, dtype: 'f32' }), source({ shape: w, dtype: 'f32' })], attrs).shape;
    const [xs, ws, gs] = [noise(x), noise(w), noise(y)];
    const [xi, yi] = [image(x, attrs.channelsLast), image(y, attrs.channelsLast)];
    const kernelSize = w.slice(2) as unknown as readonly [number, number];
    const what = JSON.stringify({ x, w, ...attrs });
    const [forward, inputGrad, weightGrad] = [y, x, w].map((s) => new Float64Array(sizeOf(s))) as [
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    products(xi, yi, kernelSize, attrs, (a, b, c) => {
      (forward[c] as number) += (xs.data[a] as number) * (ws.data[b] as number);
      (inputGrad[a] as number) += (gs.data[c] as number) * (ws.data[b] as number);
      (weightGrad[b] as number) += (gs.data[c] as number) * (xs.data[a] as number);
    });
    await check(`conv2d ${what}`, [xs, ws], (a, b) => makeNode('conv2d', [a, b] as Node[], attrs), forward);
    const size = [xi.h, xi.w] as const;
    await check(
      `conv2dInputGrad ${what}`,
      [gs, ws],
      (a, b) => makeNode('conv2dInputGrad', [a, b] as Node[], { ...attrs, size }),
      inputGrad,
    );
    await check(
      `conv2dWeightGrad ${what}`,
      [xs, gs],
      (a, b) => makeNode('conv2dWeightGrad', [a, b] as Node[], { ...attrs, kernelSize }),
      weightGrad,
    );
  }
});

test('60 random poolings and their gradients', async () => {
  for (let t = 0; t < 60; t++) {
    const kernelSize = [between(1, 4), between(1, 4)] as const;
    const dilation = [between(1, 2), between(1, 2)] as const;
    const [v, h] = kernelSize.map((k) => between(0, Math.floor(k / 2))) as [number, number];
    const size = kernelSize.map((k, d) => (k - 1) * (dilation[d] as number) + between(1, 8)) as [number, number];
    const channelsLast = random.uniform() < 0.5;
    const attrs: PoolAttrs = {
      kernelSize,
      stride: [between(1, 3), between(1, 3)],
      padding: [v, v, h, h],
      dilation,
      channelsLast,
    };
    const shape = imageShape(between(1, 3), between(1, 19), ...size, channelsLast);
    // Few values: ties.
    const xs = noise(shape);
    if (t % 2 === 0) xs.data.set(xs.data.map((value) => Math.round(value * 2)));
    const y = makeNode('maxPool2d', [source(xs)], attrs).shape;
    const gs = noise(y);
    const what = JSON.stringify({ shape, ...attrs });
    const pairs = [xs, gs];
    await check(`maxPool2d ${what}`, [xs], (x) => makeNode('maxPool2d', [x as Node], attrs));
    await check(`maxPool2dGrad ${what}`, pairs, (x, g) => makeNode('maxPool2dGrad', [x, g] as Node[], attrs));
    for (const countIncludePad of [true, false]) {
      const average = { ...attrs, countIncludePad };
      await check(`avgPool2d ${what}`, [xs], (x) => makeNode('avgPool2d', [x as Node], average));
      await check(`avgPool2dGrad ${what}`, [gs], (g) => makeNode('avgPool2dGrad', [g as Node], { ...average, size }));
    }
    const to = [between(1, 6), between(1, 6)] as const;
    await check(`adaptiveAvgPool2d ${to} ${what}`, [xs], (x) =>
      makeNode('adaptiveAvgPool2d', [x as Node], { size: to, channelsLast }),
    );
    const z = noise(imageShape(shape[0] as number, imageSizes(shape, channelsLast).c, ...to, channelsLast));
    await check(`adaptiveAvgPool2dGrad ${to} ${what}`, [z], (g) =>
      makeNode('adaptiveAvgPool2dGrad', [g as Node], { size, channelsLast }),
    );
  }
});

test('60 random matrix products', async () => {
  for (let t = 0; t < 60; t++) {
    const [M, N, K] = [between(1, 40), between(1, 40), t % 6 === 0 ? between(250, 600) : between(1, 40)];
    const batch = t % 3 === 0 ? [between(1, 3), between(1, 3)] : [];
    const [transA, transB] = [random.uniform() < 0.5, random.uniform() < 0.5];
    const a = noise([...batch, ...(transA ? [K, M] : [M, K])]);
    const b = noise([...batch, ...(transB ? [N, K] : [K, N])]);
    const direct = new Float64Array(sizeOf(batch) * M * N);
    for (let i = 0; i < direct.length; i++) {
      const [p, m, n] = [Math.floor(i / (M * N)), Math.floor(i / N) % M, i % N];
      for (let k = 0; k < K; k++)
        (direct[i] as number) +=
          (a.data[p * M * K + (transA ? k * M + m : m * K + k)] as number) *
          (b.data[p * K * N + (transB ? n * K + k : k * N + n)] as number);
    }
    await check(
      `matmul ${batch} ${M} ${N} ${K} ${transA} ${transB}`,
      [a, b],
      (x, y) => makeNode('matmul', [x, y] as Node[], { transA, transB }),
      direct,
    );
  }
});

// --- the contract of run -----------------------------------------------------------------------------------------------

const scalarBackends: [string, Backend][] = [...backends, ['reference in float64', oracle]];
describe.each(scalarBackends)('run, %s', (_, backend) => {
  test('everything is computed before anything is overwritten', async () => {
    const [a, b] = [source({ shape: [3], dtype: 'f32' }), source({ shape: [3], dtype: 'f32' })];
    const graph: Graph = {
      inputs: [a, b],
      outputs: [makeNode('add', [b, b]), makeNode('add', [a, b])],
      overwrites: [0, 1],
      checks: [],
    };
    const [x, y] = [new Float32Array([1, 2, 3]), new Float32Array([10, 20, 30])];
    expect(await backend.compile(graph).run([x, y], [x, y])).toBe(-1);
    expect([[...x], [...y]]).toEqual([
      [20, 40, 60],
      [11, 22, 33],
    ]);
  });

  test('a check that fails is named and nothing is overwritten', async () => {
    const a = source({ shape: [2], dtype: 'f32' });
    const log = makeNode('log', [a]);
    const graph: Graph = {
      inputs: [a],
      outputs: [makeNode('neg', [a])],
      overwrites: [0],
      checks: [makeNode('abs', [a]), log],
    };
    const program = backend.compile(graph);
    const x = new Float32Array([0, 1]);
    expect(await program.run([x], [x])).toBe(1);
    expect([...x]).toEqual([0, 1]);
    x[0] = 2;
    expect(await program.run([x], [x])).toBe(-1);
    expect([...x]).toEqual([-2, -1]);
  });

  test('one storage may be read with two shapes', async () => {
    const storage = new Storage('f32', 4);
    const [flat, square] = [sourceNode(storage, [4]), sourceNode(storage, [2, 2])];
    const outputs = [makeNode('neg', [flat]), makeNode('permute', [square], { axes: [1, 0] })];
    const graph: Graph = { inputs: [flat], outputs, overwrites: [-1, -1], checks: [] };
    const [p, q] = [new Float32Array(4), new Float32Array(4)];
    await backend.compile(graph).run([new Float32Array([1, 2, 3, 4])], [p, q]);
    expect([[...p], [...q]]).toEqual([
      [-1, -2, -3, -4],
      [1, 3, 2, 4],
    ]);
  });
});

test('float64 does not round between ops, whatever the arrays', async () => {
  const a = source({ shape: [1], dtype: 'f32' });
  const graph: Graph = {
    inputs: [a],
    outputs: [makeNode('log1p', [makeNode('expm1', [makeNode('sin', [a])])])],
    overwrites: [-1],
    checks: [],
  };
  const out = new Float64Array(1);
  await oracle.compile(graph).run([new Float64Array([0.1])], [out]);
  expect(out[0]).toBeCloseTo(Math.sin(0.1), 15);
  const narrow = new Float32Array(1);
  await oracle.compile(graph).run([new Float32Array([0.1])], [narrow]);
  expect(narrow[0]).toBe(Math.fround(Math.sin(Math.fround(0.1))));
});

test('the event loop turns while a long graph runs', async () => {
  const a = source({ shape: [300, 300], dtype: 'f32' });
  let y = a;
  for (let i = 0; i < 40; i++) y = makeNode('matmul', [y, a], { transA: false, transB: false });
  let ticks = 0;
  const timer = setInterval(() => void ticks++, 1);
  const program = new ReferenceBackend().compile({ inputs: [a], outputs: [y], overwrites: [-1], checks: [] });
  await program.run([new Float32Array(90000)], [new Float32Array(90000)]);
  clearInterval(timer);
  expect(ticks).toBeGreaterThan(1);
});

test('a plan counts what is alive at once, and flops', () => {
  const a = source({ shape: [100], dtype: 'f32' });
  const y = makeNode('exp', [makeNode('neg', [makeNode('abs', [a])])]);
  const { plan } = new ReferenceBackend().compile({ inputs: [a], outputs: [y], overwrites: [-1], checks: [] });
  expect(plan).toEqual({ arenaBytes: 800, scratchBytes: 0, flops: 300 });
});
