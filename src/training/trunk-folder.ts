/** A trunk of pictures that learned without labels, for its features: the folder knows no classes, and its head is not looked at. */
import { join } from 'node:path';
import { DataError, printable } from '../base/errors.ts';
import { type ImageFeature, parseTransforms, type Transform } from '../data/index.ts';
import { type Json, readJson } from '../io/index.ts';
import { createModel } from '../models/index.ts';
import type { Module } from '../nn/index.ts';
import { generator } from '../tensor/index.ts';
import { initialise } from './init.ts';

export interface LoadedTrunk {
  readonly dir: string;
  /** The classifier it belongs to, with a head of random weights. */
  readonly module: Module;
  readonly image: ImageFeature;
  readonly transforms: readonly Transform[];
  readonly origin?: Json;
  readonly weightsHash: string;
}

/**
 * The trunk of a folder pre-trained on pictures; undefined for a folder of another kind, which `loadModelFolder` reads.
 * @throws DataError for damaged files, UnsupportedError; IoError.
 */
export async function loadTrunk(dir: string): Promise<LoadedTrunk | undefined> {
  const file = join(dir, 'config.json');
  const config = (await readJson(file)) as { [key: string]: Json } | null;
  if (
    typeof config !== 'object' ||
    config === null ||
    config.model_type !== 'cambium' ||
    config.pretraining === undefined
  )
    return undefined;
  const preprocessor = (await readJson(join(dir, 'preprocessor_config.json'))) as { [key: string]: Json };
  // Words are pre-trained under a head that reads every token; their features are those of a tuned model.
  if (preprocessor.image === undefined) return undefined;
  const { model } = config as { model?: { name?: Json } & { [key: string]: Json } };
  if (typeof model?.name !== 'string')
    throw new DataError('MODEL_CONFIG', `${printable(file)}: model: expected a name and options`, {
      file,
      field: 'model',
      got: model,
    });
  const { name, ...options } = model;
  const { seed, stream } = generator;
  const module = createModel(String(name), options);
  const { lineage } = await initialise(module, { weights: dir, head: 'new' });
  Object.assign(generator, { seed, stream });
  const recorded = (config.weights as { sha256?: Json } | undefined)?.sha256;
  if (recorded !== lineage.sha256)
    throw new DataError(
      'HASH_MISMATCH',
      `${printable(dir)} is damaged: the sha256 of its weights is not the recorded one`,
      {
        file: dir,
        expected: recorded,
        got: lineage.sha256,
      },
    );
  return {
    dir,
    module: module.eval(),
    image: preprocessor.image as unknown as ImageFeature,
    transforms: parseTransforms(preprocessor.transforms),
    ...(config.origin !== undefined && { origin: config.origin }),
    weightsHash: lineage.sha256,
  };
}
