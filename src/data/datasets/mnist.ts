/** MNIST: 60,000 and 10,000 handwritten digits (LeCun, Cortes, Burges) from a directory, the cache, or a download. */
import { join } from 'node:path';
import { DataError, IoError, printable } from '../../base/errors.ts';
import { exists } from '../../io/atomic.ts';
import { cacheDir } from '../../io/cache.ts';
import { downloadFile } from '../../io/download.ts';
import type { InMemoryImageDataset } from '../dataset.ts';
import { readIdxImages } from '../formats/idx.ts';

const mirrors = [
  'https://ossci-datasets.s3.amazonaws.com/mnist/',
  'https://storage.googleapis.com/cvdf-datasets/mnist/',
];

interface RemoteFile {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** The four original files; digests of the gzipped bytes. */
export const mnistFiles = {
  train: {
    count: 60_000,
    images: {
      name: 'train-images-idx3-ubyte.gz',
      bytes: 9_912_422,
      sha256: '440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609',
    },
    labels: {
      name: 'train-labels-idx1-ubyte.gz',
      bytes: 28_881,
      sha256: '3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c',
    },
  },
  test: {
    count: 10_000,
    images: {
      name: 't10k-images-idx3-ubyte.gz',
      bytes: 1_648_877,
      sha256: '8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6',
    },
    labels: {
      name: 't10k-labels-idx1-ubyte.gz',
      bytes: 4_542,
      sha256: 'f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6',
    },
  },
} as const;

export const digitNames: readonly string[] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];

export interface MnistOptions {
  split: 'train' | 'test';
  /** Directory that holds the files, gzipped or not, itself or in its folder `mnist`; then nothing is downloaded. */
  dataDir?: string;
  /** Called while downloading. */
  onProgress?: (progress: { file: string; done: number; total?: number }) => void;
}

const hint =
  'pass --data-dir DIR with the four MNIST .gz files, or use the built-in data set "digits", which needs no files';

/**
 * One split, 28x28 grey. Ids are positions in the original files.
 * @throws DataError for damaged files or other counts than MNIST's; IoError for a directory without them; NetworkError.
 */
export async function loadMnist({ split, dataDir, onProgress }: MnistOptions): Promise<InMemoryImageDataset> {
  const files = mnistFiles[split];
  const find = (file: RemoteFile): Promise<string> =>
    dataDir === undefined ? fetchCached(file, onProgress) : findIn(dataDir, file);
  const [images, labels] = [await find(files.images), await find(files.labels)];
  const dataset = await readIdxImages({ name: `mnist/${split}`, images, labels, classes: digitNames });
  const image = dataset.schema.features.image;
  if (dataset.length !== files.count || image?.kind !== 'image' || image.height !== 28 || image.width !== 28)
    throw new DataError(
      'MNIST_COUNT',
      `${printable(images)} is not MNIST: expected ${files.count} images of 28x28, found ${dataset.length}`,
      { file: images, offset: 4, expected: files.count, got: dataset.length },
    );
  return dataset;
}

/** Whether a directory holds the test pictures: itself, or (unless only that is asked) in its folder `mnist`. */
export async function holdsMnist(directory: string, { itself = false } = {}): Promise<boolean> {
  const { name } = mnistFiles.test.images;
  for (const path of itself ? filesIn(directory, name) : placesOf(directory, name)) if (await exists(path)) return true;
  return false;
}

const placesOf = (directory: string, name: string): string[] =>
  [directory, join(directory, 'mnist')].flatMap((place) => filesIn(place, name));

function filesIn(directory: string, name: string): string[] {
  const plain = name.slice(0, -3);
  // Some archives write "train-images.idx3-ubyte".
  return [name, plain, plain.replace('-idx', '.idx')].map((file) => join(directory, file));
}

async function findIn(directory: string, { name }: RemoteFile): Promise<string> {
  const candidates = placesOf(directory, name);
  for (const path of candidates) if (await exists(path)) return path;
  throw new IoError('FILE_NOT_FOUND', `${printable(directory)} has no ${name}, gzipped or not`, {
    file: candidates[0],
    expected: name,
    hint: 'the directory, or its folder mnist, must hold the four MNIST files; the built-in data set "digits" needs none',
  });
}

function fetchCached(file: RemoteFile, onProgress: MnistOptions['onProgress']): Promise<string> {
  return downloadFile({
    urls: mirrors.map((mirror) => mirror + file.name),
    sha256: file.sha256,
    bytes: file.bytes,
    dest: join(cacheDir(), 'mnist', file.name),
    hint,
    onProgress,
  });
}
