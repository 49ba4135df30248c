/**
 * What a sample consists of: typed features (what a model sees) and labels (what it shall say). The schema is plain
 * JSON and travels: data set -> loader -> task head -> report -> served answer.
 */
import { DataError, printable } from '../base/errors.ts';

export type Feature =
  /** u8 pixels. `height` and `width` are null where pictures differ; a resize transform then fixes them. */
  | { readonly kind: 'image'; readonly height: number | null; readonly width: number | null; readonly channels: number }
  | { readonly kind: 'number' }
  | { readonly kind: 'vector'; readonly size: number }
  | { readonly kind: 'text' }
  /** A text in words, as its annotators split it: an array of strings. Chinese characters may be words. */
  | { readonly kind: 'words' }
  | { readonly kind: 'audio'; readonly sampleRate: number; readonly channels: number };

export type ImageFeature = Extract<Feature, { kind: 'image' }>;

/** `optional`: samples may lack it (class -1, numbers NaN, in all of `classes`). */
export type Label = (
  | /** An index into `names`. */ { readonly kind: 'class'; readonly names: readonly string[] }
  /** Any of `names`: a Float32Array with 0 or 1 for each. */
  | { readonly kind: 'classes'; readonly names: readonly string[] }
  | { readonly kind: 'number' }
  /** A class for each word of a `words` feature: an Int32Array of indices into `names`, as long as the words. */
  | { readonly kind: 'tags'; readonly names: readonly string[] }
  /** Several with names: a Float32Array. */
  | { readonly kind: 'numbers'; readonly names: readonly string[] }
) & { readonly optional?: true };

export interface Schema {
  readonly features: Readonly<Record<string, Feature>>;
  readonly labels: Readonly<Record<string, Label>>;
}

/** The schema of one picture and its class. */
export const imageClassSchema = (
  height: number | null,
  width: number | null,
  channels: number,
  names: readonly string[],
): Schema => ({
  features: { image: { kind: 'image', height, width, channels } },
  labels: { label: { kind: 'class', names: [...names] } },
});

/** The number label that says what a sample counts in a training loss; nothing predicts it. */
export const weightField = 'weight';

/** Names a batch uses for itself, so no field may have them. */
export const reservedFields: ReadonlySet<string> = new Set(['ids', 'index', 'epoch', 'size']);

/** Every field's name, features first. */
export const fieldNames = (schema: Schema): string[] => [
  ...Object.keys(schema.features),
  ...Object.keys(schema.labels),
];

/** The image feature called `field`. @throws DataError SCHEMA_FIELD. */
export function imageFeature(schema: Schema, field = 'image'): ImageFeature {
  const feature = schema.features[field];
  if (feature?.kind === 'image') return feature;
  throw new DataError('SCHEMA_FIELD', `there is no image feature ${printable(field)}`, {
    field,
    expected: 'image',
    got: feature?.kind ?? Object.keys(schema.features),
  });
}

/** The class names of the label called `field`. @throws DataError SCHEMA_FIELD. */
export function classNames(schema: Schema, field = 'label'): readonly string[] {
  const label = schema.labels[field];
  if (label?.kind === 'class') return label.names;
  throw new DataError('SCHEMA_FIELD', `there is no class label ${printable(field)}`, {
    field,
    expected: 'class',
    got: label?.kind ?? Object.keys(schema.labels),
  });
}

type Check = (value: unknown) => boolean;
const count: Check = (v) => Number.isInteger(v) && (v as number) > 0;
const countOrNull: Check = (v) => v === null || count(v);
const names: Check = (v) =>
  Array.isArray(v) && v.length > 0 && v.every((n) => typeof n === 'string' && n !== '') && new Set(v).size === v.length;

const features: { readonly [K in Feature['kind']]: Readonly<Record<string, Check>> } = {
  image: { height: countOrNull, width: countOrNull, channels: count },
  number: {},
  vector: { size: count },
  text: {},
  words: {},
  audio: { sampleRate: count, channels: count },
};
const labels: { readonly [K in Label['kind']]: Readonly<Record<string, Check>> } = {
  class: { names },
  classes: { names },
  number: {},
  tags: { names },
  numbers: { names },
};

/** A schema read from a file or written by hand, checked. @throws DataError SCHEMA_INVALID naming the field. */
export function parseSchema(value: unknown): Schema {
  const root = fields(value, 'schema');
  for (const key of Object.keys(root))
    if (key !== 'features' && key !== 'labels') invalid(key, 'features and labels', key);
  const schema = {
    features: section(root.features, 'features', features) as Schema['features'],
    labels: section(root.labels, 'labels', labels) as Schema['labels'],
  };
  for (const name of Object.keys(schema.labels))
    if (Object.hasOwn(schema.features, name)) invalid(`labels.${name}`, 'a name no feature has', name);
  return schema;
}

function section(
  value: unknown,
  where: string,
  kinds: Readonly<Record<string, Readonly<Record<string, Check>>>>,
): unknown {
  const out: Record<string, unknown> = {};
  for (const [name, entry] of Object.entries(fields(value, where))) {
    const path = `${where}.${name}`;
    if (reservedFields.has(name) || name === '__proto__') invalid(path, 'a name that is not reserved', name);
    const row = fields(entry, path);
    const kind = row.kind;
    const checks = typeof kind === 'string' && Object.hasOwn(kinds, kind) ? kinds[kind] : undefined;
    if (!checks) return invalid(`${path}.kind`, Object.keys(kinds).join(' | '), kind);
    for (const key of Object.keys(row)) {
      const known = key === 'kind' || Object.hasOwn(checks, key) || (kinds === labels && key === 'optional');
      if (!known) invalid(`${path}.${key}`, 'no such key', key);
    }
    if (row.optional !== undefined && row.optional !== true) invalid(`${path}.optional`, 'true', row.optional);
    for (const [key, check] of Object.entries(checks))
      if (!check(row[key])) invalid(`${path}.${key}`, 'a valid value', row[key]);
    out[name] = { ...row };
  }
  return out;
}

function fields(value: unknown, where: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) invalid(where, 'an object', value);
  return value as Record<string, unknown>;
}

function invalid(field: string, expected: string, got: unknown): never {
  throw new DataError('SCHEMA_INVALID', `${field}: expected ${expected}, found ${printable(got)}`, {
    field,
    expected,
    got,
  });
}

/** One line for people: `image 28x28x1 -> label (10 classes)`. */
export function describeSchema({ features, labels }: Schema): string {
  const left = Object.entries(features).map(([name, f]) => {
    if (f.kind === 'image') return `${name} ${f.height ?? '?'}x${f.width ?? '?'}x${f.channels}`;
    return f.kind === 'vector' ? `${name} vector of ${f.size}` : `${name} ${f.kind}`;
  });
  const right = Object.entries(labels).map(([name, l]) => {
    if (l.kind === 'number') return `${name} number`;
    const what = { class: 'classes', classes: 'labels', tags: 'tags', numbers: 'numbers' }[l.kind];
    return `${name} (${l.names.length} ${what})`;
  });
  return right.length === 0 ? left.join(', ') : `${left.join(', ')} -> ${right.join(', ')}`;
}
