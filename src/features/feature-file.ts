/** Features to files as they are computed: .npy, .safetensors or .parquet, with ids and labels; whole or not at all. */
import { ByteWriter, ParquetWriter, type SchemaElement } from 'hyparquet-writer';
import { ArgumentError, DataError, printable } from '../base/errors.ts';
import type { Dataset } from '../data/index.ts';
import {
  bytesOf,
  type FileContent,
  npyHead,
  safetensorsHead,
  type WrittenFile,
  writeFilesTogether,
} from '../io/index.ts';
import { Module } from '../nn/index.ts';
import { classesOf, type FeatureBatch, type FeatureModel, type FeatureOptions, featureBatches } from './extract.ts';
import { layerText, resolveLayer } from './layer.ts';
import { type FeatureOrigin, metadataOf, notesOf } from './origin.ts';

export interface WrittenFeatures {
  /** The file of the vectors first; beside a .npy lie its `.ids.npy`, `.labels.npy` and `.meta.json`. */
  readonly files: readonly WrittenFile[];
  /** (samples, width). */
  readonly shape: readonly [number, number];
  readonly layer: string;
  readonly pooling: string;
  readonly labelled: boolean;
  readonly classes?: readonly string[];
  readonly origin: FeatureOrigin;
}

export interface WriteOptions extends FeatureOptions {
  /** What the sample of an id is called, such as its file; kept with the vectors. */
  readonly nameOf?: ((id: number) => string | undefined) | undefined;
}

const kinds = ['.npy', '.safetensors', '.parquet'] as const;
type Kind = (typeof kinds)[number];

/** The format a file's name asks for, to be read or written. @throws ArgumentError FORMAT_UNKNOWN. */
export function featureFormat(path: string, action: 'read' | 'written' = 'written'): Kind {
  const kind = kinds.find((end) => path.toLowerCase().endsWith(end));
  if (kind) return kind;
  const [words, hint] =
    action === 'read'
      ? ['are not read from', 'features are in a .npy, .safetensors or .parquet file, as cambium features writes them']
      : ['cannot be written to', 'end the name in .npy, .safetensors or .parquet'];
  throw new ArgumentError('FORMAT_UNKNOWN', `features ${words} ${printable(path)}`, {
    field: action === 'read' ? 'file' : 'out',
    got: path,
    expected: kinds.join(', '),
    hint,
  });
}

/** What lies beside a .npy. */
export const companion = (path: string, name: 'ids.npy' | 'labels.npy' | 'meta.json'): string =>
  `${path.slice(0, -'.npy'.length)}.${name}`;

/**
 * Writes the features of `data` in bounded memory: all files whole, or the old ones as they were.
 * - .npy: f32 (samples, width); ids and labels, i32, beside it in `NAME.ids.npy` and `NAME.labels.npy`, the rest in `NAME.meta.json`
 * - .safetensors: tensors `features`, `ids`, `labels`; origin, classes and names as metadata
 * - .parquet: columns `id`, `name`, `label`, `class` and `features`, a list of floats; origin and classes as metadata
 *
 * The origin: layer, pooling, the model's name and the sha256 of its weights, as far as `model` tells them.
 * @throws what `features` throws; ArgumentError FORMAT_UNKNOWN; IoError.
 */
export async function writeFeatures(
  path: string,
  model: FeatureModel,
  data: Dataset<unknown>,
  { nameOf, ...options }: WriteOptions = {},
): Promise<WrittenFeatures> {
  const kind = featureFormat(path);
  if (data.length === 0) throw new DataError('DATASET_EMPTY', `${printable(data.name)} has no samples`, { got: 0 });
  const module = model instanceof Module ? model : model.module;
  const point = { layer: layerText(resolveLayer(module, options.layer)), pooling: options.pooling ?? 'auto' };
  const { model: known, weightsHash: weights } = model instanceof Module ? {} : model;
  const origin = { ...(known && { model: known.name }), ...(weights !== undefined && { weights }), ...point };
  const sink = new Sink(featureBatches(model, data, options), data, origin, nameOf);
  await sink.open();
  const files: (readonly [string, FileContent])[] = [[path, encoders[kind](path, sink)]];
  const stale: string[] = [];
  if (kind === '.npy') {
    files.push([companion(path, 'ids.npy'), columnNpy(sink, 'ids')]);
    const labels = companion(path, 'labels.npy');
    if (sink.labels) files.push([labels, columnNpy(sink, 'labels')]);
    // Of other vectors, which had that name before.
    else stale.push(labels);
    files.push([companion(path, 'meta.json'), `${JSON.stringify(sink.notes())}\n`]);
  }
  const written = await writeFilesTogether(files, stale);
  const { rows, width, labels, classes } = sink;
  return {
    files: written,
    shape: [rows, width],
    ...point,
    labelled: labels !== undefined,
    ...(classes && { classes }),
    origin,
  };
}

/** Read when the vectors have gone by. */
async function* columnNpy(sink: Sink, column: 'ids' | 'labels'): AsyncGenerator<Uint8Array> {
  yield npyHead({ dtype: 'i32', shape: [sink.rows] });
  yield bytesOf(sink[column] as Int32Array);
}

/** The stream of batches with what a header must know before; keeps ids and labels for the end. */
class Sink {
  readonly rows: number;
  readonly ids: Int32Array;
  labels: Int32Array | undefined;
  readonly classes: readonly string[] | undefined;
  /** Of every sample, where they have names. */
  readonly names: readonly string[] | undefined;
  width = 0;
  readonly origin: FeatureOrigin;
  readonly #stream: ReturnType<typeof featureBatches>;
  #next: IteratorResult<FeatureBatch, unknown> | undefined;

