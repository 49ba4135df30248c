/** What the commands do with texts: data sets by name or file, columns as options, texts to label. */
import {
  type Column,
  type Dataset,
  formatOf,
  loadTextSet,
  phrases,
  readTextDataset,
  type TextSample,
  type TextSetName,
  type TextTableOptions,
  textSetNames,
} from '../data/index.ts';
import type { Answers } from '../tasks/index.ts';
import type { LoadedTextModel } from '../training/model-folder.ts';
import type { ColumnOptions } from './options.ts';

/** `--text-column 0` is a position, anything else a name. */
export const columnOf = (option: string | undefined): Column | undefined =>
  option !== undefined && /^\d+$/.test(option) ? Number(option) : option;

export const columnsOf = ({ textColumn, pairColumn, labelColumn }: ColumnOptions): TextTableOptions => ({
  ...(textColumn !== undefined && { textColumn: columnOf(textColumn) }),
  ...(pairColumn !== undefined && { pairColumn: columnOf(pairColumn) }),
  ...(labelColumn !== undefined && { labelColumn: columnOf(labelColumn) }),
});

const isSet = (name: string): name is TextSetName => (textSetNames as readonly string[]).includes(name);

/** Parts of a text set by name, or of a table file; undefined where `name` is neither. */
export async function textParts(
  name: string,
  { dataDir, ...columns }: ColumnOptions & { dataDir?: string },
): Promise<Record<string, Dataset<TextSample>> | undefined> {
  if (name === 'phrases') return { train: phrases({ split: 'train' }), test: phrases({ split: 'test' }) };
  if (isSet(name)) {
    const { train, validation, test } = await loadTextSet(name, dataDir ?? name);
    return { train, ...(validation && { validation }), ...(test && { test }) };
  }
  if (!isTable(name)) return undefined;
  return { all: await readTextDataset(name, columnsOf(columns)) };
}

export function isTable(name: string): boolean {
  try {
    formatOf(name);
    return true;
  } catch {
    return false;
  }
}

const BATCH = 64;

/** Answers for texts in order, a batch at a time. */
export async function* predictTexts(
  { text: { tokenizer, maxLength, padToMultipleOf }, task, module }: LoadedTextModel,
  samples: AsyncIterable<{ text: string; pair?: string }> | Iterable<{ text: string; pair?: string }>,
  top: number,
): AsyncGenerator<{ text: string; pair?: string; answers: Answers }, void, void> {
  let group: { text: string; pair?: string }[] = [];
  const answer = async function* () {
    const pairs = group.some(({ pair }) => pair !== undefined) ? group.map(({ pair }) => pair ?? '') : undefined;
    const options = { maxLength, padToMultipleOf, ...(pairs && { pairs }) };
    const batch = tokenizer.encodeBatch(
      group.map(({ text }) => text),
      options,
    );
    const answers = await task.answers(module, batch, { topK: top });
    for (const [i, sample] of group.entries()) yield { ...sample, answers: answers[i] as Answers };
    group = [];
  };
  for await (const sample of samples) {
    group.push(sample);
    if (group.length === BATCH) yield* answer();
  }
  if (group.length > 0) yield* answer();
}
