/** Optimizer trajectories, schedules and clipping against PyTorch. */
import { describe, expect, test } from 'vitest';
import {
  Adam,
  AdamW,
  clipGradNorm,
  cosineLr,
  linearLr,
  type Optimizer,
  oneCycleLr,
  SGD,
  stepLr,
} from '../../src/optim/index.ts';
import { engineStats, flush, Variable } from '../../src/tensor/index.ts';
import { expectClose, golden, stream } from './streams.ts';

const goldens = golden<{
  trajectories: Record<string, number[][]>;
  late: Record<string, number[]>;
  schedules: Record<string, number[]>;
  clip: Record<string, { norm: number; grads: number[][] }>;
}>('optim');

// As OPTIMIZERS in the script.
const optimizers: Record<string, (p: Variable[]) => Optimizer> = {
  sgd: (p) => new SGD(p, { lr: 0.05 }),
  sgdMomentum: (p) => new SGD(p, { lr: 0.05, momentum: 0.9 }),
  sgdDampening: (p) => new SGD(p, { lr: 0.05, momentum: 0.8, dampening: 0.3, weightDecay: 0.02 }),
  sgdNesterov: (p) => new SGD(p, { lr: 0.02, momentum: 0.9, nesterov: true, weightDecay: 0.1 }),
  adam: (p) => new Adam(p, { lr: 0.01 }),
  adamL2: (p) => new Adam(p, { lr: 0.01, betas: [0.8, 0.95], eps: 1e-6, weightDecay: 0.1 }),
  adamw: (p) => new AdamW(p, { lr: 0.01 }),
  adamwDecay: (p) => new AdamW(p, { lr: 0.02, betas: [0.7, 0.9], weightDecay: 0.2 }),
};
const variable = (number: number, size: number): Variable =>
  new Variable(stream(number, [size], -1, 1), { requiresGrad: true });

describe('optimizers agree with PyTorch', () => {
  test.each(Object.keys(optimizers))('%s over 20 steps', async (name) => {
    const p = variable(1, 12);
    const optimizer = (optimizers[name] as (p: Variable[]) => Optimizer)([p]);
    const path = goldens.trajectories[name] as number[][];
    let compiled = 0;
    for (const [step, expected] of path.entries()) {
      p.grad = p.mul(stream(2, [12], 0.5, 2)).add(stream(100 + step, [12], -0.3, 0.3));
      optimizer.step();
      expectClose(await p.data(), expected, 1e-6, `step ${step}`);
      if (step === 1) compiled = engineStats.compiled;
    }
    // Nothing that moves with the step is part of a program.
    expect(engineStats.compiled).toBe(compiled);
  });

  test.each(Object.keys(optimizers))('%s counts the steps of a parameter that joins late', async (name) => {
    const [a, b] = [variable(1, 3), variable(3, 3)];
    const optimizer = (optimizers[name] as (p: Variable[]) => Optimizer)([a, b]);
    for (let step = 0; step < 8; step++) {
      a.grad = stream(100 + step, [3], -1, 1);
      b.grad = step >= 4 ? stream(200 + step, [3], -1, 1) : null;
      optimizer.step();
      await flush([]);
    }
    expect(optimizer.progress).toEqual({ stepCount: 8, missed: { 1: 4 } });
    expectClose(await b.data(), goldens.late[name] as number[], 1e-6, 'b');
  });
});

describe('schedules agree with PyTorch', () => {
  const schedules: Record<string, (step: number) => number> = {
    step: stepLr(0.1, { stepSize: 7, gamma: 0.3 }),
    cosine: cosineLr(0.1, { totalSteps: 30, final: 0.1 }),
    linear: linearLr(0.1, { totalSteps: 30, final: 0.2 }),
    oneCycle: oneCycleLr(0.5, { totalSteps: 40, pctStart: 0.25, divFactor: 20, finalDivFactor: 100 }),
  };
  test.each(Object.keys(schedules))('%s', (name) => {
    const expected = goldens.schedules[name] as number[];
    expectClose(
      expected.map((_, step) => (schedules[name] as (step: number) => number)(step)),
      expected,
      1e-12,
      name,
    );
  });
});

test.each([
  ['above', 0.5],
  ['below', 50],
])('clipGradNorm agrees with PyTorch where the norm is %s the limit', async (name, limit) => {
  const expected = goldens.clip[name] as { norm: number; grads: number[][] };
  const parameters = [[6], [2, 3]].map((shape, i) => {
    const p = new Variable(stream(50 + i, shape, -1, 1), { requiresGrad: true });
    p.grad = stream(i + 1, shape, -2, 2);
    return p;
  });
  const norm = clipGradNorm(parameters, limit);
  expectClose(await norm.data(), [expected.norm], 1e-6, 'norm');
  for (const [i, p] of parameters.entries())
    expectClose(await (p.grad ?? norm).data(), expected.grads[i] as number[], 1e-6, `grad ${i}`);
});
