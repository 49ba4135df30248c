/** Texts to their tagged words and entities, by a model that classifies tokens: what `cambium predict` prints. */
import { ConfigError } from '../base/errors.ts';
import { joinWords, padEncodings, splitWords, type Word } from '../data/index.ts';
import type { Answers, TagsPrediction } from '../tasks/index.ts';
import type { LoadedTextModel } from './model-folder.ts';

/** A text, which is split into words here, or one that comes in words. */
export type TextOrWords = string | readonly string[];

/** Places count JavaScript's characters (UTF-16 units): `text.slice(start, end)`. */
export interface TaggedWord extends Word {
  readonly label: string;
  readonly probability: number;
}

export interface TextEntity {
  readonly label: string;
  readonly text: string;
  readonly start: number;
  readonly end: number;
  /** Mean of its words'. */
  readonly probability: number;
}

export interface TaggedText {
  /** As given; of words, these put together. */
  readonly text: string;
  /** Where the classes say how words make entities. */
  readonly entities?: readonly TextEntity[];
  /** Without words beyond the model's length, or of which the tokenizer makes nothing. */
  readonly tokens: readonly TaggedWord[];
  /** Words beyond the model's length. */
  readonly truncated: number;
}

const BATCH = 64;

/** Whether a model's answers are classes of words. */
export const tagsWords = ({ heads }: Pick<LoadedTextModel, 'heads'>): boolean =>
  heads.length === 1 && heads[0]?.kind === 'tags';

/**
 * Answers in order, a batch at a time.
 * @example for await (const { text, entities } of tagTexts(model, ['Anna lives in Oslo.'])) console.log(text, entities);
 * @throws ConfigError MODEL_TASK for a model that does not classify words, NumericError NON_FINITE.
 */
export async function* tagTexts(
  loaded: LoadedTextModel,
  texts: Iterable<TextOrWords> | AsyncIterable<TextOrWords>,
): AsyncGenerator<TaggedText, void, void> {
  const field = loaded.heads[0]?.field;
  if (!tagsWords(loaded) || field === undefined)
    throw new ConfigError('MODEL_TASK', `${loaded.dir} does not classify words`, {
      field: 'model',
      expected: 'token-classification',
      got: loaded.heads.map(({ kind }) => kind),
    });
  let group: Split[] = [];
  for await (const text of texts) {
    group.push(split(text));
    if (group.length < BATCH) continue;
    yield* answers(loaded, group, field);
    group = [];
  }
  yield* answers(loaded, group, field);
}

interface Split {
  readonly text: string;
  readonly words: readonly Word[];
}

const split = (text: TextOrWords): Split =>
  typeof text === 'string' ? { text, words: splitWords(text) } : joinWords(text);

async function* answers(
  { text: { tokenizer, maxLength, padToMultipleOf }, task, module }: LoadedTextModel,
  group: readonly Split[],
  field: string,
): AsyncGenerator<TaggedText, void, void> {
  if (group.length === 0) return;
  const options = { maxLength };
  const encodings = group.map(({ words }) =>
    tokenizer.encodeWords(
      words.map(({ text }) => text),
      options,
    ),
  );
  const batch = padEncodings(encodings, {
    padId: tokenizer.padId,
    multipleOf: padToMultipleOf,
    most: maxLength,
    side: tokenizer.config.paddingSide,
  });
  const found = await task.answers(module, batch);
  for (const [i, { text, words }] of group.entries()) {
    const { tags, entities } = (found[i] as Answers)[field] as TagsPrediction;
    const at = (word: number): Word => words[word] as Word;
    const last = tags.at(-1)?.word ?? -1;
    yield {
      text,
      ...(entities && {
        entities: entities.map(({ label, start, end, probability }) => {
          const [from, to] = [at(start).start, at(end - 1).end];
          return { label, text: text.slice(from, to), start: from, end: to, probability };
        }),
      }),
      tokens: tags.map(({ word, label, probability }) => ({ ...at(word), label, probability })),
      truncated: (encodings[i]?.truncated ?? 0) > 0 ? words.length - 1 - last : 0,
    };
  }
}
