/** Features back from the files `writeFeatures` makes. */
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { DataError, printable } from '../base/index.ts';
import { exists, readNpy, readSafetensors, readSafetensorsHeader } from '../io/index.ts';
import { featureFormat } from './feature-file.ts';
import { checkTable, type FeatureTable } from './table.ts';

/**
 * Reads .npy (with `NAME.ids.npy` and `NAME.labels.npy` beside it, where there are any), .safetensors or .parquet.
 * @throws DataError FEATURES_INVALID, FEATURES_NOT_FINITE, those of the formats; ArgumentError FORMAT_UNKNOWN; IoError.
 */
export async function readFeatures(path: string): Promise<FeatureTable> {
  const table = await readers[featureFormat(path)](path);
  checkTable(table);
  return table;
}

const readers = { '.npy': fromNpy, '.safetensors': fromSafetensors, '.parquet': fromParquet } as const;

interface Arrays {
  readonly features: {
    readonly dtype: string;
    readonly shape: readonly number[];
    readonly data: ArrayLike<number | bigint>;
  };
  readonly ids?: ArrayLike<number | bigint>;
  readonly labels?: ArrayLike<number | bigint>;
  readonly classes?: readonly string[];
}

function tableOf(path: string, { features: { dtype, shape, data }, ids, labels, classes }: Arrays): FeatureTable {
  const [rows, width] = shape;
  if (shape.length !== 2 || dtype !== 'f32' || rows === undefined || width === undefined)
    throw new DataError(
      'FEATURES_INVALID',
      `${printable(path)}: expected f32 (samples, width), found ${dtype} of ${shape.length} axes`,
      {
        file: path,
        expected: 'f32 (samples, width)',
        got: { dtype, shape },
      },
    );
  const whole = (name: string, values: ArrayLike<number | bigint>): Int32Array => {
    const numbers = Array.from(values as ArrayLike<number>, Number);
    const bad = numbers.findIndex((v) => (v | 0) !== v);
    if (bad < 0) return Int32Array.from(numbers);
    throw new DataError(
      'FEATURES_INVALID',
      `${printable(path)}: ${name} ${numbers[bad]} of row ${bad} is no 32-bit whole number`,
      {
        file: path,
        field: name,
        sample: bad,
        got: numbers[bad],
      },
    );
  };
  return {
    vectors: data as Float32Array,
    shape: [rows, width],
    ids: ids ? whole('ids', ids) : Int32Array.from({ length: rows }, (_, i) => i),
    ...(labels && { labels: whole('labels', labels) }),
    ...(classes && { classes }),
  };
}

async function fromNpy(path: string): Promise<FeatureTable> {
  const stem = path.slice(0, -'.npy'.length);
  const beside = async (name: string) => {
    const file = `${stem}.${name}.npy`;
    return (await exists(file)) ? ((await readNpy(file)).data as ArrayLike<number>) : undefined;
  };
  const [ids, labels] = [await beside('ids'), await beside('labels')];
  return tableOf(path, { features: await readNpy(path), ...(ids && { ids }), ...(labels && { labels }) });
}

async function fromSafetensors(path: string): Promise<FeatureTable> {
  const { metadata } = await readSafetensorsHeader(path);
  const { tensors } = await readSafetensors(path);
  const features = tensors.get('features');
  if (!features)
    throw new DataError('FEATURES_INVALID', `${printable(path)} holds no tensor "features"`, {
      file: path,
      expected: 'features, ids, labels',
      got: [...tensors.keys()].slice(0, 20),
    });
  const [ids, labels] = [tensors.get('ids'), tensors.get('labels')];
  const classes = metadata.has('classes') ? namesOf(metadata.get('classes') as string, path) : undefined;
  return tableOf(path, {
    features,
    ...(ids && { ids: ids.data }),
    ...(labels && { labels: labels.data }),
    ...(classes && { classes }),
  });
}

function namesOf(text: string, path: string): readonly string[] {
  try {
    const names: unknown = JSON.parse(text);
    if (Array.isArray(names) && names.every((name) => typeof name === 'string')) return names;
  } catch {
    // Told below: what it is matters more than why it does not parse.
  }
  throw new DataError('FEATURES_INVALID', `${printable(path)}: the metadata "classes" is no list of names`, {
    file: path,
    got: text,
  });
}

async function fromParquet(path: string): Promise<FeatureTable> {
  const rows = await parquetReadObjects({ file: await asyncBufferFromFile(path), compressors }).catch(
    (cause: Error) => {
      throw new DataError('PARQUET_INVALID', `${printable(path)} cannot be read: ${printable(cause.message)}`, {
        file: path,
        cause,
      });
    },
  );
  const lists = rows.map((row) => row.features as ArrayLike<number> | undefined);
  const width = lists[0]?.length ?? 0;
  const bad = lists.findIndex((list) => list?.length !== width);
  if (bad >= 0 || width === 0)
    throw new DataError('FEATURES_INVALID', `${printable(path)}: row ${Math.max(0, bad)} has no ${width} features`, {
      file: path,
      sample: bad,
    });
  const vectors = new Float32Array(rows.length * width);
  lists.forEach((list, i) => {
    vectors.set(list as ArrayLike<number>, i * width);
  });
  const column = (name: string) =>
    rows[0]?.[name] === undefined
      ? undefined
      : rows.map((row) => (row[name] === null ? Number.NaN : Number(row[name])));
  const [ids, labels] = [column('id'), column('label')];
  const names = labels && rows[0]?.class !== undefined ? classNamesOf(rows, labels) : undefined;
  return tableOf(path, {
    features: { dtype: 'f32', shape: [rows.length, width], data: vectors },
    ...(ids && { ids }),
    ...(labels && { labels }),
    ...(names && { classes: names }),
  });
}

// Classes that no row is of have no name in the file.
function classNamesOf(rows: readonly Record<string, unknown>[], labels: readonly number[]): string[] {
  const names = Array.from({ length: Math.max(...new Set(labels)) + 1 }, (_, i) => String(i));
  rows.forEach((row, i) => {
    names[labels[i] as number] = String(row.class);
  });
  return names;
}
