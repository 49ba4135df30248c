/** Attention against PyTorch, against its composition, and on input that does not fit. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadAddon } from '../../src/backend/native/addon.ts';
import { NativeBackend } from '../../src/backend/native/backend.ts';
import { ReferenceBackend } from '../../src/backend/reference/index.ts';
import { softmax } from '../../src/nn/index.ts';
import { useBackend } from '../../src/tensor/engine.ts';
import {
  type AttentionOptions,
  attention,
  full,
  iota,
  manualSeed,
  type Tensor,
  tensor,
  uniform,
  where,
  zeros,
} from '../../src/tensor/index.ts';
import { formula } from './formula.ts';

interface Golden {
  output: number[];
  shape: number[];
  grads: number[][];
}
const golden = JSON.parse(readFileSync(new URL('../golden/ops/attention.json', import.meta.url), 'utf8')) as Record<
  string,
  Golden
>;

const x = (shape: number[], seed: number, scale = 2): Tensor => {
  const t = formula(shape, seed, scale);
  t.requiresGrad = true;
  return t;
};
const qkv = (q: number[], k: number[], v: number[]): Tensor[] => [x(q, 1), x(k, 2), x(v, 3)];
const bools = (shape: number[], see: (...at: number[]) => boolean): Tensor => {
  const data = new Uint8Array(shape.reduce((a, b) => a * b, 1)).map((_, i) => {
    const at = shape.map((d, axis) => Math.floor(i / shape.slice(axis + 1).reduce((a, b) => a * b, 1)) % d);
    return Number(see(...at));
  });
  return tensor(data, { shape, dtype: 'bool' });
};
const same = (shape: number[]): Tensor[] => qkv(shape, shape, shape);

const cases: Record<string, () => [Tensor[], AttentionOptions?]> = {
  plain: () => [same([2, 3, 5, 4])],
  cross: () => [qkv([1, 2, 3, 8], [1, 2, 7, 8], [1, 2, 7, 5])],
  causal: () => [same([2, 2, 9, 4]), { causal: true }],
  'causal, fewer queries': () => [qkv([1, 2, 3, 4], [1, 2, 7, 4], [1, 2, 7, 4]), { causal: true }],
  'causal, fewer keys': () => [qkv([1, 2, 7, 4], [1, 2, 3, 4], [1, 2, 3, 4]), { causal: true }],
  scale: () => [same([1, 1, 4, 6]), { scale: 0.5 }],
  'float mask': () => [same([2, 2, 4, 4]), { mask: x([2, 4, 4], 9, 3) }],
  'key padding': () => [
    qkv([2, 2, 3, 4], [2, 2, 6, 4], [2, 2, 6, 4]),
    { mask: bools([2, 1, 1, 6], (b, _h, _i, j) => (j as number) < (b === 0 ? 4 : 1)) },
  ],
  'a query that sees nothing': () => [
    same([1, 2, 4, 4]),
    { mask: bools([4, 4], (i, j) => i !== 2 && (j as number) <= (i as number)) },
  ],
  'no heads': () => [same([3, 4, 6])],
  matrices: () => [qkv([4, 6], [5, 6], [5, 3])],
  long: () => [same([1, 1, 70, 16]), { causal: true }],
};

function close(got: ArrayLike<number>, want: ArrayLike<number>, limit: number, what: string): void {
  expect(got.length, what).toBe(want.length);
  const scale = Math.max(1, ...Array.from(want, Math.abs));
  for (let i = 0; i < want.length; i++)
    if (!(Math.abs((got[i] as number) - (want[i] as number)) <= limit * scale))
      expect.fail(`${what} element ${i}: ${got[i]} against ${want[i]}`);
}

describe.each([
  ['the backend in use', undefined, 4e-6],
  ['the reference in float64', new ReferenceBackend({ float64: true }), 2e-7],
] as const)('%s', (_, backend, limit) => {
  beforeAll(() => useBackend(backend));
  afterAll(() => useBackend(undefined));

  test.each(Object.keys(golden))('PyTorch: %s', async (name) => {
    const { output, shape, grads } = golden[name] as Golden;
    const [inputs, options] = (cases[name] as NonNullable<(typeof cases)[string]>)();
    const y = attention(inputs[0] as Tensor, inputs[1] as Tensor, inputs[2] as Tensor, options);
    expect(y.shape).toEqual(shape);
    y.backward(formula(shape, 999));
    close(await y.data(), output, limit, 'output');
    const leaves = [...inputs, ...(options?.mask?.requiresGrad ? [options.mask] : [])];
    expect(leaves.length).toBe(grads.length);
    for (const [i, leaf] of leaves.entries())
      close(await (leaf.grad as Tensor).data(), grads[i] as number[], limit, `gradient ${i}`);
  });
});

test('every golden has a case', () => expect(Object.keys(cases).sort()).toEqual(Object.keys(golden).sort()));

/** What attention is a faster form of. */
function composed(q: Tensor, k: Tensor, v: Tensor, { causal, dropout = 0 }: AttentionOptions): Tensor {
  let scores = q.matmul(k.transpose()).mul(1 / Math.sqrt(q.shape.at(-1) as number));
  if (causal)
    scores = where(iota(scores.shape, scores.rank - 1).le(iota(scores.shape, scores.rank - 2)), scores, -Infinity);
  const weights = softmax(scores);
  return (dropout > 0 ? where(uniform(weights.shape).ge(dropout), weights.mul(1 / (1 - dropout)), 0) : weights).matmul(
    v,
  );
}

