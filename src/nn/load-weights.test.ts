import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DataError } from '../base/index.ts';
import { type HostArray, readWeights, writeNpy, writeNpz, writeSafetensors } from '../io/index.ts';
import { tensor, zeros } from '../tensor/index.ts';
import { Sequential } from './container.ts';
import { Conv2d } from './conv.ts';
import { Linear } from './linear.ts';
import { formatReport, loadTensors, loadWeights } from './load-weights.ts';
import { Module } from './module.ts';
import { BatchNorm2d } from './norm.ts';

const golden = fileURLToPath(new URL('../../test/golden/weights/', import.meta.url));
let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'cambium-weights-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const f32 = (shape: number[], values: ArrayLike<number>): HostArray => ({
  dtype: 'f32',
  shape,
  data: Float32Array.from(values),
});

test('a checkpoint of PyTorch loads into the same model, strictly, with a report', async () => {
  const model = new Sequential(new Conv2d(3, 4, 3), new BatchNorm2d(4), new Linear(4, 2));
  const lines: string[] = [];
  const report = await loadWeights(model, `${golden}checkpoint.pt`, { print: (text) => lines.push(text) });
  expect(report).toMatchObject({ missing: [], unused: [], mismatched: [], adapted: [], renamed: [] });
  const { tensors } = await readWeights(`${golden}checkpoint.pt`);
  expect(await model.stateDict().get('0.weight')?.data()).toEqual(tensors.get('0.weight')?.data);
  expect(lines.join('\n')).toMatch(/loaded {3}\d+/);
});

test('prefixes and old names of layer norm are brought to ours; what does not fit is refused before anything changes', async () => {
  const model = new Sequential(new Linear(2, 2));
  const weights = new Map([
    ['module.bert.0.gamma', f32([2, 2], [1, 2, 3, 4])],
    ['module.bert.0.beta', f32([2], [5, 6])],
  ]);
  const report = loadTensors(model, weights);
  expect(report.renamed[0]).toEqual({ from: 'module.bert.0.gamma', to: '0.weight' });
  expect(Array.from((await model.stateDict().get('0.bias')?.data()) ?? [])).toEqual([5, 6]);
  const wrong = new Map([...weights, ['extra', f32([1], [0])]]);
  expect(() => loadTensors(model, wrong)).toThrow(DataError);
  expect(loadTensors(model, wrong, { strict: false }).unused).toEqual(['extra']);
  const twice = new Map([
    ['0.weight', f32([2, 2], [0, 0, 0, 0])],
    ['module.0.weight', f32([2, 2], [0, 0, 0, 0])],
  ]);
  expect(() => loadTensors(model, twice, { strict: false })).toThrow('two tensors');
});

test('the first convolution takes other channels, and answers equal ones as before unless told', async () => {
  const stored = new Map([
    ['0.weight', f32([1, 3, 1, 1], [1, 2, 6])],
    ['0.bias', f32([1], [0])],
  ]);
  for (const [channels, inputs, expected, how] of [
    [undefined, 1, [9], 'sum'],
    [undefined, 2, [4.5, 4.5], 'sum'],
    ['auto', 4, [0.5, 2, 6, 0.5], 'repetition'],
    ['auto', 6, [0.5, 1, 3, 0.5, 1, 3], 'repetition'],
    ['sum', 1, [9], 'sum'],
    ['sum', 2, [4.5, 4.5], 'sum'],
    ['sum', 4, [2.25, 2.25, 2.25, 2.25], 'sum'],
    ['mean', 1, [3], 'mean'],
    ['mean', 2, [3, 3], 'mean'],
  ] as const) {
    const model = new Sequential(new Conv2d(inputs, 1, 1));
    const report = loadTensors(model, stored, channels && { channels });
    if (channels !== 'mean') expect(expected.reduce((sum, w) => sum + w, 0)).toBe(9);
    expect(report.adapted).toHaveLength(1);
    expect(Array.from((await model.stateDict().get('0.weight')?.data()) ?? [])).toEqual(expected);
    expect(formatReport(report)).toContain(`channels 3 to ${inputs} by ${how}`);
  }
});

class Positions extends Module {
  readonly position_embeddings;
  constructor(shape: number[]) {
    super();
    this.position_embeddings = this.parameter(zeros(shape));
  }
  override forward(): never {
    throw new Error('not called');
  }
}

