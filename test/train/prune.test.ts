import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { createModel, structureOf } from '../../src/models/index.ts';
import { crossEntropy, keepZeros, LayerNorm, pruneWeights, sparsityOf } from '../../src/nn/index.ts';
import { AdamW } from '../../src/optim/index.ts';
import { manualSeed, tensor } from '../../src/tensor/index.ts';
import { fineTune, parseRecipe, planFineTune, resumeRun, runRecipe } from '../../src/training/index.ts';
import type { RecipeInput } from '../../src/training/recipe.ts';
import { array, TwoLayers } from './golden-tensors.ts';
import { options } from './tiny.ts';

const folder = mkdtempSync(join(tmpdir(), 'prune-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const golden = JSON.parse(readFileSync(new URL('../golden/parity/prune.json', import.meta.url), 'utf8'));

describe('pruning by magnitude', () => {
  test.each(['model', 'layer'] as const)('of a %s learns as PyTorch does', async (scope) => {
    const { start, x, y, losses, end } = golden[scope];
    const model = new TwoLayers();
    model.start(start);
    const { weights, zeros } = await pruneWeights(model, { amount: 0.6, scope });
    expect([weights, zeros]).toEqual([56, 34]);
    const keep = await keepZeros(model);
    const optimizer = new AdamW(model.parameters(), { lr: 0.05, weightDecay: 0.1 });
    for (const wanted of losses) {
      const loss = crossEntropy(model.forward(array(x)), tensor(Int32Array.from(y)));
      optimizer.zeroGrad();
      loss.backward();
      keep();
      optimizer.step();
      expect(await loss.item()).toBeCloseTo(wanted, 5);
    }
    for (const name of ['first', 'head'] as const)
      for (const [i, wanted] of end[name].flat().entries())
        expect((await model[name].weight.data())[i]).toBeCloseTo(wanted, 5);
    expect((await sparsityOf(model)).zeros).toBe(34);
  });

  test('leaves what it is told to, and refuses what means nothing', async () => {
    const model = new TwoLayers();
    expect(await pruneWeights(model, { amount: 0.5, except: ['head'] })).toEqual({ weights: 35, zeros: 18 });
    expect((await model.head.weight.data()).includes(0)).toBe(false);
    for (const amount of [0, 1, Number.NaN])
      await expect(pruneWeights(model, { amount })).rejects.toMatchObject({ code: 'OPTION_INVALID' });
    await expect(pruneWeights(new LayerNorm(3), { amount: 0.5 })).rejects.toMatchObject({ code: 'PRUNE_NOTHING' });
    await expect(pruneWeights(model, { amount: 0.5, scope: 'global' as never })).rejects.toThrow(/model or layer/);
    await expect(pruneWeights(model, { amount: 0.5, except: ['haed'] })).rejects.toThrow(/no module "haed"/);
    expect((await sparsityOf(model)).zeros).toBe(18);
  });

  test('of equal weights takes as many as it should', async () => {
    const model = new TwoLayers();
    for (const layer of [model.first, model.head]) layer.weight.assign(layer.weight.mul(0).add(0.5));
    expect(await pruneWeights(model, { amount: 0.25 })).toEqual({ weights: 56, zeros: 14 });
  });
});

describe('a run with prune', () => {
  test.each([{}, { ema: { decay: 0.9 } }, { accumulate: 2 }])('keeps zeros at zero, with %j', async (more) => {
    manualSeed(1);
    const notices: string[] = [];
    const { model, history, plan } = await fineTune(
      options({
        model: createModel('mnist-cnn'),
        prune: { amount: 0.7 },
        epochs: 2,
        listeners: [(event) => void (event.type === 'notice' && notices.push(event.text))],
        ...more,
      }),
    );
    expect(history.at(-1)?.trainLoss as number).toBeLessThan(history[0]?.trainLoss as number);
    const { weights, zeros } = await sparsityOf(model, [structureOf(model).head as string]);
    expect(zeros / weights).toBeCloseTo(0.7, 4);
    expect(notices.find((text) => text.startsWith('pruned: '))).toContain('(70.0 %)');
    expect(plan.settings).toContain('70.0 % of weights pruned');
    // A byte a weight for what may not move.
    const growth = (prune?: { amount: number }): number =>
      planFineTune(options({ model: createModel('mnist-cnn'), prune, ...more })).memory.growth;
    expect(growth({ amount: 0.7 }) - growth()).toBe(weights);
  });

  const recipe = (changes: Partial<RecipeInput> = {}): RecipeInput => ({
    name: 'pruned',
    data: { name: 'digits' },
    limit: { train: 60, validation: 20, test: 20 },
    model: { name: 'mnist-cnn' },
    prune: { amount: 0.5, scope: 'layer' },
    optimizer: { name: 'adamw', lr: 1e-3 },
    batchSize: 20,
    epochs: 2,
    ...changes,
  });

  test('resumed ends with the same weights', async () => {
    const wanted = await runRecipe(parseRecipe(recipe()), { out: join(folder, 'whole') });
    const half = join(folder, 'half');
    const stop = (event: { type: string; epoch?: number }): void => {
      if (event.type === 'epoch-end' && event.epoch === 1) throw new Error('power cut');
    };
    await expect(runRecipe(parseRecipe(recipe()), { out: half, listeners: [stop] })).rejects.toThrow('power cut');
    expect((await resumeRun(half)).result.weightsHash).toBe(wanted.result.weightsHash);
  });

  test('does not go with adapters or without labels', async () => {
    const adapter = { name: 'lora' as const, targets: ['*'] };
    await expect(runRecipe(parseRecipe(recipe({ adapter })), { out: join(folder, 'a') })).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      details: { field: 'prune' },
    });
    const model = createModel('mnist-cnn');
    await expect(fineTune(options({ model, adapter, prune: { amount: 0.5 } }))).rejects.toThrow(/does not go/);
    expect((await sparsityOf(model)).zeros).toBe(0);
    const task = recipe({ task: 'rotation', model: { name: 'resnet20' } });
    await expect(runRecipe(parseRecipe(task), { out: join(folder, 'b') })).rejects.toMatchObject({
      code: 'RECIPE_INVALID',
      details: { field: 'prune' },
    });
  });
});
