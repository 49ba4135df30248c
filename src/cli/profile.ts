/** `cambium profile`: where the time of one training step goes, and how far that is from what the machine can do. */
import { profileText } from '../training/profile-text.ts';
import { loadRecipe } from '../training/recipe-file.ts';
import { profileRecipe } from '../training/recipe-tools.ts';
import type { RecipeOptions } from './options.ts';
import { note, print, printJson } from './output.ts';

export interface ProfileCommandOptions extends RecipeOptions {
  steps?: number;
  top?: number;
}

export async function profileCommand(source: string, options: ProfileCommandOptions): Promise<void> {
  const { set, dataDir, json, steps, top } = options;
  const profile = await profileRecipe(await loadRecipe(source, set), { dataDir, notify: note, steps });
  if (json) return printJson(profile);
  await print(profileText(profile, { top }));
}
