/**
 * Head-only epochs: where nothing below a layer trains and nothing random acts there, that layer's outputs are computed once,
 * kept on disk and read instead of pictures or texts. Epochs are the same to the bit as without.
 *
 * How a layer's values round depends on the size of the batch they are computed in (reductions are ordered by shape). So
 * they are computed in batches as large as those of training, and an epoch's last, shorter batch goes through the model. How far
 * a batch of texts is padded must not matter: that is tried for every length that training pads to.
 */
import { createHash } from 'node:crypto';
import { CambiumError, NumericError, sizeOf } from '../../base/index.ts';
import {
  contentHash,
  DataLoader,
  isRandom,
  type LabelledBatch,
  subset,
  type TextCollateOptions,
  type Transform,
} from '../../data/index.ts';
import { captureLayer, withLayerOutput } from '../../features/index.ts';
import type { HostArray } from '../../io/index.ts';
import { Dropout, type Module } from '../../nn/index.ts';
import type { HeadOutput, Task } from '../../tasks/index.ts';
import { currentBackend, type Tensor, tensor, type Variable } from '../../tensor/index.ts';
import { firstBatch } from '../check-data.ts';
import { type Evaluation, evaluate } from '../evaluate.ts';
import type { EventTable, Listener } from '../events.ts';
import type { Samples } from '../inputs.ts';
import { machineMemory } from '../machine-memory.ts';
import { seedBatch } from '../train-step.ts';
import type { TrainLoop } from '../trainer.ts';
import {
  type Cut,
  dependsOn,
  discarding,
  findCut,
  type InputArrays,
  type InputBatch,
  inputArrays,
  inputData,
} from './cut.ts';
import { featureSet } from './feature-set.ts';
import { type CachedRows, type CacheRequest, makeCache, openCache, removeCache } from './store.ts';
import { measuringOrder, type TextBatches, textBatches, tokenCounts, tokenIdentity } from './text-lengths.ts';

export interface FeatureCacheRequest {
  readonly model: Module;
  readonly task: Task;
  readonly train: Samples;
  readonly validation?: Samples;
  readonly transforms: readonly Transform[];
  /** What training reads without a cache. */
  readonly loader: TrainLoop['loader'];
  readonly batchSize: number;
  readonly evalBatchSize: number;
  readonly seed: number;
  /** Epochs still to come. */
  readonly epochs: number;
  /** Those done before. */
  readonly done: number;
  /** The training loss of a batch. */
  readonly lossOf: (batch: LabelledBatch) => Tensor;
  /** How texts become tokens. */
  readonly text?: TextCollateOptions | undefined;
  /** A batch of blank pictures or texts, as large as told. */
  readonly zeroBatch: (size: number) => LabelledBatch;
  /** Everything that trains in some epoch. */
  readonly parameters: readonly Variable[];
  readonly emit: Listener;
  readonly stop: () => boolean;
}

/** Training and validation that read features in place of pictures. */
export interface HeadOnly {
  readonly loader: TrainLoop['loader'];
  readonly lossOf: (batch: LabelledBatch) => Tensor;
  readonly validate?: (stop: () => boolean) => Promise<Evaluation | undefined>;
  close(): Promise<void>;
}

/**
 * Features of everything below the first layer that trains, from the cache or computed now. Undefined, with one notice
 * where people might have expected otherwise, when there is nothing to gain or anything stands against it; training then
 * runs the whole model in every step. Never throws for what concerns the cache alone.
 */
export async function cacheFeatures(request: FeatureCacheRequest): Promise<HeadOnly | undefined> {
  const { model, parameters, train, transforms, emit, epochs } = request;
  const frozen = model.parameters().length > parameters.length;
  const { features } = train.schema;
  const onePicture = Object.keys(features).join() === 'image' && features.image?.kind === 'image';
  const texts = request.text !== undefined && Object.values(features).every(({ kind }) => kind === 'text');
  if (!frozen || epochs < 1) return undefined;
  const tell = async (reason: string): Promise<undefined> => {
    await emit({ type: 'notice', text: `features are not cached, every step runs the whole model: ${reason}` });
  };
  if (!onePicture && !texts) return tell('samples have other inputs than one picture, or texts');
  const random = transforms.find(isRandom);
  if (random) return tell(`the transform "${random.kind}" changes the pictures in every epoch`);
  try {
    const cut = await findCut(
      model,
      request.lossOf as (b: InputBatch) => Tensor,
      blank(request, trainBatch(request)),
      parameters,
    );
    if (!cut) {
      const mostly = 2 * countOf(parameters) < countOf(model.parameters());
      const reason = texts ? mostly && whyNotTexts(model) : whyNot(model);
      return reason ? await tell(reason) : undefined;
    }
    const found = await new Caching(request, cut).open();
    return typeof found === 'string' ? await tell(found) : found;
  } catch (error) {
    if (error instanceof Interrupted) return undefined;
    if (error instanceof CambiumError) return tell(error.message);
    throw error;
  }
}

