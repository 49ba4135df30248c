/** From a recipe's `data` to the three parts of a run: finds the set, splits it, caps it, and names it by its hash. */
import { join } from 'node:path';
import { ConfigError, DataError, IoError, printable } from '../base/errors.ts';
import {
  classNames,
  contentHash,
  type Dataset,
  digitAttributes,
  findDuplicates,
  fitImage,
  type ImageArchiveDataset,
  type ImageFeature,
  type ImageSample,
  imageArchive,
  imageClassSchema,
  imageFolder,
  pictures,
  splitDataset,
  subset,
  type TextCollateOptions,
  type TextSample,
  take,
} from '../data/index.ts';
import { exists } from '../io/index.ts';
import { type HeadOptions, type ObjectiveName, objectiveNames } from '../tasks/index.ts';
import { loadCorpora } from './corpus-source.ts';
import { drawnDigits, mnistOrDigits } from './digits-source.ts';
import type { Samples } from './inputs.ts';
import { isLanguage, pretrainingOf } from './pretrain-inputs.ts';
import type { Recipe } from './recipe.ts';
import { loadCounts, loadPictureTable } from './table-source.ts';
import { isTextData, loadTextParts, type Texts, textInputsOf } from './text-source.ts';

export type Images = Dataset<ImageSample>;

export interface RunData {
  /** The recipe with the data really used: `digits` where MNIST could not be had. */
  readonly recipe: Recipe;
  readonly train: Samples;
  readonly validation?: Samples;
  readonly test?: Samples;
  /** How texts become tokens; undefined for pictures. */
  readonly text?: TextCollateOptions;
}

export interface DataRequest {
  /** Overrides the recipe's `data.dir`. */
  dataDir?: string;
  /** Told what people should know: a fall-back, duplicates. */
  notify?: (text: string) => void | Promise<void>;
  /** The data were learned from already: where they cannot be had, others must not take their place. */
  noStandIn?: boolean;
  /** Class names of a trained model, for a folder or a table. */
  classes?: readonly string[];
  /** What a trained model predicts, for tables of labels of any kind. */
  heads?: readonly HeadOptions[];
  /** Of a trained model, in place of the recipe's. */
  text?: TextCollateOptions;
  /** Of texts without labels: how much of them is kept in memory. Results do not depend on it. */
  inMemory?: InMemoryLimits | undefined;
}

export interface InMemoryLimits {
  /** Of the texts; 32 Mi unless told. More are read from their files anew for every pass. */
  readonly characters?: number;
  /** Of each part; 64 Mi unless told. More are packed into a file of the cache folder. */
  readonly tokens?: number;
}

interface Parts {
  recipe: Recipe;
  train: Samples;
  validation?: Samples;
  test?: Samples;
}

/** @throws DataError, IoError, ConfigError. */
export async function loadRunData(recipe: Recipe, request: DataRequest = {}): Promise<RunData> {
  const isText = isTextData(recipe);
  checkTask(recipe, isText);
  const dir = request.dataDir ?? recipe.data.dir;
  const loaded = await withPlaceHint(dir, async () =>
    recipe.data.name === 'texts'
      ? { recipe, train: (await corporaOf(recipe, request)) as Texts }
      : isText
        ? { recipe, ...(await loadTextParts(recipe, request)) }
        : await loadParts(recipe, request),
  );
  const parts = await splitParts(loaded);
  const { limit, data } = parts.recipe;
  const cap = async (part: Samples | undefined, count: number | undefined): Promise<Samples | undefined> => {
    if (!part || count === undefined || count >= part.length) return part;
    // A folder is sorted by class, as tables often are: the first samples would all be alike.
    if (data.name === 'mnist' || data.name === 'digits') return take(part, count);
    const { chosen } = await splitDataset(part, { chosen: count }, { seed: parts.recipe.seed, ...stratified(part) });
    return chosen;
  };
  const train = (await cap(parts.train, limit.train)) as Samples;
  return {
    recipe: parts.recipe,
    train,
    validation: await cap(parts.validation, limit.validation),
    test: await cap(parts.test, limit.test),
    ...(isText && { text: request.text ?? (await textInputsOf(recipe, train as Dataset<TextSample>)) }),
  };
}

