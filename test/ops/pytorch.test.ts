/** Ops, layers and losses, output and gradients, against PyTorch. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ReferenceBackend } from '../../src/backend/reference/index.ts';
import { sizeOf } from '../../src/base/index.ts';
import {
  BatchNorm2d,
  bceLoss,
  bceWithLogitsLoss,
  crossEntropy,
  gelu,
  huberLoss,
  l1Loss,
  layerNorm,
  leakyRelu,
  logSoftmax,
  mseLoss,
  silu,
  smoothL1Loss,
  softmax,
  softplus,
} from '../../src/nn/index.ts';
import { useBackend } from '../../src/tensor/engine.ts';
import {
  adaptiveAvgPool2d,
  avgPool2d,
  concat,
  conv2d,
  embedding,
  full,
  gather,
  maxPool2d,
  scatterAdd,
  stack,
  type Tensor,
  tensor,
  where,
  zeros,
} from '../../src/tensor/index.ts';
import { formula, values } from './formula.ts';

interface Golden {
  output: (number | string)[];
  shape: number[];
  grads?: ((number | string)[] | null)[];
}
const golden = JSON.parse(readFileSync(new URL('../golden/ops/pytorch.json', import.meta.url), 'utf8')) as Record<
  string,
  Golden
>;

type Case = [inputs: Tensor[], f: (...x: Tensor[]) => Tensor];
const x = (shape: number[], seed = 1, scale = 2, shift = 0): Tensor => {
  const t = formula(shape, seed, scale, shift);
  t.requiresGrad = true;
  return t;
};
const positive = (shape: number[], seed = 1): Tensor => x(shape, seed, 1, 1.3);

const cases: Record<string, () => Case> = {};
const unary = (f: Record<string, (t: Tensor) => Tensor>, input: () => Tensor): void => {
  for (const [name, g] of Object.entries(f)) cases[name] = () => [[input()], g as Case[1]];
};
unary(
  {
    neg: (t) => t.neg(),
    abs: (t) => t.abs(),
    exp: (t) => t.exp(),
    sin: (t) => t.sin(),
    cos: (t) => t.cos(),
    tanh: (t) => t.tanh(),
    sigmoid: (t) => t.sigmoid(),
    erf: (t) => t.erf(),
    relu: (t) => t.relu(),
    expm1: (t) => t.expm1(),
    square: (t) => t.square(),
    gelu: (t) => gelu(t),
    'gelu tanh': (t) => gelu(t, 'tanh'),
    silu,
    leakyRelu: (t) => leakyRelu(t),
    softmax: (t) => softmax(t),
    'softmax 0': (t) => softmax(t, 0),
    logSoftmax: (t) => logSoftmax(t),
    clamp: (t) => t.clamp(-1, 0.5),
  },
  () => x([4, 7]),
);
unary(
  {
    log: (t) => t.log(),
    sqrt: (t) => t.sqrt(),
    rsqrt: (t) => t.rsqrt(),
    log1p: (t) => t.log1p(),
    reciprocal: (t) => t.reciprocal(),
  },
  () => positive([4, 7]),
);
unary({ round: (t) => t.round(), floor: (t) => t.floor(), ceil: (t) => t.ceil(), sign: (t) => t.sign() }, () =>
  formula([4, 7], 1, 3),
);
for (const op of ['add', 'sub', 'mul', 'div', 'maximum', 'minimum'] as const)
  cases[`${op} broadcast`] = () => [[x([3, 1, 5]), positive([4, 1], 2)], (a, b) => (a as Tensor)[op](b as Tensor)];
cases.pow = () => [[positive([3, 4]), x([4], 2)], (a, b) => (a as Tensor).pow(b as Tensor)];
cases.where = () => [[x([3, 4]), x([4], 2)], (a, b) => where((a as Tensor).gt(0.3), (a as Tensor).mul(2), b as Tensor)];
unary(
  {
    sum: (t) => t.sum(),
    'sum 0,2': (t) => t.sum([0, 2]),
    'mean 1': (t) => t.mean(1),
    'max 2': (t) => t.max(2),
    min: (t) => t.min(),
    var: (t) => t.var(),
    'var 1 biased': (t) => t.var(1, { correction: 0, keepDims: true }),
    'std 0': (t) => t.std(0),
    argmax: (t) => t.argmax(1),
    permute: (t) => t.permute(2, 0, 1),
    reshape: (t) => t.transpose(1, 2).reshape(6, -1),
    flip: (t) => t.flip([0, 2]),
    slice: (t) => t.slice(1, 1, 4, 2),
    pad: (t) =>
      t.pad(
        [
          [0, 1],
          [1, 2],
        ],
        0.5,
      ),
    expand: (t) => t.unsqueeze(1).expand([3, 2, 4, 5]),
    concat: (t) => concat([t, t.mul(2)], 1),
    stack: (t) => stack([t, t.add(1)], -1),
  },
  () => x([3, 4, 5]),
);
for (const [name, a, b] of [
  ['2d', [3, 4], [4, 5]],
  ['batched', [2, 3, 4], [2, 4, 5]],
  ['broadcast', [2, 1, 3, 4], [5, 4, 2]],
  ['vector', [4], [4, 3]],
  ['3d 2d', [2, 3, 4], [4, 5]],
  ['odd', [17, 33], [33, 9]],
] as [string, number[], number[]][])
  cases[`matmul ${name}`] = () => [[x(a), x(b, 2)], (l, r) => (l as Tensor).matmul(r as Tensor)];
for (const [name, a, b, options] of [
  ['plain', [2, 3, 6, 5], [4, 3, 3, 3], {}],
  ['padded', [1, 3, 5, 5], [2, 3, 3, 3], { padding: 1 }],
  ['strided', [1, 2, 7, 8], [3, 2, 3, 2], { stride: [2, 3], padding: [1, 0] }],
  ['dilated', [1, 2, 9, 9], [2, 2, 3, 3], { dilation: 2 }],
  ['grouped', [1, 4, 5, 5], [6, 2, 3, 3], { groups: 2, padding: 1 }],
  ['depthwise', [1, 4, 5, 5], [4, 1, 3, 3], { groups: 4, stride: 2 }],
] as [string, number[], number[], Parameters<typeof conv2d>[3]][])
  cases[`conv2d ${name}`] = () => [
    [x(a), x(b, 2), x([b[0] as number], 3)],
    (t, w, bias) => conv2d(t as Tensor, w as Tensor, bias, options),
  ];
const image = (name: string, shape: number[], f: (t: Tensor) => Tensor): void => {
  cases[name] = () => [[x(shape)], f as Case[1]];
};
image('maxPool2d', [2, 3, 6, 4], (t) => maxPool2d(t, 2));
image('maxPool2d padded', [1, 2, 7, 7], (t) => maxPool2d(t, 3, { stride: 2, padding: 1 }));
image('maxPool2d ceil', [1, 2, 6, 7], (t) => maxPool2d(t, 3, { stride: 2, ceilMode: true }));
image('avgPool2d', [1, 2, 7, 6], (t) => avgPool2d(t, 3, { stride: 2, padding: 1 }));
image('avgPool2d valid', [1, 2, 7, 6], (t) => avgPool2d(t, 3, { stride: 2, padding: 1, countIncludePad: false }));
image('adaptiveAvgPool2d', [1, 2, 7, 5], (t) => adaptiveAvgPool2d(t, [3, 2]));
image('adaptiveAvgPool2d up', [1, 2, 1, 1], (t) => adaptiveAvgPool2d(t, 7));
const labels = tensor(new Int32Array([0, 3, 2, 3, 1]));
const weights = formula([4], 7, 0.4, 1);
const ce = (name: string, options: Parameters<typeof crossEntropy>[2]): void => {
  cases[name] = () => [[x([5, 4])], (t) => crossEntropy(t as Tensor, labels, options)];
};
ce('crossEntropy', {});
ce('crossEntropy smooth', { labelSmoothing: 0.2 });
ce('crossEntropy weights', { classWeights: weights });
ce('crossEntropy all', { classWeights: weights, labelSmoothing: 0.1, ignoreIndex: 3 });
ce('crossEntropy none', { reduction: 'none' });
cases['crossEntropy 3d'] = () => [
  [x([2, 4, 3])],
  (t) => crossEntropy(t as Tensor, tensor(new Int32Array([0, 1, 2, 3, 3, 0]), { shape: [2, 3] })),
];
for (const [name, loss] of Object.entries({
  mse: mseLoss,
  l1: l1Loss,
  huber: (a: Tensor, b: Tensor) => huberLoss(a, b, { delta: 0.7 }),
  smoothL1: (a: Tensor, b: Tensor) => smoothL1Loss(a, b, { beta: 0.5 }),
}))
  cases[name] = () => [[x([3, 4]), x([3, 4], 2)], (a, b) => loss(a as Tensor, b as Tensor)];
const target = formula([3, 4], 2, 0.5, 0.5);
cases.bceWithLogits = () => [[x([3, 4])], (t) => bceWithLogitsLoss(t as Tensor, target)];
cases.bce = () => [[x([3, 4], 1, 0.45, 0.5)], (t) => bceLoss(t as Tensor, target)];
const index = tensor(new Int32Array([1, 0, 4, 2, 2, 0]), { shape: [2, 3] });
cases.embedding = () => [[x([5, 3])], (t) => embedding(t as Tensor, index)];
cases.gather = () => [[x([2, 5])], (t) => gather(t as Tensor, 1, index)];
cases.scatterAdd = () => [[x([2, 5]), x([2, 3], 2)], (t, s) => scatterAdd(t as Tensor, 1, index, s as Tensor)];
cases.layerNorm = () => [[x([3, 5]), x([5], 2), x([5], 3)], (t, w, b) => layerNorm(t as Tensor, 1, w, b)];
const norm = (training: boolean) => (): Case => {
  const layer = new BatchNorm2d(3);
  if (!training) {
    layer.runningMean.assign(formula([3], 4));
    layer.runningVar.assign(formula([3], 5, 0.5, 1));
  }
  layer.weight?.assign(formula([3], 2, 2));
  layer.bias?.assign(formula([3], 3, 2));
  layer.train(training);
  return [[x([4, 3, 2, 5]), layer.weight as Tensor, layer.bias as Tensor], (t) => layer.forward(t as Tensor)];
};
cases['batchNorm train'] = norm(true);
cases['batchNorm eval'] = norm(false);
cases.linear = () => [
  [x([4, 6]), x([3, 6], 2), x([3], 3)],
  (t, w, b) => (t as Tensor).matmul((w as Tensor).transpose()).add(b as Tensor),
];

/** -2 .. 2 over and over: ties, and the kinks of relu, abs, max ... */
const grid = (shape: number[]): Tensor => {
  const t = tensor(
    values(sizeOf(shape), 0).map((_, i) => ((i * 7) % 5) - 2),
    { shape },
  );
  t.requiresGrad = true;
  return t;
};
const kinks: Record<string, (t: Tensor) => Tensor> = {
  relu: (t) => t.relu(),
  abs: (t) => t.abs(),
  leakyRelu: (t) => leakyRelu(t),
  softplus,
  gelu: (t) => gelu(t),
  max: (t) => t.max(1),
  min: (t) => t.min([0, 1]),
  argmax: (t) => t.argmax(1),
  pow: (t) => t.pow(3),
  clamp: (t) => t.clamp(-1, 1),
  bceWithLogits: (t) => bceWithLogitsLoss(t, full([4, 7], 0.25)),
  huber: (t) => huberLoss(t, zeros([4, 7])),
  l1: (t) => l1Loss(t, zeros([4, 7])),
};
for (const [name, f] of Object.entries(kinks)) cases[`kinks ${name}`] = () => [[grid([4, 7])], f as Case[1]];
for (const op of ['maximum', 'minimum'] as const)
  cases[`kinks ${op}`] = () => [[grid([4, 7]), grid([7])], (a, b) => (a as Tensor)[op](b as Tensor)];
