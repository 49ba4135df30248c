/** Groups, learning rates, state and accumulation; the update formulas are checked against PyTorch in test/parity. */
import { describe, expect, test } from 'vitest';
import { ArgumentError, type CambiumError, DataError } from '../base/index.ts';
import { BatchNorm1d, crossEntropy, Linear, ReLU, Sequential } from '../nn/index.ts';
import { engineStats, flush, full, manualSeed, ones, tensor, uniform, Variable, zeros } from '../tensor/index.ts';
import {
  AdamW,
  clipGradNorm,
  clipGradValue,
  constantLr,
  linearLr,
  parameterGroups,
  partOfBatch,
  SGD,
  withWarmup,
} from './index.ts';

const variable = (value: number, label?: string): Variable =>
  new Variable(full([2], value), { requiresGrad: true, label });
const mlp = (): Sequential => new Sequential(new Linear(4, 8), new BatchNorm1d(8), new ReLU(), new Linear(8, 3));

describe('groups', () => {
  test('parameters alone make one group; named parameters leave bias and norm undecayed', () => {
    const model = mlp();
    expect(new AdamW(model.parameters(), { lr: 1e-3 }).groups.map((g) => g.weightDecay)).toEqual([0.01]);
    const { groups } = new AdamW(model.namedParameters(), { lr: 1e-3, weightDecay: 0.1 });
    expect(groups.map((g) => [g.params.length, g.weightDecay])).toEqual([
      [2, 0.1],
      [4, 0],
    ]);
    expect(groups[0]?.params.map((p) => p.label)).toEqual(['0.weight', '3.weight']);
  });

  test('parameterGroups takes a model', () => {
    const groups = parameterGroups(mlp(), { weightDecay: 0.3 });
    expect(new SGD(groups, { lr: 1, weightDecay: 9 }).groups.map((g) => g.weightDecay)).toEqual([0.3, 0]);
  });

  test('a group has options of its own, the others are the optimizer’s', async () => {
    const [head, trunk] = [variable(1), variable(1)];
    const optimizer = new SGD([{ params: [head] }, { params: [trunk], lr: 0.1, weightDecay: undefined }], { lr: 1 });
    expect(optimizer.groups.map((g) => [g.lr, g.weightDecay])).toEqual([
      [1, 0],
      [0.1, 0],
    ]);
    for (const p of [head, trunk]) p.grad = ones([2]);
    optimizer.step();
    expect(await head.toArray()).toEqual([0, 0]);
    expect((await trunk.data())[0]).toBeCloseTo(0.9, 6);
  });

  test('setLr keeps the ratio of the groups, through zero as well', () => {
    const optimizer = new SGD([{ params: [variable(1)] }, { params: [variable(1)], lr: 0.1 }], { lr: 1 });
    for (const lr of [0.5, 0, 2]) {
      optimizer.setLr(lr);
      expect(optimizer.lr).toBe(lr);
      expect(optimizer.groups.map((g) => g.lr)).toEqual([lr, lr * 0.1]);
    }
  });

  test.each<[string, () => unknown, RegExp]>([
    ['nothing', () => new SGD([], { lr: 1 }), /at least one parameter/],
    ['a negative rate', () => new SGD([variable(1)], { lr: -1 }), /lr must be in/],
    ['NaN', () => new AdamW([variable(1)], { lr: Number.NaN }), /lr must be in/],
    ['beta 1', () => new AdamW([variable(1)], { lr: 1, betas: [0.9, 1] }), /betas must be in/],
    ['nesterov alone', () => new SGD([variable(1)], { lr: 1, nesterov: true }), /nesterov needs momentum/],
    ['a bad group', () => new SGD([{ params: [variable(1)], lr: -1 }], { lr: 1 }), /lr must be in/],
  ])('%s is refused', (_, make, message) => {
    expect(make).toThrow(ArgumentError);
    expect(make).toThrow(message);
  });

  test('a parameter given twice is refused by name', () => {
    const p = variable(1, 'head.bias');
    expect(() => new SGD([{ params: [p] }, { params: [p] }], { lr: 1 })).toThrow('parameter head.bias is given twice');
  });
});

describe('steps', () => {
  test('a new learning rate compiles nothing', async () => {
    const p = variable(1);
    const optimizer = new AdamW([p], { lr: 1 });
    let compiled = 0;
    for (let i = 0; i < 6; i++) {
      optimizer.setLr(1 / (i + 1));
      p.grad = ones([2]);
      optimizer.step();
      await flush([]);
      if (i === 1) compiled = engineStats.compiled;
    }
    expect(engineStats.compiled).toBe(compiled);
  });

  test('parameters without a gradient, or frozen, stay', async () => {
    const [a, b] = [variable(1), variable(1)];
    b.grad = ones([2]);
    b.requiresGrad = false;
    new SGD([a, b], { lr: 1 }).step();
    expect([await a.toArray(), await b.toArray()]).toEqual([
      [1, 1],
      [1, 1],
    ]);
  });

  test('weight decay of SGD is L2: the gradient of decay / 2 * |p|^2', async () => {
    const [p, q] = [variable(3), variable(3)];
    const [implicit, explicit] = [
      new SGD([p], { lr: 0.1, weightDecay: 0.5, momentum: 0.9 }),
      new SGD([q], { lr: 0.1, momentum: 0.9 }),
    ];
    for (let i = 0; i < 5; i++) {
      p.grad = ones([2]);
      explicit.zeroGrad();
      q.sum().add(q.square().sum().mul(0.25)).backward();
      implicit.step();
      explicit.step();
      await flush([]);
    }
    expect((await p.data())[0]).toBeCloseTo((await q.data())[0] as number, 6);
  });
});

