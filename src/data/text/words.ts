/** Text to words with their places, and words back to a text: what a model of words reads where nobody split it beforehand. */

export interface Word {
  readonly text: string;
  /** Places in the text, counted as JavaScript's strings are (UTF-16 units): `text.slice(start, end)` is the word. */
  readonly start: number;
  readonly end: number;
}

// Scripts written without blanks: each character is a word, as Chinese corpora of entities have it.
const UNSPACED =
  '\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\u3001-\\u303f\\uff01-\\uff0f\\uff1a-\\uff20\\u3007';
const CHUNK = new RegExp(`[${UNSPACED}]|[^\\s${UNSPACED}]+`, 'gu');
const OPENING = /^[\p{P}\p{S}]/u;
const CLOSING = /[\p{P}\p{S}]$/u;

/**
 * Words at white space; Chinese and Japanese character by character; punctuation at either end of a word for itself, inside it
 * stays (`U.N`, `3.5`, `don't`).
 */
export function splitWords(text: string): Word[] {
  const words: Word[] = [];
  for (const { 0: chunk, index } of text.matchAll(CHUNK)) {
    const tail: Word[] = [];
    let [start, end] = [index, index + chunk.length];
    const cut = (pattern: RegExp): number => pattern.exec(text.slice(start, end))?.[0].length ?? 0;
    for (let size = cut(OPENING); size > 0 && start + size < end; size = cut(OPENING)) {
      words.push({ text: text.slice(start, start + size), start, end: start + size });
      start += size;
    }
    for (let size = cut(CLOSING); size > 0 && start + size < end; size = cut(CLOSING)) {
      tail.unshift({ text: text.slice(end - size, end), start: end - size, end });
      end -= size;
    }
    words.push({ text: text.slice(start, end), start, end }, ...tail);
  }
  return words;
}

const NEEDS_NO_BLANK = new RegExp(`^[${UNSPACED}]$`, 'u');

/** A text of given words: blanks between them, but not beside a Chinese or Japanese character. */
export function joinWords(words: readonly string[]): { readonly text: string; readonly words: readonly Word[] } {
  let text = '';
  const placed = words.map((word, i): Word => {
    const joins = i === 0 || NEEDS_NO_BLANK.test(word) || NEEDS_NO_BLANK.test(words[i - 1] as string);
    if (!joins) text += ' ';
    const start = text.length;
    text += word;
    return { text: word, start, end: text.length };
  });
  return { text, words: placed };
}
