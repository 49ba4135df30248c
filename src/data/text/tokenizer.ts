/**
 * Text to token ids and back, by a tokenizer.json (Hugging Face's format: WordPiece, byte-level and other BPE, Unigram).
 * @huggingface/tokenizers reads the format and runs most of it; the two commonest pipelines, BERT's and GPT-2's, run in
 * pipelines.ts, several times faster.
 */
import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import { ArgumentError, DataError, escapeControls, printable } from '../../base/errors.ts';
import type { Json } from '../../io/json.ts';
import { type Encoding, padEncodings, type TokenBatch } from './encoding.ts';
import { bertSplit, byteLevelSplit, characterSplit, type Split } from './pipelines.ts';
import { findSpecialTokens, type SpecialRole, type SpecialTokens, type TokenizerConfig } from './special-tokens.ts';
import { checkTokenizerJson, type JsonObject, type TokenizerFile } from './tokenizer-json.ts';

export interface EncodeOptions {
  /** A second text: question and answer, premise and hypothesis. */
  readonly pair?: string;
  /** [CLS] and [SEP], or what the tokenizer's template has. Default true. */
  readonly addSpecialTokens?: boolean;
  /** At most so many tokens, special ones included; the rest is cut off. Unlimited unless told. */
  readonly maxLength?: number;
  /** What is cut: the longer text first (default), or one of the two only. */
  readonly truncation?: 'longestFirst' | 'onlyFirst' | 'onlySecond';
}

export interface EncodeBatchOptions extends Omit<EncodeOptions, 'pair'> {
  /** Second texts, one for each. */
  readonly pairs?: readonly string[];
  /** To the longest of the batch (default), or to `maxLength`. */
  readonly padding?: 'longest' | 'maxLength';
  readonly padToMultipleOf?: number;
  readonly paddingSide?: 'right' | 'left';
}

export interface TokenizerOptions {
  /** For messages. */
  readonly file?: string;
  readonly config?: TokenizerConfig;
}

/** Special tokens around the texts, as ids with their types. */
interface Frame {
  readonly before: readonly Framed[];
  readonly between: readonly Framed[];
  readonly after: readonly Framed[];
  readonly types: readonly [number, number];
}
interface Framed {
  readonly id: number;
  readonly type: number;
}

export class Tokenizer {
  /** tokenizer.json as it was read. */
  readonly json: JsonObject;
  readonly kind: 'WordPiece' | 'BPE' | 'Unigram';
  /** Highest id + 1: the rows an embedding must have at least. */
  readonly vocabSize: number;
  readonly specialTokens: SpecialTokens;
  /** Ids that `decode` skips and masked language modelling leaves alone. */
  readonly specialIds: ReadonlySet<number>;
  readonly config: TokenizerConfig;
  readonly #library: LibraryTokenizer;
  readonly #vocab: ReadonlyMap<string, number>;
  readonly #tokens: readonly (string | undefined)[];
  readonly #split: Split;
  readonly #frames: { readonly single: Frame; readonly pair: Frame };
  readonly #plain: { readonly single: Frame; readonly pair: Frame };

  /** @throws DataError TOKENIZER_INVALID. */
  constructor(json: Json, { file, config = { tokens: {} } }: TokenizerOptions = {}) {
    const checked = checkTokenizerJson(json, file);
    this.json = checked.json;
    this.kind = checked.kind;
    this.config = config;
    this.#vocab = checked.vocab;
    const tokens: (string | undefined)[] = [];
    for (const [token, id] of checked.vocab) tokens[id] = token;
    this.#tokens = tokens;
    this.vocabSize = tokens.length;
    this.specialTokens = findSpecialTokens(checked.vocab, config.tokens, checked.unkToken);
    this.specialIds = new Set([
      ...checked.added.filter(({ special }) => special).map(({ id }) => id),
      ...Object.values(this.specialTokens).map(({ id }) => id),
    ]);
    try {
      this.#library = makeLibraryTokenizer(checked);
      this.#frames = { single: this.#frame(false, true), pair: this.#frame(true, true) };
      this.#plain = { single: this.#frame(false, false), pair: this.#frame(true, false) };
      const library = this.#librarySplit();
      this.#split = bertSplit(checked) ?? characterSplit(checked) ?? byteLevelSplit(checked, library) ?? library;
      // Anything the library cannot do shows here, not in the middle of a data set.
      this.#split('a Z0.\u00e9 \u4e2d');
    } catch (cause) {
      if (cause instanceof DataError) throw cause;
      const message = escapeControls((cause as Error).message.slice(0, 300));
      throw new DataError('TOKENIZER_INVALID', `${printable(file ?? 'tokenizer.json')} cannot be used: ${message}`, {
        file,
        cause,
      });
    }
  }

  tokenToId(token: string): number | undefined {
    return this.#vocab.get(token);
  }

  idToToken(id: number): string | undefined {
    return this.#tokens[id];
  }

  /** Tokens of the vocabulary with their ids. */
  get vocab(): ReadonlyMap<string, number> {
    return this.#vocab;
  }

