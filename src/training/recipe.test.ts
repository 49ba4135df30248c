import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../base/errors.ts';
import { loadRecipe } from './recipe-file.ts';
import { builtinRecipes } from './recipes.ts';

const dir = await mkdtemp(join(tmpdir(), 'cambium-recipe-'));
let files = 0;
async function file(text: string, extension = 'yaml'): Promise<string> {
  const path = join(dir, `r${files++}.${extension}`);
  await writeFile(path, text);
  return path;
}
async function failure(source: string, settings: string[] = []): Promise<ConfigError> {
  const error = await loadRecipe(source, settings).then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(ConfigError);
  return error as ConfigError;
}

const good = `name: mine
data: { name: digits, validation: 0.2 }
model:
  name: mnist-cnn
optimizer:
  name: adamw
  lr: 1e-3
batchSize: 8
epochs: 2
`;

describe('recipes', () => {
  it.each(Object.keys(builtinRecipes))('%s is valid', async (name) => {
    expect((await loadRecipe(name)).name).toBe(name);
  });

  it('has defaults for what a file leaves out', async () => {
    const recipe = await loadRecipe(await file(good));
    expect(recipe).toMatchObject({ seed: 0, accumulate: 1, freeze: [], checkpoint: { everySteps: 0, keepLast: 2 } });
    expect(recipe.optimizer.lr).toBe(1e-3);
  });

  it('reads JSON and TypeScript', async () => {
    const value = { name: 'x', data: { name: 'digits' }, model: { name: 'm' }, batchSize: 1, epochs: 1 };
    const recipe = { ...value, optimizer: { name: 'sgd', lr: 0.1 } };
    expect((await loadRecipe(await file(JSON.stringify(recipe), 'json'))).name).toBe('x');
    const source = `const lr: number = 0.25;\nexport default ${JSON.stringify(recipe).replace('0.1', 'lr')};`;
    expect((await loadRecipe(await file(source, 'ts'))).optimizer.lr).toBe(0.25);
  });

  it('applies --set, typed', async () => {
    const recipe = await loadRecipe('quickstart', [
      'optimizer.lr=1e-4',
      'limit.train=100',
      'freeze=[features.*]',
      'data.dir=some where',
      'earlyStopping.patience=2',
    ]);
    expect(recipe.optimizer.lr).toBe(1e-4);
    expect(recipe.limit.train).toBe(100);
    expect(recipe.freeze).toEqual(['features.*']);
    expect(recipe.data.dir).toBe('some where');
    expect(recipe.earlyStopping).toEqual({ patience: 2, minDelta: 0 });
  });

  it('a new name drops the old options', async () => {
    const recipe = await loadRecipe('quickstart', ['optimizer.name=sgd', 'optimizer.momentum=0.9']);
    expect(recipe.optimizer).toEqual({ name: 'sgd', lr: 2e-3, momentum: 0.9 });
  });

  it.each([
    [
      'unknown key',
      good.replace('  lr: 1e-3', '  lr: 1e-3\n  weigth_decay: 1'),
      'RECIPE_UNKNOWN_FIELD',
      'optimizer.weigth_decay',
      8,
      3,
    ],
    ['unknown top key', `${good}batchsize: 3\n`, 'RECIPE_UNKNOWN_FIELD', 'batchsize', 10, 1],
    ['wrong type', good.replace('1e-3', 'fast'), 'RECIPE_INVALID', 'optimizer.lr', 7, 3],
    ['negative batch', good.replace('batchSize: 8', 'batchSize: -8'), 'RECIPE_INVALID', 'batchSize', 8, 1],
    ['fraction', good.replace('epochs: 2', 'epochs: 2.5'), 'RECIPE_INVALID', 'epochs', 9, 1],
    ['a size of words', `${good}memoryLimit: lots\n`, 'RECIPE_INVALID', 'memoryLimit', 10, 1],
    ['unknown precision', `${good}precision: fp16\n`, 'RECIPE_INVALID', 'precision', 10, 1],
    ['wrong choice', good.replace('name: digits', 'name: digit'), 'RECIPE_INVALID', 'data.name', 2, 9],
    ['wrong union', good.replace('name: adamw', 'name: adamv'), 'RECIPE_INVALID', 'optimizer.name', 6, 3],
    ['missing', good.replace('epochs: 2\n', ''), 'RECIPE_INVALID', 'epochs', 1, 1],
  ])('%s: field, line and column', async (_, text, code, field, line, column) => {
    const error = await failure(await file(text));
    expect(error.code).toBe(code);
    expect(error.exitCode).toBe(2);
    expect(error.details).toMatchObject({ field, line, column });
  });

  it('suggests the nearest name', async () => {
    const error = await failure(await file(`${good}batchsize: 3\n`));
    expect(error.hint).toContain('batchSize');
    expect((await failure(await file(good.replace('name: adamw', 'name: adamv')))).hint).toContain('adamw');
    expect((await failure('vgg16-mnits')).hint).toContain('vgg16-mnist');
  });

  it('names a bad --set', async () => {
    expect((await failure('quickstart', ['optimizer.lt=1'])).message).toContain('--set "optimizer.lt=1"');
    expect((await failure('quickstart', ['epochs=many'])).details.field).toBe('epochs');
    expect((await failure('quickstart', ['epochs'])).code).toBe('SET_INVALID');
    expect((await failure('quickstart', ['__proto__.x=1'])).code).toBe('SET_INVALID');
    expect((await failure('quickstart', ['seed.x=1'])).code).toBe('SET_INVALID');
    expect(({} as { x?: unknown }).x).toBeUndefined();
  });

  it.each([
    ['broken', 'name: [1,\n', 'RECIPE_SYNTAX'],
    ['duplicate key', `${good}epochs: 3\n`, 'RECIPE_SYNTAX'],
    ['not an object', '- 1\n', 'RECIPE_SYNTAX'],
    ['empty', '', 'RECIPE_SYNTAX'],
  ])('%s file', async (_, text, code) => {
    const error = await failure(await file(text));
    expect(error.code).toBe(code);
    expect(error.details.line).toBeGreaterThan(0);
  });
});