const corporaOf = (recipe: Recipe, { dataDir, notify, inMemory }: DataRequest) =>
  loadCorpora(recipe, dataDir ?? recipe.data.dir, notify, inMemory?.characters);
/** A recipe's files are looked for in the working directory only where no folder is named. */
async function withPlaceHint<T>(dir: string | undefined, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    if (!(error instanceof IoError) || error.code !== 'FILE_NOT_FOUND' || error.hint || dir !== undefined) throw error;
    const hint =
      'pass --data-dir DIR with the files, or set data.dir; without it they are looked for in the working directory';
    throw new IoError(error.code, error.message, { ...error.details, hint, cause: error });
  }
}

function checkTask(recipe: Recipe, isText: boolean): void {
  const { task, tokenizer, transforms, data, objective } = recipe;
  const kind = isText ? 'text' : 'image';
  const pretraining = pretrainingOf(task);
  if (pretraining && isLanguage(pretraining) !== isText)
    throw new ConfigError('RECIPE_INVALID', `task: ${pretraining} does not learn from data ${data.name}`, {
      field: 'task',
      expected: isText ? 'masked-lm or causal-lm' : 'rotation, contrastive or an autoencoder',
      got: pretraining,
    });
  if (!pretraining && (data.name === 'texts' || data.name === 'pictures'))
    throw new ConfigError('RECIPE_INVALID', `task is missing: data ${data.name} have no labels`, {
      field: 'task',
      expected: isText ? 'masked-lm or causal-lm' : 'rotation, contrastive or an autoencoder',
      got: task,
    });
  const wrong = (field: string, got: unknown, hint: string): never => {
    throw new ConfigError('RECIPE_INVALID', `${field} does not fit data ${data.name}: ${hint}`, { field, got, hint });
  };
  // Which task of its kind follows from the labels, once they are read.
  if (
    task !== undefined &&
    !pretraining &&
    !task.startsWith(`${kind}-`) &&
    !(isText && task === 'token-classification')
  )
    wrong('task', task, `they are of ${kind}`);
  if (isText && transforms.length > 0) wrong('transforms', transforms, 'they are for pictures');
  if (!isText && tokenizer !== undefined) wrong('tokenizer', tokenizer, 'it is for texts');
  if (pretraining) refuseForLabels(recipe, pretraining);
  else if (Object.keys(objective).length > 0)
    throw new ConfigError('RECIPE_INVALID', 'objective: its options are for tasks that learn without labels', {
      field: 'objective',
      got: objective,
      hint: `set task to one of ${objectiveNames.join(', ')}, or leave objective out`,
    });
}

/** What means nothing where there are no labels is not ignored. */
function refuseForLabels(recipe: Recipe, task: ObjectiveName): void {
  const { classWeights, labelSmoothing, sampler, mixup, cutmix, heads, distill, prune, selectBy } = recipe;
  const given = {
    ...{ classWeights, sampler, mixup, cutmix, heads, distill, prune },
    labelSmoothing: labelSmoothing || undefined,
    selectBy: selectBy?.metric === 'loss' ? undefined : selectBy,
  };
  const [field, got] = Object.entries(given).find(([, value]) => value !== undefined) ?? [];
  if (field === undefined) return;
  throw new ConfigError('RECIPE_INVALID', `${field} is for tasks with labels: ${task} has none`, {
    field,
    got,
    hint: field === 'selectBy' ? 'its epochs are compared by loss' : `leave ${field} out`,
  });
}

async function loadParts(recipe: Recipe, { dataDir, notify, noStandIn, classes, heads }: DataRequest): Promise<Parts> {
  const { data } = recipe;
  const dir = dataDir ?? data.dir;
  if (data.name === 'folder') return loadFolder(recipe, dir, classes);
  if (data.name === 'pictures') return { recipe, train: await unlabelled(recipe, dir) };
  if (data.name === 'voc-counts') return { recipe, ...(await loadCounts(recipe, dir)) };
  if (data.name === 'picture-table') return { recipe, ...(await loadPictureTable(recipe, dir, classes, heads)) };
  const withAttributes = (images: Images): Samples =>
    data.attributes ? (digitAttributes(images) as unknown as Samples) : images;
  const sizes = data.digits ?? {};
  const { name, train, test } =
    data.name === 'mnist' ? await mnistOrDigits(dir, { sizes, notify, noStandIn }) : drawnDigits(sizes);
  return { recipe: { ...recipe, data: { ...data, name } }, train: withAttributes(train), test: withAttributes(test) };
}