  constructor(
    stream: ReturnType<typeof featureBatches>,
    data: Dataset<unknown>,
    origin: FeatureOrigin,
    nameOf: WriteOptions['nameOf'],
  ) {
    this.origin = origin;
    this.#stream = stream;
    this.rows = data.length;
    this.ids = new Int32Array(data.length);
    this.classes = classesOf(data);
    this.names = nameOf && Array.from({ length: data.length }, (_, i) => nameOf(data.id?.(i) ?? i) ?? '');
  }

  /** What is no array of numbers. */
  notes(): ReturnType<typeof notesOf> {
    return notesOf(this.origin, this.labels && this.classes, this.names);
  }

  /** Computes the first batch: what cannot work fails before a file is begun. */
  async open(): Promise<void> {
    this.#next = await this.#stream.next();
    if (this.#next.done) return;
    this.width = this.#next.value.width;
    if (this.#next.value.labels) this.labels = new Int32Array(this.rows);
  }

  async *batches(): AsyncGenerator<FeatureBatch> {
    let row = 0;
    try {
      for (let next = this.#next; next; next = await this.#stream.next()) {
        if (next.done) return;
        const batch = next.value;
        this.ids.set(batch.ids, row);
        if (batch.labels) this.labels?.set(batch.labels, row);
        row += batch.size;
        yield batch;
      }
    } finally {
      // A file that cannot be written leaves the loop early.
      await this.#stream.return({ layer: '', pooling: 'auto', layerShape: [] });
    }
  }
}

const encoders: { readonly [K in Kind]: (path: string, sink: Sink) => AsyncGenerator<Uint8Array> } = {
  '.npy': async function* (_, sink) {
    yield npyHead({ dtype: 'f32', shape: [sink.rows, sink.width] });
    for await (const { vectors } of sink.batches()) yield bytesOf(vectors);
  },
  '.safetensors': async function* (path, sink) {
    const column = { dtype: 'i32', shape: [sink.rows] } as const;
    yield safetensorsHead(
      path,
      [
        ['features', { dtype: 'f32', shape: [sink.rows, sink.width] }],
        ['ids', column],
        ...(sink.labels ? [['labels', column] as const] : []),
      ],
      metadataOf(sink.notes()),
    );
    for await (const { vectors } of sink.batches()) yield bytesOf(vectors);
    yield bytesOf(sink.ids);
    if (sink.labels) yield bytesOf(sink.labels);
  },
  '.parquet': async function* (_, sink) {
    const writer = new ByteWriter(2 ** 20);
    // What was handed on leaves the buffer; offsets in the file go on counting.
    const taken = (): Uint8Array => {
      const bytes = writer.getBytes().slice();
      writer.index = 0;
      return bytes;
    };
    const parquet = new ParquetWriter({
      writer,
      schema: parquetSchema(sink),
      codec: 'UNCOMPRESSED',
      statistics: false,
      // Names stand in their column.
      kvMetadata: Object.entries(metadataOf({ ...sink.notes(), names: undefined })).map(([key, value]) => ({
        key,
        value,
      })),
    });
    let group: FeatureBatch[] = [];
    const rows = Math.max(1, Math.floor(GROUP_VALUES / Math.max(1, sink.width)));
    let start = 0;
    const flush = async (): Promise<Uint8Array> => {
      await parquet.write({ columnData: parquetColumns(group, start, sink), rowGroupSize: 2 ** 30 });
      for (const { size } of group) start += size;
      group = [];
      return taken();
    };
    let held = 0;
    for await (const batch of sink.batches()) {
      group.push(batch);
      held += batch.size;
      if (held < rows) continue;
      yield await flush();
      held = 0;
    }
    if (group.length > 0) yield await flush();
    await parquet.finish();
    yield taken();
  },
};

// Values of one row group: the writer holds them as JavaScript numbers with two levels each.
const GROUP_VALUES = 2 ** 20;

function parquetSchema({ labels, classes, names }: Sink): SchemaElement[] {
  const required = { repetition_type: 'REQUIRED' } as const;
  const text = { type: 'BYTE_ARRAY', converted_type: 'UTF8', ...required } as const;
  const columns: SchemaElement[] = [
    { name: 'id', type: 'INT32', ...required },
    ...(names ? [{ name: 'name', ...text } as const] : []),
    ...(labels ? [{ name: 'label', type: 'INT32', ...required } as const] : []),
    ...(labels && classes ? [{ name: 'class', ...text } as const] : []),
  ];
  return [
    { name: 'root', num_children: columns.length + 1 },
    ...columns,
    { name: 'features', converted_type: 'LIST', num_children: 1, ...required },
    { name: 'list', num_children: 1, repetition_type: 'REPEATED' },
    { name: 'element', type: 'FLOAT', ...required },
  ];
}

function parquetColumns(batches: readonly FeatureBatch[], start: number, { labels, classes, names }: Sink) {
  const ids = batches.flatMap((batch) => Array.from(batch.ids));
  const label = labels && batches.flatMap((batch) => Array.from(batch.labels ?? []));
  const vectors = batches.flatMap(({ vectors: all, size, width }) =>
    Array.from({ length: size }, (_, i) => Array.from(all.subarray(i * width, (i + 1) * width))),
  );
  return [
    { name: 'id', data: ids },
    ...(names ? [{ name: 'name', data: names.slice(start, start + ids.length) }] : []),
    ...(label ? [{ name: 'label', data: label }] : []),
    ...(label && classes ? [{ name: 'class', data: label.map((k) => classes[k] as string) }] : []),
    { name: 'features', data: vectors },
  ];
}
