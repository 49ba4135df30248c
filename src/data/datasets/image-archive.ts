/** A .tar or .tar.gz of pictures, one folder a class, with or without folders of parts above: read without unpacking it. */
import { extname } from 'node:path';
import { DataError, printable } from '../../base/errors.ts';
import type { Dataset, ImageSample } from '../dataset.ts';
import { decodeImage } from '../decode.ts';
import { readTar, type TarEntry, type TarOptions } from '../formats/tar.ts';
import { indexOutside } from '../index-outside.ts';
import { imageClassSchema, type Schema } from '../schema.ts';
import { type ImageFolderOptions, pictureExtensions } from './image-folder.ts';

const partNames = ['train', 'validation', 'val', 'test'];

export interface ImageArchive {
  /** `train`, `validation`, `val`, `test` where the archive has such folders; the one part `''` where it has none. */
  readonly parts: readonly string[];
  /** Folders of a part, ordered by their bytes. */
  classes(part?: string): string[];
  /** @throws DataError FOLDER_CLASS_UNKNOWN for a folder that is none of `classes`. */
  dataset(part?: string, options?: ImageFolderOptions): ImageArchiveDataset;
}

interface Picture {
  readonly part: string;
  readonly folder: string;
  readonly entry: TarEntry;
}

/**
 * Reads an archive into memory; pictures are decoded when asked for. Folders above the parts or classes do not count.
 * @throws DataError TAR_*, GZIP_*, PATH_UNSAFE, FOLDER_NO_CLASSES; IoError.
 */
export async function imageArchive(path: string, options: TarOptions = {}): Promise<ImageArchive> {
  const entries = (await readTar(path, options)).filter(({ name }) => isPicture(name));
  const noClasses = (got: string): never => {
    throw new DataError('FOLDER_NO_CLASSES', `${printable(path)} does not hold one folder of pictures a class`, {
      file: path,
      expected: '<class>/<picture>, or train/<class>/<picture>',
      got,
    });
  };
  const split = entries.map((entry) => ({ entry, folders: entry.name.split('/').slice(0, -1) }));
  if (split.length === 0) return noClasses('no pictures');
  // A folder around everything, as archives often have.
  while (
    split.every(
      ({ folders }) =>
        folders.length > 1 && folders[0] === split[0]?.folders[0] && !partNames.includes(folders[0] as string),
    )
  )
    for (const { folders } of split) folders.shift();
  const hasParts = split.some(({ folders }) => partNames.includes(folders[0] as string) && folders.length > 1);
  const pictures = split.map(({ entry, folders }): Picture => {
    if (folders.length !== (hasParts ? 2 : 1)) return noClasses(entry.name);
    const [first, second] = folders as [string, string];
    if (hasParts && !partNames.includes(first)) return noClasses(entry.name);
    return { entry, part: hasParts ? first : '', folder: hasParts ? second : first };
  });
  pictures.sort((a, b) => Buffer.compare(Buffer.from(a.entry.name), Buffer.from(b.entry.name)));
  const of = (part: string): Picture[] => pictures.filter((picture) => picture.part === part);
  const parts = hasParts ? partNames.filter((part) => of(part).length > 0) : [''];
  const classes = (part = parts[0] as string): string[] =>
    [...new Set(of(part).map(({ folder }) => folder))].sort(byBytes);
  return {
    parts,
    classes,
    dataset: (
      part = parts[0] as string,
      { channels = 3, classes: wanted = classes(part), name = part || 'pictures' } = {},
    ) => {
      const chosen = of(part);
      const labels = chosen.map(({ folder }) => {
        const label = wanted.indexOf(folder);
        if (label >= 0) return label;
        throw new DataError(
          'FOLDER_CLASS_UNKNOWN',
          `${printable(path)}: folder ${printable(folder)} is not a known class`,
          {
            file: path,
            expected: wanted,
            got: folder,
          },
        );
      });
      return new ImageArchiveDataset(
        name,
        path,
        chosen.map(({ entry }) => entry),
        labels,
        wanted,
        channels,
      );
    },
  };
}

const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

const isPicture = (name: string): boolean => {
  const file = name.split('/').at(-1) as string;
  return !file.startsWith('.') && !name.includes('__MACOSX/') && pictureExtensions.has(extname(file).toLowerCase());
};

export class ImageArchiveDataset implements Dataset<ImageSample> {
  readonly name: string;
  readonly length: number;
  /** Height and width are null: pictures may differ, a resize transform makes them equal. */
  readonly schema: Schema;
  readonly labels: Int32Array;
  readonly #archive: string;
  readonly #entries: readonly TarEntry[];
  readonly #channels: 1 | 3;

  constructor(
    name: string,
    archive: string,
    entries: readonly TarEntry[],
    labels: readonly number[],
    classes: readonly string[],
    channels: 1 | 3,
  ) {
    this.name = name;
    this.length = entries.length;
    this.schema = imageClassSchema(null, null, channels, classes);
    this.labels = Int32Array.from(labels);
    this.#archive = archive;
    this.#entries = entries;
    this.#channels = channels;
  }

  async get(index: number): Promise<ImageSample> {
    const { bytes } = this.#entry(index);
    return {
      image: await decodeImage(bytes, this.#path(index), { channels: this.#channels }),
      label: this.labels[index] as number,
    };
  }

  label(index: number): number {
    this.#entry(index);
    return this.labels[index] as number;
  }

  describe(index: number): string {
    return printable(this.#path(index));
  }

  #path(index: number): string {
    return `${this.#archive}:${this.#entry(index).name}`;
  }

  #entry(index: number): TarEntry {
    const entry = this.#entries[index];
    if (entry) return entry;
    indexOutside(this.name, index, this.length);
  }
}
