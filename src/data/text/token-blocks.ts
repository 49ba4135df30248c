/**
 * Texts without labels as rows of tokens of one length, for language models. Texts run on from row to row, so nothing is
 * padded; what is left at the end, less than a row, is not used.
 */
import { ArgumentError, DataError, printable } from '../../base/errors.ts';
import type { Dataset } from '../dataset.ts';
import type { IterableDataset } from '../iterable.ts';
import type { Tokenizer } from './tokenizer.ts';
import type { Corpus } from './word-counts.ts';

export interface PackOptions {
  readonly tokenizer: Tokenizer;
  /** Tokens of a row, special ones included. */
  readonly length: number;
  /** `bert`: every row begins with [CLS], every text ends with [SEP]. `gpt`: texts end with the tokenizer's end token. */
  readonly style: 'bert' | 'gpt';
}

/**
 * Rows of exactly `length` tokens, in the order of the texts; memory holds one row and one text.
 * @throws ArgumentError OPTION_INVALID for a length without room; DataError TOKENIZER_SPECIAL for a tokenizer without the
 * special tokens of the style.
 */
export async function* packTexts(texts: Corpus, options: PackOptions): AsyncGenerator<Int32Array, void, void> {
  const { tokenizer, length, style } = options;
  const first = style === 'bert' ? [tokenizer.specialId('cls')] : [];
  const end = tokenizer.specialId(style === 'bert' ? 'sep' : 'eos');
  const least = first.length + 2;
  if (!Number.isInteger(length) || length < least)
    throw new ArgumentError('OPTION_INVALID', `length: expected a whole number >= ${least}, found ${length}`, {
      field: 'length',
      expected: `>= ${least}`,
      got: length,
    });
  let row = new Int32Array(length);
  row.set(first);
  let filled = first.length;
  for await (const text of texts) {
    const ids = tokenizer.ids(text);
    for (let i = 0; i <= ids.length; i++) {
      // A row never begins with the end of the text before it.
      if (i === ids.length && filled === first.length) break;
      row[filled++] = i < ids.length ? (ids[i] as number) : end;
      if (filled < length) continue;
      yield row;
      row = new Int32Array(length);
      row.set(first);
      filled = first.length;
    }
  }
}

/** Rows in memory: one array. As a data set each sample is the text of its row. */
export class TokenBlocks implements Dataset<{ readonly text: string }> {
  readonly name: string;
  readonly schema = { features: { text: { kind: 'text' } }, labels: {} } as const;
  readonly length: number;
  readonly blockLength: number;
  readonly tokenizer: Tokenizer;
  readonly #tokens: Int32Array;

  constructor(name: string, tokens: Int32Array, blockLength: number, tokenizer: Tokenizer) {
    this.name = name;
    this.length = Math.floor(tokens.length / blockLength);
    this.blockLength = blockLength;
    this.tokenizer = tokenizer;
    this.#tokens = tokens;
  }

  /** Packs texts into memory. @throws DataError DATASET_EMPTY for less than a row of them, DATASET_TOO_LARGE. */
  static async from(texts: Corpus, options: PackOptions & { name?: string; maxTokens?: number }): Promise<TokenBlocks> {
    const { name = 'texts', maxTokens = 2 ** 29, length, tokenizer } = options;
    const rows: Int32Array[] = [];
    for await (const row of packTexts(texts, options)) {
      rows.push(row);
      if (rows.length * length > maxTokens)
        throw new DataError('DATASET_TOO_LARGE', `${printable(name)} has more than ${maxTokens} tokens`, {
          expected: maxTokens,
          hint: 'read it as a stream: unlabelledTexts',
        });
    }
    if (rows.length === 0) blocksEmpty(name, length);
    const tokens = new Int32Array(rows.length * length);
    rows.forEach((row, i) => {
      tokens.set(row, i * length);
    });
    return new TokenBlocks(name, tokens, length, tokenizer);
  }

  /** Row `index`, a view. */
  block(index: number): Int32Array {
    if (!Number.isInteger(index) || index < 0 || index >= this.length)
      throw new ArgumentError('INDEX_OUTSIDE', `${this.name}: there is no row ${index} among ${this.length}`, {
        expected: `0..${this.length - 1}`,
        got: index,
      });
    return this.#tokens.subarray(index * this.blockLength, (index + 1) * this.blockLength);
  }

  get(index: number): { readonly text: string } {
    return { text: this.tokenizer.decode(this.block(index)) };
  }
}

export function blocksEmpty(name: string, length: number): never {
  throw new DataError('DATASET_EMPTY', `${printable(name)} has less than one row of ${length} tokens`, {
    expected: `at least ${length} tokens`,
    got: 0,
    hint: 'add texts, or make the rows shorter (maxLength)',
  });
}

/** A stream of texts as a stream of rows: read, tokenized and packed anew for every epoch. */
export interface BlockStream {
  readonly name: string;
  readonly length: number;
  readonly options: PackOptions;
  blocks(): AsyncGenerator<Int32Array, void, void>;
}

/** Counts the rows in one pass, so that an epoch has a length. @throws DataError DATASET_EMPTY; those of the reader. */
export async function streamBlocks(
  texts: IterableDataset<{ readonly text: string }>,
  options: PackOptions,
): Promise<BlockStream> {
  async function* strings(): AsyncGenerator<string, void, void> {
    for await (const { text } of texts.samples()) yield text;
  }
  const blocks = () => packTexts(strings(), options);
  let length = 0;
  for await (const _ of blocks()) length++;
  if (length === 0) blocksEmpty(texts.name, options.length);
  return { name: texts.name, length, options, blocks };
}
