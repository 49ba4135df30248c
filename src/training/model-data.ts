/** A part of the data a saved model was trained on, or of other data that it can read. */
import { readdir, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { ConfigError, printable } from '../base/errors.ts';
import {
  type Dataset,
  holdsMnist,
  type LabelSpec,
  readLabelledTexts,
  readTextDataset,
  readTextSamples,
  readTokenDataset,
  splitDataset,
  type TextTableOptions,
  take,
  tokenFormatOf,
  withClasses,
} from '../data/index.ts';
import { findPlace, placeOfModel } from './data-place.ts';
import { type DataRequest, folderFor, loadRunData } from './data-source.ts';
import type { Samples } from './inputs.ts';
import type { LoadedModel } from './model-folder.ts';
import type { Recipe } from './recipe.ts';
import { parseRecipe } from './recipe-parse.ts';
import { labelsOfHeads } from './table-source.ts';
import { tableOptions, tokenOptions } from './text-source.ts';
import type { LoadedTrunk } from './trunk-folder.ts';

/** Of `file`: those of training unless told. */
const tableFields = [
  'textColumn',
  'pairColumn',
  'labelColumn',
  'format',
  'encoding',
  'delimiter',
  'quote',
  'header',
] as const;
type TableFields = Partial<Pick<TextTableOptions, (typeof tableFields)[number]>>;

export interface PartRequest extends Pick<DataRequest, 'notify'>, TableFields {
  readonly split: 'train' | 'validation' | 'test';
  /** Other data: a folder with one subdirectory a class, or the files of MNIST or a text set. Those of training unless told. */
  readonly dataDir?: string | undefined;
  /**
   * At most so many samples, and no more than the recipe's own limit of that part: the first ones of MNIST, drawn digits and `file`;
   * of all else a draw in proportion to classes.
   */
  readonly limit?: number | undefined;
  /** A table of texts. */
  readonly file?: string | undefined;
  /** Texts of `file` need no labels. */
  readonly unlabelled?: boolean;
}

export interface ModelPart {
  readonly part: Samples;
  /** What training evaluated with. */
  readonly batchSize: number;
}

/**
 * The part of the data a model was trained on; with `dataDir` or `file` of other data, as the model reads them.
 * @throws ConfigError DATA_UNKNOWN, OPTION_INVALID, SPLIT_MISSING; DataError and IoError of the readers.
 */
export async function openPart(loaded: LoadedModel | LoadedTrunk, request: PartRequest): Promise<ModelPart> {
  const { origin, dir } = loaded;
  const { dataDir, file } = request;
  const stored = (origin as { recipe?: unknown } | undefined)?.recipe;
  if (stored === undefined && dataDir === undefined && file === undefined)
    throw new ConfigError('DATA_UNKNOWN', `${printable(dir)} does not say what data it was trained on`, {
      field: '--data-dir',
      hint: 'pass --data-dir DIR with the four MNIST files, or a folder with one subdirectory a class',
    });
  const trained = parseRecipe(stored ?? anyRecipe);
  const part = file === undefined ? await partOf(loaded, trained, request) : await textsIn(loaded, trained, request);
  return { part, batchSize: trained.evalBatchSize ?? 2 * trained.batchSize };
}

// A trunk knows neither: those of the data will do.
const headsOf = (loaded: LoadedModel | LoadedTrunk) => ('heads' in loaded ? loaded.heads : undefined);
const classesOf = (loaded: LoadedModel | LoadedTrunk) =>
  'classes' in loaded && loaded.classes.length > 0 ? loaded.classes : undefined;

async function textsIn(loaded: LoadedModel | LoadedTrunk, { data }: Recipe, request: PartRequest): Promise<Samples> {
  const { limit, unlabelled = false, labelColumn } = request;
  const file = request.file as string;
  if (!('text' in loaded))
    throw new ConfigError('OPTION_INVALID', '--file is for models of texts', {
      field: '--file',
      hint: 'pass --data-dir DIR with pictures',
    });
  const heads = headsOf(loaded);
  const cap = (part: Samples): Samples => (limit === undefined ? part : take(part, limit));
  // Lines have no columns; a trunk that learned without labels needs none.
  const plain = /\.txt(\.gz)?$/i.test(file) || !heads;
  if (unlabelled && plain && labelColumn === undefined) return cap(await plainSamples(file, request));
  const told = Object.fromEntries(
    tableFields.flatMap((field) => (request[field] === undefined ? [] : [[field, request[field]]])),
  ) as TableFields;
  if (heads?.some(({ kind }) => kind === 'tags')) {
    const format = tokenFormatOf(file);
    const known = { ...tokenOptions(data, classesOf(loaded)), format };
    // Columns of the recipe's files are those of files of their kind.
    const same = data.file !== undefined && format === (data.format ?? tokenFormatOf(data.file));
    const own = same ? known : { ...known, tokenColumn: undefined, tagColumn: undefined };
    const { tokenColumn = own.tokenColumn, tagColumn = own.tagColumn } = {
      tokenColumn: told.textColumn,
      tagColumn: labelColumn,
    };
    return cap((await readTokenDataset(file, { ...own, tokenColumn, tagColumn })) as unknown as Samples);
  }
  if (data.labels) {
    const labels = withClasses(data.labels as LabelSpec, labelsOfHeads(heads ?? []));
    const texts = await readLabelledTexts(file, { ...tableOptions(data), ...told, labels });
    return cap(texts as unknown as Samples);
  }
  // Labels are the model's.
  const options = { ...tableOptions(data, classesOf(loaded)), weightColumn: undefined, ...told };
  return cap(await readTextDataset(file, options));
}

async function partOf(loaded: LoadedModel | LoadedTrunk, trained: Recipe, request: PartRequest): Promise<Samples> {
  const { split, limit, dataDir, notify } = request;
  const [classes, heads] = [classesOf(loaded), headsOf(loaded)];
  const isText = 'text' in loaded;
  // Known by their own files, wherever these lie.
  const named = isText || ['pictures', 'picture-table', 'voc-counts'].includes(trained.data.name);
  const kind = dataDir === undefined || named ? trained.data.name : await kindOf(dataDir);
  const place = dataDir ?? (await findPlace(await placeOfModel(loaded.dir), trained));
  if (!isText && dataDir !== undefined && kind === 'folder' && trained.data.name !== 'folder') {
    return drawn(await folderFor(dataDir, classes, loaded.image), limit);
  }
  // Caps were meant for the data of the recipe.
  const recipe =
    kind === trained.data.name ? trained : { ...trained, limit: {}, data: { ...trained.data, name: kind } };
  const limits = limit === undefined ? recipe.limit : { ...recipe.limit, [split]: least(limit, recipe.limit[split]) };
  const data = await loadRunData(
    { ...recipe, limit: limits },
    { dataDir: place, notify, noStandIn: true, classes, heads, ...(isText && { text: loaded.text }) },
  );
  const part = data[split];
  if (part) return part;
  const there = (['train', 'validation', 'test'] as const).filter((name) => data[name]);
  throw new ConfigError('SPLIT_MISSING', `the data have no ${split} part`, {
    field: '--split',
    expected: there,
    got: split,
    hint: `pass --split ${there.at(-1)}; there are: ${there.join(', ')}`,
  });
}

const least = (limit: number, own: number | undefined): number => Math.min(limit, own ?? limit);

/** At most `limit` samples, in proportion to classes: folders are sorted by them, as tables often are. */
export async function drawn<S>(part: Dataset<S>, limit: number | undefined): Promise<Dataset<S>> {
  if (limit === undefined || limit >= part.length) return part;
  if (!part.schema.labels.label) return take(part, limit);
  return (await splitDataset(part, { chosen: limit }, { seed: 0, stratify: 'label' })).chosen;
}

/** Texts of a file without their labels, in memory. */
async function plainSamples(file: string, columns: PartRequest): Promise<Samples> {
  const rows: { text: string; pair?: string }[] = [];
  for await (const row of readTextSamples(file, columns)) rows.push(row);
  const pair = columns.pairColumn !== undefined;
  return {
    name: basename(file),
    length: rows.length,
    schema: { features: { text: { kind: 'text' }, ...(pair && { pair: { kind: 'text' } }) }, labels: {} },
    get: (index) => rows[index] as unknown as { label: number },
    describe: (index) => `${file} text ${index + 1}`,
  };
}

/** Stands in where nothing tells how a model was trained. */
export const anyRecipe = {
  name: 'evaluation',
  data: { name: 'mnist' },
  model: { name: 'any' },
  optimizer: { name: 'sgd', lr: 1 },
  batchSize: 64,
  epochs: 1,
};

async function kindOf(dataDir: string): Promise<'mnist' | 'folder'> {
  if (await holdsMnist(dataDir)) return 'mnist';
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
