/**
 * Batches of token rows for language models, from memory or from a file. Order and masks are functions of (seed, epoch,
 * row), so an epoch is entered in the middle as if it had been run, and is the same wherever the rows lie.
 */
import { ArgumentError } from '../base/errors.ts';
import type { HostArray } from '../io/host-array.ts';
import type { LabelledBatch } from './loader.ts';
import { SampleRandom } from './random.ts';
import { batchCount, epochOrder } from './sampler.ts';
import { Masking, type MaskingOptions } from './text/masking.ts';
import type { TokenRows } from './text/token-blocks.ts';

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
}

// Beyond the places that transforms of pictures take.
const MASKS = 0x6d0000;

export class BlockLoader {
  /** Batches in an epoch. */
  readonly length: number;
  readonly #source: TokenRows;
  readonly #options: Required<Omit<BlockLoaderOptions, 'masking'>>;
  readonly #masking: Masking | undefined;
  readonly #draw = new SampleRandom();

  /** @throws ArgumentError for options out of range. */
  constructor(source: TokenRows, options: BlockLoaderOptions) {
    const { batchSize, shuffle = false, seed = 0, masking } = options;
    if (!Number.isInteger(batchSize) || batchSize < 1)
      throw new ArgumentError('LOADER_OPTION', `batchSize: expected a whole number above 0, found ${batchSize}`, {
        field: 'batchSize',
        got: batchSize,
      });
    this.#source = source;
    this.#options = { batchSize, shuffle, seed };
    this.#masking = masking && new Masking(source.tokenizer, source.blockLength, masking);
    this.length = batchCount(source.length, batchSize);
  }

  /** The batches of epoch `epoch` from `startBatch` on. @throws IoError of a file's reader. */
  async *epoch(epoch: number, { startBatch = 0 } = {}): AsyncGenerator<LanguageBatch, void, void> {
    const { batchSize, seed, shuffle } = this.#options;
    const order = epochOrder(this.#source.length, seed, epoch, shuffle);
    const read = (index: number) => {
      // Lasting number of a row: its place in the texts.
      const ids = order.slice(index * batchSize, (index + 1) * batchSize);
      const rows = this.#source.rows(ids);
      // Told where the batch is awaited, if it ever is.
      if (rows instanceof Promise) rows.catch(() => {});
      return { ids, rows };
    };
    let next = startBatch < this.length ? read(startBatch) : undefined;
    for (let index = startBatch; next; index++) {
      const { ids, rows } = next;
      const ready = rows instanceof Promise ? await rows : rows;
      // A disk is read while the step before runs.
      next = index + 1 < this.length ? read(index + 1) : undefined;
      const head = { ids, epoch, index, size: ids.length };
      yield this.#masking ? this.#masked(ready, head, this.#masking) : this.#next(ready, head);
    }
  }

  #masked(rows: readonly Int32Array[], head: Omit<LabelledBatch, 'label'>, masking: Masking): LanguageBatch {
    const [steps, most] = [this.#source.blockLength, masking.most];
    const inputIds = new Int32Array(rows.length * steps);
    const positions = new Int32Array(rows.length * most);
    const label = new Int32Array(rows.length * most).fill(-100);
    let targets = 0;
    rows.forEach((tokens, b) => {
      const row = inputIds.subarray(b * steps, (b + 1) * steps);
      row.set(tokens);
      const id = head.ids[b] as number;
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

  #next(rows: readonly Int32Array[], head: Omit<LabelledBatch, 'label'>): LanguageBatch {
    const steps = this.#source.blockLength - 1;
    const inputIds = new Int32Array(rows.length * steps);
    const label = new Int32Array(rows.length * steps);
    rows.forEach((tokens, b) => {
      inputIds.set(tokens.subarray(0, steps), b * steps);
      label.set(tokens.subarray(1), b * steps);
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
