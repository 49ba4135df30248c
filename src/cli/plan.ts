/** `cambium plan`: what a recipe would take, before anything runs. */
import { planText } from '../training/plan.ts';
import { loadRecipe } from '../training/recipe-file.ts';
import { planRecipe } from '../training/run-recipe.ts';
import type { RecipeOptions } from './options.ts';
import { note, print, printJson } from './output.ts';

export type PlanCommandOptions = RecipeOptions;

export async function planCommand(source: string, { set, dataDir, json }: PlanCommandOptions): Promise<void> {
  const plan = await planRecipe(await loadRecipe(source, set), { dataDir, notify: note });
  if (json) return printJson(plan);
  await print(planText(plan));
}
