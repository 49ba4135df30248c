/** Pictures however they lie: a folder, an archive or a table, with classes where they have some, each by its name. */
import { readdir } from 'node:fs/promises';
import { basename, dirname, extname, join, relative, sep } from 'node:path';
import { ConfigError, DataError, printable } from '../../base/errors.ts';
import { ioError } from '../../io/failure.ts';
import { resolveUnder } from '../../io/paths.ts';
import type { Dataset } from '../dataset.ts';
import { decodeImage, decodeImageFile } from '../decode.ts';
import { readTar } from '../formats/tar.ts';
import type { ImageU8 } from '../image.ts';
import { indexOutside } from '../index-outside.ts';
import { classNumbers, optionallyLabelled } from '../optional-labels.ts';
import { imageClassSchema, type Schema } from '../schema.ts';
import type { Column, TableOptions } from '../text/table.ts';
import { pictureExtensions } from './image-folder.ts';

export interface AnyPicturesOptions {
  /** 3 unless told; 1 makes them grey. */
  readonly channels?: 1 | 3;
  /** Which part, where the pictures lie in folders `train`, `validation` or `val`, and `test`. */
  readonly part?: 'train' | 'validation' | 'test';
  /** Numbers of classes are those in this list, where it names them all; else by their sorted names. */
  readonly classes?: readonly string[] | undefined;
}

/** `label` only where the schema has one. */
export type AnyPicture = { readonly image: ImageU8; readonly label?: number };

export interface AnyPictures extends Dataset<AnyPicture> {
  /** Paths within the folder or archive, or the cells of the table. */
  readonly names: readonly string[];
}

interface Entry {
  readonly name: string;
  readonly decode: () => Promise<ImageU8>;
}

const partFolders = { train: ['train'], validation: ['validation', 'val'], test: ['test'] } as const;
const allParts: readonly string[] = Object.values(partFolders).flat();

/**
 * Every picture below a folder or in a .tar or .tar.gz, by the bytes of its path. Where each lies in exactly one folder (below
 * that of its part), these are its classes; otherwise there are none. Hidden files are passed over.
 * @throws DataError FOLDER_NO_IMAGES, TAR_*; ConfigError SPLIT_MISSING; IoError; DataError of the decoder when a picture is asked for.
 */
export async function anyPictures(path: string, options: AnyPicturesOptions = {}): Promise<AnyPictures> {
  const { channels = 3, part = 'test', classes } = options;
  const isTar = /\.(tar|tar\.gz|tgz)$/i.test(path);
  const all = isTar ? await tarEntries(path, channels) : await folderEntries(path, channels);
  if (all.length === 0)
    throw new DataError('FOLDER_NO_IMAGES', `${printable(path)} holds no pictures`, {
      file: path,
      expected: [...pictureExtensions].join(' '),
    });
  const split = all.map((entry) => ({ entry, folders: entry.name.split('/').slice(0, -1) }));
  const [first] = split;
  // A folder around everything, as archives often have.
  while (
    isTar &&
    split.every(
      ({ folders }) => folders.length > 1 && folders[0] === first?.folders[0] && !allParts.includes(folders[0] ?? ''),
    )
  )
    for (const { folders } of split) folders.shift();
  const chosen = ofPart(path, split, part);
  const labelled = chosen.every(({ folders }) => folders.length === 1);
  const labels = labelled
    ? classNumbers(
        chosen.map(({ folders }) => folders[0] as string),
        classes,
      )
    : undefined;
  return picturesOf(
    path,
    chosen.map(({ entry }) => entry),
    channels,
    labels,
  );
}

interface Placed {
  readonly entry: Entry;
  readonly folders: string[];
}

