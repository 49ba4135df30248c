/** The data card: what a labelled picture set contains, before anything is trained on it. Plain JSON. */
import { DataError, printable } from '../base/errors.ts';
import { contentHash, countLabels, type Dataset, type ImageSample, idOf, labelsOf } from './dataset.ts';
import type { ImageSize, ImageU8 } from './image.ts';
import { classNames, imageFeature } from './schema.ts';
import { type DuplicateGroup, findDuplicates } from './split.ts';

/** Numbers, not pixels' raw bytes: everything survives JSON. */
export interface Picture extends ImageSize {
  /** 0..255, channels last. */
  readonly pixels: number[];
}

export interface Suspect {
  readonly id: number;
  readonly label: string;
  /** The class whose mean image it resembles most. */
  readonly resembles: string;
  /** Distance to its own class's mean over distance to the other's; above 1 is suspect. */
  readonly ratio: number;
}

export interface PartCard {
  readonly name: string;
  readonly samples: number;
  /** sha256 over schema and content. */
  readonly contentHash: string;
  readonly counts: Readonly<Record<string, number>>;
  /** Accuracy of always answering the most frequent class. */
  readonly majority: { readonly label: string; readonly accuracy: number };
  /** Per channel, of pixels / 255. */
  readonly mean: number[];
  readonly std: number[];
  /** Of raw pixel values. */
  readonly range: { readonly min: number; readonly max: number };
  /** Mean image of each class; null where pictures differ in size or the class is empty. */
  readonly meanImages: Readonly<Record<string, Picture | null>>;
  /** The first sample of each class. */
  readonly examples: Readonly<Record<string, Picture | null>>;
  /** Samples that resemble another class's mean more than their own, worst first; at most 20. */
  readonly suspects: readonly Suspect[];
}

export interface DataCard {
  readonly name: string;
  readonly classes: readonly string[];
  /** Null where pictures differ in size. */
  readonly image: { readonly height: number | null; readonly width: number | null; readonly channels: number };
  readonly parts: Readonly<Record<string, PartCard>>;
  readonly duplicates: {
    readonly within: readonly DuplicateGroup[];
    /** Leaks between parts. */
    readonly across: readonly DuplicateGroup[];
    /** Equal pictures with different labels. */
    readonly conflicting: readonly DuplicateGroup[];
  };
}

/**
 * Examines parts of one data set (train, test ...) with the same classes. Visits every sample three times.
 * @throws DataError for samples that do not fit the schema.
 */
export async function dataCard(name: string, parts: Readonly<Record<string, Dataset<ImageSample>>>): Promise<DataCard> {
  const first = Object.values(parts)[0];
  if (!first) throw new DataError('DATASET_EMPTY', `${printable(name)} has no parts`, { expected: 'at least one' });
  const classes = classNames(first.schema);
  const { height, width, channels } = imageFeature(first.schema);
  const cards: Record<string, PartCard> = {};
  for (const [part, dataset] of Object.entries(parts)) cards[part] = await partCard(dataset);
  const { within, across } = await findDuplicates(parts);
  const conflicting = [...within, ...across].filter(({ members }) =>
    members.some((m) => m.label !== members[0]?.label),
  );
  return {
    name,
    classes,
    image: { height, width, channels },
    parts: cards,
    duplicates: { within, across, conflicting },
  };
}

async function partCard(dataset: Dataset<ImageSample>): Promise<PartCard> {
  const classes = classNames(dataset.schema);
  const labels = await labelsOf(dataset);
  const counts = countLabels(labels, classes.length);
  const most = counts.indexOf(Math.max(...counts));
  const { centroids, size, examples, ...statistics } = await pixelStatistics(dataset, labels, counts);
  const byClass = <T>(value: (c: number) => T): Record<string, T> =>
    Object.fromEntries(classes.map((label, c) => [label, value(c)]));
  const pictureOf = (values: ArrayLike<number> | undefined, shape: ImageSize | undefined): Picture | null =>
    values && shape ? { ...shape, pixels: Array.from(values, Math.round) } : null;
  return {
    name: dataset.name,
    samples: dataset.length,
    contentHash: await contentHash(dataset),
    counts: byClass((c) => counts[c] as number),
    majority: { label: classes[most] as string, accuracy: (counts[most] as number) / Math.max(1, dataset.length) },
    ...statistics,
    meanImages: byClass((c) => pictureOf(centroids?.[c], size)),
    examples: byClass((c) => pictureOf(examples[c]?.data, examples[c] && sizeOnly(examples[c]))),
    suspects: centroids ? await findSuspects(dataset, labels, centroids) : [],
  };
}

