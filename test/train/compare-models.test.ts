import { describe, expect, test } from 'vitest';
import { createModel } from '../../src/models/index.ts';
import { compareModels, compareModelsText, parseRecipe } from '../../src/training/index.ts';

const recipe = parseRecipe({
  name: 'candidates',
  data: { name: 'digits', validation: 20, digits: { train: 120, test: 20 } },
  model: { name: 'mnist-cnn', dropout: 0.1 },
  optimizer: { name: 'adamw', lr: 1e-3 },
  batchSize: 16,
  epochs: 1,
});

describe('compareModels', () => {
  test('a row a model, with what each would take', async () => {
    const rows = await compareModels(recipe, ['mnist-cnn', 'mlp', 'resnet20']);
    expect(rows.map(({ name }) => name)).toEqual(['mnist-cnn', 'mlp', 'resnet20']);
    for (const row of rows) {
      if (!('parameters' in row)) return expect.fail(`${row.name}: ${row.problem}`);
      const model = createModel(row.name, row.name === 'mlp' ? {} : { inChannels: 1 });
      expect(row.parameters).toBe(model.parameters().reduce((sum, { size }) => sum + size, 0));
    }
    const flops = rows.map((row) => ('flopsPerStep' in row ? row.flopsPerStep : 0));
    expect(flops[0]).toBeGreaterThan(10 * (flops[1] as number));
    expect(compareModelsText(rows).split('\n')).toHaveLength(4);
  });

  test('a model that cannot take the data says why, and the others are still compared', async () => {
    const rows = await compareModels(recipe, ['vgg11', 'bert', 'mlp']);
    expect(rows).toMatchObject([
      { name: 'vgg11', problem: expect.stringContaining('28 x 28') },
      { name: 'bert', problem: expect.stringContaining('reads text') },
      { name: 'mlp', parameters: 203_530 },
    ]);
    expect(compareModelsText(rows)).toContain('vgg11: ');
  });

  test('no such model', async () => {
    await expect(compareModels(recipe, ['resnet19'])).rejects.toMatchObject({ code: 'MODEL_UNKNOWN' });
    await expect(compareModels(recipe, [])).rejects.toMatchObject({ code: 'OPTION_INVALID' });
  });
});
