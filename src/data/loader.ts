/**
 * Batches from a data set: seeded order, host transforms, pictures as u8 channels first. The next batches are made while
 * the consumer awaits its step. Any epoch can be entered at any batch at once: nothing has to be replayed.
 */
import { setImmediate as breathe } from 'node:timers/promises';
import { ArgumentError, DataError, printable, UnsupportedError } from '../base/errors.ts';
import type { HostArray } from '../io/host-array.ts';
import { type Dataset, describeSample, type ImageSample, idOf, type Sample } from './dataset.ts';
import type { ImageSize, ImageU8 } from './image.ts';
import { requireIndexed } from './iterable.ts';
import { HostPipeline } from './pipeline.ts';
import { batchCount, bucketedOrder, epochOrder, weightedOrder } from './sampler.ts';
import { type Feature, fieldNames, type Label, reservedFields, type Schema } from './schema.ts';
import { type TextCollateOptions, TextCollator, type TokenField, textFields, tokenFields } from './text/collate.ts';
import type { Encoding, TokenBatch } from './text/encoding.ts';
import { alignTags, wrongTags } from './text/tags.ts';
import { type CheckedPipeline, type Transform, validateTransforms } from './transforms.ts';

/** One HostArray for each field of the schema, first dimension = batch, plus where it came from. */
export type Batch<Fields extends string = 'image' | 'label'> = { readonly [K in Fields]: HostArray } & {
  /** Lasting number of each sample (see Dataset.id). */
  readonly ids: Int32Array;
  readonly epoch: number;
  /** Position in the epoch, from 0. */
  readonly index: number;
  /** Samples in this batch. */
  readonly size: number;
};

export interface LoaderOptions {
  batchSize: number;
  /** false unless told. */
  shuffle?: boolean;
  /** One a sample: an epoch draws as many samples as there are, with replacement, by these weights. Needs `shuffle`. */
  weights?: ArrayLike<number>;
  /** Names the order and every augmentation; 0 unless told. */
  seed?: number;
  /** All of the model's transforms; the loader runs those of the host stage. Leave random ones out for evaluation. */
  transforms?: readonly Transform[];
  /** Of a set of texts: how they become `inputIds`, `attentionMask` and `tokenTypeIds`, i32 (B, T). */
  text?: TextCollateOptions;
  /** Leaves out a last batch that is not full. */
  dropLast?: boolean;
  /** How often each picture is in a batch, augmented anew each time: first all samples once, then all again. 1 unless told. */
  views?: number;
  /** Batches made ahead; 2 unless told, 0 for none. */
  prefetch?: number;
}

/** A batch of which only the labels are known; the rest is between data set and task. */
export type LabelledBatch = Batch<'label'>;

/** Names of a batch's arrays. Texts come as tokens. */
export type BatchFields<S> = S extends { readonly text: string }
  ? TokenField | Exclude<keyof S & string, 'text' | 'pair'>
  : S extends { readonly tokens: readonly string[] }
    ? TokenField | Exclude<keyof S & string, 'tokens'>
    : keyof S & string;

export class DataLoader<S = ImageSample> {
  readonly dataset: Dataset<S>;
  readonly batchSize: number;
  readonly seed: number;
  readonly shuffle: boolean;
  /** Batches in an epoch. */
  readonly length: number;
  /** What the graph must still do to each image field, and the sizes before and after. */
  readonly pipelines: Readonly<Record<string, CheckedPipeline>>;
  readonly #prefetch: number;
  readonly #weights: ArrayLike<number> | undefined;
  readonly #fields: readonly Field[];
  readonly #text: TextCollator | undefined;
  /** Labels whose arrays follow the tokens. */
  readonly #tags: readonly string[];
  #lengths: Promise<Int32Array> | undefined;

