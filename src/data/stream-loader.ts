/**
 * Batches from a stream: files larger than memory, read anew for each epoch. Shuffled within a buffer as a function of
 * (seed, epoch); an epoch is entered in the middle by reading over what comes before.
 */
import { ArgumentError } from '../base/errors.ts';
import type { Dataset } from './dataset.ts';
import { batched, type IterableDataset, shuffled } from './iterable.ts';
import { type Batch, type BatchFields, DataLoader, type LoaderOptions } from './loader.ts';

export interface StreamLoaderOptions
  extends Pick<LoaderOptions, 'batchSize' | 'seed' | 'transforms' | 'text' | 'dropLast'> {
  /** Samples mixed at a time; 0 keeps the order of the files. Default 8192. */
  shuffleBuffer?: number;
}

export class StreamLoader<S> {
  readonly dataset: IterableDataset<S>;
  readonly options: StreamLoaderOptions;

  /** @throws ArgumentError for options out of range; what DataLoader throws for a schema it cannot batch. */
  constructor(dataset: IterableDataset<S>, options: StreamLoaderOptions) {
    const { shuffleBuffer = 8192 } = options;
    if (!Number.isInteger(shuffleBuffer) || shuffleBuffer < 0)
      throw new ArgumentError('LOADER_OPTION', `shuffleBuffer: expected a whole number, found ${shuffleBuffer}`, {
        field: 'shuffleBuffer',
        got: shuffleBuffer,
      });
    if (options.text?.bucketed)
      throw new ArgumentError('LOADER_OPTION', 'a stream does not know the lengths of its texts: it has no buckets', {
        field: 'text.bucketed',
      });
    this.dataset = dataset;
    this.options = options;
    // Wrong options are found now, not after reading a file for an hour.
    this.#loader([undefined as S], 0);
  }

  /** The batches of epoch `epoch`; `ids` are positions in the order of this epoch. @throws as the stream's reader. */
  async *epoch(epoch: number, { startBatch = 0 } = {}): AsyncGenerator<Batch<BatchFields<S>>, void, void> {
    const { batchSize, seed = 0, dropLast = false, shuffleBuffer = 8192 } = this.options;
    const source = this.dataset.samples();
    const samples = shuffleBuffer > 0 ? shuffled(source, { buffer: shuffleBuffer, seed, epoch }) : source;
    let index = 0;
    for await (const group of batched(samples, batchSize)) {
      if (index >= startBatch && (group.length === batchSize || !dropLast)) {
        const batch = await this.#loader(group, index * batchSize).batch(epoch, 0);
        yield { ...batch, index };
      }
      index++;
    }
  }

  /** A batch is made as that of a set in memory, so every field and transform works alike. */
  #loader(group: readonly S[], firstId: number): DataLoader<S> {
    const { name, schema } = this.dataset;
    const dataset: Dataset<S> = {
      name,
      schema,
      length: group.length,
      get: (i) => group[i] as S,
      id: (i) => firstId + i,
    };
    const { seed, transforms, text } = this.options;
    return new DataLoader(dataset, { batchSize: this.options.batchSize, seed, transforms, text, prefetch: 0 });
  }
}
