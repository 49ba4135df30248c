/** Text sets by name, read from a folder that holds their files as they were published. Nothing is downloaded. */
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { IoError, printable } from '../../base/errors.ts';
import { exists } from '../../io/atomic.ts';
import { ioError } from '../../io/failure.ts';
import { type Dataset, subset } from '../dataset.ts';
import type { ClassNames } from '../label-reader.ts';
import { type InMemoryTextDataset, readTextDataset, type TextSample, type TextTableOptions } from '../text/dataset.ts';

export const textSetNames = ['thucnews-titles', 'sst2', 'finnews-zh', 'chnsenticorp', 'waimai'] as const;
export type TextSetName = (typeof textSetNames)[number];

/** The parts a set was published with; `test` is missing where the user has to split. */
export interface TextSet {
  readonly train: Dataset<TextSample>;
  readonly validation?: Dataset<TextSample>;
  readonly test?: Dataset<TextSample>;
}

type Part = 'train' | 'validation' | 'test';
type PartFile = TextTableOptions & { readonly file: string };

interface Source {
  readonly description: string;
  readonly parts: Readonly<Partial<Record<Part, PartFile>>>;
  /** A file with one name a line, or the names by the values in the files. */
  readonly classes: string | ClassNames;
  /** Leaves out of `train` every text that occurs in `test`. */
  readonly dropLeaked?: boolean;
}

const sentiment: ClassNames = { '0': 'negative', '1': 'positive' };
const pairOfColumns = { textColumn: 0, labelColumn: 1 } as const;

const sources: { readonly [K in TextSetName]: Source } = {
  'thucnews-titles': {
    description: 'Chinese news titles in 10 topics',
    parts: {
      train: { file: 'train.txt.gz', ...pairOfColumns },
      validation: { file: 'dev.txt.gz', ...pairOfColumns },
      test: { file: 'test.txt.gz', ...pairOfColumns },
    },
    classes: 'class.txt',
  },
  sst2: {
    description: 'English film reviews, sentences, negative or positive',
    parts: {
      train: { file: 'train.tsv.gz', ...pairOfColumns },
      validation: { file: 'dev.tsv.gz', ...pairOfColumns },
      test: { file: 'test.tsv.gz', ...pairOfColumns },
    },
    classes: sentiment,
  },
  'finnews-zh': {
    description:
      'Titles of Chinese financial news, negative or positive; titles of the test part are left out of training',
    parts: {
      train: { file: 'news_seed.tsv.gz', textColumn: '标题', labelColumn: '正/负面' },
      test: { file: 'test_data.csv.gz', textColumn: '标题', labelColumn: '正负面' },
    },
    classes: sentiment,
    dropLeaked: true,
  },
  chnsenticorp: {
    description: 'Chinese hotel reviews, negative or positive, without parts',
    parts: { train: { file: 'ChnSentiCorp_htl_all.csv.gz', textColumn: 'review', emptyText: 'skip' } },
    classes: sentiment,
  },
  waimai: {
    description: 'Chinese reviews of food delivery, negative or positive, without parts',
    parts: { train: { file: 'waimai_10k.csv.gz', textColumn: 'review' } },
    classes: sentiment,
  },
};

/**
 * A set from `dataDir`, which holds its files (gzipped or not) or a folder of its name with them.
 * @throws IoError FILE_NOT_FOUND; DataError for damaged files.
 */
export async function loadTextSet(name: TextSetName, dataDir: string): Promise<TextSet> {
  const { parts, classes, dropLeaked } = sources[name];
  const names = typeof classes === 'string' ? await readNames(await find(name, dataDir, classes)) : classes;
  const read: Partial<Record<Part, InMemoryTextDataset>> = {};
  for (const [part, { file, ...options }] of Object.entries(parts) as [Part, PartFile][])
    read[part] = await readTextDataset(await find(name, dataDir, file), {
      ...options,
      classes: names,
      name: `${name}/${part}`,
    });
  const { train, validation, test } = read;
  const whole = train as InMemoryTextDataset;
  return { train: dropLeaked && test ? without(whole, test) : whole, validation, test };
}

/** The samples of `dataset` whose text does not occur in `other`. Ids stay. */
function without(dataset: InMemoryTextDataset, other: InMemoryTextDataset): Dataset<TextSample> {
  const known = new Set(other.texts.map((text) => text.trim()));
  const kept = dataset.texts.flatMap((text, i) => (known.has(text.trim()) ? [] : [i]));
  return kept.length === dataset.length ? dataset : subset(dataset, kept);
}

async function find(name: TextSetName, dataDir: string, file: string): Promise<string> {
  const plain = file.replace(/\.gz$/, '');
  const candidates = [dataDir, join(dataDir, name)].flatMap((dir) => [join(dir, file), join(dir, plain)]);
  for (const path of candidates) if (await exists(path)) return path;
  throw new IoError('FILE_NOT_FOUND', `${printable(dataDir)} has no ${basename(file)} of ${name}, gzipped or not`, {
    file: candidates[0],
    expected: file,
    hint: `pass --data-dir DIR with the files of ${name}; the built-in set "phrases" needs none`,
  });
}

async function readNames(file: string): Promise<string[]> {
  try {
    return (await readFile(file, 'utf8'))
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '');
  } catch (cause) {
    throw ioError(cause, 'read', file);
  }
}
