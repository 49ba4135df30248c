/** Rates by group, averaged weights, a layer that joins late and frozen batch norm: 12 steps each, against PyTorch. */
import { describe, expect, test } from 'vitest';
import {
  BatchNorm2d,
  Conv2d,
  crossEntropy,
  Flatten,
  freezeBatchNorm,
  Linear,
  ReLU,
  Sequential,
} from '../../src/nn/index.ts';
import { Ema } from '../../src/optim/index.ts';
import { engineStats, tensor, type Variable } from '../../src/tensor/index.ts';
import { makeOptimizer, type OptimizerOptions, ratesOf } from '../../src/training/index.ts';
import { expectClose, golden, initialise, stream } from './streams.ts';

interface Answer {
  losses: number[];
  weights: Record<string, number[]>;
  averages: Record<string, number[]>;
  mean: number[];
  answers: number[];
}
const goldens = golden<Record<'adamw' | 'sgd' | 'frozenNorm', Answer>>('tuning');
// As in the script.
const STEPS = 12;
const JOIN = 6;
const rates = {
  groups: [
    { params: '0', lrScale: 0.1, weightDecay: 0.3 },
    { params: ['4.*'], weightDecay: 0.05 },
  ],
};
const cases: [keyof typeof goldens, OptimizerOptions][] = [
  ['adamw', { name: 'adamw', lr: 0.01, ...rates }],
  ['sgd', { name: 'sgd', lr: 0.01, momentum: 0.9, ...rates }],
  ['frozenNorm', { name: 'adamw', lr: 0.01, ...rates }],
];

const valuesOf = async (variables: ReadonlyMap<string, Variable>): Promise<Map<string, number[]>> => {
  const out = new Map<string, number[]>();
  for (const [name, v] of variables) out.set(name, [...((await v.data()) as Float32Array)]);
  return out;
};

describe('tuning agrees with PyTorch', () => {
  test.each(cases)('%s', async (name, options) => {
    const model = new Sequential(
      new Conv2d(2, 4, 3, { bias: false }),
      new BatchNorm2d(4),
      new ReLU(),
      new Flatten(),
      new Linear(36, 3),
    );
    initialise(model);
    if (name === 'frozenNorm') freezeBatchNorm(model);
    const named = model.namedParameters();
    const optimizer = makeOptimizer(options, named, ratesOf(model, options));
    const ema = new Ema(named, { decay: 0.8 });
    const losses: number[] = [];
    let compiled = 0;
    for (let step = 0; step < STEPS; step++) {
      if (step === 0) model.freeze('0');
      if (step === JOIN) model.unfreeze('0');
      model.train();
      const y = tensor(Int32Array.of(step % 3, (step + 1) % 3, 2, 0));
      optimizer.zeroGrad();
      const loss = crossEntropy(model.forward(stream(500 + step, [4, 2, 5, 5], -1, 1)), y);
      loss.backward();
      optimizer.step();
      ema.update(optimizer.stepCount);
      losses.push(await loss.item());
      if (step === 1 || step === JOIN + 1) compiled = engineStats.compiled;
      else if (step > 1 && step !== JOIN) expect(engineStats.compiled).toBe(compiled);
    }
    const { weights, averages, mean, answers, losses: expected } = goldens[name];
    expectClose(losses, expected, 2e-6, 'losses');
    const got = await valuesOf(model.stateDict());
    for (const [key, values] of Object.entries(weights)) expectClose(got.get(key) as number[], values, 5e-6, key);
    const average = await valuesOf(ema.stateDict());
    for (const [key, values] of Object.entries(averages)) expectClose(average.get(key) as number[], values, 5e-6, key);
    expectClose(got.get('1.running_mean') as number[], mean, 5e-6, 'running mean');
    const x = stream(499, [4, 2, 5, 5], -1, 1);
    await ema.whileApplied(async () => expectClose(await model.eval().forward(x).data(), answers, 1e-5, 'answers'));
    // Put back, to the bit.
    expect(await valuesOf(model.stateDict())).toEqual(got);
    expect(await valuesOf(ema.stateDict())).toEqual(average);
  });
});
