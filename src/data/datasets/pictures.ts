/** Pictures without labels: every picture file below a folder, decoded when asked for, so that the folder may be larger than memory. */
import { readdir } from 'node:fs/promises';
import { basename, extname, join, relative } from 'node:path';
import { DataError, printable } from '../../base/errors.ts';
import { ioError } from '../../io/failure.ts';
import type { Dataset } from '../dataset.ts';
import { decodeImageFile } from '../decode.ts';
import type { ImageU8 } from '../image.ts';
import { indexOutside } from '../index-outside.ts';
import { pictureExtensions } from './image-folder.ts';

export interface PicturesOptions {
  /** 3 unless told; 1 makes them grey. */
  channels?: 1 | 3;
  name?: string;
}

/**
 * All pictures below `directory`, ordered by the bytes of their paths. Hidden files and folders are passed over, links to folders
 * are not followed. Height and width of the schema are null: a resize transform makes the sizes equal.
 * @throws DataError FOLDER_NO_IMAGES; IoError; DataError of the decoder when a picture is asked for.
 */
export async function pictures(
  directory: string,
  { channels = 3, name = basename(directory) }: PicturesOptions = {},
): Promise<Dataset<{ readonly image: ImageU8 }> & { readonly files: readonly string[] }> {
  const files = await listPictures(directory);
  if (files.length === 0)
    throw new DataError('FOLDER_NO_IMAGES', `${printable(directory)} holds no pictures`, {
      file: directory,
      expected: [...pictureExtensions].join(' '),
    });
  const file = (index: number): string => {
    const found = files[index];
    if (found !== undefined) return found;
    indexOutside(name, index, files.length);
  };
  return {
    name,
    length: files.length,
    files,
    schema: { features: { image: { kind: 'image', height: null, width: null, channels } }, labels: {} },
    get: async (index) => ({ image: await decodeImageFile(file(index), { channels }) }),
    describe: (index) => printable(file(index)),
  };
}

async function listPictures(directory: string): Promise<string[]> {
  try {
    const entries = await readdir(directory, { recursive: true, withFileTypes: true });
    const hidden = (path: string): boolean =>
      relative(directory, path)
        .split('/')
        .some((part) => part.startsWith('.'));
    return entries
      .filter((entry) => entry.isFile() && pictureExtensions.has(extname(entry.name).toLowerCase()))
      .map((entry) => join(entry.parentPath, entry.name))
      .filter((path) => !hidden(path) && !path.includes('__MACOSX'))
      .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  } catch (cause) {
    throw ioError(cause, 'list', directory);
  }
}
