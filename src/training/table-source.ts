/** From a recipe's `data` to parts whose labels are of any kind: tables of texts and of pictures, and text sets learned together. */
import { join } from 'node:path';
import { ConfigError } from '../base/errors.ts';
import {
  type Dataset,
  joinDatasets,
  type LabelSpec,
  loadTextSet,
  readPictureTable,
  type Schema,
  splitDataset,
  type TextSample,
  vocArchive,
  weightSpec,
  withClasses,
} from '../data/index.ts';
import type { HeadOptions } from '../tasks/index.ts';
import type { Samples } from './inputs.ts';
import type { Recipe } from './recipe.ts';

type RecipeData = Recipe['data'];

interface Parts {
  readonly train: Samples;
  readonly validation?: Samples | undefined;
  readonly test?: Samples | undefined;
}

/** The files of a table with `labels`. Other parts have the classes of the first; weights are for training. */
export async function tableParts(
  data: RecipeData,
  at: (file: string) => string,
  heads: readonly HeadOptions[] | undefined,
  read: (file: string, labels: LabelSpec) => Promise<Dataset>,
): Promise<Parts> {
  const spec = withClasses(data.labels as LabelSpec, heads ? labelsOfHeads(heads) : {});
  const train = await read(at(data.file as string), { ...spec, ...weightSpec(data.weightColumn) });
  const rest = withClasses(spec, train.schema.labels);
  const part = async (file: string | undefined): Promise<Samples | undefined> =>
    file === undefined ? undefined : ((await read(at(file), rest)) as unknown as Samples);
  return {
    train: train as unknown as Samples,
    validation: await part(data.validationFile),
    test: await part(data.testFile),
  };
}

/** @throws ConfigError RECIPE_INVALID for a format of tagged words. */
export function tableFormat(format: Recipe['data']['format']): 'csv' | 'jsonl' | 'parquet' | undefined {
  if (format !== 'conll' && format !== 'conllu') return format;
  throw new ConfigError('RECIPE_INVALID', `data.format: a table does not come as ${format}`, {
    field: 'data.format',
    expected: ['csv', 'jsonl', 'parquet'],
    got: format,
    hint: 'data of name tokens do',
  });
}

/** The labels a model predicts, as a schema has them. */
export const labelsOfHeads = (heads: readonly HeadOptions[]): Schema['labels'] =>
  Object.fromEntries(
    heads.map(({ field, kind, names }) => [field, kind === 'number' ? { kind } : { kind, names }]),
  ) as Schema['labels'];

/** A table that names pictures. Without `labels`: one class, of `labelColumn`. */
export async function loadPictureTable(
  { data }: Recipe,
  dir: string | undefined,
  classes: readonly string[] | undefined,
  heads: readonly HeadOptions[] | undefined,
): Promise<Parts> {
  if (data.file === undefined)
    throw new ConfigError('RECIPE_INVALID', 'data.file is missing: expected a .csv, .tsv, .jsonl or .parquet file', {
      field: 'data.file',
    });
  const at = (file: string): string => (dir === undefined ? file : join(dir, file));
  const { imageColumn, imageDir, channels, labelColumn, delimiter, quote, encoding, header, format } = data;
  const known = data.classes ?? classes;
  const labels: LabelSpec = data.labels ?? {
    label: { kind: 'class', column: labelColumn, ...(known && { classes: known }) },
  };
  const options = {
    imageColumn,
    channels,
    delimiter,
    quote,
    encoding,
    header,
    format: tableFormat(format),
    ...(imageDir !== undefined && { imageDir: at(imageDir) }),
  };
  return tableParts({ ...data, labels: labels as NonNullable<RecipeData['labels']> }, at, heads, (file, spec) =>
    readPictureTable(file, { ...options, labels: spec }),
  );
}

/** Pictures and how many objects of each class they show, in the parts of a VOC archive. */
export async function loadCounts({ data }: Recipe, dir: string | undefined): Promise<Parts> {
  if (data.file === undefined)
    throw new ConfigError(
      'RECIPE_INVALID',
      'data.file is missing: expected a .tar or .tar.gz in the layout of Pascal VOC',
      {
        field: 'data.file',
      },
    );
  const archive = await vocArchive(dir === undefined ? data.file : join(dir, data.file));
  const part = (...names: string[]): Samples | undefined => {
    const name = names.find((wanted) => archive.parts.includes(wanted));
    return name === undefined ? undefined : (archive.counts(name, { channels: data.channels }) as unknown as Samples);
  };
  const train = part('train', 'all', ...archive.parts) as Samples;
  return { train, validation: part('validation', 'val'), test: part('test') };
}

/** Text sets joined part by part, each split as its own recipe splits it. */
export async function loadSets(recipe: Recipe, dir: string | undefined) {
  const { sets } = recipe.data;
  if (!sets || dir === undefined)
    throw new ConfigError(
      'RECIPE_INVALID',
      sets ? 'data.dir is missing: expected the folder with the sets' : 'data.sets is missing',
      {
        field: sets ? 'data.dir' : 'data.sets',
        hint: sets ? 'pass --data-dir DIR, or set data.dir' : 'for example sets: [{ set: sst2, label: film }]',
      },
    );
  if (new Set(sets.map(({ label }) => label)).size !== sets.length)
    throw new ConfigError('RECIPE_INVALID', 'data.sets: two have the same label', { field: 'data.sets' });
  const parts: Record<'train' | 'validation' | 'test', Record<string, Dataset<TextSample>>> = {
    train: {},
    validation: {},
    test: {},
  };
  for (const { set, label, validation = 0.1, test = 0, seed = recipe.seed } of sets) {
    const own = await loadTextSet(set, dir);
    const wanted = { ...(!own.validation && validation > 0 && { validation }), ...(!own.test && test > 0 && { test }) };
    const split: Record<string, Dataset<TextSample>> = Object.keys(wanted).length === 0
      ? {}
      : await splitDataset<TextSample, string>(
          own.train,
          { train: 'rest', ...wanted } as Record<string, number | 'rest'>,
          {
            seed,
          },
        );
    parts.train[label] = split.train ?? own.train;
    const [validated, tested] = [own.validation ?? split.validation, own.test ?? split.test];
    if (validated) parts.validation[label] = validated;
    if (tested) parts.test[label] = tested;
  }
  const labels = Object.keys(parts.train);
  // A part has the heads of all sets, also where one of them brings no samples to it.
  const joined = (name: 'validation' | 'test'): Dataset<TextSample> | undefined =>
    labels.every((label) => parts[name][label])
      ? (joinDatasets(parts[name]) as unknown as Dataset<TextSample>)
      : undefined;
  return {
    train: joinDatasets(parts.train) as unknown as Dataset<TextSample>,
    validation: joined('validation'),
    test: joined('test'),
  };
}
