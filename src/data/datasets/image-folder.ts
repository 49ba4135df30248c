/** A folder of pictures, one subdirectory a class: `cats/1.jpg`, `dogs/1.jpg`. Decoded when asked for. */
import { readdir, stat } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { DataError, printable } from '../../base/errors.ts';
import { ioError } from '../../io/failure.ts';
import type { Dataset, ImageSample } from '../dataset.ts';
import { decodeImageFile } from '../decode.ts';
import { indexOutside } from '../index-outside.ts';
import { imageClassSchema, type Schema } from '../schema.ts';

export interface ImageFolderOptions {
  /** 3 unless told; 1 makes them grey. */
  channels?: 1 | 3;
  /** Class names in the order of a trained model; the subdirectories' own, sorted, unless given. */
  classes?: readonly string[];
  name?: string;
}

export const pictureExtensions: ReadonlySet<string> = new Set([
  '.jpg',
  '.jpeg',
  '.png',
  '.webp',
  '.gif',
  '.tif',
  '.tiff',
  '.avif',
]);

export class ImageFolderDataset implements Dataset<ImageSample> {
  readonly name: string;
  readonly length: number;
  /** Height and width are null: pictures may differ, a resize transform makes them equal. */
  readonly schema: Schema;
  /** Paths in the order of the samples. */
  readonly files: readonly string[];
  readonly labels: Int32Array;
  /** Files that are not pictures by their name, relative to the folder. */
  readonly skipped: readonly string[];
  readonly #channels: 1 | 3;

  constructor(name: string, listing: Listing, classes: readonly string[], channels: 1 | 3) {
    this.name = name;
    this.length = listing.files.length;
    this.schema = imageClassSchema(null, null, channels, classes);
    this.files = listing.files;
    this.labels = Int32Array.from(listing.labels);
    this.skipped = listing.skipped;
    this.#channels = channels;
  }

  async get(index: number): Promise<ImageSample> {
    return {
      image: await decodeImageFile(this.#file(index), { channels: this.#channels }),
      label: this.labels[index] as number,
    };
  }

  label(index: number): number {
    this.#file(index);
    return this.labels[index] as number;
  }

  describe(index: number): string {
    return printable(this.#file(index));
  }

  #file(index: number): string {
    const file = this.files[index];
    if (file !== undefined) return file;
    indexOutside(this.name, index, this.length);
  }
}

interface Listing {
  files: string[];
  labels: number[];
  skipped: string[];
}

/**
 * Lists a folder; names are ordered by their bytes, so that the order is the same on every machine and locale. Hidden
 * files are passed over; other files that are not pictures are named in `skipped`.
 * @throws DataError FOLDER_NO_CLASSES, FOLDER_NO_IMAGES, FOLDER_CLASS_UNKNOWN; IoError.
 */
export async function imageFolder(directory: string, options: ImageFolderOptions = {}): Promise<ImageFolderDataset> {
  const { channels = 3, name = basename(directory) } = options;
  const entries = await names(directory);
  const folders: string[] = [];
  const skipped: string[] = [];
  for (const entry of entries) ((await isDirectory(join(directory, entry))) ? folders : skipped).push(entry);
  if (folders.length === 0)
    throw new DataError('FOLDER_NO_CLASSES', `${printable(directory)} has no subdirectories; each class needs one`, {
      file: directory,
      expected: '<class>/<picture>',
      got: `${entries.length} files`,
    });
  const classes = options.classes ?? folders;
  const listing: Listing = { files: [], labels: [], skipped };
  for (const folder of folders) {
    const label = classes.indexOf(folder);
    if (label < 0)
      throw new DataError('FOLDER_CLASS_UNKNOWN', `${printable(join(directory, folder))} is not a known class`, {
        file: join(directory, folder),
        expected: classes,
        got: folder,
      });
    await listClass(directory, folder, label, listing);
    if (!listing.labels.includes(label))
      throw new DataError('FOLDER_NO_IMAGES', `${printable(join(directory, folder))} holds no pictures`, {
        file: join(directory, folder),
        expected: [...pictureExtensions].join(' '),
      });
  }
  return new ImageFolderDataset(name, listing, classes, channels);
}

async function listClass(directory: string, folder: string, label: number, listing: Listing): Promise<void> {
  for (const file of await names(join(directory, folder))) {
    const isPicture = pictureExtensions.has(extname(file).toLowerCase());
    if (!isPicture) listing.skipped.push(`${folder}/${file}`);
    else {
      listing.files.push(join(directory, folder, file));
      listing.labels.push(label);
    }
  }
}

async function names(directory: string): Promise<string[]> {
  try {
    const all = await readdir(directory);
    const visible = all.filter((name) => !name.startsWith('.') && name !== 'Thumbs.db' && name !== '__MACOSX');
    return visible.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  } catch (cause) {
    throw ioError(cause, 'list', directory);
  }
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (cause) {
    throw ioError(cause, 'look at', path);
  }
}
