/** What the commands do with texts: data sets by name or file, columns as options, texts to label. */
import { join } from 'node:path';
import {
  type Dataset,
  isTable,
  loadTextSet,
  phrases,
  readTextDataset,
  type TextSample,
  type TextSetName,
  textSetNames,
} from '../data/index.ts';
import { exists } from '../io/index.ts';
import type { Answers } from '../tasks/index.ts';
import type { LoadedTextModel } from '../training/model-folder.ts';
import type { TableFlags } from './options.ts';
import { tableOptionsOf } from './table-options.ts';

const isSet = (name: string): name is TextSetName => (textSetNames as readonly string[]).includes(name);

/** Parts of a text set by name, or of a table file; undefined where `name` is neither. */
export async function textParts(
  name: string,
  { dataDir, ...flags }: TableFlags & { dataDir?: string },
): Promise<Record<string, Dataset<TextSample>> | undefined> {
  if (name === 'phrases') return { train: phrases({ split: 'train' }), test: phrases({ split: 'test' }) };
  if (isSet(name)) {
    const { train, validation, test } = await loadTextSet(name, dataDir ?? name);
    return { train, ...(validation && { validation }), ...(test && { test }) };
  }
  if (flags.format === undefined && !isTable(name)) return undefined;
  return { all: await readTextDataset(await placeIn(dataDir, name), tableOptionsOf(flags)) };
}

/** A file or folder as it was named, or under the data folder, as those that recipes name. */
export async function placeIn(dataDir: string | undefined, name: string): Promise<string> {
  if (dataDir === undefined || (await exists(name))) return name;
  const under = join(dataDir, name);
  return (await exists(under)) ? under : name;
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