test.each([
  [[2, 3, 50, 20], { causal: true, dropout: 0.2 }],
  [[1, 2, 130, 64], { causal: true }],
  [[1, 1, 300, 65], { dropout: 0.5 }],
  [[1, 1, 1500, 16], { causal: true }],
  [[1, 2, 260, 129], {}],
] as [number[], AttentionOptions][])('%j %j: as its composition', async (shape, options) => {
  const run = async (f: typeof composed): Promise<ArrayLike<number>[]> => {
    manualSeed(3);
    const inputs = same(shape);
    const y = f(inputs[0] as Tensor, inputs[1] as Tensor, inputs[2] as Tensor, options);
    y.backward(formula([...y.shape], 7));
    return [await y.data(), ...(await Promise.all(inputs.map((t) => (t.grad as Tensor).data())))];
  };
  const want = await run(composed);
  for (const [i, got] of (await run(attention)).entries())
    close(got, want[i] as ArrayLike<number>, 2e-5, `result ${i}`);
});

const found = loadAddon();
test.skipIf(!('addon' in found)).each([[[1, 2, 300, 40]], [[3, 4, 70, 16]]])(
  '%j: the same bits for every number of threads',
  async (shape) => {
    const { addon } = found as Extract<typeof found, { addon: unknown }>;
    useBackend(new NativeBackend(addon));
    const run = async (threads: number): Promise<ArrayLike<number>[]> => {
      addon.setThreads(threads);
      manualSeed(3);
      const inputs = same(shape);
      const y = attention(inputs[0] as Tensor, inputs[1] as Tensor, inputs[2] as Tensor, {
        causal: true,
        dropout: 0.1,
      });
      y.backward(formula([...y.shape], 7));
      return [await y.data(), ...(await Promise.all(inputs.map((t) => (t.grad as Tensor).data())))];
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

test('q, k and v may be cut from one projection', async () => {
  const run = async (cut: (p: Tensor, i: number) => Tensor): Promise<ArrayLike<number>[]> => {
    const p = x([2, 9, 3 * 12], 4);
    const [q, k, v] = [0, 1, 2].map((i) => cut(p, i).reshape(2, 9, 3, 4).permute(0, 2, 1, 3)) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const y = attention(q, k, v, { causal: true }).permute(0, 2, 1, 3).reshape(2, 9, 12);
    y.backward(formula([2, 9, 12], 5));
    return [await y.data(), await (p.grad as Tensor).data()];
  };
  const sliced = await run((p, i) => p.slice(2, i * 12, (i + 1) * 12));
  const apart = await run((p, i) =>
    p
      .reshape(2, 9, 3, 12)
      .permute(2, 0, 1, 3)
      .slice(0, i, i + 1)
      .reshape(2, 9, 12)
      .mul(1),
  );
  for (const [i, got] of sliced.entries()) close(got, apart[i] as ArrayLike<number>, 1e-6, `result ${i}`);
});

test('a NaN reaches only the queries that see it', async () => {
  const data = new Float32Array(6 * 4).fill(0.5);
  data[5 * 4] = Number.NaN;
  const t = tensor(data, { shape: [1, 1, 6, 4] });
  const y = await attention(formula([1, 1, 6, 4], 1), t, formula([1, 1, 6, 4], 2), { causal: true }).data();
  expect(Array.from(y, Number.isNaN)).toEqual(Array.from(y, (_, i) => i >= 20));
});

test('dropout 1 gives zeros', async () => {
  const t = formula([1, 1, 3, 4], 1);
  expect(Array.from(await attention(t, t, t, { dropout: 1 }).data(), Math.abs)).toEqual(new Array(12).fill(0));
});

test.each([
  ['SHAPE_RANK', () => attention(zeros([4]), zeros([4]), zeros([4]))],
  ['SHAPE_MISMATCH', () => attention(zeros([2, 4]), zeros([3, 5]), zeros([3, 4]))],
  ['SHAPE_MISMATCH', () => attention(zeros([2, 4]), zeros([3, 4]), zeros([2, 4]))],
  ['SHAPE_BROADCAST', () => attention(zeros([2, 2, 4]), zeros([3, 3, 4]), zeros([3, 3, 4]))],
  ['SHAPE_BROADCAST', () => attention(zeros([2, 4]), zeros([3, 4]), zeros([3, 4]), { mask: full([2, 2, 3], 0) })],
  ['DTYPE_MASK', () => attention(zeros([2, 4]), zeros([3, 4]), zeros([3, 4]), { mask: zeros([2, 3], 'i32') })],
  ['DTYPE_NOT_FLOAT', () => attention(zeros([2, 4], 'i32'), zeros([3, 4], 'i32'), zeros([3, 4], 'i32'))],
  ['PROBABILITY_INVALID', () => attention(zeros([2, 4]), zeros([3, 4]), zeros([3, 4]), { dropout: 1.5 })],
  ['OPTION_INVALID', () => attention(zeros([2, 4]), zeros([3, 4]), zeros([3, 4]), { scale: Number.NaN })],
])('%s', (code, f) => {
  expect(f).toThrow(expect.objectContaining({ code }));
});