const comparisons: Record<string, (a: Tensor, b: Tensor) => Tensor> = {
  eq: (a, b) => a.eq(b),
  ne: (a, b) => a.ne(b),
  lt: (a, b) => a.lt(b),
  le: (a, b) => a.le(b),
  gt: (a, b) => a.gt(b),
  ge: (a, b) => a.ge(b),
  logic: (a, b) => a.gt(0).and(b.lt(0)).or(a.eq(b).not()),
};
for (const [name, f] of Object.entries(comparisons))
  cases[`compare ${name}`] = () => [[grid([4, 7]), grid([7])], f as Case[1]];
cases['maxPool2d ties'] = () => [[grid([1, 2, 7, 7])], (t) => maxPool2d(t as Tensor, 3, { stride: 2, padding: 1 })];
const holes = (): Tensor => {
  const at = values(98, 1, 2).map((v, i) => (((i * 7) % 5) - 2 === 2 ? Number.NaN : v));
  return tensor(at, { shape: [1, 2, 7, 7] });
};
unary(
  {
    'maxPool2d NaN': (t) => maxPool2d(t, 2),
    'argmax NaN': (t) => t.argmax(3),
    'max NaN': (t) => t.max([2, 3]),
    'min NaN': (t) => t.min(3),
    'clamp NaN': (t) => t.clamp(-1, 1),
    'maximum NaN': (t) => t.maximum(zeros([7])),
  },
  holes,
);
cases.softplus = () => [[x([4, 7], 1, 30)], (t) => softplus(t as Tensor)];
cases['matmul dot'] = () => [[x([9]), x([9], 2)], (a, b) => (a as Tensor).matmul(b as Tensor)];
cases['matmul matrix vector'] = () => [[x([3, 4]), x([4], 2)], (a, b) => (a as Tensor).matmul(b as Tensor)];
cases['conv2d wide'] = () => [
  [x([3, 40, 5, 4]), x([5, 40, 3, 3], 2)],
  (t, w) => conv2d(t as Tensor, w as Tensor, null, { padding: 1 }),
];

