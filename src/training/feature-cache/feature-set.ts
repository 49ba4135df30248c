/** Cached rows as samples, and what the cache did in words. */
import type { Shape } from '../../base/index.ts';
import { type Dataset, idOf, labelsAt, type Schema } from '../../data/index.ts';
import type { EventTable } from '../events.ts';
import type { Samples } from '../inputs.ts';
import { formatBytes } from '../machine-memory.ts';
import type { CachedRows } from './store.ts';

const allLabels = async (source: Samples): Promise<Awaited<ReturnType<typeof labelsAt>>[]> => {
  const all = [];
  for (let i = 0; i < source.length; i++) all.push(await labelsAt(source, i));
  return all;
};

/** Cached rows as a data set: the samples of `source`, their features in place of their picture. */
export async function featureSet(source: Samples, rows: CachedRows, size: number): Promise<Samples> {
  const labels = await allLabels(source);
  const schema: Schema = { features: { features: { kind: 'vector', size } }, labels: source.schema.labels };
  type Features = { readonly features: Float32Array; readonly label: number };
  const sample = (index: number, features: Float32Array) => ({ features, ...labels[index] }) as unknown as Features;
  const set: Dataset<Features> = {
    name: source.name,
    length: source.length,
    schema,
    get: (index) => {
      const row = rows.row(index);
      return row instanceof Promise ? row.then((values) => sample(index, values)) : sample(index, row);
    },
    id: (index) => idOf(source, index),
    label: (index) => labels[index]?.label as number,
    describe: (index) => source.describe?.(index) ?? `${source.name} sample ${idOf(source, index)}`,
  };
  return set;
}

/** What the cache did, for people. */
export function cacheText({
  layer,
  shape,
  samples,
  bytes,
  seconds,
  reused,
  inMemory,
}: EventTable['feature-cache']): string {
  const what = `${samples} samples of ${layer} (${shapeText(shape)}), ${formatBytes(bytes)}`;
  const where = inMemory ? '' : ', read from disk as they are needed';
  return reused
    ? `features: ${what} from the cache in ${seconds.toFixed(1)} s${where}; epochs train what is above`
    : `features: ${what} computed and cached in ${seconds.toFixed(1)} s${where}; epochs train what is above`;
}

const shapeText = (shape: Shape): string => shape.join('x');