/** A folder with train/ and test/ (and validation/ or val/) holds parts; any other is one set to be split. */
async function loadFolder(recipe: Recipe, dir: string | undefined, classes?: readonly string[]): Promise<Parts> {
  const { file } = recipe.data;
  const archive = file !== undefined ? join(dir ?? '', file) : dir !== undefined && isArchive(dir) ? dir : undefined;
  if (archive !== undefined) return loadArchive(recipe, archive, classes);
  if (dir === undefined)
    throw new ConfigError('RECIPE_INVALID', 'data.dir is missing: expected the folder with one subdirectory a class', {
      field: 'data.dir',
      hint: 'pass --data-dir DIR, or set data.dir',
    });
  const channels = recipe.data.channels ?? 3;
  const has = (part: string): Promise<boolean> => exists(join(dir, part));
  if (!(await has('train')))
    return { recipe, train: severalClasses(await imageFolder(dir, { channels, classes }), dir) };
  const place = join(dir, 'train');
  const train = severalClasses(await imageFolder(place, { channels, classes, name: 'train' }), place);
  const names = classes ?? (train.schema.labels.label as { names: readonly string[] }).names;
  const open = async (...parts: string[]): Promise<Images | undefined> => {
    for (const part of parts)
      if (await has(part)) return imageFolder(join(dir, part), { channels, classes: names, name: part });
    return undefined;
  };
  return { recipe, train, validation: await open('validation', 'val'), test: await open('test') };
}

/** @throws DataError CLASSES_TOO_FEW, as tables do. */
function severalNames(names: readonly string[], file: string): readonly string[] {
  if (names.length > 1) return names;
  throw new DataError(
    'CLASSES_TOO_FEW',
    `${printable(file)}: all pictures are of class ${printable(names[0] ?? '')}: there is nothing to tell apart`,
    {
      file,
      expected: 'at least two classes',
      got: names,
      hint: 'each class needs a subdirectory of its own',
    },
  );
}

function severalClasses(images: Images, file: string): Images {
  severalNames(classNames(images.schema), file);
  return images;
}

async function unlabelled({ data }: Recipe, dir: string | undefined): Promise<Samples> {
  if (dir !== undefined) return (await pictures(dir, { channels: data.channels ?? 3 })) as unknown as Samples;
  throw new ConfigError('RECIPE_INVALID', 'data.dir is missing: expected the folder with the pictures', {
    field: 'data.dir',
    hint: 'pass --data-dir DIR, or set data.dir',
  });
}

export const isArchive = (path: string): boolean => /\.(tar|tar\.gz|tgz)$/i.test(path);

/** As a folder, out of a .tar or .tar.gz. */
async function loadArchive(recipe: Recipe, path: string, classes?: readonly string[]): Promise<Parts> {
  const archive = await imageArchive(path);
  const channels = recipe.data.channels ?? 3;
  const [first] = archive.parts as [string];
  const names = severalNames(classes ?? archive.classes(first), path);
  const partOf = (...wanted: string[]): Images | undefined => {
    const part = wanted.find((name) => archive.parts.includes(name));
    return part === undefined ? undefined : archive.dataset(part, { channels, classes: names });
  };
  const train = partOf('train') ?? archive.dataset(first, { channels, classes: names });
  return {
    recipe,
    train,
    validation: partOf('validation', 'val'),
    test: first === 'test' ? undefined : partOf('test'),
  };
}

