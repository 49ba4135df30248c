/** From a recipe's `data` and `tokenizer` to texts in parts and the way they become tokens. */
import { join } from 'node:path';
import { ConfigError } from '../base/errors.ts';
import {
  bertSpecialTokens,
  causalSpecialTokens,
  classNames,
  type Dataset,
  entities,
  type InMemoryTokenDataset,
  loadTextSet,
  loadTokenizer,
  phrases,
  readLabelledTexts,
  readTextDataset,
  readTokenDataset,
  type Schema,
  samplesOf,
  type TextCollateOptions,
  type TextSample,
  type TextSetName,
  type TextTableOptions,
  type TokenDatasetOptions,
  type Tokenizer,
  type TokenSample,
  textSetNames,
  tokenFormats,
  trainBpe,
  trainCharacters,
  trainWordPiece,
} from '../data/index.ts';
import type { HeadOptions } from '../tasks/index.ts';
import type { DataRequest } from './data-source.ts';
import type { Recipe } from './recipe.ts';
import { loadSets, tableFormat, tableParts } from './table-source.ts';

export type Texts = Dataset<TextSample>;

export interface TextParts {
  readonly train: Texts;
  readonly validation?: Texts;
  readonly test?: Texts;
}

/** Whether a recipe's data are texts. */
export const isTextData = ({ data }: Recipe): boolean =>
  ['table', 'phrases', 'tokens', 'entities', 'texts', 'sets'].includes(data.name) || isTextSet(data.name);

const isTextSet = (name: string): name is TextSetName => (textSetNames as readonly string[]).includes(name);

/** @throws ConfigError for a missing place; DataError and IoError of the readers. */
export async function loadTextParts(
  recipe: Recipe,
  { dataDir, classes, heads }: Pick<DataRequest, 'dataDir' | 'classes' | 'heads'>,
): Promise<TextParts> {
  const { data } = recipe;
  const dir = dataDir ?? data.dir;
  if (data.name === 'sets') return loadSets(recipe, dir);
  if (data.name === 'phrases') {
    const { train, test } = data.phrases ?? {};
    return { train: phrases({ split: 'train', size: train }), test: phrases({ split: 'test', size: test }) };
  }
  if (data.name === 'entities') {
    const { train, test } = data.entities ?? {};
    return asTexts({ train: entities({ split: 'train', size: train }), test: entities({ split: 'test', size: test }) });
  }
  if (data.name === 'tokens') return asTexts(await tokenParts(data, dir, classes, heads));
  if (isTextSet(data.name)) {
    if (dir === undefined)
      throw new ConfigError(
        'RECIPE_INVALID',
        `data.dir is missing: expected the folder with the files of ${data.name}`,
        {
          field: 'data.dir',
          hint: 'pass --data-dir DIR, or set data.dir',
        },
      );
    return loadTextSet(data.name, dir);
  }
  if (data.file === undefined)
    throw new ConfigError('RECIPE_INVALID', 'data.file is missing: expected a .csv, .tsv, .jsonl or .parquet file', {
      field: 'data.file',
    });
  const at = (file: string): string => (dir === undefined ? file : join(dir, file));
  if (data.labels)
    return tableParts(data, at, heads, (file, labels) =>
      readLabelledTexts(file, { ...tableOptions(data), labels }),
    ) as Promise<TextParts>;
  const options = tableOptions(data, classes);
  const train = await readTextDataset(at(data.file), options);
  // Other parts have the classes of the first, so that one without a class is not numbered anew.
  const rest: TextTableOptions = {
    ...options,
    // What is measured counts the same for every sample.
    weightColumn: undefined,
    classes: options.classes ?? classNames(train.schema),
  };
  const part = (file: string | undefined) => (file === undefined ? undefined : readTextDataset(at(file), rest));
  return { train, validation: await part(data.validationFile), test: await part(data.testFile) };
}

