/** Options that mean nothing for a recipe's task are refused, not ignored. */
import { expect, test } from 'vitest';
import { parseRecipe, planRecipe, type RecipeInput } from '../../src/training/index.ts';

const unlabelled = {
  name: 'rotations',
  data: { name: 'digits', digits: { train: 40, test: 10 }, validation: 10 },
  task: 'rotation',
  model: { name: 'mnist-cnn' },
  optimizer: { name: 'adamw', lr: 1e-3 },
  batchSize: 10,
  epochs: 1,
} satisfies RecipeInput;

const plan = (more: object) => planRecipe(parseRecipe({ ...unlabelled, ...more }));

test.each([
  ['classWeights', { classWeights: 'balanced' }],
  ['labelSmoothing', { labelSmoothing: 0.1 }],
  ['sampler', { sampler: 'balanced' }],
  ['mixup', { mixup: {} }],
  ['cutmix', { cutmix: {} }],
  ['heads', { heads: { label: { weight: 2 } } }],
  ['distill', { distill: { teacher: 'nowhere' } }],
  ['selectBy', { selectBy: { metric: 'accuracy' } }],
])('%s where there are no labels', async (field, more) => {
  await expect(plan(more)).rejects.toMatchObject({ code: 'RECIPE_INVALID', exitCode: 2, details: { field } });
});

test('what goes with them does', async () => {
  expect((await plan({ selectBy: { metric: 'loss' } })).steps).toBe(3);
});

test('objective where there are labels', async () => {
  await expect(plan({ task: undefined, objective: { temperature: 0.1 } })).rejects.toMatchObject({
    code: 'RECIPE_INVALID',
    details: { field: 'objective' },
  });
});
