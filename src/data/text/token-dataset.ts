/** Texts in words with a class for each word: CoNLL files (a word and its tag a line) and JSON Lines (arrays of both). */
import { basename } from 'node:path';
import { ConfigError, DataError, nearest, printable } from '../../base/errors.ts';
import type { Json } from '../../io/json.ts';
import type { Dataset } from '../dataset.ts';
import { readJsonLines } from '../formats/jsonl.ts';
import { readTextChunks, type TextFileOptions } from '../formats/text-chunks.ts';
import { indexOutside } from '../index-outside.ts';
import { type ClassNames, labelReader, sortedNames } from '../label-reader.ts';
import type { Schema } from '../schema.ts';
import type { Column } from './table.ts';

export interface TokenSample {
  readonly tokens: readonly string[];
  /** A class for each token. */
  readonly tags: Int32Array;
}

/** The schema of a text in words and the classes of these. */
export const tokenTagSchema = (names: readonly string[]): Schema => ({
  features: { tokens: { kind: 'words' } },
  labels: { tags: { kind: 'tags', names: [...names] } },
});

export const tokenFormats = ['conll', 'conllu', 'jsonl'] as const;
export type TokenFormat = (typeof tokenFormats)[number];

export interface TokenFileOptions extends TextFileOptions {
  /** By the file's name unless told: .jsonl, .ndjson and .json are JSON Lines, .conllu is CoNLL-U, any other CoNLL. */
  readonly format?: TokenFormat | undefined;
  /** A position from 0, negative from the end; of JSON Lines a key. 0 (CoNLL-U: 1, FORM), or `tokens`, unless told. */
  readonly tokenColumn?: Column | undefined;
  /** The last column (CoNLL-U: 3, UPOS), or `tags`, unless told. */
  readonly tagColumn?: Column | undefined;
}

export interface TokenDatasetOptions extends TokenFileOptions {
  /** Those found, sorted, unless told; by the values of the file where these are numbers: `{ "0": "O", "1": "B-PER" }`. */
  readonly classes?: ClassNames | undefined;
  readonly name?: string;
}

/** Sentences in memory. */
export class InMemoryTokenDataset implements Dataset<TokenSample> {
  readonly name: string;
  readonly length: number;
  readonly schema: Schema;
  readonly sentences: readonly TokenSample[];
  readonly #origin: { readonly file: string; readonly lines: Int32Array } | undefined;

  /** @throws DataError DATASET_SIZE for a sentence with other numbers of tokens and tags, LABEL_OUTSIDE for a tag that is no class. */
  constructor(options: {
    name: string;
    sentences: readonly TokenSample[];
    classes: readonly string[];
    /** Where they came from, for messages. */
    origin?: { readonly file: string; readonly lines: Int32Array };
  }) {
    const { name, sentences, classes, origin } = options;
    for (const [sample, { tokens, tags }] of sentences.entries()) {
      if (tokens.length !== tags.length || tokens.length === 0)
        throw new DataError(
          'DATASET_SIZE',
          `${name}: sample ${sample} has ${tokens.length} tokens, ${tags.length} tags`,
          {
            sample,
            expected: Math.max(1, tokens.length),
            got: tags.length,
          },
        );
      const bad = tags.find((tag) => tag < 0 || tag >= classes.length);
      if (bad !== undefined)
        throw new DataError('LABEL_OUTSIDE', `${name}: sample ${sample} has tag ${bad}, outside the classes`, {
          sample,
          expected: `0..${classes.length - 1}`,
          got: bad,
        });
    }
    this.name = name;
    this.length = sentences.length;
    this.schema = tokenTagSchema(classes);
    this.sentences = sentences;
    this.#origin = origin;
  }

  get(index: number): TokenSample {
    const sample = this.sentences[index];
    if (sample) return sample;
    indexOutside(this.name, index, this.length);
  }

  targets(index: number): { readonly tags: Int32Array } {
    return { tags: this.get(index).tags };
  }

  describe(index: number): string {
    const line = this.#origin?.lines[index];
    return line === undefined ? `${this.name} sample ${index}` : `${this.#origin?.file} line ${line}`;
  }
}

