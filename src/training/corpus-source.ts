/** From a recipe's `data.corpora` to texts without labels: training parts of sets, lines, columns or whole files. */
import { join } from 'node:path';
import { ConfigError } from '../base/errors.ts';
import {
  type Dataset,
  loadTextSet,
  plainTexts,
  readTextChunks,
  readTexts,
  StreamedTexts,
  splitDataset,
  type TextSample,
} from '../data/index.ts';
import type { Recipe } from './recipe.ts';

type Corpus = NonNullable<Recipe['data']['corpora']>[number];

/** Pieces a whole document is cut into, at line ends. */
const PIECE = 8192;

/** Characters that are kept in memory; more are read from their files each time. */
const CHARACTERS_IN_MEMORY = 2 ** 25;

/**
 * The texts of all corpora, in order; from `charactersInMemory` on they are read anew for every pass. What any set keeps for
 * validation or test is left out, wherever else it occurs.
 * @throws ConfigError for a missing place; DataError and IoError of the readers.
 */
export async function loadCorpora(
  recipe: Recipe,
  dir: string | undefined,
  notify?: (text: string) => void | Promise<void>,
  charactersInMemory = CHARACTERS_IN_MEMORY,
): Promise<Dataset<{ readonly text: string }>> {
  const { corpora = [] } = recipe.data;
  if (corpora.length === 0)
    throw new ConfigError('RECIPE_INVALID', 'data.corpora is missing: expected the texts to learn from', {
      field: 'data.corpora',
      hint: 'for example corpora: [{ file: lines.txt }, { set: sst2 }]',
    });
  const sources: (() => Iterable<string> | AsyncIterable<string>)[] = [];
  const held = new Set<string>();
  for (const [i, corpus] of corpora.entries()) {
    const { set, file } = corpus;
    if (set !== undefined) {
      const texts = await readSet(corpus, i, recipe, dir, held);
      sources.push(() => texts);
    } else if (file !== undefined) sources.push(() => readFile(corpus, dir === undefined ? file : join(dir, file)));
    else
      throw new ConfigError('RECIPE_INVALID', `data.corpora[${i}]: expected set or file`, {
        field: `data.corpora[${i}]`,
        got: corpus,
      });
  }
  // Every set has said by now what it holds back.
  async function* read(): AsyncGenerator<string, void, void> {
    for (const source of sources) for await (const text of source()) if (!held.has(text.trim())) yield text;
  }
  let texts: string[] | undefined = [];
  let [all, kept, characters] = [0, 0, 0];
  for (const source of sources)
    for await (const text of source()) {
      all++;
      if (held.has(text.trim())) continue;
      kept++;
      characters += text.length;
      if (characters > charactersInMemory) texts = undefined;
      texts?.push(text);
    }
  if (kept < all) await notify?.(`${all - kept} text(s) are left out: they occur in a validation or test part`);
  return texts ? plainTexts(texts, recipe.name) : new StreamedTexts(recipe.name, kept, read);
}

async function readSet(
  { set, validation = 0, test = 0, seed }: Corpus,
  i: number,
  recipe: Recipe,
  dir: string | undefined,
  held: Set<string>,
): Promise<string[]> {
  if (dir === undefined)
    throw new ConfigError('RECIPE_INVALID', `data.dir is missing: expected the folder with the files of ${set}`, {
      field: 'data.dir',
      hint: 'pass --data-dir DIR, or set data.dir',
    });
  const parts = await loadTextSet(set as NonNullable<typeof set>, dir);
  // As a recipe of that set splits it, so that what it will be measured on is not learned here.
  const wanted: Record<string, number> = {
    ...(parts.validation || validation === 0 ? {} : { validation }),
    ...(parts.test || test === 0 ? {} : { test }),
  };
  if (!parts.test && test === 0)
    throw new ConfigError('RECIPE_INVALID', `data.corpora[${i}].test is missing: ${set} has no test part of its own`, {
      field: `data.corpora[${i}].test`,
      hint: 'say what the recipe that is fine-tuned later says: validation, test and seed',
    });
  const split: Record<string, Dataset<TextSample>> = Object.keys(wanted).length === 0
    ? {}
    : await splitDataset<TextSample, string>(parts.train, { train: 'rest', ...wanted }, { seed: seed ?? recipe.seed });
  const train = split.train ?? parts.train;
  const texts: string[] = [];
  for (let row = 0; row < train.length; row++) texts.push((await train.get(row)).text);
  for (const part of [split.validation, split.test, parts.validation, parts.test])
    for (let row = 0; part && row < part.length; row++) held.add((await part.get(row)).text.trim());
  return texts;
}

async function* readFile(corpus: Corpus, file: string): AsyncGenerator<string, void, void> {
  const { textColumn, document, delimiter, quote, encoding, header, format } = corpus;
  if (document) return yield* pieces(file, encoding);
  const lines = textColumn === undefined && /\.txt(\.gz)?$/i.test(file);
  // No line of a plain text has columns.
  yield* readTexts(file, {
    ...(lines
      ? { textColumn: 0, delimiter: '\u0001', quote: null, maxField: 2 ** 22 }
      : { textColumn, delimiter, quote, header, format }),
    encoding,
  });
}

async function* pieces(file: string, encoding: string | undefined): AsyncGenerator<string, void, void> {
  let rest = '';
  for await (const chunk of readTextChunks(file, { encoding })) {
    rest += chunk;
    while (rest.length > PIECE) {
      const line = rest.lastIndexOf('\n', PIECE);
      const end = line > 0 ? line + 1 : PIECE;
      yield rest.slice(0, end);
      rest = rest.slice(end);
    }
  }
  if (rest.trim() !== '') yield rest;
}
