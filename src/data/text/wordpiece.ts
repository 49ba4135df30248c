/** WordPiece: the longest known piece first (Wu et al. 2016; as in BERT). */

export interface WordPieceOptions {
  readonly vocab: ReadonlyMap<string, number>;
  readonly unkId: number;
  /** Before every piece but a word's first; `##`. */
  readonly prefix?: string;
  /** A longer word is unknown; 100 characters unless told. */
  readonly maxInputCharsPerWord?: number;
}

/** Words to ids. */
export class WordPieceModel {
  readonly #vocab: ReadonlyMap<string, number>;
  readonly #unk: readonly number[];
  readonly #prefix: string;
  readonly #maxChars: number;
  readonly #longest: number;

  constructor({ vocab, unkId, prefix = '##', maxInputCharsPerWord = 100 }: WordPieceOptions) {
    this.#vocab = vocab;
    this.#unk = [unkId];
    this.#prefix = prefix;
    this.#maxChars = maxInputCharsPerWord;
    let longest = 1;
    for (const token of vocab.keys()) longest = Math.max(longest, token.length);
    this.#longest = longest;
  }

  ids(word: string): readonly number[] {
    const whole = this.#vocab.get(word);
    if (whole !== undefined && word.length <= this.#maxChars) return [whole];
    if (lengthOf(word) > this.#maxChars) return this.#unk;
    const found: number[] = [];
    for (let start = 0; start < word.length; ) {
      const prefix = start === 0 ? '' : this.#prefix;
      let end = Math.min(word.length, start + this.#longest);
      let id: number | undefined;
      for (; end > start; end--) {
        id = this.#vocab.get(prefix + word.slice(start, end));
        if (id !== undefined) break;
      }
      if (id === undefined) return this.#unk;
      found.push(id);
      start = end;
    }
    return found;
  }
}

// Characters, not UTF-16 units.
function lengthOf(word: string): number {
  let n = word.length;
  for (let i = 0; i < word.length; i++) if ((word.charCodeAt(i) & 0xfc00) === 0xdc00) n--;
  return n;
}