/** Takes validation (and a folder's test) samples out of the training part, in proportion to the classes. */
async function splitParts(parts: Parts): Promise<Parts> {
  const { recipe, train } = parts;
  const { validation, test, name } = recipe.data;
  const wanted = {
    ...(parts.validation || validation === 0 ? {} : { validation }),
    ...(parts.test || name === 'mnist' || name === 'digits' || !test ? {} : { test }),
  };
  // A fixed number that suits MNIST may be most of a smaller set: then a tenth has to do.
  const fitted = Object.fromEntries(
    Object.entries(wanted).map(([part, size]) => [part, size >= 1 && size > train.length / 2 ? 0.1 : size]),
  );
  if (Object.keys(fitted).length === 0) return parts;
  const split: Record<string, Samples> =
    recipe.data.split === 'last'
      ? lastPart(train, fitted.validation ?? 0)
      : await splitDataset(train, { train: 'rest', ...fitted }, { seed: recipe.seed, ...stratified(train) });
  return {
    recipe,
    train: split.train as Samples,
    validation: parts.validation ?? split.validation,
    test: parts.test ?? split.test,
  };
}

/** In proportion to the classes, where every sample has one. */
function stratified({ schema: { labels } }: Samples): { stratify: string | false } {
  const [field] = Object.entries(labels).find(([, { kind, optional }]) => kind === 'class' && !optional) ?? [];
  return { stratify: field ?? false };
}

function lastPart(all: Samples, size: number): Record<string, Samples> {
  const count = size < 1 ? Math.round(size * all.length) : size;
  const rows = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
  const cut = all.length - count;
  return {
    train: subset(all, rows(0, cut), `${all.name}/train`),
    ...(count > 0 && { validation: subset(all, rows(cut, all.length), `${all.name}/validation`) }),
  };
}

/** All pictures of a folder (or of its `test` subdirectory), made to fit what a trained model was given. */
export async function folderFor(
  dir: string,
  wanted: readonly string[] | undefined,
  image: ImageFeature,
): Promise<Images> {
  const options = { channels: image.channels === 1 ? 1 : 3, ...(wanted && { classes: wanted }) } as const;
  const source = isArchive(dir) ? await archiveFor(dir, options) : await imageFolder(await testOf(dir), options);
  if (image.height === null || image.width === null) return source;
  const classes = classNames(source.schema);
  return {
    name: source.name,
    length: source.length,
    schema: imageClassSchema(image.height, image.width, image.channels, classes),
    get: async (index) => {
      const sample = await source.get(index);
      return { image: fitImage(sample.image, image), label: sample.label };
    },
    label: (index) => source.label(index),
    describe: (index) => source.describe(index),
  };
}

async function testOf(dir: string): Promise<string> {
  const test = join(dir, 'test');
  return (await exists(test)) ? test : dir;
}

async function archiveFor(
  path: string,
  options: { channels: 1 | 3; classes?: readonly string[] },
): Promise<ImageArchiveDataset> {
  const archive = await imageArchive(path);
  return archive.dataset(archive.parts.includes('test') ? 'test' : undefined, options);
}

/** sha256 of each part: a run is resumed on the same samples only, and a report says what it measured. */
export async function dataHashes(data: Partial<Omit<RunData, 'recipe'>>): Promise<Record<string, string>> {
  const hashes: Record<string, string> = {};
  for (const part of ['train', 'validation', 'test'] as const) {
    const dataset = data[part];
    if (dataset) hashes[part] = await contentHash(dataset);
  }
  return hashes;
}

/** A sentence on pictures that occur in several parts, or nothing. Only for sets in memory: others would be decoded twice. */
export async function leakNotice(data: Omit<RunData, 'recipe'>): Promise<string | undefined> {
  const { train, validation, test } = data;
  const parts: Record<string, Samples> = { train };
  if (validation) parts.validation = validation;
  if (test) parts.test = test;
  if (Object.values(parts).some((part) => !inMemory(part))) return undefined;
  const { across } = await findDuplicates(parts);
  if (across.length === 0) return undefined;
  const [first] = across;
  const where = first?.members
    .slice(0, 2)
    .map(({ part, id }) => `${printable(part).slice(1, -1)} ${id}`)
    .join(' = ');
  const things = train.schema.features.image ? 'picture' : 'text';
  return `${across.length} ${things}(s) occur in more than one part (${where}): the measured accuracy may be too high`;
}

// Views keep the size of what they show; folders have none.
const inMemory = (part: Samples): boolean => {
  if (part.samples) return false;
  const { image } = part.schema.features;
  return image?.kind !== 'image' || image.height !== null;
};