/** What is frozen, yet changes in training; undefined where too little is frozen to be worth it. */
function whyNot(model: Module): string | undefined {
  const layers = [...model.namedModules()];
  const moving = layers.find(([, module]) => module.children().length === 0 && module.movesStatistics);
  return moving && `batch norm ${moving[0]} still learns its statistics (freezeBatchNorm keeps them)`;
}

function whyNotTexts(model: Module): string {
  const random = [...model.namedModules()].find(([, module]) => module instanceof Dropout && module.p > 0);
  return random
    ? `dropout ${random[0]} is drawn anew in every step (model.dropout: 0 leaves it out)`
    : 'no layer below what trains gives one vector a text';
}

/** Numbers in parameters. */
export const countOf = (all: readonly Variable[]): number => all.reduce((sum, { size }) => sum + size, 0);

const trainBatch = ({ batchSize, train }: FeatureCacheRequest): number => Math.min(batchSize, train.length);

const blank = ({ zeroBatch }: FeatureCacheRequest, size: number): InputBatch => zeroBatch(size) as InputBatch;

class Interrupted extends CambiumError {}

type FeatureBatch = LabelledBatch & { readonly features: HostArray };

/** One part of the data with its cached rows. */
interface Part {
  readonly rows: CachedRows;
  readonly dataset: Samples;
  readonly reused: boolean;
}

class Caching {
  readonly #request: FeatureCacheRequest;
  readonly #cut: Cut;
  readonly #blanks = new Map<number, InputArrays>();
  #texts: TextBatches | undefined;

  constructor(request: FeatureCacheRequest, cut: Cut) {
    this.#request = request;
    this.#cut = cut;
  }

  /** Text: why not. Undefined: nothing to gain. */
  async open(): Promise<HeadOnly | string | undefined> {
    const start = performance.now();
    const { train, validation, emit } = this.#request;
    const memory = machineMemory().available / 2;
    const trained = await this.#trainingPart(train, memory);
    if (!trained) return undefined;
    if (typeof trained === 'string') return trained;
    const { path, shape } = this.#cut;
    const measured = validation && (await this.#validationPart(validation, memory - trained.rows.bytes));
    const parts = measured ? [trained, measured] : [trained];
    const report: EventTable['feature-cache'] = {
      layer: path,
      shape,
      samples: parts.reduce((sum, { dataset }) => sum + dataset.length, 0),
      bytes: parts.reduce((sum, { rows }) => sum + rows.bytes, 0),
      seconds: (performance.now() - start) / 1000,
      reused: parts.every(({ reused }) => reused),
      inMemory: parts.every(({ rows }) => rows.inMemory),
      path: trained.rows.path,
    };
    await emit({ type: 'feature-cache', ...report });
    const { model, task, evalBatchSize } = this.#request;
    const headTask: Task = {
      ...task,
      evaluate: (module, batch) => this.#above(batch, (whole) => task.evaluate(module, whole)),
    };
    return {
      loader: this.#loader(trained.dataset),
      lossOf: (batch) => this.#lossOf(batch),
      ...(measured && {
        validate: (stop) => evaluate(model, headTask, measured.dataset, { batchSize: evalBatchSize, stop }),
      }),
      close: async () => {
        for (const { rows } of parts) await rows.close();
      },
    };
  }

  /** The graph above the cut, over cached values; a batch without them goes through the whole model. */
  #above<T>(batch: LabelledBatch, build: (whole: LabelledBatch) => T): T {
    const { features } = batch as Partial<FeatureBatch>;
    if (!features) return build(batch);
    const { size } = batch;
    const { path, shape } = this.#cut;
    const inputs = this.#blanks.get(size) ?? inputArrays(blank(this.#request, size));
    this.#blanks.set(size, inputs);
    const whole = { ...batch, ...inputs } as LabelledBatch;
    const values = tensor(features.data, { shape: [size, ...shape] });
    return withLayerOutput(this.#request.model, path, values, () => build(whole));
  }

  #lossOf(batch: LabelledBatch): Tensor {
    return this.#above(batch, this.#request.lossOf);
  }

