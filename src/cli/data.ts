/** `cambium data`: the data card of a set, for people or as JSON. */
import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { ConfigError, IoError, nearest, printable } from '../base/errors.ts';
import {
  cardText,
  type Dataset,
  dataCard,
  digits,
  imageArchive,
  imageFolder,
  take,
  textCard,
  textCardText,
  textSetNames,
} from '../data/index.ts';
import { exists, writeJson } from '../io/index.ts';
import { type Images, isArchive } from '../training/data-source.ts';
import { mnistOrDigits } from '../training/digits-source.ts';
import type { CommonOptions, TableFlags } from './options.ts';
import { note, print, printJson } from './output.ts';
import { placeIn, textParts } from './text.ts';

export interface DataCommandOptions extends CommonOptions, TableFlags {
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
  const { title = name, parts } = await partsOf(name, options);
  const card = await dataCard(title, capAll(parts, limit));
  if (out !== undefined) await writeJson(out, card);
  if (options.json) return printJson(card);
  await print(cardText(card, { columns: process.stdout.columns ?? 80 }));
  if (out !== undefined) await note(`written: ${out}`);
}

const capAll = <S>(parts: Record<string, Dataset<S>>, limit: number | undefined): Record<string, Dataset<S>> =>
  Object.fromEntries(
    Object.entries(parts).map(([part, dataset]) => [part, limit === undefined ? dataset : take(dataset, limit)]),
  );

interface Pictures {
  /** Where it is not the name that was given. */
  readonly title?: string;
  readonly parts: Record<string, Images>;
}

async function partsOf(name: string, { dataDir }: DataCommandOptions): Promise<Pictures> {
  if (name === 'digits') return { parts: { train: digits({ split: 'train' }), test: digits({ split: 'test' }) } };
  if (name === 'mnist') {
    const { name: title, train, test } = await mnistOrDigits(dataDir, { notify: note });
    return { title, parts: { train, test } };
  }
  const path = await placeIn(dataDir, name);
  if (isArchive(path)) return { parts: await archiveParts(path) };
  if (!(await isFolder(path))) {
    const near = nearest(name, ['mnist', 'digits', 'phrases', ...textSetNames]);
    throw new ConfigError('DATA_UNKNOWN', `there is no data set ${printable(name)}`, {
      field: 'data',
      got: name,
      expected: 'mnist, digits, phrases, a text set, a table, a folder or a .tar',
      hint:
        near === undefined
          ? `give mnist, digits, phrases, ${textSetNames.join(', ')}, a .csv, .tsv, .jsonl or .parquet file, or a folder or .tar with one subdirectory a class`
          : `did you mean ${near}?`,
    });
  }
  const inParts: Record<string, Images> = {};
  for (const part of ['train', 'validation', 'val', 'test'])
    if (await isFolder(`${path}/${part}`)) inParts[part] = await imageFolder(`${path}/${part}`, { name: part });
  return { parts: Object.keys(inParts).length > 0 ? inParts : { all: await imageFolder(path) } };
}

/** The parts of a .tar or .tar.gz have the classes of the first. */
async function archiveParts(path: string): Promise<Record<string, Images>> {
  const archive = await imageArchive(path);
  const classes = archive.classes();
  return Object.fromEntries(archive.parts.map((part) => [part || 'all', archive.dataset(part, { classes })]));
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (entry) => entry.isDirectory(),
    () => false,
  );
}