/**
 * A file of tagged words. CoNLL: columns apart by tabs, or by blanks where a line has no tab; a blank line ends a sentence,
 * `-DOCSTART-` lines are passed over; of CoNLL-U also comments, and numbers of several words or of empty ones.
 * @throws DataError with file and line: COLUMN_MISSING, COLUMN_TYPE, TOKEN_MISSING, LABEL_MISSING, LABEL_UNKNOWN, TAGS_LENGTH,
 * CLASSES_TOO_FEW, DATASET_EMPTY, and those of the formats; ConfigError COLUMN_INVALID; IoError.
 */
export async function readTokenDataset(
  file: string,
  { classes, name = basename(file), ...options }: TokenDatasetOptions = {},
): Promise<InMemoryTokenDataset> {
  const rows: TaggedWords[] = [];
  for await (const row of readTaggedWords(file, options)) rows.push(row);
  if (rows.length === 0) throw new DataError('DATASET_EMPTY', `${printable(file)} has no sentences`, { file, got: 0 });
  const known = labelReader(classes ?? sortedNames(rows.flatMap(({ tags }) => tags)), file);
  if (known.names.length < 2)
    throw new DataError('CLASSES_TOO_FEW', `${printable(file)}: every token is tagged ${printable(known.names[0])}`, {
      file,
      expected: 'at least two classes',
      got: known.names,
      hint: 'is tagColumn the right column?',
    });
  return new InMemoryTokenDataset({
    name,
    classes: known.names,
    sentences: rows.map(({ tokens, tags, lines }) => ({
      tokens,
      tags: Int32Array.from(tags, (tag, i) => known.index(tag, lines[i] as number)),
    })),
    origin: { file, lines: Int32Array.from(rows, ({ lines }) => lines[0] as number) },
  });
}

/** The words of a file alone, sentence by sentence; where they have tags, these are not looked at. */
export async function* readTokens(
  file: string,
  options: TokenFileOptions = {},
): AsyncGenerator<readonly string[], void> {
  for await (const { tokens } of readTaggedWords(file, options, false)) yield tokens;
}

interface TaggedWords {
  readonly tokens: string[];
  readonly tags: string[];
  /** Of each token, from 1. */
  readonly lines: number[];
}

export function tokenFormatOf(file: string): TokenFormat {
  const name = file.toLowerCase().replace(/\.gz$/, '');
  if (/\.(jsonl|ndjson|json)$/.test(name)) return 'jsonl';
  return name.endsWith('.conllu') ? 'conllu' : 'conll';
}

function readTaggedWords(file: string, options: TokenFileOptions, tagged = true): AsyncGenerator<TaggedWords, void> {
  const format = options.format ?? tokenFormatOf(file);
  return format === 'jsonl' ? readArrays(file, options, tagged) : readConll(file, format, options, tagged);
}

