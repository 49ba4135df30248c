/** Finds a recipe: a built-in name, or a YAML, JSON or TypeScript file, checked with the line and column of every mistake. */
import type { Recipe } from './recipe.ts';
import { parseRecipe } from './recipe-parse.ts';
import { applySettings, locateSettings, parseSetting, type Setting } from './recipe-set.ts';
import { builtinRecipes } from './recipes.ts';
import { readSource } from './source-file.ts';

/**
 * The recipe `source` names, with `--set` changes, checked.
 * @throws ConfigError with field, file, line and column; IoError when the file cannot be read.
 */
export async function loadRecipe(source: string, settings: readonly (string | Setting)[] = []): Promise<Recipe> {
  const changes = settings.map((setting) => (typeof setting === 'string' ? parseSetting(setting) : setting));
  const { value, locate } = await readSource(source, { kind: 'recipe', builtin: builtinRecipes });
  return parseRecipe(applySettings(value, changes), locateSettings(changes, locate));
}
