import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { BertForSequenceClassification, createModel } from '../../src/models/index.ts';
import {
  applyLora,
  Conv2d,
  ConvTranspose2d,
  isQuantized,
  LayerNorm,
  Linear,
  quantizeWeights,
  summarize,
} from '../../src/nn/index.ts';
import { manualSeed, tensor } from '../../src/tensor/index.ts';
import {
  evaluate,
  fineTune,
  loadModelFolder,
  parseRecipe,
  saveModelFolder,
  savePretrained,
} from '../../src/training/index.ts';
import { openInit } from '../../src/training/init-source.ts';
import { array, flat } from './golden-tensors.ts';
import { options, test as testPart, transforms } from './tiny.ts';

const folder = mkdtempSync(join(tmpdir(), 'quantize-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const golden = JSON.parse(readFileSync(new URL('../golden/parity/quantize.json', import.meta.url), 'utf8'));

describe('weights in 8 bits', () => {
  test.each([
    ['linear', () => new Linear(7, 5)],
    ['conv', () => new Conv2d(3, 4, 3)],
    ['transposed', () => new ConvTranspose2d(3, 4, 2)],
  ] as const)('of a %s layer are those of PyTorch', async (name, make) => {
    const layer = make();
    layer.weight.assign(array(golden[name].w));
    expect(await quantizeWeights(layer)).toEqual(['']);
    const weight = (await layer.weight.data()) as Float32Array;
    for (const [i, wanted] of flat(golden[name].rounded).entries()) expect(weight[i]).toBeCloseTo(wanted, 6);
    expect(await quantizeWeights(layer)).toEqual([]);
    const kept = [...layer.stateDict()].map(([key, { dtype }]) => `${key} ${dtype}`);
    expect(kept).toEqual(['bias f32', 'quantized.values u8', 'quantized.scale f32']);
    expect(layer.parameters().some(({ requiresGrad }) => requiresGrad)).toBe(false);
  });

  test('of a trained model: nearly its answers, a quarter of the file, read back to the bit', async () => {
    const architecture = { name: 'mnist-cnn' };
    manualSeed(1);
    const saveTo = join(folder, 'whole');
    const { task } = await fineTune(options({ model: createModel('mnist-cnn'), saveTo, architecture, epochs: 6 }));
    const loaded = await loadModelFolder(saveTo);
    const before = await evaluate(loaded.module, task, testPart, { batchSize: 60, transforms });
    const layers = await quantizeWeights(loaded.module);
    expect(layers.length).toBeGreaterThan(2);
    const small = join(folder, 'small');
    await saveModelFolder(small, loaded.module, { ...loaded, model: { ...loaded.model, quantized: { bits: 8 } } });
    const again = await loadModelFolder(small);
    expect(isQuantized(again.module)).toBe(true);
    const after = await evaluate(again.module, task, testPart, { batchSize: 60, transforms });
    expect(before?.accuracy).toBeGreaterThan(0.8);
    expect(Math.abs((after?.accuracy as number) - (before?.accuracy as number))).toBeLessThan(0.02);
    expect(after?.loss).toBeCloseTo(before?.loss as number, 2);
    expect(after?.loss).not.toBe(before?.loss);
    const size = (dir: string): number => readFileSync(join(dir, 'model.safetensors')).length;
    expect(size(small)).toBeLessThan(0.27 * size(saveTo));

    await expect(fineTune(options({ model: again.module }))).rejects.toMatchObject({ code: 'OPTION_INVALID' });
    const next = parseRecipe({
      name: 'next',
      data: { name: 'digits' },
      model: { name: 'mnist-cnn' },
      init: { weights: small },
      optimizer: { name: 'adamw', lr: 1e-3 },
      batchSize: 10,
      epochs: 1,
    });
    await expect(openInit(next, undefined)).rejects.toMatchObject({ code: 'INIT_QUANTIZED' });
  });

  test('of BERT change its logits by little; transformers cannot read them', async () => {
    manualSeed(5);
    const sizes = { vocabSize: 40, hiddenSize: 32, numHiddenLayers: 2, numAttentionHeads: 2, intermediateSize: 64 };
    const model = new BertForSequenceClassification({ ...sizes, maxPositionEmbeddings: 12, numClasses: 3 });
    const ids = tensor(
      new Int32Array(16).map((_, i) => (i * 7) % 40),
      { shape: [2, 8] },
    );
    const wanted = await model.eval().forward(ids).data();
    expect(await quantizeWeights(model)).toHaveLength(2 * 6 + 2);
    const got = await model.forward(ids).data();
    for (const [i, logit] of [...wanted].entries()) expect(Math.abs((got[i] as number) - logit)).toBeLessThan(5e-3);
    await expect(savePretrained(join(folder, 'exported'), model)).rejects.toMatchObject({ code: 'EXPORT_QUANTIZED' });
  });

  test('leaves a summary its layers, and takes no adapters or pruning', async () => {
    const model = createModel('mlp');
    const layers = (): string[] => summarize(model, [1, 1, 28, 28]).layers.map(({ name }) => name);
    const [before, flops] = [layers(), summarize(model, [1, 1, 28, 28]).flops];
    await quantizeWeights(model);
    expect(layers()).toEqual(before);
    expect(summarize(model, [1, 1, 28, 28]).flops).toBe(flops);
    expect(() => applyLora(model, { targets: ['*'] })).toThrow(/8 bits take no adapters/);
    await expect(fineTune(options({ model, prune: { amount: 0.5 } }))).rejects.toThrow(/8 bits, which do not train/);
  });

  test('refuses what has none, and adapters', async () => {
    await expect(quantizeWeights(new LayerNorm(4))).rejects.toMatchObject({ code: 'QUANTIZE_NOTHING' });
    const model = createModel('mlp');
    applyLora(model, { rank: 2, targets: ['*'] });
    await expect(quantizeWeights(model)).rejects.toMatchObject({ code: 'QUANTIZE_ADAPTER' });
    expect(() => createModel('mlp', { quantized: { bits: 4 } })).toThrow(
      expect.objectContaining({ code: 'MODEL_OPTION_INVALID' }),
    );
  });
});
