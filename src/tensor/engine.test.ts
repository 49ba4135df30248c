/** Laziness seen from outside: what is computed when, in how many programs, and what must be refused. */
import { beforeEach, describe, expect, test } from 'vitest';
import { NumericError, ShapeError, StaleTensorError } from '../base/index.ts';
import {
  currentBackend,
  engineStats,
  flush,
  full,
  manualSeed,
  normal,
  planAndDiscard,
  requireFinite,
  scalar,
  type Tensor,
  tensor,
  uniform,
  Variable,
  where,
} from './index.ts';

const counts = (): { compiled: number; runs: number } => ({ ...engineStats });
let before = counts();
beforeEach(() => {
  before = counts();
});
const since = (): { compiled: number; runs: number } => ({
  compiled: engineStats.compiled - before.compiled,
  runs: engineStats.runs - before.runs,
});

describe('programs', () => {
  test('nothing runs until a value is asked for, then all of it in one call', async () => {
    const x = tensor([1, 2, 3]);
    const y = x.mul(2).add(1).sum();
    expect(since().runs).toBe(0);
    expect(await y.item()).toBe(15);
    expect(since().runs).toBe(1);
  });

  test('a computed value is not computed again', async () => {
    const y = tensor([1, 2, 3]).exp();
    await y.realize();
    await y.sum().item();
    before = counts();
    await y.data();
    expect(since().runs).toBe(0);
  });

  test('equal graphs over new data, and new scalars, find the same program', async () => {
    const step = (data: number[], lr: number): Tensor => tensor(data).mul(scalar(lr)).sum();
    expect(await step([1, 2, 3, 4, 5, 6, 7], 0.5).item()).toBe(14);
    before = counts();
    expect(await step([2, 2, 3, 4, 5, 6, 7], 0.25).item()).toBe(7.25);
    expect(since()).toEqual({ compiled: 0, runs: 1 });
    await tensor([1, 2, 3, 4, 5, 6, 7]).mul(3).sum().item();
    expect(since().compiled).toBe(1);
  });
});

describe('variables', () => {
  test('an update and the value asked for are one program', async () => {
    const w = new Variable(tensor([1, 2]));
    await w.realize();
    const loss = w.square().sum();
    w.assign(w.sub(w.mul(0.5)));
    before = counts();
    expect(await loss.item()).toBe(5);
    expect(since().runs).toBe(1);
    expect([...(await w.data())]).toEqual([0.5, 1]);
  });

  test('the tensor a variable started from keeps its value', async () => {
    const start = tensor([1, 2]);
    const [a, b] = [new Variable(start), new Variable(start)];
    a.assign(a.add(1));
    expect([...(await a.data())]).toEqual([2, 3]);
    expect([...(await b.data())]).toEqual([1, 2]);
    expect([...(await start.data())]).toEqual([1, 2]);
  });

  test('swapped variables', async () => {
    const [a, b] = [new Variable(full([4], 1)), new Variable(full([4], 2))];
    a.assign(b);
    b.assign(a.detach().mul(0).add(7));
    await flush([]);
    expect([...(await a.data())]).toEqual([2, 2, 2, 2]);
    expect((await b.data())[0]).toBe(7);
  });

  test('a value that still needs what an update overwrote is refused', async () => {
    const w = new Variable(tensor([1, 2]), { label: 'layer.weight' });
    const old = w.mul(3);
    w.assign(w.add(1));
    await flush([]);
    await expect(old.data()).rejects.toThrow(StaleTensorError);
    await expect(old.data()).rejects.toThrow(/layer\.weight/);
  });

  test('a loop that never reads its loss advances all the same', async () => {
    const w = new Variable(scalar(0));
    for (let i = 0; i < 5; i++) {
      w.assign(w.add(1));
      await Promise.resolve();
    }
    expect(await w.item()).toBe(5);
  });

  test('an initial value nobody computed in time is never written over a later one', async () => {
    const w = new Variable(full([3], 1));
    const before = w.mul(10);
    w.assign(full([3], 5));
    expect([...(await w.data())]).toEqual([5, 5, 5]);
    expect([...(await before.data())]).toEqual([10, 10, 10]);
    expect([...(await w.data())]).toEqual([5, 5, 5]);
    const v = new Variable(full([3], 1));
    const first = v.mul(10);
    v.initialize(full([3], 2));
    expect([...(await v.data())]).toEqual([2, 2, 2]);
    expect([...(await first.data())]).toEqual([10, 10, 10]);
    expect([...(await v.data())]).toEqual([2, 2, 2]);
  });

  test('several updates of one variable between flushes follow each other', async () => {
    const w = new Variable(scalar(1));
    w.assign(w.mul(3));
    w.assign(w.add(1));
    expect(await w.item()).toBe(4);
  });

  test('a plan computes and allocates nothing, and forgets the updates it saw', async () => {
    const w = new Variable(full([1000, 1000], 1));
    const loss = w.square().sum();
    w.assign(w.mul(0.5));
    before = counts();
    const plan = planAndDiscard([loss.node]);
    expect(plan.inputBytes).toBe(4_000_000);
    expect(since().runs).toBe(0);
    expect(w.storage.data).toBeUndefined();
    expect((await w.sum().item()) as number).toBe(1e6);
  });

  test('wrong shapes are refused by name', () => {
    const w = new Variable(full([2, 3], 0), { label: 'fc.weight' });
    expect(() => w.assign(full([3, 2], 0))).toThrow(ShapeError);
    expect(() => w.assign(full([3, 2], 0))).toThrow(/fc\.weight/);
  });
});

