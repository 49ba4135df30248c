/** Recurrent layers and cells against PyTorch, on input that does not fit, and for any number of threads. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadAddon } from '../../src/backend/native/addon.ts';
import { NativeBackend } from '../../src/backend/native/backend.ts';
import { ReferenceBackend } from '../../src/backend/reference/index.ts';
import {
  Embedding,
  GRU,
  GRUCell,
  LSTM,
  LSTMCell,
  type Module,
  type Recurrent,
  RNN,
  RNNCell,
} from '../../src/nn/index.ts';
import { useBackend } from '../../src/tensor/engine.ts';
import { type Tensor, tensor, zeros } from '../../src/tensor/index.ts';
import { formula } from './formula.ts';

interface Golden {
  kind: string;
  sizes: number[];
  lengths?: number[] | null;
  state?: boolean;
  options: Record<string, unknown>;
  keys: string[];
  output?: number[];
  shape?: number[];
  states: number[][];
  grads: number[][];
}
const golden = JSON.parse(readFileSync(new URL('../golden/ops/recurrent.json', import.meta.url), 'utf8')) as Record<
  string,
  Golden
>;
const layers = { LSTM, GRU, RNN } as Record<string, new (i: number, h: number, o?: object) => Recurrent>;

const leaf = (shape: number[], seed: number, scale = 1): Tensor => {
  const t = formula(shape, seed, scale);
  t.requiresGrad = true;
  return t;
};
const camel = (options: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(options).map(([k, v]) => [k.replace(/_(.)/g, (_, c) => c.toUpperCase()), v]));

function withWeights<M extends Module>(module: M, keys: readonly string[]): M {
  expect([...module.stateDict().keys()]).toEqual(keys);
  module.loadStateDict(
    new Map([...module.stateDict()].map(([k, v], i) => [k, formula([...v.shape], 20 + i, 0.6)] as const)),
  );
  return module;
}

function close(got: ArrayLike<number>, want: ArrayLike<number>, limit: number, what: string): void {
  expect(got.length, what).toBe(want.length);
  const scale = Math.max(1, ...Array.from(want, Math.abs));
  for (let i = 0; i < want.length; i++)
    if (!(Math.abs((got[i] as number) - (want[i] as number)) <= limit * scale))
      expect.fail(`${what} element ${i}: ${got[i]} against ${want[i]}`);
}

/** The sum of each value times a fixed direction. */
const lossOf = (values: Tensor[], seeds: number[]): Tensor =>
  values.map((v, i) => v.mul(formula([...v.shape], seeds[i] as number)).sum()).reduce((a, b) => a.add(b));

function runLayer({ kind, sizes, lengths, state, options, keys }: Golden): { values: Tensor[]; leaves: Tensor[] } {
  const [steps, batch, inputs, hidden] = sizes as [number, number, number, number];
  const module = withWeights(new (layers[kind] as (typeof layers)[string])(inputs, hidden, camel(options)), keys);
  const x = leaf(module.batchFirst ? [batch, steps, inputs] : [steps, batch, inputs], 1, 2);
  const s = [module.numLayers * module.directions, batch, hidden];
  const given = state ? { h: leaf(s, 2), ...(kind === 'LSTM' && { c: leaf(s, 3) }) } : undefined;
  const out = module.run(x, { ...(given && { state: given }), ...(lengths && { lengths }) });
  const values = [out.output, out.h, ...(out.c ? [out.c] : [])];
  lossOf(values, [999, 1000, 1001]).backward();
  return { values, leaves: [x, ...(given ? Object.values(given) : []), ...module.parameters()] };
}

function runCell({ kind, sizes, options, keys }: Golden): { values: Tensor[]; leaves: Tensor[] } {
  const [batch, inputs, hidden] = sizes as [number, number, number];
  const [x, h, c] = [leaf([batch, inputs], 1), leaf([batch, hidden], 2), leaf([batch, hidden], 3)];
  const make = <M extends Module>(M: new (i: number, h: number, o?: object) => M): M =>
    withWeights(new M(inputs, hidden, options), keys);
  if (kind === 'LSTMCell') {
    const module = make(LSTMCell);
    const next = module.step(x, h, c);
    lossOf([next.h, next.c], [1000, 1001]).backward();
    return { values: [next.h, next.c], leaves: [x, h, c, ...module.parameters()] };
  }
  const module = make<GRUCell | RNNCell>(kind === 'GRUCell' ? GRUCell : RNNCell);
  const y = module.forward(x, h);
  lossOf([y], [1000]).backward();
  return { values: [y], leaves: [x, h, ...module.parameters()] };
}

describe.each([
  ['the backend in use', undefined, 4e-6],
  ['the reference in float64', new ReferenceBackend({ float64: true }), 2e-7],
] as const)('%s', (_, backend, limit) => {
  beforeAll(() => useBackend(backend));
  afterAll(() => useBackend(undefined));

  test.each(Object.keys(golden))('PyTorch: %s', async (name) => {
    const g = golden[name] as Golden;
    const { values, leaves } = g.output ? runLayer(g) : runCell(g);
    const wanted = [...(g.output ? [g.output] : []), ...g.states];
    if (g.shape) expect(values[0]?.shape).toEqual(g.shape);
    for (const [i, v] of values.entries()) close(await v.data(), wanted[i] as number[], limit, `value ${i}`);
    expect(leaves.length).toBe(g.grads.length);
    for (const [i, t] of leaves.entries())
      close(await (t.grad as Tensor).data(), g.grads[i] as number[], limit, `gradient ${i}`);
  });
});

