/** Where the teacher of a distilled run lies, noted in the head of its folder as the data are: it is needed until the last step. */
import { isAbsolute, resolve } from 'node:path';
import { IoError, printable } from '../base/errors.ts';
import { exists } from '../io/index.ts';
import { findModelFolder, type LoadedModel, loadModelFolder } from './model-folder.ts';

interface Places {
  /** As given to the run, or the recipe's own. */
  readonly dataDir?: string | undefined;
  /** Of the run that goes on. */
  readonly noted?: string | undefined;
}

/**
 * The teacher a recipe names, from a run or model folder; a relative path is looked for under the data folder, where the run
 * found it before, then in the working directory.
 * @throws IoError TEACHER_NOT_FOUND naming the places looked at, MODEL_NOT_FOUND; DataError of a damaged folder.
 */
export async function openTeacher(path: string, { dataDir, noted }: Places): Promise<LoadedModel> {
  const under = dataDir === undefined ? [] : [resolve(dataDir, path)];
  const before = noted === undefined ? [] : [noted];
  const places = isAbsolute(path) ? [path] : [...new Set([...under, ...before, resolve(path)])];
  for (const place of places) if (await exists(place)) return loadModelFolder(await findModelFolder(place));
  throw new IoError(
    'TEACHER_NOT_FOUND',
    `distill.teacher: there is no ${places.map((place) => printable(place)).join(', nor ')}`,
    {
      field: 'distill.teacher',
      file: places[0],
      expected: places,
      hint: 'name a run or model folder; a relative path is looked for under --data-dir, then in the working directory',
    },
  );
}
