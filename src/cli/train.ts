/** `cambium train` and `cambium resume`: a recipe or a run folder in, progress on stderr, the report (or events) on stdout. */
import type { Listener } from '../training/events.ts';
import { duration, headline, terminalProgress } from '../training/progress.ts';
import { loadRecipe } from '../training/recipe-file.ts';
import { type RunOutcome, resumeRun, runRecipe } from '../training/run-recipe.ts';
import type { RecipeOptions } from './options.ts';
import { note, print, printJson } from './output.ts';

export interface TrainCommandOptions extends RecipeOptions {
  out?: string;
}

export interface ResumeCommandOptions extends RecipeOptions {
  allowChange: string[];
  checkpoint?: string;
}

export async function trainCommand(source: string, options: TrainCommandOptions): Promise<void> {
  const recipe = await loadRecipe(source, options.set);
  const { dataDir, out, json = false } = options;
  await report(await runRecipe(recipe, { dataDir, out, signals: true, listeners: [await eventListener(json)] }), json);
}

export async function resumeCommand(run: string, options: ResumeCommandOptions): Promise<void> {
  const { dataDir, allowChange, set, checkpoint, json = false } = options;
  const listeners = [await eventListener(json)];
  await report(await resumeRun(run, { dataDir, allowChange, set, checkpoint, signals: true, listeners }), json);
}

/** Machines get every event as a line of JSON, people a progress display. */
export async function eventListener(json: boolean): Promise<Listener> {
  if (!json) return terminalProgress();
  return async ({ type, ...event }) => {
    if (type === 'notice') await note((event as { text: string }).text);
    await printJson({ event: type, ...event });
  };
}

async function report({ result, run, reportText }: RunOutcome, json: boolean): Promise<void> {
  if (json) return;
  if (reportText) await print(`\n${reportText}`);
  const { best, seconds } = result;
  if (best) await note(`best epoch ${best.epoch} of ${result.epochs}; ${duration(seconds)} in all`);
  if (result.validation) await note(`validation ${headline(result.validation)}`);
  await note(`saved: ${result.modelDir ?? run} (reloaded and compared)`);
}
