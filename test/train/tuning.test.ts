/** Freezing by depth, gradual unfreezing, rates by depth, frozen batch norm and averaged weights in whole runs. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CambiumError } from '../../src/base/errors.ts';
import { createModel } from '../../src/models/index.ts';
import type { Module } from '../../src/nn/index.ts';
import { manualSeed } from '../../src/tensor/index.ts';
import {
  evaluate,
  type FineTuneOptions,
  fineTune,
  freezeBelow,
  type Listener,
  type OptimizerOptions,
  parseRecipe,
  planFineTune,
  planText,
  type RecipeInput,
  ratesOf,
  resumeRun,
  runRecipe,
  unfreezeFrom,
} from '../../src/training/index.ts';
import { mlp, options, train, transforms, validation, weightsOf } from './tiny.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cambium-tuning-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const codeOf = async (body: () => unknown): Promise<string> => {
  try {
    await body();
  } catch (error) {
    return (error as CambiumError).code;
  }
  return 'nothing was thrown';
};
const data = async (model: Module, name: string): Promise<ArrayLike<number>> =>
  (await (model.stateDict().get(name) as { data(): Promise<ArrayLike<number>> }).data()) as ArrayLike<number>;
const cnn = (): Module => {
  manualSeed(2);
  return createModel('resnet20', { inChannels: 1 });
};
const short = (more: Partial<FineTuneOptions> = {}): FineTuneOptions =>
  options({ data: { train, validation }, batchSize: 40, epochs: 1, ...more });

describe('freezing by depth', () => {
  test('all but the head, from either end, and back', () => {
    const model = cnn();
    const count = (): number => model.namedParameters().filter((p) => p.variable.requiresGrad).length;
    freezeBelow(model, 'head');
    expect(count()).toBe(2);
    expect(unfreezeFrom(model, -2)).toHaveLength(2 + 6);
    expect(count()).toBe(8);
    expect(unfreezeFrom(model, 0)).toHaveLength(model.namedParameters().length);
    expect(freezeBelow(model, 1)).toEqual(['conv1.weight', 'bn1.weight', 'bn1.bias']);
  });

  test('bad depths, names and epochs are refused', async () => {
    for (const [freeze, code] of [
      [{ belowDepth: 12 }, 'DEPTH_INVALID'],
      [{ belowDepth: 1.5 }, 'DEPTH_INVALID'],
      [{ names: ['layer9'] }, 'NO_SUCH_PARAMETER'],
      [{ belowDepth: 11 }, 'NOTHING_TO_TRAIN'],
    ] as const)
      expect(await codeOf(() => planFineTune(short({ model: cnn(), freeze })))).toBe(code);
    for (const unfreeze of [[{ epoch: 9, fromDepth: 0 }], [{ epoch: 1, fromDepth: 0 }], [{ epoch: 2 }]])
      expect(await codeOf(() => planFineTune(short({ epochs: 3, unfreeze })))).toBe('UNFREEZE_INVALID');
    expect(await codeOf(() => planFineTune(short({ ema: { decay: 1 } })))).toBe('OPTION_INVALID');
    const lost: OptimizerOptions = { name: 'sgd', lr: 1, groups: [{ params: 'nothing', lrScale: 2 }] };
    expect(await codeOf(() => planFineTune(short({ optimizer: lost })))).toBe('RATES_INVALID');
  });
});

test('rates by depth fall towards the input, times the factor of the first group that fits', () => {
  const model = createModel('mnist-cnn');
  const rates = ratesOf(model, {
    layerDecay: 0.5,
    groups: [
      { params: 'conv*', lrScale: 4 },
      { params: 'conv1', lrScale: 9 },
    ],
  });
  expect(['conv1.weight', 'conv2.bias', 'fc1.weight', 'fc2.bias'].map((name) => rates.get(name)?.lrScale)).toEqual([
    0.5, 1, 0.5, 1,
  ]);
});

test('the plan counts what trains, by group', () => {
  const plan = planFineTune(
    short({
      epochs: 3,
      freeze: { belowDepth: 'head' },
      unfreeze: [{ epoch: 3, names: ['layers.1'] }],
      optimizer: { name: 'adamw', lr: 1e-3, groups: [{ params: 'layers.1', lrScale: 0.1 }] },
      ema: { decay: 0.99 },
    }),
  );
  expect(plan.groups).toEqual([
    { parameters: 784 * 16 + 16, names: ['layers.1.weight', 'layers.1.bias'], lrScale: 0.1, fromEpoch: 3 },
    { parameters: 170, names: ['layers.3.weight', 'layers.3.bias'], lrScale: 1, fromEpoch: 1 },
  ]);
  expect(planText(plan)).toContain('12,560 parameters (layers.1.weight .. layers.1.bias): lr x 0.1, from epoch 3');
  expect(planText(plan)).toContain('weights averaged (decay 0.99)');
  expect(planFineTune(short()).groups).toBeUndefined();
});

test('a layer that joins at epoch 2 stays until then, and its optimizer starts then', async () => {
  const model = mlp();
  const before = await data(model, 'layers.1.weight');
  const seen: boolean[] = [];
  const notices: string[] = [];
  const listener: Listener = async (event) => {
    if (event.type === 'notice') notices.push(event.text);
    if (event.type === 'epoch-end') seen.push(String(await data(model, 'layers.1.weight')) === String(before));
  };
  await fineTune(
    options({
      model,
      epochs: 3,
      freeze: { belowDepth: 'head' },
      unfreeze: [{ epoch: 2, fromDepth: 0 }],
      accumulate: 2,
      listeners: [listener],
    }),
  );
  expect(seen).toEqual([true, false, false]);
  expect(notices).toEqual(['epoch 2: 12,560 more parameters train, 12,730 in all']);
});

test('frozen batch norm: statistics and affine stay, the rest trains', async () => {
  const model = cnn();
  const names = ['bn1.running_mean', 'bn1.weight', 'layer3.2.bn2.running_var', 'conv1.weight'];
  const before = await Promise.all(names.map((name) => data(model, name)));
  const { plan } = await fineTune(short({ model, freezeBatchNorm: true, checkMemory: false }));
  const after = await Promise.all(names.map((name) => data(model, name)));
  expect(names.map((_, i) => String(after[i]) === String(before[i]))).toEqual([true, true, true, false]);
  expect(plan.trainable).toBe(plan.parameters - 2 * (7 * 16 + 6 * 32 + 6 * 64 + 32 + 64));
}, 60_000);

describe('averaged weights', () => {
  test('are what is measured, kept and returned', async () => {
    const ema = { decay: 0.9 };
    const last = await fineTune(options({ ema, epochs: 3, selectBy: { metric: 'loss' } }));
    const measured = await evaluate(last.model, last.task, validation, { batchSize: 40, transforms });
    expect(measured?.loss).toBeCloseTo(last.best?.value as number, 6);
    const plain = await fineTune(options({ epochs: 3 }));
    expect(await weightsOf(last.model)).not.toEqual(await weightsOf(plain.model));
    // The weights themselves train as without.
    expect(last.history.map((h) => h.trainLoss)).toEqual(plain.history.map((h) => h.trainLoss));
    // A best epoch that is not the last comes back averaged, too.
    const early = await fineTune(
      options({ ema, epochs: 4, optimizer: { name: 'sgd', lr: 3 }, selectBy: { metric: 'loss' } }),
    );
    const again = await evaluate(early.model, early.task, validation, { batchSize: 40, transforms });
    expect(again?.loss).toBeCloseTo(early.best?.value as number, 5);
  });
  test('without decay they are the weights', async () => {
    const [a, b] = [await fineTune(options({ ema: { decay: 0 } })), await fineTune(options())];
    expect(await weightsOf(a.model)).toEqual(await weightsOf(b.model));
  });
});

describe('everything at once', () => {
  const recipe = (): RecipeInput => ({
    name: 'tuned',
    seed: 5,
    data: { name: 'digits', validation: 30, digits: { train: 120, test: 40 } },
    transforms: [{ kind: 'normalize', mean: [0.13], std: [0.31] }],
    model: { name: 'mnist-cnn' },
    optimizer: { name: 'adamw', lr: 3e-3, layerDecay: 0.8 },
    schedule: { name: 'oneCycle' },
    freeze: { belowDepth: 'head' },
    unfreeze: [
      { epoch: 2, fromDepth: 2 },
      { epoch: 4, fromDepth: 0 },
    ],
    ema: { decay: 0.7, warmup: true },
    selectBy: { metric: 'loss' },
    batchSize: 15,
    epochs: 4,
    checkpoint: { everySteps: 4 },
  });
  test('resumes bit for bit from the middle of an epoch and from its end, before and after layers join', async () => {
    const straight = await runRecipe(parseRecipe(recipe()), { out: join(dir, 'whole') });
    // 6 steps an epoch; 6, 18: the epoch's checkpoint, with the next epoch's layers still frozen; 10: inside epoch 2.
    for (const step of [7, 10, 19, 23]) {
      const out = join(dir, `cut-${step}`);
      const listener: Listener = (event) => {
        if (event.type === 'step' && event.step === step) throw new Error('the power fails');
      };
      await expect(runRecipe(parseRecipe(recipe()), { out, listeners: [listener] })).rejects.toThrow('the power fails');
      const resumed = await resumeRun(out);
      expect(resumed.result.weightsHash, `cut at ${step}`).toBe(straight.result.weightsHash);
      expect(resumed.result.history).toEqual(straight.result.history);
      expect(await readFile(join(out, 'metrics.jsonl'), 'utf8')).toBe(
        await readFile(join(dir, 'whole', 'metrics.jsonl'), 'utf8'),
      );
    }
  }, 60_000);

  test('recipes say what is wrong', () => {
    const messageOf = (change: object): string => {
      try {
        parseRecipe({ ...recipe(), ...change });
      } catch (error) {
        return (error as Error).message;
      }
      return 'nothing was thrown';
    };
    expect(messageOf({ freeze: 3 })).toContain('freeze: expected a list of names, or { names, belowDepth }, found 3');
    expect(messageOf({ freeze: { below: 3 } })).toContain('freeze.below');
    expect(messageOf({ unfreeze: [{ epoch: 1 }] })).toContain('unfreeze[0].epoch: expected a number >= 2');
    expect(messageOf({ ema: { decy: 0.5 } })).toContain('unknown field "ema.decy"');
    expect(messageOf({ optimizer: { name: 'sgd', lr: 1, layerDecay: 2 } })).toContain('optimizer.layerDecay');
  });
});
