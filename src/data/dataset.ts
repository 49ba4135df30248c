/** Data sets: a length, a typed schema, random access. Plus the in-memory picture set and views of others. */
import { createHash, type Hash } from 'node:crypto';
import { DataError, printable } from '../base/errors.ts';
import { bytesOf } from '../io/host-array.ts';
import type { ImageU8 } from './image.ts';
import { indexOutside } from './index-outside.ts';
import { classNames, fieldNames, imageClassSchema, imageFeature, type Schema } from './schema.ts';

/** A field's value: image, class index or number, text, vector or audio samples, words of a text and their classes. */
export type FieldValue = ImageU8 | number | string | Float32Array | readonly string[] | Int32Array;
export type Sample = Readonly<Record<string, FieldValue>>;
export type ImageSample = { readonly image: ImageU8; readonly label: number };

/** Random access by position. `S` has one key for each field of the schema. */
export interface Dataset<S = Sample> {
  readonly name: string;
  readonly length: number;
  readonly schema: Schema;
  /** Sample `index`; the arrays in it belong to the data set and must not be written to. */
  get(index: number): S | Promise<S>;
  /** Lasting number of a sample: its position in the set it first came from. `index` unless given. */
  id?(index: number): number;
  /** The class of a sample, where it can be told without decoding the rest. */
  label?(index: number): number;
  /** All labels of a sample, where they can be told without decoding the rest. */
  targets?(index: number): Readonly<Record<string, FieldValue>> | undefined;
  /** Where a sample came from, for messages (a file name). */
  describe?(index: number): string;
  /** All samples in order, where they are read from a file each time: `get` then throws STREAM_NO_INDEX. */
  samples?(): AsyncIterable<S>;
  /** A view of ascending positions, where `get` cannot serve one. */
  select?(indices: Int32Array, name: string): Dataset<S>;
}

/** Pictures of one size in one block of memory. */
export class InMemoryImageDataset implements Dataset<ImageSample> {
  readonly name: string;
  readonly length: number;
  readonly schema: Schema;
  /** All pixels: n x height x width x channels. */
  readonly pixels: Uint8Array;
  readonly labels: Int32Array;
  readonly #size: readonly [height: number, width: number, channels: number];

  /** @throws DataError when the arrays do not fit each other or a label is outside the classes. */
  constructor(options: {
    name: string;
    pixels: Uint8Array;
    labels: Int32Array;
    height: number;
    width: number;
    channels?: number;
    classes: readonly string[];
  }) {
    const { name, pixels, labels, height, width, channels = 1, classes } = options;
    const expected = labels.length * height * width * channels;
    if (pixels.length !== expected)
      throw new DataError(
        'DATASET_SIZE',
        `${name}: ${labels.length} labels need ${expected} pixels, there are ${pixels.length}`,
        { expected, got: pixels.length },
      );
    const bad = labels.findIndex((label) => label < 0 || label >= classes.length);
    if (bad >= 0) labelOutside(name, bad, labels[bad] as number, classes.length);
    this.name = name;
    this.length = labels.length;
    this.schema = imageClassSchema(height, width, channels, classes);
    this.pixels = pixels;
    this.labels = labels;
    this.#size = [height, width, channels];
  }

  get(index: number): ImageSample {
    const [height, width, channels] = this.#size;
    checkIndex(this, index);
    const bytes = height * width * channels;
    const data = this.pixels.subarray(index * bytes, (index + 1) * bytes);
    return { image: { data, height, width, channels }, label: this.labels[index] as number };
  }

  label(index: number): number {
    checkIndex(this, index);
    return this.labels[index] as number;
  }
}

/** Throws DataError LABEL_OUTSIDE. */
export function labelOutside(name: string, sample: number, got: number, classes: number): never {
  throw new DataError('LABEL_OUTSIDE', `${name}: sample ${sample} has label ${got}, outside the ${classes} classes`, {
    sample,
    expected: `0..${classes - 1}`,
    got,
  });
}

function checkIndex(dataset: { name: string; length: number }, index: number): void {
  if (!Number.isInteger(index) || index < 0 || index >= dataset.length)
    indexOutside(dataset.name, index, dataset.length);
}

