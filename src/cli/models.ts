/** `cambium models`: what a recipe can name. */
import { listModels } from '../models/index.ts';
import { builtinRecipes } from '../training/recipes.ts';
import type { CommonOptions } from './options.ts';
import { print, printJson } from './output.ts';

export async function modelsCommand({ json }: CommonOptions): Promise<void> {
  const models = listModels().map(({ name, description, defaults, minSize, input = 'image' }) => ({
    name,
    description,
    options: defaults,
    input,
    ...(input === 'image' && { minSize }),
  }));
  const recipes = Object.entries(builtinRecipes).map(([name, { description }]) => ({ name, description }));
  if (json) return printJson({ models, recipes });
  const rows = (list: readonly { name: string; description?: string }[]): string[] =>
    list.map(({ name, description = '' }) => `  ${name.padEnd(22)}${description}`);
  const options = models.map(({ name, options }) => `  ${name.padEnd(22)}${Object.keys(options).join(', ')}`);
  const lines = [
    'models',
    ...rows(models),
    '',
    'options of each',
    ...options,
    '',
    'built-in recipes',
    ...rows(recipes),
  ];
  await print(lines.join('\n'));
}