  /** @throws ArgumentError, ConfigError for transforms that do not fit, UnsupportedError for fields it cannot batch. */
  constructor(dataset: Dataset<S>, options: LoaderOptions) {
    const {
      batchSize,
      shuffle = false,
      seed = 0,
      transforms = [],
      dropLast = false,
      prefetch = 2,
      views = 1,
      weights,
    } = options;
    checkInteger('batchSize', batchSize, 1, 2 ** 24);
    checkInteger('seed', seed, 0, Number.MAX_SAFE_INTEGER);
    checkInteger('prefetch', prefetch, 0, 1024);
    checkInteger('views', views, 1, 64);
    requireIndexed(dataset, 'dataset', 'new StreamLoader(stream, { batchSize, text }) makes batches of a stream');
    if (dataset.length === 0)
      throw new DataError('DATASET_EMPTY', `${printable(dataset.name)} has no samples`, { expected: '>= 1', got: 0 });
    this.dataset = dataset;
    this.batchSize = batchSize;
    this.seed = seed;
    this.shuffle = shuffle;
    if (weights && (!shuffle || weights.length !== dataset.length))
      throw new ArgumentError(
        'LOADER_OPTION',
        shuffle ? `${weights.length} weights for ${dataset.length} samples` : 'weights need shuffle: true',
        { field: 'weights', expected: dataset.length, got: weights.length },
      );
    this.#weights = weights;
    this.length = batchCount(dataset.length, batchSize, dropLast);
    if (this.length === 0)
      throw new ArgumentError(
        'BATCH_TOO_LARGE',
        `dropLast leaves no batch: ${dataset.length} samples, batches of ${batchSize}`,
        { field: 'batchSize', expected: `<= ${dataset.length}`, got: batchSize },
      );
    const images = Object.entries(dataset.schema.features).filter(([, feature]) => feature.kind === 'image');
    this.pipelines = Object.fromEntries(
      images.map(([name]) => [name, validateTransforms(transforms, dataset.schema, name)]),
    );
    const texts = options.text ? textFields(dataset.schema) : [];
    this.#text = options.text && texts.length > 0 ? new TextCollator(dataset.schema, options.text) : undefined;
    const names = fieldNames(dataset.schema).filter((name) => !texts.includes(name));
    const taken = this.#text && names.find((name) => (tokenFields as readonly string[]).includes(name));
    if (taken !== undefined)
      throw new ArgumentError('FIELD_RESERVED', `a field beside texts cannot be called ${printable(taken)}`, {
        field: taken,
      });
    const { labels } = dataset.schema;
    this.#tags = this.#text?.inWords ? names.filter((name) => labels[name]?.kind === 'tags') : [];
    const own = names.filter((name) => !this.#tags.includes(name));
    this.#fields = own.map((name) => makeField(name, dataset.schema, this.pipelines[name], views));
    this.#prefetch = prefetch;
  }

  get schema(): Schema {
    return this.dataset.schema;
  }

  /**
   * The batches of epoch `epoch` from `startBatch` on. Leaving the loop early is fine.
   * @throws DataError for a sample that lacks a field, has an unknown one, or does not fit the schema.
   */
  async *epoch(epoch: number, { startBatch = 0 } = {}): AsyncGenerator<Batch<BatchFields<S>>, void, void> {
    checkInteger('epoch', epoch, 0, 2 ** 32 - 1);
    checkInteger('startBatch', startBatch, 0, this.length);
    const order = await this.#order(epoch);
    const ahead: Promise<Batch<BatchFields<S>>>[] = [];
    let stopped = false;
    let tail: Promise<unknown> = Promise.resolve();
    // One after the other; each waits for the event loop first, so that a finished native step is seen at once.
    const schedule = (index: number): void => {
      const made = tail
        .then(() => breathe())
        .then(() => {
          if (stopped) throw new ArgumentError('LOADER_STOPPED', 'the loop over this epoch was left');
          return this.#make(order, epoch, index);
        });
      // Errors are delivered when the consumer gets there, if it ever does.
      tail = made.catch(() => {});
      ahead.push(made);
    };
    try {
      for (let index = startBatch, next = startBatch; index < this.length; index++) {
        while (next < this.length && next <= index + this.#prefetch) schedule(next++);
        yield await (ahead.shift() as Promise<Batch<BatchFields<S>>>);
      }
    } finally {
      stopped = true;
      for (const made of ahead) made.catch(() => {});
    }
  }

  /** One batch by its place, alone; the same as the loop gives. */
  async batch(epoch: number, index: number): Promise<Batch<BatchFields<S>>> {
    checkInteger('index', index, 0, this.length - 1);
    return this.#make(await this.#order(epoch), epoch, index);
  }

  async #order(epoch: number): Promise<Int32Array> {
    const { shuffle, seed, batchSize } = this;
    const weights = this.#weights;
    if (!this.#text?.options.bucketed)
      return weights ? weightedOrder(weights, seed, epoch) : epochOrder(this.dataset.length, seed, epoch, shuffle);
    this.#lengths ??= this.#measure(this.#text);
    return bucketedOrder(await this.#lengths, batchSize, { seed, epoch, shuffle, weights });
  }

  /** Tokens of every sample: buckets need them, and the batches later. */
  async #measure(text: TextCollator): Promise<Int32Array> {
    const lengths = new Int32Array(this.dataset.length);
    const dataset = this.dataset as Dataset<unknown> as Dataset<Sample>;
    for (let row = 0; row < lengths.length; row++) {
      // Other work gets its turn in a long list.
      if (row % 1024 === 1023) await breathe();
      const next = dataset.get(row);
      lengths[row] = this.#encode(text, row, next instanceof Promise ? await next : next).inputIds.length;
    }
    return lengths;
  }

  #encode(text: TextCollator, row: number, sample: Sample): Encoding {
    const encoding = text.encode(row, sample);
    if (typeof encoding !== 'string') return encoding;
    throw new DataError('FIELD_INVALID', `${describeSample(this.dataset, row)}: field ${encoding}`, {
      sample: idOf(this.dataset, row),
      got: encoding,
    });
  }

  async #make(order: Int32Array, epoch: number, index: number): Promise<Batch<BatchFields<S>>> {
    const rows = order.subarray(index * this.batchSize, (index + 1) * this.batchSize);
    const dataset = this.dataset as Dataset<unknown> as Dataset<Sample>;
    const size = rows.length;
    const ids = new Int32Array(size);
    const arrays = this.#fields.map((field) => field.allocate(size));
    const encodings: Encoding[] = [];
    const samples: (Sample | Promise<Sample>)[] = [];
    for (let b = 0; b < size; b++) samples.push(dataset.get(rows[b] as number));
    // Pictures from files are decoded side by side; those in memory never wait.
    const ready = samples.some((s) => s instanceof Promise) ? await Promise.all(samples) : (samples as Sample[]);
    for (let b = 0; b < size; b++) {
      const sample = ready[b] as Sample;
      const row = rows[b] as number;
      const id = idOf(dataset, row);
      ids[b] = id;
      if (Object.keys(sample).length !== this.#fields.length + this.#tags.length + (this.#text?.fields.length ?? 0))
        this.#wrongFields(sample, row);
      if (this.#text) encodings.push(this.#encode(this.#text, row, sample));
      for (let f = 0; f < arrays.length; f++) {
        const field = this.#fields[f] as Field;
        const value = sample[field.name];
        const problem =
          value === undefined
            ? 'is missing'
            : field.write(value, (arrays[f] as HostArray).data, b, this.seed, epoch, id);
        if (problem) this.#wrongValue(field.name, problem, row);
      }
      for (const name of this.#tags) {
        const problem = wrongTags(sample, this.schema, name);
        if (problem) this.#wrongValue(name, problem, row);
      }
    }
    const entries = this.#fields.map(({ name }, f) => [name, arrays[f]]);
    const tokens = this.#text?.pad(encodings);
    for (const name of this.#tags) entries.push([name, alignTags(tokens as TokenBatch, ready, name)]);
    return { ...Object.fromEntries(entries), ...tokens, ids, epoch, index, size } as Batch<BatchFields<S>>;
  }

  #wrongFields(sample: Sample, row: number): void {
    const expected = [...this.#fields.map(({ name }) => name), ...this.#tags, ...(this.#text?.fields ?? [])];
    const unknown = Object.keys(sample).find((name) => !expected.includes(name));
    if (unknown === undefined) return;
    throw new DataError(
      'FIELD_UNKNOWN',
      `${describeSample(this.dataset, row)} has a field ${printable(unknown)} that the schema does not have`,
      { field: unknown, expected, got: unknown, hint: 'declare it in the schema or leave it out of the sample' },
    );
  }

  #wrongValue(field: string, problem: string, row: number): never {
    const code = problem === 'is missing' ? 'FIELD_MISSING' : 'FIELD_INVALID';
    throw new DataError(code, `${describeSample(this.dataset, row)}: field ${printable(field)} ${problem}`, {
      field,
      sample: idOf(this.dataset, row),
      got: problem,
    });
  }
}

/** How a field of the schema becomes an array. */
interface Field {
  readonly name: string;
  allocate(size: number): HostArray;
  /** Stores the value of the batch's sample `b`; says what is wrong with it, if anything. */
  write(value: unknown, out: HostArray['data'], b: number, seed: number, epoch: number, id: number): string | undefined;
}

function makeField(name: string, schema: Schema, pipeline: CheckedPipeline | undefined, views: number): Field {
  if (reservedFields.has(name))
    throw new ArgumentError('FIELD_RESERVED', `a field cannot be called ${printable(name)}`, { field: name });
  const kind = (schema.features[name] ?? schema.labels[name]) as Feature | Label;
  switch (kind.kind) {
    case 'image':
      return imageField(name, pipeline as CheckedPipeline, views);
    case 'class': {
      const least = kind.optional ? -1 : 0;
      return {
        name,
        allocate: (size) => ({ dtype: 'i32', shape: [size], data: new Int32Array(size) }),
        write: (value, out, b) => {
          if (!Number.isInteger(value) || (value as number) < least || (value as number) >= kind.names.length)
            return `is ${printable(value)}, outside the ${kind.names.length} classes`;
          out[b] = value as number;
          return undefined;
        },
      };
    }
    case 'number':
      return vectorField(name, 1, [], 'optional' in kind && kind.optional);
    case 'classes':
    case 'numbers':
      return vectorField(name, kind.names.length, [kind.names.length], kind.optional);
    case 'vector':
      return vectorField(name, kind.size, [kind.size]);
    case 'text':
    case 'words':
    case 'tags':
    case 'audio':
      throw new UnsupportedError(
        'FIELD_UNSUPPORTED',
        `field ${printable(name)} is ${kind.kind}, which the loader cannot batch as it is`,
        {
          field: name,
          hint:
            kind.kind === 'audio'
              ? 'turn it into numbers first (a vector feature)'
              : 'give the loader a tokenizer: text: { tokenizer }',
        },
      );
  }
}

/** `optional`: NaN stands for what is not there. */
function vectorField(name: string, size: number, shape: number[], optional = false): Field {
  return {
    name,
    allocate: (batch) => ({ dtype: 'f32', shape: [batch, ...shape], data: new Float32Array(batch * size) }),
    write: (value, out, b) => {
      const values = typeof value === 'number' ? [value] : (value as ArrayLike<number>);
      if (typeof values !== 'object' || values.length !== size) return `is not ${size} number(s)`;
      for (let i = 0; i < size; i++) {
        if (!Number.isFinite(values[i]) && !(optional && Number.isNaN(values[i])))
          return `has ${printable(values[i])} where a finite number is needed`;
        out[b * size + i] = values[i] as number;
      }
      return undefined;
    },
  };
}

function imageField(name: string, { host, hostSize }: CheckedPipeline, views: number): Field {
  const pipeline = new HostPipeline(host);
  const { height, width, channels } = hostSize;
  const bytes = height * width * channels;
  return {
    name,
    allocate: (size) => ({
      dtype: 'u8',
      shape: [views * size, channels, height, width],
      data: new Uint8Array(views * size * bytes),
    }),
    write: (value, out, b, seed, epoch, id) => {
      const image = value as ImageU8;
      if (!(image.data instanceof Uint8Array) || image.data.length !== image.height * image.width * image.channels)
        return 'is not an image';
      if (image.channels !== channels) return `has ${image.channels} channels, the schema says ${channels}`;
      for (let view = 0; view < views; view++) {
        const done = pipeline.run(image, seed, epoch, id, view);
        if (done.height !== height || done.width !== width)
          return `is ${sizeText(done)} after the transforms, expected ${sizeText(hostSize)}`;
        channelsFirst(done, out as Uint8Array, b * bytes + (view * out.length) / views);
      }
      return undefined;
    },
  };
}

/** Writes a picture's pixels at `offset`, one plane after the other. */
export function channelsFirst({ data, channels }: ImageU8, out: Uint8Array, offset: number): void {
  if (channels === 1) {
    out.set(data, offset);
    return;
  }
  const plane = data.length / channels;
  for (let c = 0; c < channels; c++)
    for (let i = 0, from = c, to = offset + c * plane; i < plane; i++, from += channels)
      out[to + i] = data[from] as number;
}

const sizeText = ({ height, width }: Pick<ImageSize, 'height' | 'width'>): string => `${height}x${width}`;

function checkInteger(field: string, value: number, low: number, high: number): void {
  if (Number.isInteger(value) && value >= low && value <= high) return;
  throw new ArgumentError(
    'LOADER_OPTION',
    `${field}: expected an integer from ${low} to ${high}, found ${printable(value)}`,
    {
      field,
      expected: `${low}..${high}`,
      got: value,
    },
  );
}
