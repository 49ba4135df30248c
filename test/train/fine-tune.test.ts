/** The trainer from outside: learning, selection, early stopping, accumulation, freezing, events, and runs that repeat. */
import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { learnDigits } from '../../examples/mnist-loop.ts';
import { ConfigError, MemoryError } from '../../src/base/errors.ts';
import type { Batch } from '../../src/data/index.ts';
import { crossEntropy, Module } from '../../src/nn/index.ts';
import { imageClassification, type Task } from '../../src/tasks/index.ts';
import { type Tensor, tensor } from '../../src/tensor/index.ts';
import {
  evaluate,
  fineTune,
  loadModelFolder,
  planFineTune,
  saveModelFolder,
  type TrainEvent,
} from '../../src/training/index.ts';
import { mlp, options, test, train, transforms, validation, weightsOf } from './tiny.ts';

const scratch = (): Promise<string> => mkdtemp(join(tmpdir(), 'cambium-train-'));

describe('fineTune', () => {
  it('learns, reports every event in order, and measures the test part once on the best weights', async () => {
    const events: TrainEvent[] = [];
    const result = await fineTune(
      options({
        data: { train, validation, test },
        epochs: 6,
        listeners: [(event) => void events.push(event)],
      }),
    );
    expect(result.test?.accuracy).toBeGreaterThan(0.6);
    expect(result.test?.n).toBe(60);
    expect(result.test?.baseline?.accuracy).toBeCloseTo(0.1, 5);
    expect(result.history).toHaveLength(6);
    expect(result.history[5]?.trainLoss).toBeLessThan(result.history[0]?.trainLoss as number);
    const kinds = events.map(({ type }) => type);
    expect(kinds[0]).toBe('run-start');
    expect(kinds.filter((kind) => kind === 'step')).toHaveLength(36);
    expect(kinds.slice(1, 9)).toEqual([...Array(6).fill('step'), 'validation', 'epoch-end']);
    const again = await evaluate(result.model, result.task, test, { batchSize: 7, transforms });
    expect(again?.accuracy).toBe(result.test?.accuracy);
    expect(again?.loss).toBeCloseTo(result.test?.loss as number, 5);
  });

  it('is repeatable to the bit, and the seed matters', async () => {
    const [a, b] = [await fineTune(options()), await fineTune(options())];
    expect(await weightsOf(a.model)).toEqual(await weightsOf(b.model));
    const c = await fineTune(options({ seed: 2 }));
    expect(await weightsOf(c.model)).not.toEqual(await weightsOf(a.model));
  });

  it('weighs the epoch loss by samples, with a short last batch', async () => {
    // Nothing is learned, so every batch size must measure the same mean.
    const still = { optimizer: { name: 'sgd', lr: 1e-12 }, epochs: 1, data: { train } } as const;
    const losses: number[] = [];
    for (const batchSize of [120, 50, 7]) {
      const { history } = await fineTune(options({ ...still, batchSize }));
      losses.push(history[0]?.trainLoss as number);
    }
    expect(losses[1]).toBeCloseTo(losses[0] as number, 5);
    expect(losses[2]).toBeCloseTo(losses[0] as number, 5);
  });

  it.each([
    ['sgd', { name: 'sgd', lr: 0.05, momentum: 0.9 }, {}],
    ['clipped', { name: 'sgd', lr: 0.05 }, { clip: { norm: 0.5 } }],
  ] as const)('accumulated batches equal the big one, last short one included (%s)', async (_, optimizer, more) => {
    // 120 samples: batches of 16 give a last group of 16 + 16 + 16 + 8.
    const big = await fineTune(options({ optimizer, batchSize: 64, epochs: 2, ...more }));
    const small = await fineTune(options({ optimizer, batchSize: 16, accumulate: 4, epochs: 2, ...more }));
    expect(small.steps).toBe(big.steps);
    const [a, b] = [await weightsOf(big.model), await weightsOf(small.model)];
    const worst = Math.max(...a.map((v, i) => Math.abs(v - (b[i] as number))));
    expect(worst).toBeLessThan(2e-6);
    expect(small.history[1]?.trainLoss).toBeCloseTo(big.history[1]?.trainLoss as number, 5);
  });

  it('freezes by name and says how much is trainable', async () => {
    const model = mlp();
    const before = await model.stateDict().get('layers.1.weight')?.data();
    const result = await fineTune(options({ model, freeze: ['layers.1.*'] }));
    expect(result.plan.trainable).toBe(16 * 10 + 10);
    expect(await model.stateDict().get('layers.1.weight')?.data()).toEqual(before);
    await expect(fineTune(options({ freeze: ['*'] }))).rejects.toThrow(ConfigError);
  });

  it('keeps the best epoch by the declared metric', async () => {
    // A rate far too high after the first epoch: later epochs are worse.
    const schedule = { name: 'step', everyEpochs: 1, gamma: 1 } as const;
    const found = await fineTune(
      options({ optimizer: { name: 'sgd', lr: 3 }, schedule, epochs: 4, selectBy: { metric: 'loss' } }),
    );
    const losses = found.history.map(({ validation: v }) => v?.loss as number);
    expect(found.best?.value).toBe(Math.min(...losses));
    expect(found.best?.epoch).toBe(losses.indexOf(Math.min(...losses)) + 1);
    const measured = await evaluate(found.model, found.task, validation, { batchSize: 40, transforms });
    expect(measured?.loss).toBeCloseTo(found.best?.value as number, 5);
  });

  it('stops early after `patience` epochs without improvement', async () => {
    const events: string[] = [];
    const { stoppedEarly, history } = await fineTune(
      options({
        optimizer: { name: 'sgd', lr: 1e-12 },
        epochs: 20,
        earlyStopping: { patience: 2, minDelta: 1e-3 },
        listeners: [({ type }) => void events.push(type)],
      }),
    );
    expect(stoppedEarly).toBe(true);
    expect(history).toHaveLength(3);
    expect(events).toContain('early-stop');
  });

  it('runs the own-loop example', async () => {
    expect(await learnDigits({ samples: 640 })).toBeGreaterThan(0.5);
    const source = await readFile(new URL('../../examples/mnist-loop.ts', import.meta.url), 'utf8');
    expect(source.trimEnd().split('\n').length).toBeLessThanOrEqual(40);
  });
});

