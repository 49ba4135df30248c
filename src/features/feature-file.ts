/** Features to files as they are computed: .npy, .safetensors or .parquet, with ids and labels; whole or not at all. */
import { ByteWriter, ParquetWriter, type SchemaElement } from 'hyparquet-writer';
import { ArgumentError, DataError, printable } from '../base/errors.ts';
import type { Dataset } from '../data/index.ts';
import { bytesOf, npyHead, safetensorsHead, type WrittenFile, writeFileAtomic, writeNpy } from '../io/index.ts';
import { Module } from '../nn/index.ts';
import { classesOf, type FeatureBatch, type FeatureModel, type FeatureOptions, featureBatches } from './extract.ts';
import { layerText, resolveLayer } from './layer.ts';
import type { Pooling } from './pooling.ts';

export interface WrittenFeatures {
  /** The file of the vectors first; beside a .npy lie its `.ids.npy` and `.labels.npy`. */
  readonly files: readonly WrittenFile[];
  /** (samples, width). */
  readonly shape: readonly [number, number];
  readonly layer: string;
  readonly pooling: string;
  readonly labelled: boolean;
  readonly classes?: readonly string[];
}

const kinds = ['.npy', '.safetensors', '.parquet'] as const;
type Kind = (typeof kinds)[number];

/** The format a file's name asks for. @throws ArgumentError FORMAT_UNKNOWN. */
export function featureFormat(path: string): Kind {
  const kind = kinds.find((end) => path.toLowerCase().endsWith(end));
  if (kind) return kind;
  throw new ArgumentError('FORMAT_UNKNOWN', `features cannot be written to ${printable(path)}`, {
    field: 'out',
    got: path,
    expected: kinds.join(', '),
    hint: 'end the name in .npy, .safetensors or .parquet',
  });
}

/**
 * Writes the features of `data` in bounded memory, atomically.
 * - .npy: f32 (samples, width); ids and labels, i32, beside it in `NAME.ids.npy` and `NAME.labels.npy`
 * - .safetensors: tensors `features`, `ids`, `labels`; layer, pooling and classes as metadata
 * - .parquet: columns `id`, `label`, `class` and `features`, a list of floats
 * @throws what `features` throws; ArgumentError FORMAT_UNKNOWN; IoError.
 */
export async function writeFeatures(
  path: string,
  model: FeatureModel,
  data: Dataset<unknown>,
  options: FeatureOptions = {},
): Promise<WrittenFeatures> {
  const kind = featureFormat(path);
  if (data.length === 0) throw new DataError('DATASET_EMPTY', `${printable(data.name)} has no samples`, { got: 0 });
  const module = model instanceof Module ? model : model.module;
  const origin = { layer: layerText(resolveLayer(module, options.layer)), pooling: options.pooling ?? 'auto' };
  const sink = new Sink(featureBatches(model, data, options), data, origin);
  await sink.open();
  const written = await writeFileAtomic(path, encoders[kind](path, sink));
  const files = [written];
  if (kind === '.npy') {
    const stem = path.slice(0, -kind.length);
    files.push(await writeNpy(`${stem}.ids.npy`, { dtype: 'i32', shape: [sink.rows], data: sink.ids }));
    if (sink.labels)
      files.push(await writeNpy(`${stem}.labels.npy`, { dtype: 'i32', shape: [sink.rows], data: sink.labels }));
  }
  const { rows, width, labels, classes } = sink;
  return { files, shape: [rows, width], ...origin, labelled: labels !== undefined, ...(classes && { classes }) };
}

/** The stream of batches with what a header must know before; keeps ids and labels for the end. */
class Sink {
  readonly rows: number;
  readonly ids: Int32Array;
  labels: Int32Array | undefined;
  readonly classes: readonly string[] | undefined;
  width = 0;
  readonly origin: { readonly layer: string; readonly pooling: Pooling };
  readonly #stream: ReturnType<typeof featureBatches>;
  #next: IteratorResult<FeatureBatch, unknown> | undefined;

  constructor(stream: ReturnType<typeof featureBatches>, data: Dataset<unknown>, origin: Sink['origin']) {
    this.origin = origin;
    this.#stream = stream;
    this.rows = data.length;
    this.ids = new Int32Array(data.length);
    this.classes = classesOf(data);
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
      await this.#stream.return({ ...this.origin, layerShape: [] });
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
      { ...sink.origin, ...(sink.classes && { classes: JSON.stringify(sink.classes) }) },
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
    });
    let group: FeatureBatch[] = [];
    const rows = Math.max(1, Math.floor(GROUP_VALUES / Math.max(1, sink.width)));
    const flush = async (): Promise<Uint8Array> => {
      await parquet.write({ columnData: parquetColumns(group, sink), rowGroupSize: 2 ** 30 });
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

function parquetSchema({ labels, classes }: Sink): SchemaElement[] {
  const required = { repetition_type: 'REQUIRED' } as const;
  const columns: SchemaElement[] = [
    { name: 'id', type: 'INT32', ...required },
    ...(labels ? [{ name: 'label', type: 'INT32', ...required } as const] : []),
    ...(labels && classes ? [{ name: 'class', type: 'BYTE_ARRAY', converted_type: 'UTF8', ...required } as const] : []),
  ];
  return [
    { name: 'root', num_children: columns.length + 1 },
    ...columns,
    { name: 'features', converted_type: 'LIST', num_children: 1, ...required },
    { name: 'list', num_children: 1, repetition_type: 'REPEATED' },
    { name: 'element', type: 'FLOAT', ...required },
  ];
}

function parquetColumns(batches: readonly FeatureBatch[], { labels, classes }: Sink) {
  const ids = batches.flatMap((batch) => Array.from(batch.ids));
  const label = labels && batches.flatMap((batch) => Array.from(batch.labels ?? []));
  const vectors = batches.flatMap(({ vectors: all, size, width }) =>
    Array.from({ length: size }, (_, i) => Array.from(all.subarray(i * width, (i + 1) * width))),
  );
  return [
    { name: 'id', data: ids },
    ...(label ? [{ name: 'label', data: label }] : []),
    ...(label && classes ? [{ name: 'class', data: label.map((k) => classes[k] as string) }] : []),
    { name: 'features', data: vectors },
  ];
}