test('initial values are in +-1 / sqrt(hiddenSize), biases too', async () => {
  const lstm = new LSTM(3, 16);
  for (const p of lstm.parameters()) {
    const data = Array.from(await p.data(), Math.abs);
    expect(Math.max(...data)).toBeLessThanOrEqual(0.25);
    expect(Math.max(...data)).toBeGreaterThan(0.2);
  }
});

test('dropout is between layers, and only in training', async () => {
  const lstm = new LSTM(3, 4, { numLayers: 2, dropout: 0.9 });
  const x = formula([5, 2, 3], 1);
  const run = async (): Promise<number[]> => Array.from(await lstm.forward(x).data());
  expect(await run()).not.toEqual(await run());
  lstm.eval();
  expect(await run()).toEqual(await run());
});

const x = zeros([4, 2, 3]);
test.each([
  ['SIZE_INVALID', () => new LSTM(3, 0)],
  ['SIZE_INVALID', () => new GRU(3, 4, { numLayers: 1.5 })],
  ['PROBABILITY_INVALID', () => new RNN(3, 4, { dropout: 2 })],
  ['OPTION_INVALID', () => new RNN(3, 4, { nonlinearity: 'sigmoid' as never })],
  ['FEATURES_MISMATCH', () => new LSTM(5, 4).forward(x)],
  ['FEATURES_MISMATCH', () => new LSTM(3, 4).forward(zeros([2, 3]))],
  ['SHAPE_MISMATCH', () => new GRU(3, 4).forward(zeros([0, 2, 3]))],
  ['STATE_MISMATCH', () => new LSTM(3, 4).forward(x, { state: { h: zeros([1, 3, 4]) } })],
  ['STATE_MISMATCH', () => new LSTM(3, 4).forward(x, { state: { h: zeros([1, 2, 4]), c: zeros([2, 2, 4]) } })],
  ['STATE_INVALID', () => new GRU(3, 4).forward(x, { state: { h: zeros([1, 2, 4]), c: zeros([1, 2, 4]) } })],
  ['LENGTH_INVALID', () => new LSTM(3, 4).forward(x, { lengths: [0, 4] })],
  ['LENGTH_INVALID', () => new LSTM(3, 4).forward(x, { lengths: [4, 5] })],
  ['SHAPE_MISMATCH', () => new LSTM(3, 4).forward(x, { lengths: [4] })],
  ['STATE_MISMATCH', () => new LSTMCell(3, 4).forward(zeros([2, 3]), zeros([3, 4]))],
  ['FEATURES_MISMATCH', () => new GRUCell(3, 4).forward(zeros([2, 4]))],
])('%s', (code, f) => {
  expect(f).toThrow(expect.objectContaining({ code }));
});

test('an error names the layer', () => {
  expect(() => new LSTM(5, 4).forward(x)).toThrow(/\[lstm\].*LSTM\(5 -> 4\)/);
});

test.each([[[0, 4]], [[5, 1]]])('lengths %j of a tensor are refused when the program runs', async (lengths) => {
  const y = new GRU(3, 4).forward(x, { lengths: tensor(Int32Array.from(lengths), { shape: [2] }) });
  await expect(y.data()).rejects.toMatchObject({ code: 'INDEX_OUT_OF_RANGE' });
});

test('an embedding before it trains', async () => {
  const table = new Embedding(5, 3);
  const index = tensor(Int32Array.from([0, 1, 4, 4]), { shape: [2, 2] });
  new LSTM(3, 4).forward(table.forward(index)).sum().backward();
  const grad = await (table.weight.grad as Tensor).data();
  expect(Array.from(grad.subarray(6, 12))).toEqual(new Array(6).fill(0));
  expect(Math.abs(grad[12] as number)).toBeGreaterThan(0);
});

const found = loadAddon();
test.skipIf(!('addon' in found)).each([LSTM, GRU, RNN])(
  '%s: the same bits for every number of threads',
  async (Layer) => {
    const { addon } = found as Extract<typeof found, { addon: unknown }>;
    useBackend(new NativeBackend(addon));
    const layer = new Layer(6, 37, { bidirectional: true });
    layer.loadStateDict(
      new Map([...layer.stateDict()].map(([k, v], i) => [k, formula([...v.shape], 20 + i, 0.3)] as const)),
    );
    const run = async (threads: number): Promise<ArrayLike<number>[]> => {
      addon.setThreads(threads);
      const input = leaf([7, 23, 6], 1);
      const { output, h } = layer.run(input, { lengths: Array.from({ length: 23 }, (_, b) => 1 + (b % 7)) });
      for (const p of layer.parameters()) p.grad = null;
      lossOf([output, h], [2, 3]).backward();
      const leaves = [input, ...layer.parameters()];
      return [await output.data(), ...(await Promise.all(leaves.map((t) => (t.grad as Tensor).data())))];
    };
    try {
      const one = await run(1);
      for (const threads of [2, 3]) expect(await run(threads)).toEqual(one);
    } finally {
      addon.setThreads(0);
      useBackend(undefined);
    }
  },
);
