/** Steps whose intermediates may take only so much: values are computed twice, and training stays the same. */
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { Transform } from '../../src/data/index.ts';
import { BertForSequenceClassification, createModel, GPT2 } from '../../src/models/index.ts';
import { crossEntropy, Module } from '../../src/nn/index.ts';
import { AdamW } from '../../src/optim/index.ts';
import {
  flush,
  manualSeed,
  planAndDiscard,
  requireFinite,
  type Tensor,
  tensor,
  uniform,
} from '../../src/tensor/index.ts';
import { type FineTuneOptions, fineTune, planText } from '../../src/training/index.ts';
import { options } from './tiny.ts';

interface Case {
  readonly model: () => Module;
  readonly input: () => Tensor;
  /** Of what the step takes without a limit. */
  readonly share: number;
  /** Whether sums of backward keep their place in kernels, and with it their order: then nothing differs at all. */
  readonly exact?: boolean;
}

const images = (n: number, side: number) => (): Tensor => uniform([n, 3, side, side]);
const tokens = (): Tensor =>
  tensor(
    new Int32Array(8 * 64).map((_, i) => (i * 37) % 50),
    { shape: [8, 64] },
  );
const bert = { vocabSize: 50, hiddenSize: 64, numAttentionHeads: 2, intermediateSize: 128, maxPositionEmbeddings: 64 };

/** Five logits from the last word's 50. */
class Scorer extends Module {
  readonly gpt = new GPT2({ vocabSize: 50, nPositions: 64, nEmbd: 64, nHead: 2, nLayer: 5 });
  forward(x: Tensor): Tensor {
    return this.gpt.forward(x).slice(1, -1).reshape([8, 50]).slice(1, 0, 5);
  }
}

const cases: Record<string, Case> = {
  'VGG with batch norm': {
    model: () => createModel('vgg11_bn', { numClasses: 5, classifier: 'pooled' }),
    input: images(8, 64),
    share: 0.8,
  },
  'a residual network': { model: () => createModel('resnet18', { numClasses: 5 }), input: images(8, 64), share: 0.85 },
  BERT: {
    model: () => new BertForSequenceClassification({ ...bert, numHiddenLayers: 6, numClasses: 5 }),
    input: tokens,
    share: 0.5,
    exact: true,
  },
  GPT: { model: () => new Scorer(), input: tokens, share: 0.5, exact: true },
};

/** Three steps; their losses and the weights after them. */
async function trained({ model: make, input }: Case, arenaLimit?: number) {
  manualSeed(3);
  const model = make();
  const x = await input().realize();
  const y = tensor(new Int32Array(x.shape[0] as number).map((_, i) => i % 5));
  const optimizer = new AdamW(model.namedParameters(), { lr: 1e-3 });
  const step = (): Tensor => {
    const loss = crossEntropy(model.forward(x), y);
    optimizer.zeroGrad();
    loss.backward();
    requireFinite([loss.node]);
    optimizer.step();
    return loss;
  };
  await flush([...model.stateDict().values()].map(({ node }) => node));
  const losses: number[] = [];
  for (let i = 0; i < 3; i++) {
    const loss = step();
    await flush([loss.node], { arenaLimit });
    losses.push(await loss.item());
  }
  const hash = createHash('sha256');
  for (const variable of model.stateDict().values()) hash.update(await variable.data());
  const weights = hash.digest('hex');
  const plan = (limit?: number): number => planAndDiscard([step().node], { arenaLimit: limit }).arenaBytes;
  return { losses, weights, plan };
}

describe('a limit on what a step takes', () => {
  for (const [name, tried] of Object.entries(cases))
    test(`${name} learns the same`, { timeout: 60_000 }, async () => {
      const free = await trained(tried);
      const whole = free.plan();
      const limit = Math.floor(whole * tried.share);
      expect(free.plan(limit)).toBeLessThanOrEqual(limit);
      const limited = await trained(tried, limit);
      if (tried.exact) expect(limited).toMatchObject({ losses: free.losses, weights: free.weights });
      limited.losses.forEach((loss, i) => {
        expect(loss).toBeCloseTo(free.losses[i] as number, 5);
      });
    });

  test('what cannot be reached comes as near as it can', async () => {
    const { plan } = await trained(cases.BERT as Case);
    const least = plan(1);
    expect(least).toBeGreaterThan(1);
    expect(least).toBeLessThan(plan() / 2);
  });
});

describe('memoryLimit of a run', () => {
  const tuned = (memoryLimit?: number): FineTuneOptions => {
    manualSeed(1);
    const model = createModel('vgg11_bn', { inChannels: 1, numClasses: 10, classifier: 'pooled' });
    const transforms: Transform[] = [{ kind: 'pad', height: 32, width: 32 }];
    return options({ model, transforms, batchSize: 40, epochs: 1, memoryLimit });
  };
  test('trains within it and says so in the plan', async () => {
    const free = await fineTune(tuned());
    // Nothing of a fresh model is in memory when it is planned.
    const limit = free.plan.memory.growth - Math.floor(free.plan.memory.arena / 20);
    const limited = await fineTune(tuned(limit));
    expect(limited.plan.memory.arena).toBeLessThan(free.plan.memory.arena);
    expect(planText(limited.plan)).toContain('below memoryLimit');
    expect(planText(free.plan)).not.toContain('memoryLimit');
    expect(limited.history[0]?.trainLoss).toBeCloseTo(free.history[0]?.trainLoss as number, 5);
  });

  test('refuses what even recomputation does not bring below it', async () => {
    await expect(fineTune(tuned(1000))).rejects.toMatchObject({ code: 'PLAN_DOES_NOT_FIT', exitCode: 5 });
    await expect(fineTune(tuned(1000))).rejects.toThrow(/\(memoryLimit\)/);
  });
});
