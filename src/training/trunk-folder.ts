/** A trunk that learned without labels, for its features: the folder knows no classes, and its head is not looked at. */
import { join } from 'node:path';
import { DataError, printable } from '../base/errors.ts';
import { type ImageFeature, parseTransforms, type TextCollateOptions, type Transform } from '../data/index.ts';
import { type Json, readJson } from '../io/index.ts';
import { createModel, structureOf } from '../models/index.ts';
import type { Module } from '../nn/index.ts';
import { generator } from '../tensor/index.ts';
import { initialise } from './init.ts';
import { findModelFolder, type LoadedModel, loadModelFolder, readTextInputs } from './model-folder.ts';

interface Trunk {
  readonly dir: string;
  /** The classifier it belongs to, with a head of random weights. */
  readonly module: Module;
  /** Registered name and options of that classifier. */
  readonly model: { readonly name: string } & Readonly<Record<string, unknown>>;
  readonly origin?: Json;
  readonly weightsHash: string;
}

export interface LoadedPictureTrunk extends Trunk {
  readonly image: ImageFeature;
  readonly transforms: readonly Transform[];
}

export interface LoadedTextTrunk extends Trunk {
  readonly text: TextCollateOptions;
  readonly pair: boolean;
  /** The last layer below everything that is random: its tokens' mean is a text's vector. */
  readonly layer: string;
}

export type LoadedTrunk = LoadedPictureTrunk | LoadedTextTrunk;

/**
 * The trunk of a folder pre-trained without labels; undefined for one of a model that answers, which `loadModelFolder` reads.
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
  const trunk: Trunk = {
    dir,
    module: module.eval(),
    model: { ...options, name: model.name },
    ...(config.origin !== undefined && { origin: config.origin }),
    weightsHash: lineage.sha256,
  };
  if (preprocessor.text !== undefined) {
    const inputs = { dir, model: { ...model, name: model.name } };
    const texts = (preprocessor.text ?? {}) as { [key: string]: Json };
    return { ...trunk, ...(await readTextInputs(inputs, texts, file)), layer: lastLayer(module) };
  }
  return {
    ...trunk,
    image: preprocessor.image as unknown as ImageFeature,
    transforms: parseTransforms(preprocessor.transforms),
  };
}

/** Of the stages below the head; not what pre-training leaves out, such as a pooler. */
export function lastLayer(module: Module): string {
  const { stages, mayBeNew = [] } = structureOf(module);
  const below = stages.slice(0, -1).flat();
  return below.filter((path) => !mayBeNew.includes(path)).at(-1) as string;
}

/** A run or model folder, of a model that answers or of a trunk that learned without labels. @throws as both readers. */
export async function loadForFeatures(dir: string): Promise<LoadedModel | LoadedTrunk> {
  const folder = await findModelFolder(dir);
  return (await loadTrunk(folder)) ?? (await loadModelFolder(folder));
}

/** The layer to take vectors from where none is told; undefined: the input of the head. */
export const featureLayer = (loaded: LoadedModel | LoadedTrunk): string | undefined =>
  'layer' in loaded ? loaded.layer : undefined;
