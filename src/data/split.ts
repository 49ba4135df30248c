/** Splits a data set into parts that share no sample: seeded, stratified by class; and finds duplicates across parts. */
import { ArgumentError, printable } from '../base/errors.ts';
import { Philox } from '../base/rng.ts';
import { countLabels, type Dataset, featureHash, idOf, labelsOf, type Sample, subset } from './dataset.ts';
import { requireIndexed } from './iterable.ts';
import { streams } from './random.ts';
import { classNames } from './schema.ts';

/** A fraction below 1, a count of samples, or whatever the other parts leave. */
export type PartSize = number | 'rest';

export interface SplitOptions {
  seed: number;
  /** Class label to keep in proportion; `false` for a plain random split. `label` unless told. */
  stratify?: string | false;
}

/**
 * Disjoint parts as ascending positions. Totals are exact; each class is divided by largest remainder, so its share in a
 * part is off by less than one sample wherever the other classes allow. Depends on seed, sizes and labels alone.
 * @throws ArgumentError SPLIT_INVALID.
 */
export async function splitIndices<P extends string>(
  dataset: Dataset<unknown>,
  parts: Readonly<Record<P, PartSize>>,
  { seed, stratify = 'label' }: SplitOptions,
): Promise<Record<P, Int32Array>> {
  requireIndexed(dataset, 'dataset', 'split the file, or read it into memory: readTextDataset');
  const names = Object.keys(parts) as P[];
  const totals = partTotals(dataset.length, names, parts);
  const labels = stratify === false ? new Int32Array(dataset.length) : await labelsOf(dataset, stratify);
  const classes = stratify === false ? 1 : classNames(dataset.schema, stratify).length;

  // Four bytes a sample and no list of numbers: a corpus has millions of lines.
  const counts = countLabels(labels, classes);
  const members = counts.map((n) => new Int32Array(n));
  const filled = new Int32Array(classes);
  for (let i = 0; i < labels.length; i++) {
    const c = labels[i] as number;
    const place = filled[c] as number;
    (members[c] as Int32Array)[place] = i;
    filled[c] = place + 1;
  }
  members.forEach((list, c) => {
    new Philox(seed, streams.split + c).shuffle(list);
  });

  const taken = new Array<number>(classes).fill(0);
  const out = {} as Record<P, Int32Array>;
  names.forEach((name, p) => {
    const left = members.map((list, c) => list.length - (taken[c] as number));
    const share = apportion(totals[p] as number, left, counts);
    const chosen = new Int32Array(share.reduce((sum, n) => sum + n, 0));
    let at = 0;
    members.forEach((list, c) => {
      const [from, n] = [taken[c] as number, share[c] as number];
      chosen.set(list.subarray(from, from + n), at);
      at += n;
      taken[c] = from + n;
    });
    out[name] = chosen.sort();
  });
  return out;
}

/** `splitIndices` as data sets, named `<set>/<part>`; e.g. `{ train: 'rest', validation: 5000 }`. */
export async function splitDataset<S, P extends string>(
  dataset: Dataset<S>,
  parts: Readonly<Record<P, PartSize>>,
  options: SplitOptions,
): Promise<Record<P, Dataset<S>>> {
  const indices = await splitIndices(dataset, parts, options);
  const entries = Object.entries<Int32Array>(indices).map(([part, list]) => [
    part,
    subset(dataset, list, `${dataset.name}/${part}`),
  ]);
  return Object.fromEntries(entries);
}

function partTotals(length: number, names: readonly string[], parts: Readonly<Record<string, PartSize>>): number[] {
  const invalid = (message: string, field: string): never => {
    throw new ArgumentError('SPLIT_INVALID', message, { field, expected: `parts of ${length} samples`, got: parts });
  };
  const totals = names.map((name) => {
    const size = parts[name];
    if (size === 'rest') return -1;
    if (typeof size === 'number' && size > 0 && size < 1) return Math.round(size * length);
    if (Number.isInteger(size) && (size as number) >= 0) return size as number;
    return invalid(
      `part ${printable(name)}: expected a fraction below 1, a count or 'rest', found ${printable(size)}`,
      name,
    );
  });
  const rest = totals.indexOf(-1);
  if (rest !== totals.lastIndexOf(-1)) invalid("only one part can be 'rest'", names[totals.lastIndexOf(-1)] as string);
  const fixed = totals.reduce((sum, n) => sum + Math.max(n, 0), 0);
  // Fractions that add to one may round one past the end; anything more is a mistake.
  let over = fixed - length;
  for (let p = totals.length - 1; over > 0 && p >= 0; p--)
    if ((parts[names[p] as string] as number) < 1 && over < totals.length) {
      totals[p] = (totals[p] as number) - 1;
      over--;
    }
  if (over > 0) invalid(`the parts need ${fixed} samples, there are ${length}`, names.join(', '));
  if (rest >= 0) totals[rest] = Math.max(0, length - fixed);
  return totals;
}

// Divides `total` in proportion to `weights`, no share above its `capacity`.
function apportion(total: number, capacity: readonly number[], weights: readonly number[]): number[] {
  const sum = weights.reduce((a, b) => a + b, 0) || 1;
  const ideal = weights.map((w) => (total * w) / sum);
  const share = ideal.map((x, c) => Math.min(Math.floor(x), capacity[c] as number));
  let missing = total - share.reduce((a, b) => a + b, 0);
  const order = ideal
    .map((x, c) => ({ c, lack: x - (share[c] as number) }))
    .sort((a, b) => b.lack - a.lack || a.c - b.c)
    .map(({ c }) => c);
  while (missing > 0)
    for (const c of order)
      if (missing > 0 && (share[c] as number) < (capacity[c] as number)) {
        share[c] = (share[c] as number) + 1;
        missing--;
      }
  return share;
}

export interface DuplicateGroup {
  /** Samples with equal features, as part name, id and class. */
  readonly members: readonly { readonly part: string; readonly id: number; readonly label?: number }[];
}

export interface Duplicates {
  /** Groups whose members lie in one part. */
  readonly within: readonly DuplicateGroup[];
  /** Groups that touch several parts: a leak, the model is tested on what it has learned. */
  readonly across: readonly DuplicateGroup[];
}

/** Samples of equal features (by sha256) in and across the named sets, in order of first appearance. */
export async function findDuplicates(parts: Readonly<Record<string, Dataset<unknown>>>): Promise<Duplicates> {
  const seen = new Map<string, { part: string; id: number; label?: number }[]>();
  for (const [part, dataset] of Object.entries(parts)) {
    const labelled = dataset.schema.labels.label?.kind === 'class';
    for (let i = 0; i < dataset.length; i++) {
      const next = (dataset as Dataset<Sample>).get(i);
      const sample = next instanceof Promise ? await next : next;
      const key = featureHash(sample, dataset.schema);
      const member = { part, id: idOf(dataset, i), ...(labelled ? { label: sample.label as number } : {}) };
      const group = seen.get(key);
      if (group) group.push(member);
      else seen.set(key, [member]);
    }
  }
  const groups = [...seen.values()].filter((members) => members.length > 1).map((members) => ({ members }));
  const crosses = ({ members }: DuplicateGroup): boolean => members.some(({ part }) => part !== members[0]?.part);
  return { within: groups.filter((g) => !crosses(g)), across: groups.filter(crosses) };
}
