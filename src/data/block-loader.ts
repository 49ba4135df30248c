/**
 * Batches of token rows for language models, from memory or from a stream. Order and masks are functions of (seed, epoch,
 * row), so an epoch is entered in the middle as if it had been run.
 */
import { ArgumentError } from '../base/errors.ts';
import type { HostArray } from '../io/host-array.ts';
import { batched, shuffled } from './iterable.ts';
import type { LabelledBatch } from './loader.ts';
import { SampleRandom } from './random.ts';
import { batchCount, epochOrder } from './sampler.ts';
import { Masking, type MaskingOptions } from './text/masking.ts';
import { type BlockStream, TokenBlocks } from './text/token-blocks.ts';

/** inputIds i32 (B, T); `label`: what is to be predicted. */
export interface LanguageBatch extends LabelledBatch {
  readonly inputIds: HostArray;
  /** Masked: places among the B T tokens whose original is in `label`, i32 (M); M is the same for every full batch. */
  readonly positions?: HostArray;
  /** How many of `label` are tokens; the others are -100. */
  readonly targets: number;
}

export interface BlockLoaderOptions {
  readonly batchSize: number;
  /** false unless told. */
  readonly shuffle?: boolean;
  /** Names order and masks; 0 unless told. */
  readonly seed?: number;
  /** Tokens to hide. Without it every token is predicted from those before it: T inputs of rows of T + 1. */
  readonly masking?: MaskingOptions;
  /** Rows of a stream mixed at a time; 8192 unless told. */
  readonly shuffleBuffer?: number;
}

interface Row {
  readonly ids: Int32Array;
  /** Lasting number: its place in the texts. */
  readonly id: number;
}

// Beyond the places that transforms of pictures take.
const MASKS = 0x6d0000;

export class BlockLoader {
  /** Batches in an epoch. */
  readonly length: number;
  readonly #source: TokenBlocks | BlockStream;
  readonly #options: Required<Omit<BlockLoaderOptions, 'masking'>>;
  readonly #blockLength: number;
  readonly #masking: Masking | undefined;
  readonly #draw = new SampleRandom();

  /** @throws ArgumentError for options out of range. */
  constructor(source: TokenBlocks | BlockStream, options: BlockLoaderOptions) {
    const { batchSize, shuffle = false, seed = 0, shuffleBuffer = 8192, masking } = options;
    for (const [field, value] of Object.entries({ batchSize, shuffleBuffer }))
      if (!Number.isInteger(value) || value < 1)
        throw new ArgumentError('LOADER_OPTION', `${field}: expected a whole number above 0, found ${value}`, {
          field,
          got: value,
        });
    const memory = source instanceof TokenBlocks;
    this.#source = source;
    this.#options = { batchSize, shuffle, seed, shuffleBuffer };
    this.#blockLength = memory ? source.blockLength : source.options.length;
    this.#masking =
      masking && new Masking(memory ? source.tokenizer : source.options.tokenizer, this.#blockLength, masking);
    this.length = batchCount(source.length, batchSize);
  }

  /** The batches of epoch `epoch` from `startBatch` on. @throws those of a stream's reader. */
  async *epoch(epoch: number, { startBatch = 0 } = {}): AsyncGenerator<LanguageBatch, void, void> {
    const { batchSize } = this.#options;
    if (this.#source instanceof TokenBlocks) {
      const order = this.#order(epoch);
      for (let index = startBatch; index < this.length; index++) {
        const rows = [...order.subarray(index * batchSize, (index + 1) * batchSize)];
        yield this.#make(
          rows.map((id) => ({ ids: (this.#source as TokenBlocks).block(id), id })),
          epoch,
          index,
        );
      }
      return;
    }
    let index = 0;
    for await (const rows of batched(this.#streamed(this.#source, epoch), batchSize)) {
      if (index >= startBatch) yield this.#make(rows, epoch, index);
      index++;
    }
  }

  #order(epoch: number): Int32Array {
    const { seed, shuffle } = this.#options;
    return epochOrder(this.#source.length, seed, epoch, shuffle);
  }

  #streamed(source: BlockStream, epoch: number): AsyncIterable<Row> {
    async function* rows(): AsyncGenerator<Row, void, void> {
      let id = 0;
      for await (const ids of source.blocks()) yield { ids, id: id++ };
    }
    const { shuffle, seed, shuffleBuffer: buffer } = this.#options;
    return shuffle ? shuffled(rows(), { buffer, seed, epoch }) : rows();
  }

  #make(rows: readonly Row[], epoch: number, index: number): LanguageBatch {
    const ids = Int32Array.from(rows, ({ id }) => id);
    const head = { ids, epoch, index, size: rows.length };
    return this.#masking ? this.#masked(rows, head, this.#masking) : this.#next(rows, head);
  }

  #masked(rows: readonly Row[], head: Omit<LabelledBatch, 'label'>, masking: Masking): LanguageBatch {
    const [steps, most] = [this.#blockLength, masking.most];
    const inputIds = new Int32Array(rows.length * steps);
    const positions = new Int32Array(rows.length * most);
    const label = new Int32Array(rows.length * most).fill(-100);
    let targets = 0;
    rows.forEach(({ ids, id }, b) => {
      const row = inputIds.subarray(b * steps, (b + 1) * steps);
      row.set(ids);
      const places = positions.subarray(b * most, (b + 1) * most);
      const out = { places, targets: label.subarray(b * most, (b + 1) * most) };
      const count = masking.apply(row, this.#draw.start(this.#options.seed, head.epoch, id, MASKS), out);
      for (let k = 0; k < most; k++) places[k] = b * steps + (k < count ? (places[k] as number) : 0);
      targets += count;
    });
    return {
      ...head,
      inputIds: array(inputIds, [rows.length, steps]),
      positions: array(positions, [positions.length]),
      label: array(label, [label.length]),
      targets,
    };
  }

  #next(rows: readonly Row[], head: Omit<LabelledBatch, 'label'>): LanguageBatch {
    const steps = this.#blockLength - 1;
    const inputIds = new Int32Array(rows.length * steps);
    const label = new Int32Array(rows.length * steps);
    rows.forEach(({ ids }, b) => {
      inputIds.set(ids.subarray(0, steps), b * steps);
      label.set(ids.subarray(1), b * steps);
    });
    return {
      ...head,
      inputIds: array(inputIds, [rows.length, steps]),
      label: array(label, [label.length]),
      targets: label.length,
    };
  }
}

const array = (data: Int32Array, shape: number[]): HostArray => ({ dtype: 'i32', shape, data });
