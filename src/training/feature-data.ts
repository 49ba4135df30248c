/** Data for a model's features: by the name of a built-in set, or a folder, archive, table or .txt; labels are kept, not needed. */
import { stat } from 'node:fs/promises';
import { ConfigError, nearest, printable } from '../base/errors.ts';
import {
  type AnyPicture,
  anyPictures,
  anyPictureTable,
  anyTexts,
  type Column,
  type Dataset,
  fitImage,
  holdsMnist,
  type ImageFeature,
  isTable,
  splitPipeline,
  type Transform,
  textSetNames,
} from '../data/index.ts';
import { exists } from '../io/index.ts';
import { loadRunData } from './data-source.ts';
import type { OpenedModel } from './feature-model.ts';
import { anyRecipe, drawn, openPart, type PartRequest } from './model-data.ts';
import { parseRecipe } from './recipe-parse.ts';

export interface FeatureDataRequest extends PartRequest {
  /** Of a table of pictures: where it names their files; `file` unless told. */
  readonly imageColumn?: Column | undefined;
  /** Where those files are; the table's folder unless told. */
  readonly imageDir?: string | undefined;
}

export interface FeatureData {
  readonly part: Dataset<unknown>;
  /** The model's, with what these data need before them. */
  readonly transforms?: readonly Transform[];
  readonly nameOf?: (id: number) => string | undefined;
  /** What training evaluated with, where the model tells. */
  readonly batchSize?: number;
}

const builtinSets = ['mnist', 'digits', 'phrases', ...textSetNames] as const;

/**
 * The data called `name`, for `model`; without a name those a folder of ours was trained on.
 * @throws ConfigError DATA_UNKNOWN, OPTION_INVALID, DATA_KIND where the model reads data of the other kind, SPLIT_MISSING; DataError and IoError of
 * the readers.
 */
export async function openFeatureData(
  model: OpenedModel,
  name: string | undefined,
  request: FeatureDataRequest,
): Promise<FeatureData> {
  if (name === undefined || !(await isPictureTable(model, name))) refuseTableOptions(request);
  if (name === undefined) return ownData(model, request);
  const { limit, split, labelColumn } = request;
  const shared = { classes: model.classes, labelColumn };
  if (!(await exists(name))) {
    if ((builtinSets as readonly string[]).includes(name)) return builtin(model, name, request);
    const near = nearest(name, builtinSets);
    throw new ConfigError('DATA_UNKNOWN', `there is no ${printable(name)}`, {
      field: 'data',
      got: name,
      expected: `a folder, a .tar, a table, a .txt, or one of ${builtinSets.join(', ')}`,
      hint: near === undefined ? `built-in sets: ${builtinSets.join(', ')}` : `did you mean ${near}?`,
    });
  }
  if ((await stat(name)).isDirectory() && (await holdsMnist(name, { itself: true })))
    return builtin(model, 'mnist', { ...request, dataDir: name });
  const table = isTable(name);
  if (model.text) {
    if (!table) wrongKind(model, name, 'holds no texts');
    return { part: await drawn(await anyTexts(name, { ...request, ...shared }), limit) };
  }
  const channels = model.channels === 1 ? 1 : 3;
  if (table && /\.txt(\.gz)?$/i.test(name)) wrongKind(model, name, 'holds texts');
  const all = table
    ? await anyPictureTable(name, { ...request, ...shared, channels })
    : await anyPictures(name, { ...shared, channels, part: split });
  const nameOf = (id: number): string | undefined => all.names[id];
  return { ...fitting(model, await drawn(fitted(all, model.image), limit)), nameOf };
}

const isPictureTable = async (model: OpenedModel, name: string): Promise<boolean> =>
  !model.text && isTable(name) && (await exists(name)) && !(await stat(name)).isDirectory();

/** They would do nothing. */
function refuseTableOptions({ imageColumn, imageDir }: FeatureDataRequest): void {
  const field = imageColumn !== undefined ? '--image-column' : imageDir !== undefined ? '--image-dir' : undefined;
  if (field === undefined) return;
  throw new ConfigError('OPTION_INVALID', `${field} is for a table that names pictures`, {
    field,
    got: imageColumn ?? imageDir,
    hint: `name the table as the data, cambium features MODEL pictures.csv ${field} ..., or leave it out`,
  });
}

