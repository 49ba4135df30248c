/** How often each word of a corpus occurs: all a vocabulary is learned from. One pass, memory by distinct words. */
import { ArgumentError, printable } from '../../base/errors.ts';

/** Lines or documents: a list, a generator, or a stream of a file too large for memory. */
export type Corpus = Iterable<string> | AsyncIterable<string>;

/** @param split words of a text, already normalized. */
export async function countWords(
  corpus: Corpus,
  split: (text: string) => readonly string[],
): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  let texts = 0;
  for await (const text of corpus) {
    if (typeof text !== 'string')
      throw new ArgumentError('TEXT_EXPECTED', `text ${texts} of the corpus is ${printable(text)}`, {
        got: typeof text,
      });
    texts++;
    for (const word of split(text)) {
      const count = counts.get(word);
      if (count === undefined) counts.set(detached(word), 1);
      else counts.set(word, count + 1);
    }
  }
  if (counts.size === 0)
    throw new ArgumentError('CORPUS_EMPTY', `${texts} texts without a single word: nothing to learn from`, {
      got: texts,
    });
  return counts;
}

/** The same characters on their own: a word cut out of a text keeps all of the piece of the file it was read with. */
export const detached = (word: string): string => ` ${word}`.slice(1);
