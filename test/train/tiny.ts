/** Small data and models for tests of the trainer: a run takes a fraction of a second. */
import { DataLoader, digits, type InMemoryImageDataset, type Transform } from '../../src/data/index.ts';
import { MLP } from '../../src/models/index.ts';
import type { Module } from '../../src/nn/index.ts';
import { manualSeed } from '../../src/tensor/index.ts';
import type { FineTuneOptions } from '../../src/training/index.ts';

export const transforms: Transform[] = [{ kind: 'normalize', mean: [0.1307], std: [0.3081] }];

export const train = digits({ split: 'train', size: 120 });
export const validation = digits({ split: 'test', size: 40 });
export const test = digits({ split: 'test', size: 60, seed: 3 });

/** A fresh model, the same for the same seed. */
export function mlp(seed = 1): Module {
  manualSeed(seed);
  return new MLP({ hidden: 16 });
}

export const options = (more: Partial<FineTuneOptions> = {}): FineTuneOptions => ({
  model: mlp(),
  data: { train, validation },
  transforms,
  optimizer: { name: 'adamw', lr: 5e-3, weightDecay: 0.01 },
  batchSize: 20,
  epochs: 2,
  seed: 1,
  ...more,
});

export const loaderOf = (data: InMemoryImageDataset, batchSize: number): DataLoader =>
  new DataLoader(data, { batchSize, transforms });

export async function weightsOf(model: Module): Promise<number[]> {
  const all: number[] = [];
  for (const variable of model.parameters()) all.push(...(await variable.data()));
  return all;
}
