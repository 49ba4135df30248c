/** Texts of a data set to padded batches of tokens: encoded once, remembered by row. */
import { ArgumentError, printable, UnsupportedError } from '../../base/errors.ts';
import type { Schema } from '../schema.ts';
import { type Encoding, padEncodings, type TokenBatch } from './encoding.ts';
import type { Tokenizer } from './tokenizer.ts';

export interface TextCollateOptions {
  readonly tokenizer: Tokenizer;
  /** Longer texts are truncated; the tokenizer's own maximum unless told, else unlimited. */
  readonly maxLength?: number;
  /** Batches are padded to a multiple, so that few shapes are compiled; 8 unless told. */
  readonly padToMultipleOf?: number;
  /** Batches of texts of about one length. Default false. */
  readonly bucketed?: boolean;
}

/** What a batch holds in place of texts. */
export const tokenFields = ['inputIds', 'attentionMask', 'tokenTypeIds', 'words'] as const;
export type TokenField = Exclude<(typeof tokenFields)[number], 'words'>;

type TextFields = readonly [text: string, pair?: string];

export class TextCollator {
  readonly options: TextCollateOptions;
  readonly maxLength: number | undefined;
  /** The schema's text features: the first is the text, a second one its pair. */
  readonly fields: TextFields;
  /** Whether the one text comes in words. */
  readonly inWords: boolean;
  readonly #memory: (Encoding | undefined)[] = [];

  /** @throws UnsupportedError for more than two texts; ArgumentError for a length without room. */
  constructor(schema: Schema, options: TextCollateOptions) {
    const names = textFields(schema);
    if (names.length < 1 || names.length > 2)
      throw new UnsupportedError('TEXT_FIELDS', `a batch of tokens has one text or two, not ${names.length}`, {
        got: names,
      });
    this.inWords = names.some((name) => schema.features[name]?.kind === 'words');
    if (this.inWords && names.length > 1)
      throw new UnsupportedError('TEXT_FIELDS', 'a text in words has no second text', { got: names });
    const { tokenizer, maxLength = tokenizer.config.modelMaxLength, padToMultipleOf = 8 } = options;
    const least = tokenizer.specialCount(names.length === 2) + 1;
    if (maxLength !== undefined && (!Number.isInteger(maxLength) || maxLength < least))
      throw new ArgumentError('MAX_LENGTH', `maxLength ${maxLength} leaves no room beside the special tokens`, {
        field: 'maxLength',
        expected: `a whole number >= ${least}`,
        got: maxLength,
      });
    if (!Number.isInteger(padToMultipleOf) || padToMultipleOf < 1)
      throw new ArgumentError('OPTION_INVALID', `padToMultipleOf: expected a whole number above 0`, {
        field: 'padToMultipleOf',
        got: padToMultipleOf,
      });
    this.options = options;
    this.maxLength = maxLength;
    this.fields = names as unknown as TextFields;
  }

  /** The tokens of the sample in row `row`, or what is wrong with it. */
  encode(row: number, sample: Readonly<Record<string, unknown>>): Encoding | string {
    const known = this.#memory[row];
    if (known) return known;
    const [name, pairName] = this.fields;
    const [text, pair] = [sample[name], pairName === undefined ? undefined : sample[pairName]];
    if (this.inWords) {
      if (!isWords(text)) return `${printable(name)} is no list of words`;
      const encoded = this.options.tokenizer.encodeWords(text, { maxLength: this.maxLength });
      this.#memory[row] = encoded;
      return encoded;
    }
    if (typeof text !== 'string') return `${printable(name)} is no text`;
    if (pairName !== undefined && typeof pair !== 'string') return `${printable(pairName)} is no text`;
    const { maxLength } = this;
    const encoding = this.options.tokenizer.encode(text, { maxLength, ...(pairName && { pair: pair as string }) });
    this.#memory[row] = encoding;
    return encoding;
  }

  pad(encodings: readonly Encoding[]): TokenBatch {
    const { tokenizer, padToMultipleOf = 8 } = this.options;
    return padEncodings(encodings, {
      padId: tokenizer.padId,
      multipleOf: padToMultipleOf,
      most: this.maxLength,
      side: tokenizer.config.paddingSide,
    });
  }
}

const isWords = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.length > 0 && value.every((word) => typeof word === 'string');

/** Names of a schema's text features, in words or not, in order. */
export const textFields = (schema: Schema): string[] =>
  Object.entries(schema.features).flatMap(([name, { kind }]) => (kind === 'text' || kind === 'words' ? [name] : []));