function ofPart(path: string, all: readonly Placed[], part: keyof typeof partFolders): readonly Placed[] {
  if (!all.every(({ folders }) => allParts.includes(folders[0] ?? ''))) return all;
  const wanted = partFolders[part].find((name) => all.some(({ folders }) => folders[0] === name));
  if (wanted === undefined) {
    const there = [...new Set(all.map(({ folders }) => folders[0] as string))];
    throw new ConfigError('SPLIT_MISSING', `${printable(path)} has no ${part} part`, {
      field: '--split',
      expected: there,
      got: part,
      hint: `there are: ${there.join(', ')}`,
    });
  }
  return all
    .filter(({ folders }) => folders[0] === wanted)
    .map(({ entry, folders }) => ({ entry, folders: folders.slice(1) }));
}

const byBytes = (a: Entry, b: Entry): number => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name));

const isPicture = (name: string): boolean =>
  pictureExtensions.has(extname(name).toLowerCase()) &&
  !name.split('/').some((part) => part.startsWith('.') || part === '__MACOSX');

async function folderEntries(directory: string, channels: 1 | 3): Promise<Entry[]> {
  try {
    const entries = await readdir(directory, { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => entry.isFile())
      .map((entry) => relative(directory, join(entry.parentPath, entry.name)).split(sep).join('/'))
      .filter(isPicture)
      .map((name) => ({ name, decode: () => decodeImageFile(join(directory, name), { channels }) }))
      .sort(byBytes);
  } catch (cause) {
    throw ioError(cause, 'list', directory);
  }
}

async function tarEntries(path: string, channels: 1 | 3): Promise<Entry[]> {
  return (await readTar(path))
    .filter(({ name }) => isPicture(name))
    .map(({ name, bytes }) => ({ name, decode: () => decodeImage(bytes, `${path}:${name}`, { channels }) }))
    .sort(byBytes);
}

export interface AnyPictureTableOptions extends TableOptions {
  /** Names of picture files relative to the table's folder, or to `imageDir`. Default `file`. */
  readonly imageColumn?: Column | undefined;
  readonly imageDir?: string | undefined;
  /** Must be there if told; otherwise `label`, if it is. */
  readonly labelColumn?: Column | undefined;
  readonly channels?: 1 | 3;
  readonly classes?: readonly string[] | undefined;
}

/**
 * Pictures that a table names, with or without a class each.
 * @throws DataError COLUMN_MISSING, IMAGE_MISSING, LABEL_MISSING, PATH_UNSAFE, DATASET_EMPTY, those of the formats; IoError.
 */
export async function anyPictureTable(file: string, options: AnyPictureTableOptions = {}): Promise<AnyPictures> {
  const { imageColumn = 'file', imageDir = dirname(file), labelColumn, channels = 3, classes } = options;
  const { rows, labels } = await optionallyLabelled(file, [imageColumn], labelColumn, options);
  const entries: Entry[] = [];
  for (const { cells, line } of rows) {
    const name = cells[0]?.trim() ?? '';
    if (name === '')
      throw new DataError('IMAGE_MISSING', `${printable(file)}: line ${line} names no picture`, {
        file,
        line,
        field: String(imageColumn),
        hint: 'delete the row',
      });
    const path = await resolveUnder(imageDir, name);
    entries.push({ name, decode: () => decodeImageFile(path, { channels }) });
  }
  return picturesOf(file, entries, channels, labels && classNumbers(labels, classes));
}

function picturesOf(
  path: string,
  entries: readonly Entry[],
  channels: 1 | 3,
  labels: { readonly names: readonly string[]; readonly numbers: Int32Array } | undefined,
): AnyPictures {
  const name = basename(path);
  const schema: Schema = labels
    ? imageClassSchema(null, null, channels, labels.names)
    : { features: { image: { kind: 'image', height: null, width: null, channels } }, labels: {} };
  const at = (index: number): Entry => {
    const entry = entries[index];
    if (entry) return entry;
    indexOutside(name, index, entries.length);
  };
  return {
    name,
    length: entries.length,
    schema,
    names: entries.map((entry) => entry.name),
    get: async (index) => ({
      image: await at(index).decode(),
      ...(labels && { label: labels.numbers[index] as number }),
    }),
    ...(labels && { label: (index: number) => labels.numbers[index] as number }),
    describe: (index) => printable(at(index).name),
  };
}
