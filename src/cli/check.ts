/** `cambium check`: what a recipe would stumble over, before it runs. */
import { findingsText } from '../training/check-fine-tune.ts';
import { loadRecipe } from '../training/recipe-file.ts';
import { checkRecipe } from '../training/recipe-tools.ts';
import type { RecipeOptions } from './options.ts';
import { note, print, printJson } from './output.ts';

export type CheckCommandOptions = RecipeOptions;

export async function checkCommand(source: string, { set, dataDir, json = false }: CheckCommandOptions): Promise<void> {
  const findings = await checkRecipe(await loadRecipe(source, set), { dataDir, notify: note });
  if (findings.some(({ severity }) => severity === 'problem')) process.exitCode = 1;
  return json ? printJson(findings) : print(findingsText(findings));
}
