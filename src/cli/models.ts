/** `cambium models`: what a recipe can name. */
import { listModels } from '../models/index.ts';
import { builtinPipelines } from '../training/pipeline/index.ts';
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
  const named = (entries: Readonly<Record<string, { readonly description?: string | undefined }>>): Named[] =>
    Object.entries(entries).map(([name, { description }]) => ({ name, description }));
  const [recipes, pipelines] = [named(builtinRecipes), named(builtinPipelines)];
  if (json) return printJson({ models, recipes, pipelines });
  const options = models.map(({ name, options }) => ({ name, description: Object.keys(options).join(', ') }));
  const tables = { models, 'options of each': options, 'built-in recipes': recipes, 'built-in pipelines': pipelines };
  await print(
    Object.entries(tables)
      .map(([title, rows]) => tableText(title, rows))
      .join('\n\n'),
  );
}

interface Named {
  readonly name: string;
  readonly description?: string | undefined;
}

function tableText(title: string, rows: readonly Named[]): string {
  const width = Math.max(...rows.map(({ name }) => name.length)) + 2;
  return [title, ...rows.map(({ name, description = '' }) => `  ${name.padEnd(width)}${description}`)].join('\n');
}
