/**
 * BERT's basic tokenization: clean up, Chinese characters alone, accents and case, punctuation alone (Devlin et al. 2018,
 * `tokenization.py`; the details are those of Hugging Face's BertNormalizer and BertPreTokenizer).
 *
 * A table of character classes and a memory of chunks make it several times faster than a pattern a character.
 */

/** The options of a `BertNormalizer` in tokenizer.json. */
export interface BertNormalizerOptions {
  /** Drops control characters, and makes every white space a blank. Default true. */
  readonly cleanText?: boolean;
  /** Each Chinese character becomes a word of its own. Default true. */
  readonly handleChineseChars?: boolean;
  /** Default: as `lowercase`. */
  readonly stripAccents?: boolean | null;
  /** Default true. */
  readonly lowercase?: boolean;
}

const kindOf = { other: 0, space: 1, dropped: 2, chinese: 3 } as const;
const PUNCTUATION = /[\p{P}!-/:-@[-`{-~]/u;
const SPLIT_PUNCTUATION = /[\p{P}!-/:-@[-`{-~]|[^\p{P}!-/:-@[-`{-~]+/gu;
const MARKS = /\p{Mn}/gu;
const DROPPED = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\ufffd]/u;
// Not `\s`, which has U+FEFF and lacks U+0085.
const SPACE = /\p{White_Space}/u;

/** CJK ideographs; not kana, not Hangul, which are written in words or alphabets. */
export const CHINESE_PATTERN =
  '[\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\\u{20000}-\\u{2a6df}\\u{2a700}-\\u{2ceaf}\\u{2f800}-\\u{2fa1f}]';
// The Rust library's table leaves out U+2B820 to U+2B91F, and ids are to be its own.
const CHINESE = new RegExp(CHINESE_PATTERN.replace('-\\u{2ceaf}', '-\\u{2b81f}\\u{2b920}-\\u{2ceaf}'), 'u');

// Classes of the basic plane with clean-up on; filled on first use.
let table: Uint8Array | undefined;

function classOf(char: string): number {
  if (/[\t\n\r]/.test(char)) return kindOf.space;
  if (DROPPED.test(char)) return kindOf.dropped;
  if (SPACE.test(char)) return kindOf.space;
  return CHINESE.test(char) ? kindOf.chinese : kindOf.other;
}

function classes(): Uint8Array {
  if (table) return table;
  table = new Uint8Array(0x10000);
  for (let code = 0; code < 0x10000; code++) table[code] = classOf(String.fromCharCode(code));
  return table;
}

/** Splits texts into BERT's words; keeps what it learned about the chunks it met. */
export class BertWords {
  readonly #clean: boolean;
  readonly #chinese: boolean;
  readonly #strip: boolean;
  readonly #lower: boolean;

  constructor(options: BertNormalizerOptions = {}) {
    const { cleanText = true, handleChineseChars = true, lowercase = true, stripAccents } = options;
    this.#clean = cleanText;
    this.#chinese = handleChineseChars;
    this.#lower = lowercase;
    this.#strip = stripAccents ?? lowercase;
  }

  /** The words of `text` in order. */
  words(text: string): string[] {
    return this.chunks(text).flatMap((chunk) => this.split(chunk));
  }

  /** Pieces between white space and around Chinese characters, as they were written. */
  chunks(text: string): string[] {
    const kinds = classes();
    const out: string[] = [];
    let chunk = '';
    let start = -1;
    // Characters are copied one by one only where something between them was dropped.
    const close = (end: number): void => {
      if (start >= 0) chunk += text.slice(start, end);
      if (chunk !== '') out.push(chunk);
      chunk = '';
      start = -1;
    };
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      let kind = kinds[unit] as number;
      let width = 1;
      if (unit >= 0xd800 && unit < 0xdc00) {
        const next = text.charCodeAt(i + 1);
        if (next >= 0xdc00 && next < 0xe000) {
          kind = classOf(text.slice(i, i + 2));
          width = 2;
        }
      }
      if (kind === kindOf.dropped && !this.#clean) kind = SPACE.test(text[i] as string) ? kindOf.space : kindOf.other;
      if (kind === kindOf.chinese && !this.#chinese) kind = kindOf.other;
      if (kind === kindOf.space) close(i);
      else if (kind === kindOf.chinese) {
        close(i);
        out.push(width === 1 ? (text[i] as string) : text.slice(i, i + 2));
      } else if (kind === kindOf.dropped) {
        if (start >= 0) chunk += text.slice(start, i);
        start = -1;
      } else if (start < 0) start = i;
      i += width - 1;
    }
    close(text.length);
    return out;
  }

  /** Accents and case of one chunk, and its punctuation set apart. */
  split(chunk: string): string[] {
    let word = chunk;
    if (this.#strip) word = word.normalize('NFD').replace(MARKS, '');
    if (this.#lower) word = lowercase(word);
    if (word === '') return [];
    return PUNCTUATION.test(word) ? (word.match(SPLIT_PUNCTUATION) ?? []) : [word];
  }
}

/** Character by character, as Rust's: a whole word's lower case has another sigma at its end, which vocabularies do not. */
export const lowercase = (word: string): string =>
  word.includes('\u03a3') ? Array.from(word, (c) => c.toLowerCase()).join('') : word.toLowerCase();
