/** The declared stages and heads of every registered model, and what tuning asks of them. */
import { describe, expect, test } from 'vitest';
import { ConfigError, UnsupportedError } from '../base/index.ts';
import { Dropout, freezeBatchNorm, Linear, Module, Sequential } from '../nn/index.ts';
import { manualSeed, type Tensor, tensor, uniform } from '../tensor/index.ts';
import { createModel, depthOf, frozenDepth, GPT2, listModels, modelEntry, replaceHead, structureOf } from './index.ts';

const small = (name: string): Module => {
  const { defaults, input } = modelEntry(name);
  return createModel(name, {
    numClasses: 4,
    ...('classifier' in defaults && { classifier: 'pooled' }),
    ...(input === 'text' && { vocabSize: 50 }),
  });
};

describe('every registered model', () => {
  test.each(listModels().map(({ name }) => name))(
    '%s: stages cover each tensor once, the last holds the head',
    (name) => {
      const model = small(name);
      const structure = structureOf(model);
      const paths = structure.stages.flat();
      expect(new Set(paths).size).toBe(paths.length);
      const depths = [...model.stateDict().keys()].map((key) => depthOf(key, structure));
      expect([...new Set(depths)].sort((a, b) => a - b)).toEqual(structure.stages.map((_, i) => i));
      expect(depthOf(`${structure.head}.weight`, structure)).toBe(structure.stages.length - 1);
      const modules = new Set([...model.namedModules()].map(([path]) => path));
      expect(paths.filter((path) => !modules.has(path))).toEqual([]);
    },
  );

  test.each(listModels().map(({ name }) => name))('%s: a new head has the new classes and trains', (name) => {
    manualSeed(1);
    const model = small(name);
    const head = structureOf(model).head as string;
    const before = model.namedParameters().map((p) => p.name);
    expect(replaceHead(model, { classes: 7 })).toEqual(before.filter((name) => name.startsWith(`${head}.`)));
    expect(model.namedParameters().map((p) => p.name)).toEqual(before);
    expect(model.stateDict().get(`${head}.weight`)?.shape[0]).toBe(7);
    const bias = model.stateDict().get(`${head}.bias`);
    if (bias) expect(bias.shape).toEqual([7]);
    expect(model.stateDict().get(`${head}.weight`)?.requiresGrad).toBe(true);
  });
});

test('logits follow a new head', () => {
  const model = createModel('squeezenet1_1', { numClasses: 1000 });
  replaceHead(model, { classes: 2 });
  expect(model.forward(uniform([1, 3, 33, 33])).shape).toEqual([1, 2]);
  const mlp = createModel('mlp');
  replaceHead(mlp, { classes: 3 });
  expect(mlp.forward(uniform([2, 1, 28, 28])).shape).toEqual([2, 3]);
});

describe('frozenDepth', () => {
  test('counts the stages that always answer the same', () => {
    const vgg = createModel('vgg11', { classifier: 'pooled' });
    expect(frozenDepth(vgg)).toBe(0);
    vgg.freeze('features.0');
    expect(frozenDepth(vgg)).toBe(1);
    vgg.freeze('features');
    expect(frozenDepth(vgg)).toBe(8);
    vgg.freeze('classifier');
    expect(frozenDepth(vgg)).toBe(9);
  });
  test('a moving batch norm ends it, a frozen one does not', () => {
    const model = createModel('resnet20');
    model.freeze('conv1');
    model.freeze('bn1');
    expect(frozenDepth(model)).toBe(0);
    const layers = freezeBatchNorm(model);
    expect(layers).toContain('bn1');
    expect(frozenDepth(model)).toBe(1);
  });
  test('so does dropout', () => {
    const bert = (dropout: number): Module => {
      const model = createModel('bert', {
        vocabSize: 20,
        dropout,
        hiddenSize: 8,
        intermediateSize: 8,
        numAttentionHeads: 1,
      });
      model.freeze('bert');
      return model;
    };
    expect(frozenDepth(bert(0.1))).toBe(0);
    expect(frozenDepth(bert(0))).toBe(6);
  });
});

test('a frozen batch norm trains as it evaluates and keeps its statistics', async () => {
  manualSeed(3);
  const model = createModel('resnet20', { numClasses: 2 });
  const x = await uniform([4, 3, 8, 8]).realize();
  const still = await model.eval().forward(x).data();
  freezeBatchNorm(model);
  const before = await (model.stateDict().get('bn1.running_mean') as Tensor).data();
  const loss = model.train().forward(x).sum();
  loss.backward();
  await loss.item();
  expect(await model.forward(x).data()).toEqual(still);
  expect(await (model.stateDict().get('bn1.running_mean') as Tensor).data()).toEqual(before);
  expect(model.namedParameters().find((p) => p.name === 'bn1.weight')?.variable.grad).toBeNull();
});

test('bad input', () => {
  class Own extends Module {
    readonly net = new Sequential(new Linear(2, 2), new Dropout(0));
    forward(x: Tensor): Tensor {
      return this.net.forward(x);
    }
  }
  expect(() => replaceHead(new Own(), { classes: 2 })).toThrow(UnsupportedError);
  expect(() => replaceHead(createModel('mlp'), { classes: 0 })).toThrow(ConfigError);
  const gpt = new GPT2({ vocabSize: 8, nPositions: 4, nEmbd: 4, nLayer: 1, nHead: 1 });
  expect(() => replaceHead(gpt, { classes: 2 })).toThrow(/no head to replace/);
  expect(structureOf(gpt).stages).toHaveLength(3);
  expect(() => depthOf('nothing', structureOf(gpt))).toThrow(/no stage/);
  expect(gpt.forward(tensor(Int32Array.of(1, 2), { shape: [1, 2] })).shape).toEqual([1, 2, 8]);
});