describe('finite checks', () => {
  test('a NaN stops the step before it updates anything', async () => {
    const w = new Variable(tensor([1, -1]));
    await w.realize();
    const loss = w.log().sum();
    w.assign(w.mul(0));
    requireFinite([loss.node]);
    await expect(flush([loss.node])).rejects.toThrow(NumericError);
    expect([...(await w.data())]).toEqual([1, -1]);
    w.assign(w.mul(2));
    expect([...(await w.data())]).toEqual([2, -2]);
  });

  test('programs queued behind a failed one fail with it', async () => {
    const w = new Variable(tensor([1, -1]));
    await w.realize();
    requireFinite([w.log().sum().node]);
    w.assign(w.mul(0));
    const first = flush([]);
    w.assign(w.add(5));
    const second = flush([]);
    await expect(first).rejects.toThrow(NumericError);
    await expect(second).rejects.toThrow(NumericError);
    expect([...(await w.data())]).toEqual([1, -1]);
  });
});

describe('randomness', () => {
  test('a seed names every draw; draws differ', async () => {
    manualSeed(7);
    const [a, b] = [await uniform([100]).data(), await uniform([100]).data()];
    manualSeed(7);
    expect(await uniform([100]).data()).toEqual(a);
    expect(a).not.toEqual(b);
    expect(a.every((v) => v >= 0 && v < 1)).toBe(true);
  });

  test('a graph reads one draw however often it is used', async () => {
    const u = uniform([64]);
    expect(await u.sub(u).abs().sum().item()).toBe(0);
  });

  test('normal has the moments of a normal', async () => {
    manualSeed(1);
    const x = normal([20000], { mean: 3, std: 2 });
    expect(Math.abs((await x.mean().item()) - 3)).toBeLessThan(0.05);
    expect(Math.abs((await x.std().item()) - 2)).toBeLessThan(0.05);
  });
});

describe('gradients', () => {
  test('sum over uses, stop at detach, accumulate until cleared', async () => {
    const x = tensor([2, 3], { requiresGrad: true });
    const loss = x.mul(x).add(x.detach().mul(x)).sum();
    loss.backward();
    expect([...(await (x.grad as Tensor).data())]).toEqual([6, 9]);
    loss.backward();
    expect([...(await (x.grad as Tensor).data())]).toEqual([12, 18]);
  });

  test('reading the loss first changes nothing', async () => {
    const x = tensor([2, 3], { requiresGrad: true });
    const loss = x.square().sum();
    expect(await loss.item()).toBe(13);
    loss.backward();
    expect([...(await (x.grad as Tensor).data())]).toEqual([4, 6]);
  });

  test('where picks the side that flows', async () => {
    const x = tensor([-1, 2], { requiresGrad: true });
    where(x.gt(0), x.mul(5), x.neg()).sum().backward();
    expect([...(await (x.grad as Tensor).data())]).toEqual([-1, 5]);
  });
});

test(`tests ran on the ${currentBackend().name} backend`, () => {
  expect(['native', 'reference']).toContain(currentBackend().name);
});
