/** Classes of words on their way to the tokens of a batch. */
import type { HostArray } from '../../io/host-array.ts';
import type { Sample } from '../dataset.ts';
import type { Label, Schema } from '../schema.ts';
import type { TokenBatch } from './encoding.ts';

/** What stands for a token without a tag: what losses leave out. */
export const NO_TAG = -100;

/** A batch's tags i32 (B, T): that of a word at its first piece, NO_TAG elsewhere. A sample without tags has NO_TAG alone. */
export function alignTags({ words }: TokenBatch, samples: readonly Sample[], field: string): HostArray {
  const { data: firsts, shape } = words as HostArray;
  const steps = shape[1] as number;
  const tags = samples.map((sample) => sample[field] as Int32Array);
  const data = Int32Array.from(
    firsts as Int32Array,
    (word, i) => (word < 0 ? undefined : tags[Math.floor(i / steps)]?.[word]) ?? NO_TAG,
  );
  return { dtype: 'i32', shape, data };
}

/** What is wrong with a sample's tags, if anything. */
export function wrongTags(sample: Sample, { features, labels }: Schema, field: string): string | undefined {
  const { names, optional } = labels[field] as Extract<Label, { kind: 'tags' }>;
  const words = Object.keys(features).find((name) => features[name]?.kind === 'words') as string;
  const [tags, count] = [sample[field], (sample[words] as readonly string[]).length];
  if (tags === undefined) return 'is missing';
  if (!(tags instanceof Int32Array)) return 'is no Int32Array';
  if (tags.length === 0 && optional) return undefined;
  if (tags.length !== count) return `has ${tags.length} tags for ${count} words`;
  const bad = tags.find((tag) => tag < 0 || tag >= names.length);
  return bad === undefined ? undefined : `has tag ${bad}, outside the ${names.length} classes`;
}