function close(got: ArrayLike<number>, expected: readonly (number | string)[], limit: number, what: string): void {
  expect(got.length, `${what}: elements`).toBe(expected.length);
  const scale = Math.max(1, ...expected.map((v) => Math.abs(Number(v))).filter(Number.isFinite));
  expected.forEach((v, i) => {
    const want = Number(v);
    const error = Math.abs((got[i] as number) - want);
    expect(error < limit * scale || Object.is(got[i], want), `${what} element ${i}: ${got[i]} against ${want}`).toBe(
      true,
    );
  });
}

// In float64 what is left is the nine digits of the goldens and the constants of a graph, which are f32.
describe.each([
  ['the backend in use', undefined, 4e-6],
  ['the reference in float64', new ReferenceBackend({ float64: true }), 2e-7],
] as const)('%s', (_, backend, limit) => {
  beforeAll(() => useBackend(backend));
  afterAll(() => useBackend(undefined));

  const agrees = async (name: string): Promise<void> => {
    const [inputs, f] = (cases[name] as () => Case)();
    const y = f(...inputs);
    const { output, shape, grads } = golden[name] as Golden;
    expect(y.shape).toEqual(shape);
    close(await y.data(), output, limit, 'output');
    if (!grads) return;
    f(...inputs).backward(formula(shape, 999));
    const leaves = inputs.filter((t) => t.requiresGrad);
    for (const [i, grad] of grads.entries())
      if (grad) close(await ((leaves[i] as Tensor).grad as Tensor).data(), grad, limit, `gradient ${i}`);
  };
  test.each(Object.keys(golden))('%s', agrees);
});

test('every golden has a case and every case a golden', () => {
  expect(Object.keys(cases).sort()).toEqual(Object.keys(golden).sort());
});
