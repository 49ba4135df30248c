/** Byte-level BPE (Radford et al. 2019): the bytes of a word, merged pair by pair in the order the merges were learned. */

/**
 * GPT-2's words: contractions, letters, digits or signs with the blank before them, other white space. White space is
 * Unicode's property, as in the Rust library; JavaScript's `\s` has U+FEFF besides, and lacks U+0085.
 */
export const GPT2_WORDS =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** The 256 bytes as printable characters, GPT-2's table. */
export const byteCharacters: readonly string[] = (() => {
  const isPrintable = (b: number): boolean => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCharCode(isPrintable(b) ? b : next++));
})();

// Two ids as one number: vocabularies stay far below 2^26.
const PAIR = 2 ** 26;

/** A longer word takes too long here, where every merge looks at all pairs. */
export const LONGEST_WORD = 400;

export class ByteBpe {
  readonly #byteIds: Int32Array;
  /** Pair -> rank, and the id of its union. */
  readonly #merges = new Map<number, { readonly rank: number; readonly id: number }>();

  private constructor(byteIds: Int32Array) {
    this.#byteIds = byteIds;
  }

  /** Undefined when the vocabulary lacks a byte. @param merges pairs whose parts and union are in `vocab`. */
  static from(vocab: ReadonlyMap<string, number>, merges: Iterable<readonly [string, string]>): ByteBpe | undefined {
    const bytes = byteCharacters.map((c) => vocab.get(c));
    if (bytes.includes(undefined)) return undefined;
    const bpe = new ByteBpe(Int32Array.from(bytes as number[]));
    let rank = 0;
    for (const [a, b] of merges) {
      const pair = (vocab.get(a) as number) * PAIR + (vocab.get(b) as number);
      if (!bpe.#merges.has(pair)) bpe.#merges.set(pair, { rank, id: vocab.get(a + b) as number });
      rank++;
    }
    return bpe;
  }

  ids(word: string): number[] {
    const ids: number[] = Array.from(Buffer.from(word), (byte) => this.#byteIds[byte] as number);
    for (;;) {
      let best: { readonly rank: number; readonly id: number } | undefined;
      let at = -1;
      for (let i = 1; i < ids.length; i++) {
        const merge = this.#merges.get((ids[i - 1] as number) * PAIR + (ids[i] as number));
        if (merge && (!best || merge.rank < best.rank)) {
          best = merge;
          at = i - 1;
        }
      }
      if (!best) return ids;
      ids.splice(at, 2, best.id);
    }
  }
}