async function ownData(model: OpenedModel, request: FeatureDataRequest): Promise<FeatureData> {
  if (!model.folder)
    throw new ConfigError('DATA_UNKNOWN', `${printable(model.path)} does not say what data it was trained on`, {
      field: 'data',
      expected: 'a folder, a .tar, a table, a .txt, or the name of a set',
      hint: `name them: cambium features MODEL ${model.text ? 'texts.csv' : 'pictures/'} --out FILE`,
    });
  const { part, batchSize } = await openPart(model.folder, { ...request, unlabelled: true });
  return { part, batchSize, ...(model.transforms && { transforms: model.transforms }) };
}

async function builtin(model: OpenedModel, name: string, request: FeatureDataRequest): Promise<FeatureData> {
  const { split, limit, dataDir, notify } = request;
  const isText = name !== 'mnist' && name !== 'digits';
  if (isText !== (model.text !== undefined)) wrongKind(model, name, isText ? 'holds texts' : 'holds pictures');
  const recipe = parseRecipe({
    ...anyRecipe,
    data: { name },
    ...(limit !== undefined && { limit: { [split]: limit } }),
  });
  // A set that is named is that set: no other stands in for it.
  const data = await loadRunData(recipe, { dataDir, notify, noStandIn: true, ...(model.text && { text: model.text }) });
  const part = data[split];
  if (!part) {
    const there = (['train', 'validation', 'test'] as const).filter((other) => data[other]);
    throw new ConfigError('SPLIT_MISSING', `${name} has no ${split} part`, {
      field: '--split',
      expected: there,
      got: split,
      hint: `there are: ${there.join(', ')}`,
    });
  }
  return isText ? { part } : fitting(model, fitted(part, model.image));
}

/** Pictures of one kind where training had one: made to fit, as `evaluate` does. */
function fitted(source: Dataset<unknown>, image: ImageFeature | undefined): Dataset<unknown> {
  if (!image || image.height === null || image.width === null) return source;
  const { height, width, channels } = source.schema.features.image as ImageFeature;
  if (height === image.height && width === image.width && channels === image.channels) return source;
  return {
    ...viewOf(source),
    schema: { features: { image }, labels: source.schema.labels },
    get: async (index) => {
      const sample = (await source.get(index)) as AnyPicture;
      return { ...sample, image: fitImage(sample.image, image) };
    },
  };
}

/** What classes keep in prototypes too. */
const viewOf = (source: Dataset<unknown>): Dataset<unknown> => ({
  name: source.name,
  length: source.length,
  schema: source.schema,
  get: (index) => source.get(index),
  ...(source.id && { id: (index: number) => source.id?.(index) as number }),
  ...(source.label && { label: (index: number) => source.label?.(index) as number }),
  ...(source.describe && { describe: (index: number) => source.describe?.(index) as string }),
});

/** Grey pictures for a model of colours, and the other way round, where its transforms do not see to that. */
function fitting({ transforms = [], channels, image }: OpenedModel, part: Dataset<unknown>): FeatureData {
  const found = (part.schema.features.image as ImageFeature).channels;
  const sees = splitPipeline(transforms).graph.some(({ kind }) => kind === 'channels');
  if (image || channels === undefined || found === channels || sees || (channels !== 1 && channels !== 3))
    return { part, transforms };
  return { part, transforms: [{ kind: 'channels', channels }, ...transforms] };
}

function wrongKind(model: OpenedModel, name: string, what: string): never {
  const reads = model.text ? 'texts' : 'pictures';
  throw new ConfigError('DATA_KIND', `${printable(name)} ${what}, and ${printable(model.path)} reads ${reads}`, {
    field: 'data',
    expected: reads,
    got: name,
    hint: model.text
      ? 'pass a .csv, .tsv, .jsonl or .parquet with a column of texts, a .txt, or a set of texts by its name'
      : 'pass a folder of pictures, a .tar, a table with a column of their files, mnist or digits',
  });
}
