/** `cambium evaluate`: a trained model measured on a part of its data, or on other data of the same classes. */
import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ConfigError, printable } from '../base/errors.ts';
import { type LabelSpec, readLabelledTexts, readTextDataset, take, withClasses } from '../data/index.ts';
import { exists } from '../io/index.ts';
import { dataHashes, folderFor, loadRunData } from '../training/data-source.ts';
import { evaluate } from '../training/evaluate.ts';
import type { Samples } from '../training/inputs.ts';
import { findModelFolder, type LoadedModel, loadModelFolder } from '../training/model-folder.ts';
import { measuresText, percent } from '../training/progress.ts';
import { parseRecipe } from '../training/recipe-parse.ts';
import { makeReport } from '../training/run-report.ts';
import { labelsOfHeads } from '../training/table-source.ts';
import { tableOptions } from '../training/text-source.ts';
import type { LoadedTrunk } from '../training/trunk-folder.ts';
import type { EvaluateCommandOptions, PartOptions } from './main.ts';
import { note, print, printJson } from './output.ts';
import { columnsOf, textsOf } from './text.ts';

export async function evaluateCommand(dir: string, options: EvaluateCommandOptions): Promise<void> {
  const { split, json = false } = options;
  const loaded = await loadModelFolder(await findModelFolder(dir));
  const { part, batchSize } = await openPart(loaded, options);
  const hashes = await dataHashes({ train: part });
  const bar = !json && process.stderr.isTTY;
  const evaluation = await evaluate(loaded.module, loaded.task, part, {
    batchSize: options.batchSize ?? batchSize,
    ...('text' in loaded ? { text: loaded.text } : { transforms: loaded.transforms }),
    ...(bar && {
      onProgress: (done, total) => process.stderr.write(`\r${done}/${total}${done === total ? '\r\n' : ''}`),
    }),
  });
  if (!evaluation) return;
  const report = makeReport(evaluation, { data: hashes.train, weights: loaded.weightsHash });
  const { accuracy, n, loss, measures } = evaluation;
  if (json)
    return printJson({
      ...(accuracy === undefined ? { measures, heads: report.json.heads } : { accuracy }),
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
  const found = accuracy === undefined ? measuresText(measures) : `accuracy ${percent(accuracy)}`;
  await note(`${part.name}: ${found} of ${n}${split === 'test' ? '' : ` (${split})`}`);
}

/** The part of the data the model was trained on; with --data-dir on other data, what lies there. */
export async function openPart(
  loaded: LoadedModel | LoadedTrunk,
  options: PartOptions,
  { unlabelled = false } = {},
): Promise<{ part: Samples; batchSize: number }> {
  const { origin, dir } = loaded;
  // A trunk knows none: those of the data will do.
  const heads = 'heads' in loaded ? loaded.heads : undefined;
  const classes = 'classes' in loaded && loaded.classes.length > 0 ? loaded.classes : undefined;
  const { split, limit, dataDir } = options;
  const stored = (origin as { recipe?: unknown } | undefined)?.recipe;
  if (stored === undefined && dataDir === undefined && options.file === undefined)
    throw new ConfigError('DATA_UNKNOWN', `${printable(dir)} does not say what data it was trained on`, {
      field: '--data-dir',
      hint: 'pass --data-dir DIR with the four MNIST files, or a folder with one subdirectory a class',
    });
  const trained = parseRecipe(stored ?? anyRecipe);
  const batchSize = trained.evalBatchSize ?? 2 * trained.batchSize;
  const cap = (part: Samples): Samples => (limit === undefined ? part : take(part, limit));
  if (options.file !== undefined) {
    if (!('text' in loaded))
      throw new ConfigError('OPTION_INVALID', '--file is for models of texts', {
        field: '--file',
        hint: 'pass --data-dir DIR with pictures',
      });
    // Lines have no columns; a trunk that learned without labels needs none.
    const plain = /\.txt(\.gz)?$/i.test(options.file) || !heads;
    if (unlabelled && plain && options.labelColumn === undefined)
      return { part: cap(await plainSamples(options.file, options)), batchSize };
    const { labels } = trained.data;
    if (labels) {
      const spec = withClasses(labels as LabelSpec, labelsOfHeads(heads ?? []));
      const columns = { ...tableOptions(trained.data), ...columnsOf(options), labels: spec };
      return { part: cap((await readLabelledTexts(options.file, columns)) as unknown as Samples), batchSize };
    }
    // The columns of training, unless told; labels are the model's.
    const columns = { ...tableOptions(trained.data, classes), weightColumn: undefined, ...columnsOf(options) };
    return { part: cap(await readTextDataset(options.file, columns)), batchSize };
  }
  if ('text' in loaded) {
    const limits = limit === undefined ? trained.limit : { ...trained.limit, [split]: limit };
    const data = await loadRunData(
      { ...trained, limit: limits },
      { dataDir, notify: note, classes, heads, text: loaded.text },
    );
    const part = data[split];
    if (!part)
      throw new ConfigError('SPLIT_MISSING', `the data have no ${split} part`, { field: '--split', got: split });
    return { part, batchSize };
  }
  const { image } = loaded;
  // Known by their own files, wherever these lie.
  const named = ['pictures', 'picture-table', 'voc-counts'].includes(trained.data.name);
  const kind = dataDir === undefined || named ? trained.data.name : await kindOf(dataDir);
  if (dataDir !== undefined && kind === 'folder' && trained.data.name !== 'folder') {
    return { part: cap(await folderFor(dataDir, classes, image)), batchSize };
  }
  // Caps were meant for the data of the recipe.
  const recipe =
    kind === trained.data.name ? trained : { ...trained, limit: {}, data: { ...trained.data, name: kind } };
  const limits = limit === undefined ? recipe.limit : { ...recipe.limit, [split]: limit };
  const data = await loadRunData({ ...recipe, limit: limits }, { dataDir, notify: note, classes, heads });
  const part = data[split];
  if (!part) throw new ConfigError('SPLIT_MISSING', `the data have no ${split} part`, { field: '--split', got: split });
  return { part, batchSize };
}

/** Texts of a file without their labels, in memory. */
async function plainSamples(file: string, options: PartOptions): Promise<Samples> {
  const rows: { text: string; pair?: string }[] = [];
  for await (const row of textsOf(file, options)) rows.push(row);
  const pair = options.pairColumn !== undefined;
  return {
    name: basename(file),
    length: rows.length,
    schema: { features: { text: { kind: 'text' }, ...(pair && { pair: { kind: 'text' } }) }, labels: {} },
    get: (index) => rows[index] as unknown as { label: number },
    describe: (index) => `${file} text ${index + 1}`,
  };
}

/** Stands in for a model folder that does not tell how it was trained. */
const anyRecipe = {
  name: 'evaluation',
  data: { name: 'mnist' },
  model: { name: 'any' },
  optimizer: { name: 'sgd', lr: 1 },
  batchSize: 64,
  epochs: 1,
};

async function kindOf(dataDir: string): Promise<'mnist' | 'folder'> {
  const idx = ['t10k-images-idx3-ubyte.gz', 't10k-images-idx3-ubyte', 't10k-images.idx3-ubyte'];
  for (const name of idx) if (await exists(join(dataDir, name))) return 'mnist';
  if (/\.(tar|tar\.gz|tgz)$/i.test(dataDir)) return 'folder';
  const isFolder = await stat(dataDir).then(
    (entry) => entry.isDirectory(),
    () => false,
  );
  // Neither: let the reader of MNIST say what is missing.
  if (!isFolder) return 'mnist';
  const entries = await readdir(dataDir, { withFileTypes: true });
  return entries.some((entry) => entry.isDirectory()) ? 'folder' : 'mnist';
}
