/** What a file of features says beside its numbers: where they come from, what classes and samples are called. */
import { DataError, printable } from '../base/index.ts';
import type { Json } from '../io/index.ts';

/** Which numbers these are: only vectors of the same weights, layer and pooling can be compared. */
export interface FeatureOrigin {
  /** Name of the model. */
  readonly model?: string;
  /** sha256 of its weights. */
  readonly weights?: string;
  /** As `layerText` says it: `input of classifier.1`. */
  readonly layer?: string;
  readonly pooling?: string;
}

export interface FeatureNotes {
  readonly origin?: FeatureOrigin;
  /** Names of the classes that labels count. */
  readonly classes?: readonly string[];
  /** What each sample is called. */
  readonly names?: readonly string[];
}

const originKeys = ['model', 'weights', 'layer', 'pooling'] as const;
const listKeys = ['classes', 'names'] as const;

/** As JSON: the keys of the origin and the lists, those that are there. */
export const notesOf = (
  origin: FeatureOrigin,
  classes: readonly string[] | undefined,
  names: readonly string[] | undefined,
): { readonly [key: string]: string | readonly string[] | undefined } => ({
  ...origin,
  ...(classes && { classes }),
  ...(names && { names }),
});

/** As formats keep it that know texts only: lists are JSON. */
export const metadataOf = (notes: ReturnType<typeof notesOf>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(notes).flatMap(([key, value]) =>
      value === undefined ? [] : [[key, typeof value === 'string' ? value : JSON.stringify(value)]],
    ),
  );

/** Back from `metadataOf`. @throws DataError FEATURES_INVALID for a list that is none. */
export function notesOfMetadata(metadata: ReadonlyMap<string, string>, path: string): FeatureNotes {
  const parsed = Object.fromEntries(
    listKeys.flatMap((key) => {
      const text = metadata.get(key);
      if (text === undefined) return [];
      try {
        return [[key, JSON.parse(text) as Json]];
      } catch {
        // What it is matters more than why it does not parse.
        return [[key, text]];
      }
    }),
  );
  const origin = originKeys.flatMap((key) => (metadata.has(key) ? [[key, metadata.get(key) as string]] : []));
  return parseNotes({ ...Object.fromEntries(origin), ...parsed }, path);
}

/** Back from `notesOf`. @throws DataError FEATURES_INVALID. */
export function parseNotes(json: Json, path: string): FeatureNotes {
  const bad = (field: string, expected: string, got: unknown): never => {
    throw new DataError('FEATURES_INVALID', `${printable(path)}: "${field}": expected ${expected}`, {
      file: path,
      field,
      expected,
      got,
    });
  };
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return bad('', 'an object', json);
  const origin = originKeys.flatMap((key) => {
    const value = json[key];
    if (value === undefined) return [];
    return [[key, typeof value === 'string' ? value : bad(key, 'a text', value)] as const];
  });
  const list = (key: (typeof listKeys)[number]): readonly string[] | undefined => {
    const value = json[key];
    if (value === undefined) return undefined;
    if (Array.isArray(value) && value.every((name) => typeof name === 'string')) return value as readonly string[];
    return bad(key, 'a list of names', value);
  };
  const [classes, names] = [list('classes'), list('names')];
  return {
    ...(origin.length > 0 && { origin: Object.fromEntries(origin) }),
    ...(classes && { classes }),
    ...(names && { names }),
  };
}
