/** A .tar or .tar.gz in the layout of Pascal VOC: JPEGImages, Annotations, and lists of parts in ImageSets/Main. */
import { DataError, printable } from '../../base/errors.ts';
import type { Dataset } from '../dataset.ts';
import { decodeImage } from '../decode.ts';
import { readTar, type TarEntry } from '../formats/tar.ts';
import { parseVoc, type VocAnnotation } from '../formats/voc.ts';
import type { Schema } from '../schema.ts';

export interface VocArchive {
  /** Parts by the names of their lists: train, val, test ... */
  readonly parts: readonly string[];
  /** Of the objects of all pictures, sorted. */
  readonly classes: readonly string[];
  /**
   * Pictures with `counts`, how many objects of each class they show: numbers, named by class.
   * @throws DataError VOC_PART for a part there is not.
   */
  counts(part: string, options?: { channels?: 1 | 3 }): Dataset;
}

interface Picture {
  readonly name: string;
  readonly entry: TarEntry;
  readonly annotation: VocAnnotation;
}

/**
 * Reads an archive into memory; pictures are decoded when asked for. Folders above those three do not count.
 * @throws DataError VOC_LAYOUT, VOC_INVALID, TAR_*, GZIP_*, PATH_UNSAFE; IoError.
 */
export async function vocArchive(path: string): Promise<VocArchive> {
  const folders = {
    JPEGImages: new Map<string, TarEntry>(),
    Annotations: new Map<string, TarEntry>(),
    Main: new Map<string, TarEntry>(),
  };
  for (const entry of await readTar(path)) {
    const [folder, file] = entry.name.split('/').slice(-2) as [string, string?];
    if (file !== undefined && folder in folders && !file.startsWith('.'))
      folders[folder as keyof typeof folders].set(file.replace(/\.[^.]*$/, ''), entry);
  }
  const layout = (expected: string, got: unknown): never => {
    throw new DataError('VOC_LAYOUT', `${printable(path)}: expected ${expected}`, { file: path, expected, got });
  };
  if (folders.Annotations.size === 0) layout('Annotations/*.xml', 'none');
  const read = new TextDecoder();
  const pictures = new Map<string, Picture>();
  for (const [name, { bytes, name: file }] of folders.Annotations) {
    const entry =
      folders.JPEGImages.get(name) ?? layout(`JPEGImages/${name}.jpg, for which there is an annotation`, 'none');
    pictures.set(name, { name, entry, annotation: parseVoc(read.decode(bytes), `${path}/${file}`) });
  }
  const lists = new Map<string, Picture[]>();
  for (const [part, { bytes }] of folders.Main) {
    // A line may go on with 1 or -1, where the list is of one class.
    const names = read
      .decode(bytes)
      .split(/\r?\n/)
      .flatMap((line) => line.trim().split(/\s+/)[0] || []);
    lists.set(
      part,
      names.map((name) => pictures.get(name) ?? layout(`Annotations/${name}.xml, which ${part} names`, 'none')),
    );
  }
  if (lists.size === 0) lists.set('all', [...pictures.values()]);
  const classes = [
    ...new Set([...pictures.values()].flatMap(({ annotation }) => annotation.objects.map(({ name }) => name))),
  ].sort();
  return {
    parts: [...lists.keys()].sort(),
    classes,
    counts: (part, { channels = 3 } = {}) => {
      const chosen = lists.get(part);
      if (!chosen)
        throw new DataError('VOC_PART', `${printable(path)} has no part ${printable(part)}`, {
          file: path,
          expected: [...lists.keys()],
          got: part,
        });
      return countsOf(part, chosen, classes, channels, path);
    },
  };
}

function countsOf(
  part: string,
  pictures: readonly Picture[],
  classes: readonly string[],
  channels: 1 | 3,
  path: string,
): Dataset {
  const schema: Schema = {
    features: { image: { kind: 'image', height: null, width: null, channels } },
    labels: { counts: { kind: 'numbers', names: classes } },
  };
  const counts = pictures.map(({ annotation: { objects } }) =>
    Float32Array.from(classes, (name) => objects.filter((object) => object.name === name).length),
  );
  const file = (index: number): string => `${path}/${(pictures[index] as Picture).entry.name}`;
  return {
    name: part,
    length: pictures.length,
    schema,
    get: async (index) => ({
      image: await decodeImage((pictures[index] as Picture).entry.bytes, file(index), { channels }),
      counts: counts[index] as Float32Array,
    }),
    targets: (index) => ({ counts: counts[index] as Float32Array }),
    describe: file,
  };
}
