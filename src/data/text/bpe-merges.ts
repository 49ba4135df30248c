/**
 * Learns merges of adjacent symbols, the most frequent pair first (Sennrich et al. 2016). Ties go to the pair of lower
 * symbols, so that a corpus has one result, whatever its order; the rules are those of Hugging Face's BpeTrainer.
 */

export interface MergeOptions {
  /** Symbols to end with, the first ones included. */
  readonly vocabSize: number;
  /** A rarer pair is not merged. */
  readonly minFrequency: number;
  /** The name of two symbols' union. */
  readonly join: (a: string, b: string) => string;
}

export interface LearnedMerges {
  /** Every symbol by id: those given, then one for each merge (unless its name existed). */
  readonly symbols: readonly string[];
  readonly merges: readonly (readonly [string, string])[];
}

interface Word {
  symbols: number[];
  readonly count: number;
}

// Two symbols as one number: vocabularies stay far below 2^26.
const PAIR = 2 ** 26;

/** @param words symbols of each distinct word (ids into `first`), and how often it occurs. */
export function learnMerges(
  words: readonly { readonly symbols: readonly number[]; readonly count: number }[],
  first: readonly string[],
  { vocabSize, minFrequency, join }: MergeOptions,
): LearnedMerges {
  const symbols = [...first];
  const idOf = new Map(symbols.map((symbol, id) => [symbol, id]));
  const merges: [string, string][] = [];
  const list: Word[] = words.map(({ symbols: s, count }) => ({ symbols: [...s], count }));
  const counts = new Map<number, number>();
  const where = new Map<number, Set<number>>();
  const touched = new Set<number>();
  const add = (w: number, sign: 1 | -1): void => {
    const { symbols: s, count } = list[w] as Word;
    for (let i = 1; i < s.length; i++) {
      const pair = (s[i - 1] as number) * PAIR + (s[i] as number);
      counts.set(pair, (counts.get(pair) ?? 0) + sign * count);
      if (sign < 0) continue;
      touched.add(pair);
      const places = where.get(pair);
      if (places) places.add(w);
      else where.set(pair, new Set([w]));
    }
  };
  for (let w = 0; w < list.length; w++) add(w, 1);
  const queue = new PairQueue();
  const enqueue = (): void => {
    for (const pair of touched) queue.push(pair, counts.get(pair) as number);
    touched.clear();
  };
  enqueue();

  while (symbols.length < vocabSize) {
    const top = queue.pop();
    if (!top) break;
    const now = counts.get(top.pair) ?? 0;
    if (now !== top.count) {
      // Counts fall as neighbours merge; the pair waits for its turn.
      if (now > 0) queue.push(top.pair, now);
      continue;
    }
    if (now < 1 || now < minFrequency) break;
    const [a, b] = [Math.floor(top.pair / PAIR), top.pair % PAIR];
    const [left, right] = [symbols[a] as string, symbols[b] as string];
    const name = join(left, right);
    let id = idOf.get(name);
    if (id === undefined) {
      id = symbols.length;
      symbols.push(name);
      idOf.set(name, id);
    }
    merges.push([left, right]);
    const places = where.get(top.pair) as Set<number>;
    where.delete(top.pair);
    for (const w of places) {
      add(w, -1);
      const word = list[w] as Word;
      word.symbols = merged(word.symbols, a, b, id);
      add(w, 1);
    }
    counts.delete(top.pair);
    touched.delete(top.pair);
    enqueue();
  }
  return { symbols, merges };
}

function merged(symbols: readonly number[], a: number, b: number, id: number): number[] {
  const out: number[] = [];
  for (let i = 0; i < symbols.length; i++) {
    if (symbols[i] === a && symbols[i + 1] === b) {
      out.push(id);
      i++;
    } else out.push(symbols[i] as number);
  }
  return out;
}

interface Entry {
  readonly pair: number;
  readonly count: number;
}

/** A binary heap: the highest count first, then the lowest pair. */
class PairQueue {
  readonly #heap: Entry[] = [];

  push(pair: number, count: number): void {
    const heap = this.#heap;
    const entry = { pair, count };
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(entry, heap[parent] as Entry)) break;
      heap[at] = heap[parent] as Entry;
      at = parent;
    }
    heap[at] = entry;
  }

  pop(): Entry | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Entry, heap[child] as Entry)) child++;
      if (!before(heap[child] as Entry, last)) break;
      heap[at] = heap[child] as Entry;
      at = child;
    }
    heap[at] = last;
    return top;
  }
}

const before = (a: Entry, b: Entry): boolean => a.count > b.count || (a.count === b.count && a.pair < b.pair);
