/** `cambium predict` with a model that classifies words: entities with their places, or every word with its class. */
import { printable } from '../base/errors.ts';
import { formatOf, readTextSamples, readTokens, type TextTableOptions, tokenFormatOf } from '../data/index.ts';
import type { LoadedTextModel } from '../training/model-folder.ts';
import { type TaggedText, type TextOrWords, tagTexts } from '../training/tag-texts.ts';
import { print, printJson } from './output.ts';
import type { PredictCommandOptions } from './predict.ts';
import { tableOptionsOf } from './table-options.ts';

export async function predictTagsCommand(
  loaded: LoadedTextModel,
  files: readonly string[],
  options: PredictCommandOptions,
): Promise<void> {
  const { json = false, text } = options;
  const sources: (Iterable<TextOrWords> | AsyncIterable<TextOrWords>)[] = [
    text,
    ...files.map((file) => textsOf(file, tableOptionsOf(options))),
  ];
  for (const source of sources)
    for await (const tagged of tagTexts(loaded, source)) {
      if (json) await printJson(tagged);
      else await print(describe(tagged));
    }
}

/** Texts of a table or of lines; words of a CoNLL file, or of JSON Lines with `tokens`. */
async function* textsOf(file: string, table: TextTableOptions): AsyncGenerator<TextOrWords, void, void> {
  const { textColumn: column } = table;
  const isTable = /\.(csv|tsv|txt|tab|parquet)(\.gz)?$/i.test(file);
  if (isTable || (tokenFormatOf(file) === 'jsonl' && column !== undefined)) {
    formatOf(file);
    for await (const { text } of readTextSamples(file, table)) yield text;
    return;
  }
  yield* readTokens(file, tokenFormatOf(file) === 'jsonl' ? {} : { tokenColumn: column });
}

function describe({ text, entities, tokens, truncated }: TaggedText): string {
  const share = (label: string, probability: number): string => `${word(label)} ${(100 * probability).toFixed(2)} %`;
  const cut = truncated > 0 ? ` (the last ${truncated} words are beyond the model's length)` : '';
  if (!entities) return `${tokens.map((token) => `${word(token.text)}/${word(token.label)}`).join(' ')}${cut}`;
  const found = entities.map((entity) => `${word(entity.text)} ${share(entity.label, entity.probability)}`);
  return `${word(text)}: ${found.join(', ') || 'no entities'}${cut}`;
}

const word = (text: string): string => printable(text).slice(1, -1);