  /** Batches of features; the last one of pictures where it is short. */
  #loader(dataset: Samples): TrainLoop['loader'] {
    const { loader, batchSize, seed } = this.#request;
    const texts = this.#texts;
    const cached = new DataLoader(dataset, { batchSize, seed, shuffle: true });
    // Texts are visited by their lengths, which features do not have.
    const loaderOf = (epoch: number): DataLoader<{ readonly label: number }> =>
      texts ? new DataLoader(subset(dataset, texts.order(epoch)), { batchSize, seed }) : cached;
    const whole = dataset.length % batchSize === 0 || dataset.length < batchSize ? loader.length : loader.length - 1;
    return {
      length: loader.length,
      async *epoch(epoch, { startBatch = 0 } = {}) {
        if (startBatch < whole)
          for await (const batch of loaderOf(epoch).epoch(epoch, { startBatch })) {
            if (batch.index >= whole) break;
            yield batch;
          }
        if (whole < loader.length && startBatch < loader.length)
          yield* loader.epoch(epoch, { startBatch: Math.max(whole, startBatch) });
      },
    };
  }

  async #trainingPart(train: Samples, memory: number): Promise<Part | string | undefined> {
    const { lossOf, loader, seed, epochs, done, text, batchSize } = this.#request;
    const size = trainBatch(this.#request);
    this.#texts = text && textBatches(await tokenCounts(train, text), text, { batchSize, seed });
    const request = await this.#cacheRequest('train', train, this.#cut.hash, size);
    const make = async (): Promise<void> => {
      const text = `computing the outputs of ${this.#cut.path} once for ${train.length} samples`;
      await this.#request.emit({ type: 'notice', text });
      await makeCache(request, this.#compute(train, size, true, lossOf));
    };
    // Once through the data to compute them, and once more to read them, is no gain.
    const opened = await this.#openOrMake(request, memory, epochs > 1 ? make : undefined);
    if (!opened) return undefined;
    let part = { ...opened, dataset: await featureSet(train, opened.rows, request.width) };
    // The proof on this machine: the first batch of training, whole and from the cache.
    const value = await firstBatch(loader);
    const repeats = async (): Promise<boolean> => {
      const cached = await firstBatch(this.#loader(part.dataset));
      const loss = async (batch: LabelledBatch): Promise<number> => {
        const graph = discarding(() => {
          seedBatch(seed, 0);
          return this.#lossOf(batch);
        });
        return graph.item();
      };
      const fresh = await this.#capture(value, lossOf);
      const same = fresh.every((v, i) => Object.is(v, (cached as FeatureBatch).features.data[i]));
      if (!same || !Object.is(await loss(value), await loss(cached))) return false;
      return text === undefined || this.#repeatsPadded(part, text, done + epochs, size);
    };
    if (await repeats()) return part;
    await part.rows.close();
    await removeCache(request.key);
    if (part.reused && epochs > 1) {
      // Of another version of the engine: once more.
      await make();
      const rows = await openCache(request, memory);
      if (rows) {
        part = { rows, reused: false, dataset: await featureSet(train, rows, request.width) };
        if (await repeats()) return part;
        await rows.close();
        await removeCache(request.key);
      }
    }
    return 'a sample gives other values in another batch, so results would differ';
  }

  /** Whether the same texts give their cached values at every length that training pads them to. */
  async #repeatsPadded({ rows }: Part, text: TextCollateOptions, epochs: number, size: number): Promise<boolean> {
    const { train, lossOf, stop } = this.#request;
    const texts = this.#texts as TextBatches;
    const chosen = texts.shortest(size);
    const width = sizeOf(this.#cut.shape);
    for (const padToMultipleOf of texts.padded(epochs)) {
      if (stop()) throw new Interrupted('INTERRUPTED', 'stopped by a signal');
      const options = { batchSize: size, text: { ...text, bucketed: false, padToMultipleOf } };
      const batch = await new DataLoader(subset(train, chosen), options).batch(0, 0);
      const fresh = await this.#capture(batch as LabelledBatch, lossOf);
      for (const [i, row] of chosen.entries()) {
        const known = await rows.row(row);
        if (!known.every((v, j) => Object.is(v, fresh[i * width + j]))) return false;
      }
    }
    return true;
  }

  async #validationPart(all: Samples, memory: number): Promise<Part | undefined> {
    const { task, model, evalBatchSize, text, transforms } = this.#request;
    // Texts are measured by length: in these very batches.
    const validation = text ? subset(all, measuringOrder(await tokenCounts(all, text))) : all;
    const { path, shape } = this.#cut;
    const size = Math.min(evalBatchSize, validation.length);
    const batch = blank(this.#request, size);
    const build = (b: LabelledBatch) => task.evaluate(model, b);
    const zero = tensor(new Float32Array(size * sizeOf(shape)), { shape: [size, ...shape] });
    const above = discarding(() => withLayerOutput(model, path, zero, () => build(batch)));
    const nodes = above.flatMap(({ loss, predictions }) => [loss.node, predictions.node]);
    if (nodes.some((node) => dependsOn(node, inputData(batch)))) return undefined;
    // Measured in the same batches every time, the last one shorter: nothing to prove about their sizes.
    const request = await this.#cacheRequest('validation', validation, this.#cut.hash, size);
    const lossOf = (b: LabelledBatch): Tensor => (build(b)[0] as HeadOutput).loss;
    const make = (): Promise<void> => makeCache(request, this.#compute(validation, size, false, lossOf));
    let opened = await this.#openOrMake(request, Math.max(0, memory), make);
    if (opened?.reused) {
      const loader = new DataLoader(validation, { batchSize: size, transforms, ...this.#inOrder() });
      const first = await this.#capture((await loader.batch(0, 0)) as LabelledBatch, lossOf);
      let same = true;
      for (let i = 0; i < size && same; i++) {
        const row = await opened.rows.row(i);
        same = row.every((v, j) => Object.is(v, first[i * request.width + j]));
      }
      if (!same) {
        await opened.rows.close();
        await removeCache(request.key);
        opened = await this.#openOrMake(request, Math.max(0, memory), make);
      }
    }
    return opened && { ...opened, dataset: await featureSet(validation, opened.rows, request.width) };
  }

  async #openOrMake(
    request: CacheRequest,
    memory: number,
    make: (() => Promise<void>) | undefined,
  ): Promise<{ rows: CachedRows; reused: boolean } | undefined> {
    try {
      const rows = await openCache(request, memory);
      if (rows) return { rows, reused: true };
    } catch (error) {
      if (!(error instanceof CambiumError)) throw error;
      await this.#request.emit({ type: 'notice', text: `${error.message}; the features are computed again` });
      await removeCache(request.key);
    }
    await make?.();
    const rows = make && (await openCache(request, memory));
    return rows && { rows, reused: false };
  }

  /** Texts as they come, each batch padded to its longest. */
  #inOrder(): { text?: TextCollateOptions } {
    const { text } = this.#request;
    return text ? { text: { ...text, bucketed: false } } : {};
  }

  async #cacheRequest(part: string, data: Samples, trunk: string, batchSize: number): Promise<CacheRequest> {
    const { text } = this.#request;
    const backend = currentBackend() as { name: string; addon?: { isa?: string } };
    const identity = {
      format: 1,
      part,
      trunk,
      layer: this.#cut.path,
      data: await contentHash(data),
      transforms: this.#request.transforms,
      ...(text && { tokens: tokenIdentity(text) }),
      batchSize,
      engine: `${backend.name} ${backend.addon?.isa ?? ''}`,
    };
    const key = createHash('sha256').update(JSON.stringify(identity)).digest('hex');
    return { key, rows: data.length, width: sizeOf(this.#cut.shape) };
  }

  async #capture(batch: LabelledBatch, build: (batch: LabelledBatch) => Tensor): Promise<Float32Array> {
    const { path } = this.#cut;
    const value = discarding(() => captureLayer(this.#request.model, { path, side: 'output' }, () => build(batch)));
    return (await value.data()) as Float32Array;
  }

  /** Rows in order, in batches of `size`; `padded`: the last one is filled up with samples before it. */
  async *#compute(
    data: Samples,
    size: number,
    padded: boolean,
    build: (batch: LabelledBatch) => Tensor,
  ): AsyncGenerator<Float32Array> {
    const { transforms, stop } = this.#request;
    const n = data.length;
    const rest = padded ? n % size : 0;
    const order = Array.from({ length: rest ? n - rest + size : n }, (_, i) =>
      rest && i >= n - rest ? i - size + rest : i,
    );
    const loader = new DataLoader(subset(data, order), { batchSize: size, transforms, ...this.#inOrder() });
    for await (const batch of loader.epoch(0)) {
      if (stop()) throw new Interrupted('INTERRUPTED', 'stopped by a signal');
      const values = await this.#capture(batch as LabelledBatch, build);
      const bad = values.findIndex((v) => !Number.isFinite(v));
      if (bad >= 0)
        throw new NumericError('NON_FINITE', `layer "${this.#cut.path}" gives ${values[bad]}`, { got: values[bad] });
      const isLast = rest > 0 && batch.index === loader.length - 1;
      yield isLast ? values.subarray(values.length - (values.length / size) * rest) : values;
    }
  }
}