const sizeOnly = ({ height, width, channels }: ImageU8): ImageSize => ({ height, width, channels });

interface PixelStatistics {
  mean: number[];
  std: number[];
  range: { min: number; max: number };
  /** Undefined where pictures differ in size; an empty class has none. */
  centroids: (Float64Array | undefined)[] | undefined;
  size: ImageSize | undefined;
  examples: (ImageU8 | undefined)[];
}

// Whole numbers are summed, so the result does not depend on the order and is exact.
async function pixelStatistics(
  dataset: Dataset<ImageSample>,
  labels: Int32Array,
  counts: readonly number[],
): Promise<PixelStatistics> {
  const { channels } = imageFeature(dataset.schema);
  const histogram = Array.from({ length: channels }, () => new Float64Array(256));
  const examples: (ImageU8 | undefined)[] = counts.map(() => undefined);
  let sums: (Float64Array | undefined)[] | undefined = counts.map(() => undefined);
  let size: ImageSize | undefined;
  for (let i = 0; i < dataset.length; i++) {
    const next = dataset.get(i);
    const { image } = next instanceof Promise ? await next : next;
    const { data } = image;
    const label = labels[i] as number;
    if (!examples[label]) examples[label] = { ...image, data: image.data.slice() };
    size ??= sizeOnly(image);
    if (image.height !== size.height || image.width !== size.width) sums = undefined;
    if (channels === 1) {
      const row = histogram[0] as Float64Array;
      for (let p = 0; p < data.length; p++) row[data[p] as number] = (row[data[p] as number] as number) + 1;
    } else
      for (let p = 0; p < data.length; p++) {
        const row = histogram[p % channels] as Float64Array;
        row[data[p] as number] = (row[data[p] as number] as number) + 1;
      }
    if (!sums) continue;
    sums[label] ??= new Float64Array(data.length);
    const sum = sums[label];
    for (let p = 0; p < data.length; p++) sum[p] = (sum[p] as number) + (data[p] as number);
  }
  const moments = histogram.map((row) => {
    let [n, total, squares] = [0, 0, 0];
    row.forEach((count, value) => {
      n += count;
      total += count * value;
      squares += count * value * value;
    });
    const mean = total / Math.max(1, n);
    return { mean: mean / 255, std: Math.sqrt(Math.max(0, squares / Math.max(1, n) - mean * mean)) / 255 };
  });
  const used = Array.from({ length: 256 }, (_, v) => v).filter((v) => histogram.some((row) => row[v]));
  const centroids = sums?.map((sum, c) => sum?.map((x) => x / (counts[c] as number)));
  return {
    mean: moments.map((m) => m.mean),
    std: moments.map((m) => m.std),
    range: { min: used[0] ?? 0, max: used[used.length - 1] ?? 0 },
    centroids,
    size: centroids && size,
    examples,
  };
}

const MOST_SUSPECTS = 20;

// A crude eye, but one that needs no model: a wrong label often sits nearer to another class's mean image.
async function findSuspects(
  dataset: Dataset<ImageSample>,
  labels: Int32Array,
  centroids: readonly (Float64Array | undefined)[],
): Promise<Suspect[]> {
  const classes = classNames(dataset.schema);
  const suspects: Suspect[] = [];
  for (let i = 0; i < dataset.length; i++) {
    const next = dataset.get(i);
    const { data } = (next instanceof Promise ? await next : next).image;
    const label = labels[i] as number;
    const own = distance(data, centroids[label] as Float64Array, Number.POSITIVE_INFINITY);
    let best = own;
    let resembles = label;
    centroids.forEach((centroid, c) => {
      if (!centroid || c === label) return;
      // Abandoned as soon as it is past the best so far.
      const d = distance(data, centroid, best);
      if (d < best) {
        best = d;
        resembles = c;
      }
    });
    if (resembles === label) continue;
    const ratio = Math.sqrt(own / Math.max(best, 1e-12));
    suspects.push({
      id: idOf(dataset, i),
      label: classes[label] as string,
      resembles: classes[resembles] as string,
      ratio: Math.round(ratio * 1000) / 1000,
    });
  }
  return suspects.sort((a, b) => b.ratio - a.ratio || a.id - b.id).slice(0, MOST_SUSPECTS);
}

function distance(data: Uint8Array, centroid: Float64Array, limit: number): number {
  let sum = 0;
  for (let p = 0; p < data.length; ) {
    const stop = Math.min(data.length, p + 112);
    for (; p < stop; p++) {
      const d = (data[p] as number) - (centroid[p] as number);
      sum += d * d;
    }
    if (sum > limit) return sum;
  }
  return sum;
}