describe('the plan', () => {
  it('knows parameters, work and memory before the first step', () => {
    const plan = planFineTune(options());
    expect(plan.parameters).toBe(784 * 16 + 16 + 16 * 10 + 10);
    expect(plan.steps).toBe(12);
    // Two products forward, two and one backward.
    expect(plan.flopsPerStep).toBeGreaterThan(2 * 20 * 784 * 16 * 2);
    expect(plan.memory.state).toBeGreaterThanOrEqual(2 * 4 * plan.parameters);
  });

  it('refuses what does not fit and names a batch size that does', async () => {
    const { memory } = planFineTune(options());
    const limit = process.memoryUsage.rss() + memory.growth + 40_000;
    process.env.CAMBIUM_MEMORY_LIMIT = String(limit);
    try {
      const error = await fineTune(options({ batchSize: 120 })).catch((e: unknown) => e);
      // Resident memory moves while tests run: what matters is that the size named fits.
      if (error instanceof MemoryError) {
        expect(error.exitCode).toBe(5);
        const size = error.details.largestBatchSize as number | undefined;
        if (size !== undefined) expect(size).toBeLessThan(120);
      }
      process.env.CAMBIUM_MEMORY_LIMIT = String(process.memoryUsage.rss() + 1000);
      await expect(fineTune(options())).rejects.toMatchObject({ code: 'PLAN_DOES_NOT_FIT', exitCode: 5 });
    } finally {
      delete process.env.CAMBIUM_MEMORY_LIMIT;
    }
  });
});

/** An MLP whose second layer multiplies by `factor()`: where a test wants NaN. */
class Spoiled extends Module {
  readonly inner = mlp() as Module & { layers: Module };
  readonly #factor: () => number;
  constructor(factor: () => number) {
    super();
    this.#factor = factor;
  }
  forward(x: Tensor): Tensor {
    return this.inner.forward(x.mul(this.#factor()));
  }
}

describe('NaN and infinity', () => {
  it('stops at the step, names layer, samples and rate, and updates nothing', async () => {
    let calls = 0;
    const spoilt = new Spoiled(() => (calls >= 8 ? Number.POSITIVE_INFINITY : 1));
    const task = imageClassification({
      classes: train.schema.labels.label?.kind === 'class' ? train.schema.labels.label.names : [],
      transforms,
    });
    const counting: Task = {
      ...task,
      loss: (model, batch: Batch) => {
        calls++;
        return task.loss(model, batch);
      },
    };
    const weights: number[][] = [];
    const error = await fineTune(
      options({
        model: spoilt,
        task: counting,
        data: { train },
        listeners: [
          async ({ type }) => {
            if (type === 'step') weights.push(await weightsOf(spoilt));
          },
        ],
      }),
    ).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'NON_FINITE', exitCode: 6 });
    const { step, layer, direction, samples, lr } = (error as ConfigError).details;
    expect(step).toBe(weights.length + 1);
    expect(layer).toMatch(/^inner\.layers\.\d$/);
    expect(direction).toBe('forward');
    expect((samples as number[]).length).toBeGreaterThan(0);
    expect(lr).toBe(5e-3);
    expect(await weightsOf(spoilt)).toEqual(weights.at(-1));
  });

  it('finds a gradient that overflows though the loss is finite', async () => {
    const task = imageClassification({ classes: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'], transforms });
    const steep: Task = {
      ...task,
      // sqrt has an infinite slope at 0.
      loss: (model, batch: Batch) => {
        const logits = model.train().forward(task.input(batch));
        const label = tensor(batch.label.data, { shape: batch.label.shape, dtype: 'i32' });
        return crossEntropy(logits, label).add(logits.mul(0).sum().sqrt());
      },
    };
    await expect(fineTune(options({ task: steep }))).rejects.toMatchObject({
      code: 'NON_FINITE',
      details: { step: 1, direction: 'backward', layer: 'layers.3' },
    });
  });

  it('sees a rate that makes the loss explode', async () => {
    await expect(fineTune(options({ optimizer: { name: 'sgd', lr: 1e10 }, epochs: 5 }))).rejects.toMatchObject({
      code: 'NON_FINITE',
      exitCode: 6,
    });
  });
});

describe('model folders', () => {
  it('come back bit for bit', async () => {
    const dir = join(await scratch(), 'model');
    const architecture = { name: 'mlp', hidden: 16 };
    const model = mlp();
    const image = { kind: 'image', height: 28, width: 28, channels: 1 } as const;
    const classes = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];
    // The registered mlp takes its options by name.
    const heads = [{ kind: 'class', field: 'label', names: classes }] as const;
    const described = { model: architecture, heads, image, transforms };
    const hash = await saveModelFolder(dir, model, described);
    const loaded = await loadModelFolder(dir);
    expect(loaded.weightsHash).toBe(hash);
    expect(await weightsOf(loaded.module)).toEqual(await weightsOf(model));
    expect(loaded.classes).toEqual(classes);
    expect('transforms' in loaded && loaded.transforms).toEqual(transforms);
    // Saved again over itself.
    expect(await saveModelFolder(dir, model, described)).toBe(hash);
  });
});