  /** The id of a special token. @throws DataError SPECIAL_TOKEN_MISSING. */
  specialId(role: SpecialRole): number {
    const found = this.specialTokens[role];
    if (found) return found.id;
    throw new DataError('SPECIAL_TOKEN_MISSING', `the tokenizer has no ${role} token`, {
      field: `${role}_token`,
      hint: `name one of its tokens as ${role}_token in tokenizer_config.json`,
    });
  }

  /** What batches are padded with: the pad token, else the end token, which the mask hides. */
  get padId(): number {
    return (this.specialTokens.pad ?? this.specialTokens.eos ?? this.specialTokens.unk)?.id ?? 0;
  }

  /** The tokens of a text, without special ones. */
  tokenize(text: string): string[] {
    return Array.from(this.#split(text), (id) => this.#tokens[id] as string);
  }

  /** The ids of a text alone, without special tokens or limits. */
  ids(text: string): readonly number[] {
    if (typeof text !== 'string')
      throw new ArgumentError('TEXT_EXPECTED', `a tokenizer takes texts, got ${printable(text)}`, { got: typeof text });
    return this.#split(text);
  }

  /** How many special tokens a text (or pair) gets. */
  specialCount(pair = false): number {
    const { before, between, after } = this.#frames[pair ? 'pair' : 'single'];
    return before.length + between.length + after.length;
  }

  /** One text or pair. @throws ArgumentError for a `maxLength` with no room for a token. */
  encode(text: string, options: EncodeOptions = {}): Encoding {
    const { pair } = options;
    return this.#framed(this.ids(text), pair === undefined ? undefined : this.ids(pair), options);
  }

  /**
   * One text in words, each tokenized for itself, so that pieces know their word. @throws ArgumentError for a `maxLength` with
   * no room for a token.
   */
  encodeWords(words: readonly string[], options: Omit<EncodeOptions, 'pair' | 'truncation'> = {}): Encoding {
    const ids: number[] = [];
    const firsts: number[] = [];
    for (const [i, word] of words.entries())
      for (const [piece, id] of this.ids(word).entries()) {
        ids.push(id);
        firsts.push(piece === 0 ? i : -1);
      }
    const encoding = this.#framed(ids, undefined, options);
    const { before } = (options.addSpecialTokens === false ? this.#plain : this.#frames).single;
    const own = new Int32Array(encoding.inputIds.length).fill(-1);
    own.set(firsts.slice(0, ids.length - encoding.truncated), before.length);
    return { ...encoding, words: own };
  }

  #framed(first: readonly number[], pair: readonly number[] | undefined, options: EncodeOptions): Encoding {
    const { addSpecialTokens = true, maxLength, truncation = 'longestFirst' } = options;
    const frame = (addSpecialTokens ? this.#frames : this.#plain)[pair === undefined ? 'single' : 'pair'];
    const second = pair ?? [];
    const extra = frame.before.length + frame.between.length + frame.after.length;
    const [a, b] = kept(first.length, second.length, extra, maxLength, truncation);
    const inputIds = new Int32Array(a + b + extra);
    const tokenTypeIds = new Int32Array(a + b + extra);
    let at = 0;
    const special = (list: readonly Framed[]): void => {
      for (const { id, type } of list) {
        inputIds[at] = id;
        tokenTypeIds[at++] = type;
      }
    };
    const copy = (ids: readonly number[], count: number, type: number): void => {
      tokenTypeIds.fill(type, at, at + count);
      for (let i = 0; i < count; i++) inputIds[at++] = ids[i] as number;
    };
    special(frame.before);
    copy(first, a, frame.types[0]);
    special(frame.between);
    copy(second, b, frame.types[1]);
    special(frame.after);
    return { inputIds, tokenTypeIds, truncated: first.length + second.length - a - b };
  }

  /** Texts as one padded batch: i32 (B, T). */
  encodeBatch(texts: readonly string[], options: EncodeBatchOptions = {}): TokenBatch {
    const { pairs, padding = 'longest', padToMultipleOf, paddingSide, ...each } = options;
    if (pairs && pairs.length !== texts.length)
      throw new ArgumentError('PAIRS_LENGTH', `${texts.length} texts and ${pairs.length} pairs`, {
        field: 'pairs',
        expected: texts.length,
        got: pairs.length,
      });
    if (padding === 'maxLength' && each.maxLength === undefined)
      throw new ArgumentError('OPTION_INVALID', 'padding to maxLength needs maxLength', { field: 'maxLength' });
    const encodings = texts.map((text, i) => this.encode(text, pairs ? { ...each, pair: pairs[i] } : each));
    return padEncodings(encodings, {
      padId: this.padId,
      multipleOf: padToMultipleOf,
      side: paddingSide ?? this.config.paddingSide,
      ...(padding === 'maxLength' && { length: each.maxLength }),
    });
  }

  /** Text of ids. @throws ArgumentError for an id the vocabulary does not have. */
  decode(ids: ArrayLike<number>, { skipSpecialTokens = true } = {}): string {
    const list: number[] = [];
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i] as number;
      if (this.#tokens[id] === undefined)
        throw new ArgumentError('TOKEN_ID_OUTSIDE', `there is no token ${id} in a vocabulary of ${this.vocabSize}`, {
          expected: `0..${this.vocabSize - 1}`,
          got: id,
        });
      if (!skipSpecialTokens || !this.specialIds.has(id)) list.push(id);
    }
    return list.length === 0 ? '' : this.#library.decode(list, { clean_up_tokenization_spaces: false });
  }

  /**
   * Refuses a model whose embedding has too few rows: ids beyond them would read foreign memory or fail inside the step.
   * More rows are fine, they are often rounded up.
   * @throws DataError TOKENIZER_MISMATCH.
   */
  checkFits(vocabSize: number): void {
    if (this.vocabSize <= vocabSize) return;
    throw new DataError(
      'TOKENIZER_MISMATCH',
      `the tokenizer has ${this.vocabSize} tokens, the model's embedding ${vocabSize} rows`,
      {
        expected: `<= ${vocabSize}`,
        got: this.vocabSize,
        hint: `use the tokenizer the weights were trained with, or a model with vocabSize: ${this.vocabSize}`,
      },
    );
  }

  #librarySplit(): Split {
    const unk = this.specialTokens.unk?.id;
    return (text) => {
      const out: number[] = [];
      for (const token of this.#library.tokenize(text)) {
        // As the Rust library: without an unknown token, what the vocabulary lacks is left out.
        const id = this.#vocab.get(token) ?? unk;
        if (id !== undefined) out.push(id);
      }
      return out;
    };
  }