async function* readConll(
  file: string,
  format: 'conll' | 'conllu',
  options: TokenFileOptions,
  tagged: boolean,
): AsyncGenerator<TaggedWords, void> {
  const isU = format === 'conllu';
  const { tokenColumn = isU ? 1 : 0, tagColumn = isU ? 3 : -1 } = options;
  for (const [field, column] of Object.entries({ tokenColumn, tagColumn }))
    if (!Number.isInteger(column))
      throw new ConfigError('COLUMN_INVALID', `columns of ${format} files have positions, found ${printable(column)}`, {
        field,
        expected: 'a whole number, negative from the end',
        got: column,
      });
  let own: TaggedWords = { tokens: [], tags: [], lines: [] };
  for await (const { text, line } of readLines(file, options)) {
    if (/^[ \t]*$/.test(text)) {
      if (own.tokens.length > 0) yield own;
      own = { tokens: [], tags: [], lines: [] };
      continue;
    }
    if (/^-DOCSTART-([ \t]|$)/.test(text) || (isU && /^(#|\d+[-.]\d+\t)/.test(text))) continue;
    // A word itself may be another white space, such as the wide one of Chinese.
    const cells = text.includes('\t') ? text.split('\t') : text.trimEnd().split(/ +/);
    const cell = (column: number): string => {
      const found = cells.at(column);
      // One column is no tag, whichever end it is counted from.
      if (found !== undefined && !(tagged && cells.length < 2)) return found;
      throw new DataError('COLUMN_MISSING', `${printable(file)}: line ${line} has ${cells.length} columns`, {
        file,
        line,
        expected: `columns ${tokenColumn} and ${tagColumn}`,
        got: cells.slice(0, 20),
        hint: 'a word and its tag on each line, apart by a tab or blanks; a blank line between sentences',
      });
    };
    const [token, tag] = [cell(tokenColumn as number), tagged ? cell(tagColumn as number) : ''];
    if (token === '') tokenMissing(file, line, tokenColumn);
    if (tagged && tag.trim() === '') tagMissing(file, line, tagColumn);
    own.tokens.push(token);
    own.tags.push(tag.trim());
    own.lines.push(line);
  }
  if (own.tokens.length > 0) yield own;
}

async function* readLines(
  file: string,
  options: TextFileOptions,
): AsyncGenerator<{ text: string; line: number }, void> {
  let rest = '';
  let line = 0;
  for await (const chunk of readTextChunks(file, options)) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() as string;
    for (const text of lines) yield { text: text.replace(/\r$/, ''), line: ++line };
  }
  if (rest !== '') yield { text: rest.replace(/\r$/, ''), line: line + 1 };
}

async function* readArrays(
  file: string,
  options: TokenFileOptions,
  tagged: boolean,
): AsyncGenerator<TaggedWords, void> {
  const { tokenColumn = 'tokens', tagColumn = 'tags' } = options;
  for (const [field, column] of Object.entries({ tokenColumn, tagColumn }))
    if (typeof column !== 'string')
      throw new ConfigError('COLUMN_INVALID', `columns of jsonl files have names, found ${column}`, {
        field,
        got: column,
      });
  for await (const { object, line } of readJsonLines(file, options)) {
    const tokens = listOf(object, tokenColumn as string, file, line);
    const tags = tagged ? listOf(object, tagColumn as string, file, line) : tokens;
    const empty = tokens.indexOf('');
    if (tokens.length === 0 || empty >= 0) tokenMissing(file, line, tokenColumn);
    if (tags.length !== tokens.length)
      throw new DataError(
        'TAGS_LENGTH',
        `${printable(file)}: line ${line}: ${tokens.length} tokens and ${tags.length} tags`,
        { file, line, field: String(tagColumn), expected: tokens.length, got: tags.length },
      );
    if (tags.some((tag) => tag.trim() === '')) tagMissing(file, line, tagColumn);
    yield { tokens, tags: tags.map((tag) => tag.trim()), lines: tokens.map(() => line) };
  }
}

function listOf(object: { readonly [key: string]: Json }, key: string, file: string, line: number): string[] {
  const value = Object.hasOwn(object, key) ? object[key] : undefined;
  if (Array.isArray(value) && value.every((v) => typeof v === 'string' || typeof v === 'number'))
    return value.map(String);
  const keys = Object.keys(object);
  const near = value === undefined ? nearest(key, keys) : undefined;
  throw new DataError(
    value === undefined ? 'COLUMN_MISSING' : 'COLUMN_TYPE',
    `${printable(file)}: line ${line}: ${value === undefined ? 'there is no key' : 'expected an array of texts at'} ${printable(key)}`,
    {
      file,
      line,
      field: key,
      expected: 'an array of texts',
      got: value === undefined ? keys.slice(0, 100) : typeof value,
      ...(near !== undefined && { hint: `did you mean ${near}?` }),
    },
  );
}

function tokenMissing(file: string, line: number, column: Column): never {
  throw new DataError('TOKEN_MISSING', `${printable(file)}: line ${line} has no token in ${printable(column)}`, {
    file,
    line,
    field: String(column),
    expected: 'a token',
  });
}

function tagMissing(file: string, line: number, column: Column): never {
  throw new DataError('LABEL_MISSING', `${printable(file)}: line ${line} has no tag in ${printable(column)}`, {
    file,
    line,
    field: String(column),
    expected: 'a tag',
  });
}