describe('state', () => {
  async function train(model: Sequential, optimizer: AdamW, steps: number, first: number): Promise<void> {
    for (let i = 0; i < steps; i++) {
      manualSeed(first + i);
      const x = uniform([6, 4]);
      optimizer.zeroGrad();
      crossEntropy(model.forward(x), tensor(Int32Array.of(0, 1, 2, 0, 1, 2))).backward();
      optimizer.step();
      await flush([]);
    }
  }

  test('saved and loaded, training goes on as if it had not stopped', async () => {
    manualSeed(0);
    const a = mlp();
    const optimizerA = new AdamW(a.namedParameters(), { lr: 0.01 });
    await train(a, optimizerA, 3, 10);

    const b = mlp();
    const optimizerB = new AdamW(b.namedParameters(), { lr: 0.01 });
    b.loadStateDict(a.stateDict());
    optimizerB.loadStateDict(optimizerA.stateDict(), JSON.parse(JSON.stringify(optimizerA.progress)));
    expect([...optimizerB.stateDict().keys()].slice(0, 2)).toEqual(['0.weight.exp_avg', '0.weight.exp_avg_sq']);
    await train(a, optimizerA, 3, 20);
    await train(b, optimizerB, 3, 20);
    for (const [name, value] of a.stateDict())
      expect(await b.stateDict().get(name)?.data()).toEqual(await value.data());
  });

  test('names are unique where two models use one twice', () => {
    const models = [new Linear(2, 2), new Linear(2, 2)];
    const optimizer = new AdamW(
      models.flatMap((m) => m.parameters()),
      { lr: 1 },
    );
    expect(optimizer.stateDict().size).toBe(8);
  });

  test('another optimizer’s state is refused, naming tensor and shapes', () => {
    const optimizer = new AdamW(mlp().namedParameters(), { lr: 1 });
    let error: CambiumError | undefined;
    try {
      optimizer.loadStateDict(new Map([['0.weight.exp_avg', zeros([3])]]), 1);
    } catch (e) {
      error = e as CambiumError;
    }
    expect(error).toBeInstanceOf(DataError);
    expect(error?.message).toBe('the optimizer needs 0.weight.exp_avg (8, 4), the saved state has (3,)');
    expect(optimizer.stepCount).toBe(0);
  });
});

describe('accumulation', () => {
  test('4 parts of 4, or parts of 7, 7 and 2, are a batch of 16', async () => {
    manualSeed(1);
    const model = new Sequential(new Linear(5, 7), new ReLU(), new Linear(7, 3));
    const x = await uniform([16, 5]).realize();
    const y = tensor(new Int32Array(16).map((_, i) => i % 3));
    const gradients = async (sizes: number[]): Promise<number[][]> => {
      for (const p of model.parameters()) p.grad = null;
      let start = 0;
      for (const size of sizes) {
        const [px, py] = [x.slice(0, start, start + size), y.slice(0, start, start + size)];
        partOfBatch(crossEntropy(model.forward(px), py), size, 16).backward();
        start += size;
      }
      const out: number[][] = [];
      for (const p of model.parameters()) out.push(Array.from((await p.grad?.data()) ?? []));
      return out;
    };
    const whole = await gradients([16]);
    for (const sizes of [
      [4, 4, 4, 4],
      [7, 7, 2],
    ])
      (await gradients(sizes)).forEach((grad, i) => {
        grad.forEach((value, j) => {
          expect(value).toBeCloseTo(whole[i]?.[j] as number, 6);
        });
      });
    expect(() => partOfBatch(zeros([]), 5, 4)).toThrow(/not a part of a batch/);
  });
});

describe('clipping', () => {
  test('by value', async () => {
    const p = variable(0);
    p.grad = tensor([-3, 0.5]);
    clipGradValue([p, variable(0)], 1);
    expect(await p.grad.toArray()).toEqual([-1, 0.5]);
  });

  test('by norm, in the same program as the step; nothing to clip is norm 0', async () => {
    const p = variable(0);
    p.grad = tensor([3, 4]);
    const norm = clipGradNorm([p], 1);
    new SGD([p], { lr: 1 }).step();
    const { runs } = engineStats;
    expect(await norm.item()).toBe(5);
    // The zeros p starts from are a program of their own.
    expect(engineStats.runs - runs).toBe(2);
    expect((await p.data())[1]).toBeCloseTo(-0.8, 5);
    expect(await clipGradNorm([variable(0)], 1).item()).toBe(0);
    expect(() => clipGradNorm([p], 0)).toThrow(/maxNorm must be positive/);
  });
});

test('warm-up grows to the rate and hands over at step 0 of the rest', () => {
  const schedule = withWarmup(4, 1, linearLr(1, { totalSteps: 3 }));
  expect([0, 1, 2, 3, 4, 5, 6, 7].map(schedule)).toEqual([0.25, 0.5, 0.75, 1, 1, 0.5, 0, 0]);
  expect(constantLr(3)(99)).toBe(3);
});