/** Files of tagged words. Other parts have the classes of the first. */
async function tokenParts(
  data: Recipe['data'],
  dir: string | undefined,
  classes: readonly string[] | undefined,
  heads: readonly HeadOptions[] | undefined,
): Promise<{ train: InMemoryTokenDataset; validation?: InMemoryTokenDataset; test?: InMemoryTokenDataset }> {
  if (data.file === undefined)
    throw new ConfigError('RECIPE_INVALID', 'data.file is missing: expected a .conll, .conllu or .jsonl file', {
      field: 'data.file',
    });
  const options = tokenOptions(data, classes ?? heads?.find(({ kind }) => kind === 'tags')?.names);
  const at = (file: string): string => (dir === undefined ? file : join(dir, file));
  const train = await readTokenDataset(at(data.file), options);
  const rest = { ...options, classes: options.classes ?? tagNames(train.schema) };
  const part = async (file: string | undefined) => (file === undefined ? undefined : readTokenDataset(at(file), rest));
  return { train, validation: await part(data.validationFile), test: await part(data.testFile) };
}

/** How a file of tagged words is read, from the recipe. */
export function tokenOptions(data: Recipe['data'], classes?: readonly string[]): TokenDatasetOptions {
  const { tokenColumn, tagColumn, encoding, format } = data;
  const known = tokenFormats.find((name) => name === format);
  if (format !== undefined && known === undefined)
    throw new ConfigError('RECIPE_INVALID', `data.format: tagged words do not come as ${format}`, {
      field: 'data.format',
      expected: tokenFormats,
      got: format,
    });
  return { tokenColumn, tagColumn, encoding, format: known, classes: data.classes ?? classes };
}

const tagNames = ({ labels: { tags } }: Schema): readonly string[] => (tags?.kind === 'tags' ? tags.names : []);

// A run does not look at its samples: what reads them goes by the schema.
const asTexts = (parts: object): TextParts => parts as TextParts;

/** How a table is read, from the recipe. */
export function tableOptions(data: Recipe['data'], classes?: readonly string[]): TextTableOptions {
  const { textColumn, pairColumn, labelColumn, weightColumn, delimiter, quote, encoding, header, emptyText, format } =
    data;
  return {
    textColumn,
    pairColumn,
    labelColumn,
    weightColumn,
    delimiter,
    quote,
    encoding,
    header,
    emptyText,
    format: tableFormat(format),
    classes: data.classes ?? classes,
  };
}

/** The recipe's tokenizer: read, or learned from the training texts alone. */
export async function textInputsOf(recipe: Recipe, train: Texts): Promise<TextCollateOptions> {
  const { tokenizer: wanted = {}, maxLength, padToMultipleOf, task } = recipe;
  const tokenizer = await tokenizerOf(wanted, train, task === 'causal-lm');
  return { tokenizer, maxLength, padToMultipleOf };
}

async function tokenizerOf(
  options: NonNullable<Recipe['tokenizer']>,
  train: Texts,
  causal: boolean,
): Promise<Tokenizer> {
  const { path, train: kind = 'wordpiece', vocabSize = 8000, minFrequency, lowercase, chineseCharacters } = options;
  if (path !== undefined) return loadTokenizer(path, { lowercase, chineseCharacters });
  if (kind === 'char') {
    if (chineseCharacters !== undefined)
      throw new ConfigError('RECIPE_INVALID', 'tokenizer.chineseCharacters does not fit train: char', {
        field: 'tokenizer.chineseCharacters',
        got: chineseCharacters,
        hint: 'leave it out: every character is a token of its own',
      });
    const specialTokens = causal ? causalSpecialTokens : bertSpecialTokens;
    return trainCharacters(corpus(train), { vocabSize, minFrequency, lowercase, specialTokens });
  }
  const learn = { vocabSize, minFrequency, lowercase, chineseCharacters };
  return kind === 'bpe'
    ? trainBpe(corpus(train), { ...learn, specialTokens: ['<pad>', '<|endoftext|>'] })
    : trainWordPiece(corpus(train), learn);
}

async function* corpus(train: Texts): AsyncGenerator<string, void, void> {
  for await (const sample of samplesOf(train)) {
    if ('tokens' in sample) {
      yield (sample as unknown as TokenSample).tokens.join(' ');
      continue;
    }
    const { text, pair } = sample;
    yield text;
    if (pair !== undefined) yield pair;
  }
}
