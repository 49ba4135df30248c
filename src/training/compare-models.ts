/** Which architecture for these data: what each would take in the place of a recipe's model, before anything is trained. */
import { ArgumentError, CambiumError } from '../base/errors.ts';
import { modelEntry } from '../models/index.ts';
import type { DataRequest } from './data-source.ts';
import { formatBytes } from './machine-memory.ts';
import { formatFlops } from './plan.ts';
import type { Recipe } from './recipe.ts';
import { planRecipe, profileRecipe } from './recipe-tools.ts';

export interface ModelCost {
  readonly name: string;
  readonly parameters: number;
  /** One update: forward, backward and optimizer over a batch. */
  readonly flopsPerStep: number;
  /** Bytes training adds to what is resident. */
  readonly memory: number;
  /** Of one update, where it was asked for. */
  readonly stepMs?: number;
}

/** A model that cannot take these data. */
export interface ModelMisfit {
  readonly name: string;
  readonly problem: string;
  readonly hint?: string;
}

export interface CompareModelsRequest extends DataRequest {
  /** Steps to time each model by; none unless told. Needs the native engine. */
  readonly steps?: number;
}

/**
 * Plans the recipe with each of the models, in the order given; those that cannot read its data say why.
 * @example for (const row of await compareModels(recipe, ['mnist-cnn', 'resnet20', 'vgg11_bn'])) console.log(row);
 * @throws ConfigError MODEL_UNKNOWN; ArgumentError OPTION_INVALID for no models; what reading the data throws.
 */
export async function compareModels(
  recipe: Recipe,
  models: readonly string[],
  { steps, ...request }: CompareModelsRequest = {},
): Promise<readonly (ModelCost | ModelMisfit)[]> {
  if (models.length === 0)
    throw new ArgumentError('OPTION_INVALID', 'models: expected at least one name', { field: 'models' });
  for (const name of models) modelEntry(name);
  const told = new Set<string>();
  const once: DataRequest = {
    ...request,
    // The data are read for each model; what there is to say of them is said once.
    notify: (text) => {
      if (told.has(text)) return undefined;
      told.add(text);
      return request.notify?.(text);
    },
  };
  const rows: (ModelCost | ModelMisfit)[] = [];
  for (const name of models) {
    // Options and weights are those of the recipe's own model.
    const own = name === recipe.model.name;
    const candidate: Recipe = own
      ? recipe
      : { ...recipe, model: { name }, init: null, adapter: undefined, freeze: [], unfreeze: [] };
    try {
      const plan = await planRecipe(candidate, once);
      const profile = steps === undefined ? undefined : await profileRecipe(candidate, { ...once, steps });
      rows.push({
        name,
        parameters: plan.parameters,
        flopsPerStep: plan.flopsPerStep,
        memory: plan.memory.growth,
        ...(profile && { stepMs: profile.stepMs }),
      });
    } catch (error) {
      // Whatever is wrong with the model; what is wrong with the data would be wrong for each of them.
      if (
        !(error instanceof CambiumError) ||
        !('field' in error.details) ||
        !/^model/.test(String(error.details.field))
      )
        throw error;
      const { hint } = error.details;
      rows.push({ name, problem: error.message, ...(typeof hint === 'string' && { hint }) });
    }
  }
  return rows;
}

/** A table for people. */
export function compareModelsText(rows: readonly (ModelCost | ModelMisfit)[]): string {
  const timed = rows.some((row) => 'stepMs' in row);
  const header = ['model', 'parameters', 'a step', 'memory', ...(timed ? ['time'] : [])];
  const costs = rows.flatMap((row) =>
    'problem' in row
      ? []
      : [
          [
            row.name,
            row.parameters.toLocaleString('en'),
            formatFlops(row.flopsPerStep),
            formatBytes(row.memory),
            ...(timed ? [`${(row.stepMs ?? 0).toFixed(1)} ms`] : []),
          ],
        ],
  );
  const widths = header.map((_, i) => Math.max(...[header, ...costs].map((row) => (row[i] as string).length)));
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number))).join('  ');
  const misfits = rows.flatMap((row) =>
    'problem' in row ? [`${row.name}: ${row.problem}${row.hint === undefined ? '' : `; ${row.hint}`}`] : [],
  );
  return [...(costs.length > 0 ? [header, ...costs].map(line) : []), ...misfits].join('\n');
}