test('position embeddings are resized along their length, grids of patches in two dimensions behind their class token', async () => {
  const line = new Positions([4, 1]);
  loadTensors(line, new Map([['position_embeddings', f32([2, 1], [0, 1])]]));
  expect(Array.from(await line.position_embeddings.data())).toEqual([0, 0.25, 0.75, 1]);
  const grid = new Positions([1, 17, 1]);
  const report = loadTensors(grid, new Map([['position_embeddings', f32([1, 5, 1], [9, 0, 1, 2, 3])]]));
  // torch.nn.functional.interpolate([[0, 1], [2, 3]], size=4, mode='bilinear')
  const rows = [0, 0.25, 0.75, 1, 0.5, 0.75, 1.25, 1.5, 1.5, 1.75, 2.25, 2.5, 2, 2.25, 2.75, 3];
  expect(Array.from(await grid.position_embeddings.data())).toEqual([9, ...rows]);
  expect(report.adapted[0]?.how).toContain('bilinear');
});

test('formats are told by content; folders, shards, npz and npy are read', async () => {
  const [a, b] = [f32([2], [1, 2]), f32([1], [3])];
  await writeSafetensors(join(dir, 'm-1-of-2.safetensors'), { a });
  await writeNpz(join(dir, 'm-2-of-2.bin'), new Map([['b', b]]));
  const index = (map: object): void =>
    writeFileSync(join(dir, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map: map }));
  index({ a: 'm-1-of-2.safetensors', b: 'm-2-of-2.bin' });
  expect(await readWeights(dir)).toMatchObject({
    format: 'index',
    tensors: new Map([
      ['a', a],
      ['b', b],
    ]),
  });
  expect([...(await readWeights(dir, { only: (n) => n === 'b' })).tensors.keys()]).toEqual(['b']);
  index({ a: '../m-1-of-2.safetensors' });
  await expect(readWeights(dir)).rejects.toMatchObject({ code: 'PATH_UNSAFE' });
  index({ a: 'm-2-of-2.bin' });
  await expect(readWeights(dir)).rejects.toMatchObject({ code: 'WEIGHTS_INDEX' });
  index({ a: 'absent.safetensors' });
  await expect(readWeights(dir)).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
  await writeNpy(join(dir, 'a.weights'), a);
  expect((await readWeights(join(dir, 'a.weights'))).format).toBe('npy');
  for (const [text, what] of [
    ['<!DOCTYPE html><html>', 'HTML'],
    ['version https://git-lfs.github.com/spec/v1', 'LFS'],
    ['', 'empty'],
  ] as const) {
    writeFileSync(join(dir, 'page.safetensors'), text);
    await expect(readWeights(join(dir, 'page.safetensors'))).rejects.toMatchObject({
      code: 'WEIGHTS_FORMAT',
      message: expect.stringContaining(what),
    });
  }
});

test('weights are in memory once, and each model has its own', async () => {
  const file = join(dir, 'own.safetensors');
  const size = 300;
  const values = Float32Array.from({ length: size * size }, (_, i) => i % 97);
  const bias = Float32Array.from({ length: size }, (_, i) => i);
  await writeSafetensors(file, {
    weight: { dtype: 'f32', shape: [size, size], data: values },
    bias: { dtype: 'f32', shape: [size], data: bias },
  });
  const [a, b] = [new Linear(size, size), new Linear(size, size)];
  for (const model of [a, b]) await loadWeights(model, file, { print: false });
  // Adopted: computed already, though nothing ran.
  expect(a.weight.storage.data?.length).toBe(size * size);
  expect(a.weight.storage.data).not.toBe(b.weight.storage.data);
  a.weight.assign(a.weight.mul(2));
  expect(Array.from((await a.weight.data()).slice(0, 3))).toEqual([0, 2, 4]);
  expect(await b.weight.data()).toEqual(values);
  // Where a value was computed, or is about to be, it is assigned.
  b.weight.assign(b.weight.add(1));
  await loadWeights(b, file, { print: false });
  expect(await b.weight.data()).toEqual(values);
  const x = tensor(
    Float32Array.from({ length: size }, () => 1),
    { shape: [1, size] },
  );
  const sum = (row: number): number => values.subarray(row * size, (row + 1) * size).reduce((p, q) => p + q, 0);
  const y = await b.forward(x).data();
  for (const row of [0, 7, 299]) expect(y[row]).toBeCloseTo(sum(row) + row, 1);
  // What the caller holds is copied.
  const mine = { weight: { dtype: 'f32' as const, shape: [size, size], data: values.slice() } };
  const c = new Linear(size, size, { bias: false });
  loadTensors(c, new Map(Object.entries(mine)));
  c.weight.assign(c.weight.mul(3));
  expect((await c.weight.data())[1]).toBe(3);
  expect(mine.weight.data[1]).toBe(1);
});