/** A view of chosen samples, in the order given. Ids stay those of the underlying set. */
class Subset<S> implements Dataset<S> {
  readonly name: string;
  readonly length: number;
  readonly schema: Schema;
  readonly #source: Dataset<S>;
  readonly #indices: Int32Array;

  constructor(source: Dataset<S>, indices: Int32Array, name: string) {
    this.name = name;
    this.length = indices.length;
    this.schema = source.schema;
    this.#source = source;
    this.#indices = indices;
  }

  #at(index: number): number {
    checkIndex(this, index);
    return this.#indices[index] as number;
  }

  get(index: number): S | Promise<S> {
    return this.#source.get(this.#at(index));
  }

  id(index: number): number {
    return idOf(this.#source, this.#at(index));
  }

  label(index: number): number {
    return this.#source.label?.(this.#at(index)) ?? Number.NaN;
  }

  targets(index: number): Readonly<Record<string, FieldValue>> | undefined {
    return this.#source.targets?.(this.#at(index));
  }

  describe(index: number): string {
    return describeSample(this.#source, this.#at(index));
  }
}

/** Samples `indices` of `dataset` as a data set. @throws ArgumentError for an index it does not have. */
export function subset<S>(dataset: Dataset<S>, indices: ArrayLike<number>, name = dataset.name): Dataset<S> {
  const list = Int32Array.from(indices);
  for (let i = 0; i < list.length; i++) checkIndex(dataset, indices[i] as number);
  return dataset.select?.(list, name) ?? new Subset(dataset, list, name);
}

/** All samples in order, by position or as they are read. */
export async function* samplesOf<S>(dataset: Dataset<S>): AsyncGenerator<S, void, void> {
  if (dataset.samples) return yield* dataset.samples();
  for (let i = 0; i < dataset.length; i++) {
    const sample = dataset.get(i);
    yield sample instanceof Promise ? await sample : sample;
  }
}

/** The first `count` samples; all if there are fewer. */
export const take = <S>(dataset: Dataset<S>, count: number): Dataset<S> =>
  count >= dataset.length
    ? dataset
    : subset(
        dataset,
        Array.from({ length: count }, (_, i) => i),
      );

export const idOf = (dataset: Dataset<unknown>, index: number): number => dataset.id?.(index) ?? index;

/** A sample's origin for messages. */
export const describeSample = (dataset: Dataset<unknown>, index: number): string =>
  dataset.describe?.(index) ?? `${dataset.name} sample ${idOf(dataset, index)}`;

/** All labels of a sample, without decoding pictures where the data set allows. */
export async function labelsAt(
  dataset: Dataset<unknown>,
  index: number,
): Promise<Readonly<Record<string, FieldValue>>> {
  const names = Object.keys(dataset.schema.labels);
  const label = names.join() === 'label' ? dataset.label?.(index) : undefined;
  if (label !== undefined && !Number.isNaN(label)) return { label };
  const known = dataset.targets?.(index);
  if (known) return known;
  const sample = (await dataset.get(index)) as Sample;
  return Object.fromEntries(names.map((name) => [name, sample[name] as FieldValue]));
}

/** Every sample's class, without decoding pictures where the data set allows. @throws DataError. */
export async function labelsOf(dataset: Dataset<unknown>, field = 'label'): Promise<Int32Array> {
  const classes = classNames(dataset.schema, field).length;
  const labels = new Int32Array(dataset.length);
  for (let i = 0; i < labels.length; i++) {
    let label = field === 'label' ? (dataset.label?.(i) ?? Number.NaN) : Number.NaN;
    if (Number.isNaN(label)) label = (dataset.targets?.(i)?.[field] as number | undefined) ?? Number.NaN;
    if (Number.isNaN(label)) label = (await (dataset as Dataset<Sample>).get(i))[field] as number;
    if (!Number.isInteger(label) || label < 0 || label >= classes)
      labelOutside(dataset.name, idOf(dataset, i), label, classes);
    labels[i] = label;
  }
  return labels;
}

/** How many samples each class has, in the order of the class names. */
export function countLabels(labels: Int32Array, classes: number): number[] {
  const counts = new Array<number>(classes).fill(0);
  for (const label of labels) counts[label] = (counts[label] as number) + 1;
  return counts;
}

/**
 * The identity of a data set: sha256 over its schema and every value of every field. The same samples in the same order
 * have the same hash, whether they lie in memory, in files or behind a view; names do not count.
 */
export async function contentHash(dataset: Dataset<unknown>): Promise<string> {
  const names = fieldNames(dataset.schema).sort();
  const fields = names.map(() => createHash('sha256'));
  for await (const sample of samplesOf(dataset as Dataset<Sample>))
    for (let f = 0; f < names.length; f++) hashValue(fields[f] as Hash, sample[names[f] as string]);
  const whole = createHash('sha256');
  const { features, labels } = dataset.schema;
  whole.update(`cambium-data-1\n${dataset.length}\n${canonical({ features, labels })}\n`);
  names.forEach((name, f) => {
    whole.update(`${JSON.stringify(name)} ${fields[f]?.digest('hex')}\n`);
  });
  return whole.digest('hex');
}

/** sha256 of one sample's features: equal pixels, equal key. */
export function featureHash(sample: Sample, schema: Schema): string {
  const hash = createHash('sha256');
  for (const name of Object.keys(schema.features)) hashValue(hash, sample[name]);
  return hash.digest('base64');
}

const scalar = new Float64Array(1);
const sizes = new Int32Array(3);

function hashValue(hash: Hash, value: FieldValue | undefined): void {
  if (typeof value === 'number') {
    scalar[0] = value;
    hash.update(bytesOf(scalar));
  } else if (typeof value === 'string') hash.update(`${Buffer.byteLength(value)}:${value}`);
  else if (isWords(value)) {
    sizes[0] = value.length;
    hash.update(bytesOf(sizes));
    for (const word of value) hashValue(hash, word);
  } else if (value instanceof Float32Array || value instanceof Int32Array) {
    sizes[0] = value.length;
    hash.update(bytesOf(sizes)).update(bytesOf(value));
  } else if (value) {
    // The size too: a 2x8 picture is not a 4x4 one.
    sizes.set([value.height, value.width, value.channels]);
    hash.update(bytesOf(sizes)).update(value.data);
  } else throw new DataError('FIELD_MISSING', 'a sample lacks a field of its schema', { expected: 'a value' });
}

const isWords = (value: FieldValue | undefined): value is readonly string[] => Array.isArray(value);

// Keys sorted, so that the order in which a schema was written does not matter.
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const rows = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${rows.map(([key, v]) => `${JSON.stringify(key)}:${canonical(v)}`).join(',')}}`;
}

/**
 * Reads a whole set of equally large pictures into memory, e.g. a folder that is visited for many epochs.
 * @throws DataError when pictures differ in size or there are more than `maxBytes` (4 GiB) of pixels.
 */
export async function toMemory(
  dataset: Dataset<ImageSample>,
  { maxBytes = 2 ** 32 } = {},
): Promise<InMemoryImageDataset> {
  if (dataset instanceof InMemoryImageDataset) return dataset;
  const classes = classNames(dataset.schema);
  const { channels } = imageFeature(dataset.schema);
  const labels = await labelsOf(dataset);
  let pixels: Uint8Array | undefined;
  let first: ImageU8 | undefined;
  for (let i = 0; i < dataset.length; i++) {
    const { image } = await dataset.get(i);
    first ??= image;
    if (image.height !== first.height || image.width !== first.width || image.channels !== channels)
      throw new DataError(
        'IMAGE_SIZES_DIFFER',
        `${describeSample(dataset, i)} is ${sizeText(image)}, others are ${sizeText(first)}`,
        { expected: sizeText(first), got: sizeText(image), hint: 'give it a resize transform' },
      );
    if (image.data.length * dataset.length > maxBytes)
      throw new DataError('DATASET_TOO_LARGE', `${dataset.name} needs more than ${maxBytes} bytes`, {
        expected: maxBytes,
      });
    pixels ??= new Uint8Array(image.data.length * dataset.length);
    pixels.set(image.data, i * image.data.length);
  }
  if (!first || !pixels) throw new DataError('DATASET_EMPTY', `${printable(dataset.name)} has no samples`, {});
  const { height, width } = first;
  return new InMemoryImageDataset({ name: dataset.name, pixels, labels, height, width, channels, classes });
}

const sizeText = (image: ImageU8): string => `${image.height}x${image.width}x${image.channels}`;