  // The template is asked once, with texts of one token that no vocabulary has.
  #frame(pair: boolean, special: boolean): Frame {
    const [a, b] = ['\u0000A', '\u0000B'];
    const processor = this.#library.post_processor as
      | ((a: string[], b: string[] | null, s: boolean) => { tokens: string[]; token_type_ids?: number[] })
      | null;
    const none: Frame = { before: [], between: [], after: [], types: [0, 1] };
    const done = processor?.([a], pair ? [b] : null, special);
    if (!done) return none;
    const { tokens, token_type_ids: types = [] } = done;
    const [i, j] = [tokens.indexOf(a), tokens.indexOf(b)];
    // A byte-level processor only trims offsets.
    if (i < 0 || (pair && j < 0)) return none;
    // RoBERTa has one type, whichever text; the library counts two.
    const single = (this.json.post_processor as JsonObject | null)?.type === 'RobertaProcessing';
    const typeAt = (at: number): number => (single ? 0 : (types[at] ?? 0));
    const framed = (from: number, to: number): Framed[] =>
      tokens.slice(from, to).map((token, k) => {
        const id = this.#vocab.get(token);
        if (id === undefined)
          throw new DataError('TOKENIZER_INVALID', `post_processor: ${printable(token)} is not in the vocabulary`, {
            field: 'post_processor',
            got: token,
          });
        return { id, type: typeAt(from + k) };
      });
    return {
      before: framed(0, i),
      between: pair ? framed(i + 1, j) : [],
      after: framed((pair ? j : i) + 1, tokens.length),
      types: [typeAt(i), pair ? typeAt(j) : 1],
    };
  }
}

/** How many tokens of each text stay. `longestFirst` as Hugging Face's `truncate_encodings`. */
function kept(
  first: number,
  second: number,
  extra: number,
  maxLength: number | undefined,
  truncation: NonNullable<EncodeOptions['truncation']>,
): [number, number] {
  if (maxLength === undefined) return [first, second];
  if (!Number.isInteger(maxLength) || maxLength <= extra)
    throw new ArgumentError('MAX_LENGTH', `maxLength ${maxLength} leaves no room beside ${extra} special tokens`, {
      field: 'maxLength',
      expected: `a whole number above ${extra}`,
      got: maxLength,
    });
  const room = maxLength - extra;
  if (first + second <= room) return [first, second];
  if (truncation === 'longestFirst') {
    const [short, long] = [Math.min(first, second), Math.max(first, second)];
    // Both are cut: half of the room each, an odd token to the longer one.
    const less = 2 * short > room ? Math.floor(room / 2) : short;
    const more = Math.min(long, room - less);
    return first > second ? [more, less] : [less, more];
  }
  const onlyFirst = truncation === 'onlyFirst';
  const left = room - (onlyFirst ? second : first);
  if (left < 0)
    throw new ArgumentError('MAX_LENGTH', `maxLength ${maxLength} is less than the text that is not truncated`, {
      field: 'maxLength',
      got: maxLength,
      hint: 'use truncation longestFirst',
    });
  return onlyFirst ? [Math.min(first, left), second] : [first, Math.min(second, left)];
}

function makeLibraryTokenizer({ json }: TokenizerFile): LibraryTokenizer {
  // It reads these keys even where old files lack them.
  const defaults = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, added_tokens: [] };
  return new LibraryTokenizer({ ...defaults, ...json }, { clean_up_tokenization_spaces: false });
}
