/** `cambium evaluate`: a trained model measured on a part of its data, or on other data of the same classes. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError, printable } from '../base/errors.ts';
import { exists } from '../io/index.ts';
import { dataHashes, loadRunData } from '../training/data-source.ts';
import { evaluate } from '../training/evaluate.ts';
import { findModelFolder, type LoadedModel, loadModelFolder } from '../training/model-folder.ts';
import { percent } from '../training/progress.ts';
import type { Recipe } from '../training/recipe.ts';
import { parseRecipe } from '../training/recipe-parse.ts';
import { makeReport } from '../training/run-report.ts';
import type { EvaluateCommandOptions } from './main.ts';
import { note, print, printJson } from './output.ts';

export async function evaluateCommand(dir: string, options: EvaluateCommandOptions): Promise<void> {
  const { split, limit, dataDir, json = false } = options;
  const loaded = await loadModelFolder(await findModelFolder(dir));
  const recipe = await recipeFor(loaded, dataDir);
  const limits = limit === undefined ? recipe.limit : { ...recipe.limit, [split]: limit };
  const data = await loadRunData({ ...recipe, limit: limits }, { dataDir, notify: note, classes: loaded.classes });
  const part = data[split];
  if (!part) throw new ConfigError('SPLIT_MISSING', `the data have no ${split} part`, { field: '--split', got: split });
  const hashes = await dataHashes({ train: part });
  const bar = !json && process.stderr.isTTY;
  const evaluation = await evaluate(loaded.module, loaded.task, part, {
    batchSize: options.batchSize ?? recipe.evalBatchSize ?? 2 * recipe.batchSize,
    transforms: loaded.transforms,
    ...(bar && {
      onProgress: (done, total) => process.stderr.write(`\r${done}/${total}${done === total ? '\r\n' : ''}`),
    }),
  });
  if (!evaluation) return;
  const report = makeReport(evaluation, { data: hashes.train, weights: loaded.weightsHash });
  const { accuracy, n, loss } = evaluation;
  if (json)
    return printJson({
      accuracy,
      n,
      loss,
      split,
      data: part.name,
      model: loaded.dir,
      report: report.json.report,
      interval: report.json.interval,
      confusion: report.json.confusion,
      weights: loaded.weightsHash,
      dataHash: report.json.data,
    });
  await print(report.text);
  await note(`${part.name}: accuracy ${percent(accuracy)} of ${n}${split === 'test' ? '' : ` (${split})`}`);
}

/** The recipe the model was trained by; with --data-dir on other data than it saw, that folder's own kind. */
async function recipeFor({ origin, dir, image }: LoadedModel, dataDir: string | undefined): Promise<Recipe> {
  const stored = (origin as { recipe?: unknown } | undefined)?.recipe;
  const bare = {
    name: 'evaluation',
    data: { name: 'mnist' },
    model: { name: 'any' },
    optimizer: { name: 'sgd', lr: 1 },
  };
  const recipe = parseRecipe(stored ?? { ...bare, batchSize: 64, epochs: 1 });
  if (dataDir === undefined) {
    if (stored === undefined)
      throw new ConfigError('DATA_UNKNOWN', `${printable(dir)} does not say what data it was trained on`, {
        field: '--data-dir',
        hint: 'pass --data-dir DIR with the four MNIST files, or a folder with one subdirectory a class',
      });
    return recipe;
  }
  const kind = await kindOf(dataDir);
  if (kind === recipe.data.name) return recipe;
  // Caps were meant for the data of the recipe.
  const data = {
    ...recipe.data,
    name: kind,
    dir: undefined,
    channels: image.channels === 1 ? (1 as const) : (3 as const),
  };
  return { ...recipe, limit: {}, data: { ...data, validation: 0.1, test: kind === 'folder' ? 0.9 : undefined } };
}

async function kindOf(dataDir: string): Promise<'mnist' | 'folder'> {
  const idx = ['t10k-images-idx3-ubyte.gz', 't10k-images-idx3-ubyte', 't10k-images.idx3-ubyte'];
  for (const name of idx) if (await exists(join(dataDir, name))) return 'mnist';
  const isFolder = await stat(dataDir).then(
    (entry) => entry.isDirectory(),
    () => false,
  );
  // Neither: let the reader of MNIST say what is missing.
  if (!isFolder) return 'mnist';
  const entries = await readdir(dataDir, { withFileTypes: true });
  return entries.some((entry) => entry.isDirectory()) ? 'folder' : 'mnist';
}
