/**
 * Where the data of a run lie, noted in the head of its folder: beside the recipe, so that neither hashes nor the comparison
 * of what changed see it, and not in the model folder, which people pass on.
 */
import { basename, dirname, join, resolve } from 'node:path';
import { IoError, printable } from '../base/errors.ts';
import { exists, readJson } from '../io/index.ts';
import type { Recipe } from './recipe.ts';

/** Absolute: a run is gone on with from anywhere. Undefined where the data need no folder. */
export function placeOf({ data }: Recipe, dataDir: string | undefined): string | undefined {
  const dir = dataDir ?? data.dir;
  return dir === undefined ? undefined : resolve(dir);
}

/**
 * The noted folder, if it is still there; undefined where the recipe names one itself.
 * @throws IoError DATA_MOVED.
 */
export async function findPlace(place: string | undefined, { data }: Recipe): Promise<string | undefined> {
  if (place === undefined || (await exists(place))) return place;
  if (data.dir !== undefined) return undefined;
  throw new IoError('DATA_MOVED', `the data were in ${printable(place)}, which is no longer there`, {
    file: place,
    field: '--data-dir',
    hint: 'pass --data-dir DIR with the same files',
  });
}

/** What the run says that a model folder is part of; undefined for a folder by itself. @throws DataError of a damaged head. */
export async function placeOfModel(dir: string): Promise<string | undefined> {
  const path = resolve(dir);
  const head = join(dirname(path), 'recipe.json');
  if (basename(path) !== 'model' || !(await exists(head))) return undefined;
  const { dataDir } = ((await readJson(head)) ?? {}) as { dataDir?: unknown };
  return typeof dataDir === 'string' ? dataDir : undefined;
}
