/** Several data sets as one, each with a label of its own: what one trunk with several heads learns from. */
import { ArgumentError, printable } from '../base/errors.ts';
import { type Dataset, describeSample, type FieldValue, type Sample } from './dataset.ts';
import { indexOutside } from './index-outside.ts';
import type { Label, Schema } from './schema.ts';

/**
 * Samples of all parts, one part after the other. The class label of each part becomes an optional label under the part's name:
 * a sample has that of its own part, and lacks the others.
 * @example const both = joinDatasets({ finance: news, food: reviews });
 * @throws ArgumentError JOIN_FEATURES for parts of other features, JOIN_LABEL for a part without a label of its own.
 */
export function joinDatasets(
  parts: Readonly<Record<string, Dataset<unknown>>>,
  name = Object.keys(parts).join('+'),
): Dataset {
  const entries = Object.entries(parts);
  const [first] = entries;
  if (!first) throw new ArgumentError('JOIN_EMPTY', 'there is nothing to join', { field: 'parts' });
  const { features } = first[1].schema;
  const own: string[] = entries.map(([part, { schema }]) => {
    if (JSON.stringify(schema.features) !== JSON.stringify(features))
      throw new ArgumentError('JOIN_FEATURES', `${printable(part)} has other features than ${printable(first[0])}`, {
        expected: features,
        got: schema.features,
      });
    const [label, ...others] = Object.keys(schema.labels);
    if (label === undefined || others.length > 0)
      throw new ArgumentError('JOIN_LABEL', `${printable(part)} needs one label to be joined`, {
        got: Object.keys(schema.labels),
      });
    return label;
  });
  const labels = Object.fromEntries(
    entries.map(([part, { schema }], i): [string, Label] => [
      part,
      { ...(schema.labels[own[i] as string] as Label), optional: true },
    ]),
  );
  const schema: Schema = { features, labels };
  const absent = Object.fromEntries(Object.entries(labels).map(([part, label]) => [part, nothing(label)]));
  const starts: number[] = [];
  let length = 0;
  for (const [, { length: more }] of entries) {
    starts.push(length);
    length += more;
  }
  const at = (index: number): { part: string; dataset: Dataset<unknown>; field: string; index: number } => {
    if (!Number.isInteger(index) || index < 0 || index >= length) indexOutside(name, index, length);
    let k = starts.length - 1;
    while ((starts[k] as number) > index) k--;
    const [part, dataset] = entries[k] as [string, Dataset<unknown>];
    return { part, dataset, field: own[k] as string, index: index - (starts[k] as number) };
  };
  const place = (sample: Sample, { part, field }: { part: string; field: string }): Sample => {
    const { [field]: label, ...rest } = sample;
    return { ...rest, ...absent, [part]: label as FieldValue };
  };
  return {
    name,
    length,
    schema,
    get: (index) => {
      const found = at(index);
      const sample = found.dataset.get(found.index) as Sample | Promise<Sample>;
      return sample instanceof Promise ? sample.then((value) => place(value, found)) : place(sample, found);
    },
    targets: (index) => {
      const { part, dataset, field, index: row } = at(index);
      const label = dataset.targets?.(row)?.[field] ?? dataset.label?.(row);
      return label === undefined || Number.isNaN(label) ? undefined : { ...absent, [part]: label };
    },
    describe: (index) => {
      const { dataset, index: row } = at(index);
      return describeSample(dataset, row);
    },
  };
}

/** What stands for a label that is not there. */
function nothing(label: Label): FieldValue {
  if (label.kind === 'class') return -1;
  if (label.kind === 'tags') return new Int32Array(0);
  return label.kind === 'number' ? Number.NaN : new Float32Array(label.names.length).fill(Number.NaN);
}
