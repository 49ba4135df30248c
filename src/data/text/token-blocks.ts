/**
 * Texts without labels as rows of tokens of one length, for language models. Texts run on from row to row, so nothing is
 * padded; what is left at the end, less than a row, is not used.
 */
import { ArgumentError, DataError, printable } from '../../base/errors.ts';
import type { Dataset } from '../dataset.ts';
import { indexOutside } from '../index-outside.ts';
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

/** Rows of tokens by position, wherever they lie. */
export interface TokenRows {
  readonly name: string;
  /** How many there are. */
  readonly length: number;
  /** Tokens of each. */
  readonly blockLength: number;
  readonly tokenizer: Tokenizer;
  /** The rows at these positions; they must not be written to. */
  rows(positions: Int32Array): readonly Int32Array[] | Promise<readonly Int32Array[]>;
}

export type Tokens = Uint16Array | Uint32Array | Int32Array;

/** Two bytes a token where the vocabulary allows, else four. */
export const tokenArray = (vocabSize: number, length: number): Uint16Array | Uint32Array =>
  vocabSize <= 2 ** 16 ? new Uint16Array(length) : new Uint32Array(length);

const PIECE_TOKENS = 2 ** 20;

/** Rows as they come, in pieces: no list of rows, and no second copy of them, is ever in memory. */
export class RowBuffer {
  /** All full but the last. */
  readonly pieces: (Uint16Array | Uint32Array)[] = [];
  readonly rowsPerPiece: number;
  readonly #blockLength: number;
  readonly #vocabSize: number;
  #length = 0;

  constructor(blockLength: number, vocabSize: number) {
    this.#blockLength = blockLength;
    this.#vocabSize = vocabSize;
    this.rowsPerPiece = Math.max(1, Math.floor(PIECE_TOKENS / blockLength));
  }

  get length(): number {
    return this.#length;
  }

  add(row: Int32Array): void {
    const at = this.#length % this.rowsPerPiece;
    if (at === 0) this.pieces.push(tokenArray(this.#vocabSize, this.rowsPerPiece * this.#blockLength));
    (this.pieces.at(-1) as Uint16Array).set(row, at * this.#blockLength);
    this.#length++;
  }

  /** Gives up what is held, in order, e.g. to be written; rows added later follow. */
  *take(): Generator<Uint16Array | Uint32Array, void, void> {
    const rest = this.#length % this.rowsPerPiece;
    const pieces = this.pieces.splice(0);
    this.#length = 0;
    for (const [i, piece] of pieces.entries())
      yield i === pieces.length - 1 && rest > 0 ? piece.subarray(0, rest * this.#blockLength) : piece;
  }
}

/** Rows in memory. As a data set each sample is the text of its row. */
export class TokenBlocks implements Dataset<{ readonly text: string }>, TokenRows {
  readonly name: string;
  readonly schema = { features: { text: { kind: 'text' } }, labels: {} } as const;
  readonly length: number;
  readonly blockLength: number;
  readonly tokenizer: Tokenizer;
  readonly #pieces: readonly Tokens[];
  readonly #rowsPerPiece: number;

  constructor(name: string, tokens: Int32Array | RowBuffer, blockLength: number, tokenizer: Tokenizer) {
    const whole = tokens instanceof Int32Array;
    this.name = name;
    this.length = whole ? Math.floor(tokens.length / blockLength) : tokens.length;
    this.blockLength = blockLength;
    this.tokenizer = tokenizer;
    this.#pieces = whole ? [tokens] : tokens.pieces;
    this.#rowsPerPiece = whole ? Math.max(1, this.length) : tokens.rowsPerPiece;
  }

  /** Packs texts into memory. @throws DataError DATASET_EMPTY for less than a row of them, DATASET_TOO_LARGE. */
  static async from(texts: Corpus, options: PackOptions & { name?: string; maxTokens?: number }): Promise<TokenBlocks> {
    const { name = 'texts', maxTokens = 2 ** 29, length, tokenizer } = options;
    const buffer = new RowBuffer(length, tokenizer.vocabSize);
    for await (const row of packTexts(texts, options)) {
      buffer.add(row);
      if (buffer.length * length > maxTokens) tooManyTokens(name, maxTokens);
    }
    if (buffer.length === 0) blocksEmpty(name, length);
    return new TokenBlocks(name, buffer, length, tokenizer);
  }

  /** Row `index`. */
  block(index: number): Int32Array {
    if (!Number.isInteger(index) || index < 0 || index >= this.length)
      indexOutside(this.name, index, this.length, 'row');
    const piece = this.#pieces[Math.floor(index / this.#rowsPerPiece)] as Tokens;
    const at = (index % this.#rowsPerPiece) * this.blockLength;
    const row = piece.subarray(at, at + this.blockLength);
    return row instanceof Int32Array ? row : Int32Array.from(row);
  }

  rows(positions: Int32Array): Int32Array[] {
    return Array.from(positions, (index) => this.block(index));
  }

  get(index: number): { readonly text: string } {
    return { text: this.tokenizer.decode(this.block(index)) };
  }
}

const WITH_A_FILE = 'pretrain({ data: { train } }) keeps in a file what does not fit into memory';

export function tooManyTokens(name: string, most: number, hint = WITH_A_FILE): never {
  throw new DataError('DATASET_TOO_LARGE', `${printable(name)} has more than ${most} tokens`, { expected: most, hint });
}

export function blocksEmpty(name: string, length: number): never {
  throw new DataError('DATASET_EMPTY', `${printable(name)} has less than one row of ${length} tokens`, {
    expected: `at least ${length} tokens`,
    got: 0,
    hint: 'add texts, or make the rows shorter (maxLength)',
  });
}
