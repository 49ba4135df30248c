/** `cambium data`: the data card of a set, for people or as JSON. */
import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { ConfigError, IoError, nearest, printable } from '../base/errors.ts';
import {
  cardText,
  type Dataset,
  dataCard,
  digits,
  imageFolder,
  loadMnist,
  take,
  textCard,
  textCardText,
  textSetNames,
} from '../data/index.ts';
import { exists, writeJson } from '../io/index.ts';
import type { Images } from '../training/data-source.ts';
import type { ColumnOptions, CommonOptions } from './options.ts';
import { note, print, printJson } from './output.ts';
import { textParts } from './text.ts';

export interface DataCommandOptions extends CommonOptions, ColumnOptions {
  dataDir?: string;
  out?: string;
  limit?: number;
}

export async function dataCommand(name: string, options: DataCommandOptions): Promise<void> {
  const { out, limit } = options;
  // Found out before the work, not after it.
  if (out !== undefined && !(await exists(dirname(resolve(out)))))
    throw new IoError('FILE_NOT_FOUND', `cannot write ${printable(out)}: its folder does not exist`, { file: out });
  const texts = await textParts(name, options);
  if (texts) {
    const card = await textCard(name, capAll(texts, limit));
    if (out !== undefined) await writeJson(out, card);
    if (options.json) return printJson(card);
    await print(textCardText(card, { columns: process.stdout.columns ?? 80 }));
    if (out !== undefined) await note(`written: ${out}`);
    return;
  }
  const parts = await partsOf(name, options);
  const capped = capAll(parts, limit);
  const card = await dataCard(name, capped);
  if (out !== undefined) await writeJson(out, card);
  if (options.json) return printJson(card);
  await print(cardText(card, { columns: process.stdout.columns ?? 80 }));
  if (out !== undefined) await note(`written: ${out}`);
}

const capAll = <S>(parts: Record<string, Dataset<S>>, limit: number | undefined): Record<string, Dataset<S>> =>
  Object.fromEntries(
    Object.entries(parts).map(([part, dataset]) => [part, limit === undefined ? dataset : take(dataset, limit)]),
  );

async function partsOf(name: string, { dataDir }: DataCommandOptions): Promise<Record<string, Images>> {
  if (name === 'digits') return { train: digits({ split: 'train' }), test: digits({ split: 'test' }) };
  if (name === 'mnist')
    return { train: await loadMnist({ split: 'train', dataDir }), test: await loadMnist({ split: 'test', dataDir }) };
  const folder = dataDir ?? name;
  if (!(await isFolder(folder))) {
    const near = nearest(name, ['mnist', 'digits', 'phrases', ...textSetNames]);
    throw new ConfigError('DATA_UNKNOWN', `there is no data set ${printable(name)}`, {
      field: 'data',
      got: name,
      expected: 'mnist, digits, phrases, a text set, a table or a folder',
      hint:
        near === undefined
          ? `give mnist, digits, phrases, ${textSetNames.join(', ')}, a .csv, .tsv, .jsonl or .parquet file, or a folder with one subdirectory a class`
          : `did you mean ${near}?`,
    });
  }
  const inParts: Record<string, Images> = {};
  for (const part of ['train', 'validation', 'val', 'test'])
    if (await isFolder(`${folder}/${part}`)) inParts[part] = await imageFolder(`${folder}/${part}`, { name: part });
  return Object.keys(inParts).length > 0 ? inParts : { all: await imageFolder(folder) };
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (entry) => entry.isDirectory(),
    () => false,
  );
}
