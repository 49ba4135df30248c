/** `cambium lr-find`: which learning rate suits a recipe. */
import { writeFileAtomic } from '../io/index.ts';
import { lrFindText } from '../training/lr-find.ts';
import { loadRecipe } from '../training/recipe-file.ts';
import { findRecipeRate } from '../training/recipe-tools.ts';
import type { RecipeOptions } from './options.ts';
import { note, print, printJson } from './output.ts';

export interface LrFindCommandOptions extends RecipeOptions {
  minLr?: number;
  maxLr?: number;
  steps?: number;
  out?: string;
}

export async function lrFindCommand(source: string, options: LrFindCommandOptions): Promise<void> {
  const { set, dataDir, minLr, maxLr, steps, out, json = false } = options;
  const finding = await findRecipeRate(await loadRecipe(source, set), { dataDir, notify: note, minLr, maxLr, steps });
  if (out !== undefined) {
    const rows = finding.points.map(({ lr, loss, smoothed }) => `${lr},${loss},${smoothed}\n`);
    await writeFileAtomic(out, `lr,loss,smoothed\n${rows.join('')}`);
    await note(`saved: ${out}`);
  }
  return json ? printJson(finding) : print(lrFindText(finding));
}
