/** `cambium plan`: what a recipe would take, before anything runs; or what each of several models would take in its place. */
import { ConfigError } from '../base/errors.ts';
import { compareModels, compareModelsText } from '../training/compare-models.ts';
import { planText } from '../training/plan.ts';
import { loadRecipe } from '../training/recipe-file.ts';
import { planRecipe } from '../training/recipe-tools.ts';
import type { RecipeOptions } from './options.ts';
import { note, print, printJson } from './output.ts';

export interface PlanCommandOptions extends RecipeOptions {
  model: string[];
  time?: number;
}

export async function planCommand(
  source: string,
  { set, dataDir, model, time, json }: PlanCommandOptions,
): Promise<void> {
  if (time !== undefined && model.length === 0)
    throw new ConfigError('OPTION_INVALID', '--time is for models that are compared', {
      field: '--time',
      got: time,
      hint: 'name them, --model NAME; cambium profile times the steps of the recipe itself',
    });
  if (model.length > 0) {
    const request = { dataDir, notify: note, ...(time !== undefined && { steps: time }) };
    const rows = await compareModels(await loadRecipe(source, set), model, request);
    return json ? printJson(rows) : print(compareModelsText(rows));
  }
  const plan = await planRecipe(await loadRecipe(source, set), { dataDir, notify: note });
  if (json) return printJson(plan);
  await print(planText(plan));
}
