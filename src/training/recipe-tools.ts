/** What can be asked of a recipe without running it: its plan, time, learning rate and mistakes. Nothing is saved. */
import { checkFineTune, type Finding } from './check-fine-tune.ts';
import type { DataRequest } from './data-source.ts';
import type { TrainOptions } from './fine-tune-options.ts';
import { findLearningRate, type LrFinding, type LrFindOptions } from './lr-find.ts';
import type { RunPlan } from './plan.ts';
import { planFineTune } from './prepare.ts';
import { type ProfileOptions, profileTraining, requireNative, type StepProfile } from './profile.ts';
import type { Recipe } from './recipe.ts';
import { asRecipe, openRecipe } from './recipe-options.ts';

/** What a recipe would take. */
export const planRecipe = (recipe: Recipe, request: DataRequest = {}): Promise<RunPlan> =>
  ask(recipe, request, async (options) => planFineTune(options));

/** Where the time of one training step of a recipe goes. @throws UnsupportedError PROFILE_NATIVE_ONLY. */
export async function profileRecipe(recipe: Recipe, request: DataRequest & ProfileOptions = {}): Promise<StepProfile> {
  requireNative();
  return ask(recipe, request, (options) => profileTraining(options, request));
}

/** The learning rate range test on a recipe. */
export const findRecipeRate = (recipe: Recipe, request: DataRequest & LrFindOptions = {}): Promise<LrFinding> =>
  ask(recipe, request, (options) => findLearningRate(options, request));

/** Labels, inputs and rate of a recipe, before it runs; see checkFineTune. */
export const checkRecipe = (recipe: Recipe, request: DataRequest = {}): Promise<Finding[]> =>
  ask(recipe, request, checkFineTune);

async function ask<T>(recipe: Recipe, request: DataRequest, tool: (options: TrainOptions) => Promise<T>): Promise<T> {
  const { options } = await openRecipe(recipe, request);
  return asRecipe(() => tool(options));
}
