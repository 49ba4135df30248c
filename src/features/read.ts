/** Features back from the files `writeFeatures` makes. */
import { DataError, printable } from '../base/index.ts';
import { parquetMetadata, readParquetGroups } from '../data/index.ts';
import { exists, readJson, readNpy, readSafetensors, readSafetensorsHeader } from '../io/index.ts';
import { companion, featureFormat } from './feature-file.ts';
import { type FeatureNotes, notesOfMetadata, parseNotes } from './origin.ts';
import { checkTable, type FeatureTable } from './table.ts';

/**
 * Reads .npy (with `NAME.ids.npy`, `NAME.labels.npy` and `NAME.meta.json` beside it, where there are any), .safetensors or .parquet.
 * @throws DataError FEATURES_INVALID, FEATURES_NOT_FINITE, those of the formats; ArgumentError FORMAT_UNKNOWN; IoError.
 */
export async function readFeatures(path: string): Promise<FeatureTable> {
  const table = await readers[featureFormat(path, 'read')](path);
  checkTable(table);
  return table;
}

const readers = { '.npy': fromNpy, '.safetensors': fromSafetensors, '.parquet': fromParquet } as const;

interface Arrays extends FeatureNotes {
  readonly features: {
    readonly dtype: string;
    readonly shape: readonly number[];
    readonly data: ArrayLike<number | bigint>;
  };
  readonly ids?: ArrayLike<number | bigint>;
  readonly labels?: ArrayLike<number | bigint>;
}

function tableOf(path: string, { features: { dtype, shape, data }, ids, labels, ...notes }: Arrays): FeatureTable {
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
  const numbers = labels && whole('labels', labels);
  if (numbers) checkLabels(path, numbers);
  return {
    vectors: data as Float32Array,
    shape: [rows, width],
    ids: ids ? whole('ids', ids) : Int32Array.from({ length: rows }, (_, i) => i),
    ...(numbers && { labels: numbers }),
    ...notes,
  };
}

async function fromNpy(path: string): Promise<FeatureTable> {
  const beside = async (name: 'ids.npy' | 'labels.npy') => {
    const file = companion(path, name);
    return (await exists(file)) ? ((await readNpy(file)).data as ArrayLike<number>) : undefined;
  };
  const [ids, labels] = [await beside('ids.npy'), await beside('labels.npy')];
  const meta = companion(path, 'meta.json');
  const notes = (await exists(meta)) ? parseNotes(await readJson(meta, { maxBytes: 2 ** 28 }), meta) : {};
  return tableOf(path, { features: await readNpy(path), ...(ids && { ids }), ...(labels && { labels }), ...notes });
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
  return tableOf(path, {
    features,
    ...(ids && { ids: ids.data }),
    ...(labels && { labels: labels.data }),
    ...notesOfMetadata(metadata, path),
  });
}

async function fromParquet(path: string): Promise<FeatureTable> {
  const invalid = (row: number, message: string, got?: unknown): never => {
    throw new DataError('FEATURES_INVALID', `${printable(path)}: row ${row} ${message}`, {
      file: path,
      sample: row,
      got,
    });
  };
  const blocks: Float32Array[] = [];
  const columns: { readonly [name in 'id' | 'label']: number[] } = { id: [], label: [] };
  const classNames = new Map<number, string>();
  const names: string[] = [];
  let width = 0;
  let count = 0;
  for await (const { rows, start } of readParquetGroups(path, ['id', 'name', 'label', 'class', 'features'])) {
    const lists = rows.map((row) => row.features);
    if (start === 0) width = Array.isArray(lists[0]) ? lists[0].length : 0;
    const block = new Float32Array(rows.length * width);
    for (const [i, list] of lists.entries()) {
      if (!Array.isArray(list) || list.length !== width || width === 0)
        return invalid(start + i, width === 0 ? 'has no features' : `has no ${width} features`);
      const bad = list.findIndex((v) => typeof v !== 'number');
      if (bad >= 0) invalid(start + i, `has no number as feature ${bad}`, typeof list[bad]);
      block.set(list as number[], i * width);
    }
    blocks.push(block);
    for (const name of ['id', 'label'] as const)
      for (const { [name]: value } of rows)
        if (value !== undefined)
          columns[name].push(typeof value === 'string' || value === null ? Number.NaN : Number(value));
    for (const { name, label, class: className } of rows) {
      if (typeof name === 'string') names.push(name);
      if (typeof className === 'string') classNames.set(Number(label), className);
    }
    count += rows.length;
  }
  const vectors = new Float32Array(count * width);
  let at = 0;
  for (const block of blocks) {
    vectors.set(block, at);
    at += block.length;
  }
  const { id, label } = columns;
  const notes = notesOfMetadata(await parquetMetadata(path), path);
  return tableOf(path, {
    features: { dtype: 'f32', shape: [count, width], data: vectors },
    ...(id.length > 0 && { ids: id }),
    ...(label.length > 0 && { labels: label }),
    ...(classNames.size > 0 && !notes.classes && { classes: classNamesOf(classNames, path) }),
    ...(names.length > 0 && { names }),
    ...notes,
  });
}

// Classes that no row is of have no name in the file.
function classNamesOf(names: ReadonlyMap<number, string>, path: string): string[] {
  const most = [...names.keys()].reduce((a, b) => Math.max(a, b), 0);
  checkLabels(path, [most]);
  return Array.from({ length: most + 1 }, (_, i) => names.get(i) ?? String(i));
}

// Lists of names and tables of confusion are as long as the largest label.
function checkLabels(path: string, labels: ArrayLike<number>): void {
  for (let i = 0; i < labels.length; i++)
    if (!((labels[i] as number) < MOST_CLASSES))
      throw new DataError('FEATURES_INVALID', `${printable(path)}: the label ${labels[i]} is no number of a class`, {
        file: path,
        field: 'labels',
        expected: `< ${MOST_CLASSES}`,
        got: labels[i],
        hint: 'number the classes from 0',
      });
}

const MOST_CLASSES = 2 ** 17;
