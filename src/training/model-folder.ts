/**
 * A trained model as a folder in Hugging Face's shape: model.safetensors, config.json, preprocessor_config.json. It is
 * written beside its final place, read back into a fresh model, compared, and only then shown under its name.
 */
import { join } from 'node:path';
import { ConfigError, DataError, IoError, printable } from '../base/errors.ts';
import {
  type ImageFeature,
  loadTokenizer,
  parseTransforms,
  saveTokenizer,
  splitPipeline,
  type TokenBatch,
} from '../data/index.ts';
import {
  exists,
  type HostArray,
  hashFile,
  type Json,
  readJson,
  readSafetensors,
  readSafetensorsHeader,
  replaceFolder,
  writeFileAtomic,
  writeJson,
  writeSafetensors,
} from '../io/index.ts';
import { createModel } from '../models/index.ts';
import { adoptable, type Module } from '../nn/index.ts';
import { type HeadOptions, type ImageTask, imageTask, type TextTask, textTask } from '../tasks/index.ts';
import { forkRng, type Tensor } from '../tensor/index.ts';
import { badConfig } from './bad-config.ts';
import { headConfig, parseHeads } from './head-config.ts';
import type { Preprocessing } from './inputs.ts';
import { arraysOf, restore } from './model-weights.ts';

/** What, besides the weights, makes a model usable: what it is built from, and what makes its inputs. */
export type ModelDescription = ModelOrigin & Preprocessing;

export interface ModelOrigin {
  /** Registered name and options: enough to build it. */
  readonly model: { readonly name: string } & Readonly<Record<string, unknown>>;
  /** What it predicts, in the order of its outputs. */
  readonly heads: readonly HeadOptions[];
  /** Where it comes from, for people and for `evaluate`: plain JSON. */
  readonly origin?: Json;
}

interface Loaded extends ModelOrigin {
  readonly dir: string;
  /** Where one class a sample (or word) is all it predicts: their names; otherwise none. */
  readonly classes: readonly string[];
  readonly module: Module;
  /** Of model.safetensors. */
  readonly weightsHash: string;
}
type OfImages = Extract<Preprocessing, { image: unknown }>;
type OfTexts = Extract<Preprocessing, { text: unknown }>;
export type LoadedImageModel = Loaded & OfImages & { readonly task: ImageTask };
export type LoadedTextModel = Loaded & OfTexts & { readonly task: TextTask };
/** Which of the two: `'text' in loaded`. */
export type LoadedModel = LoadedImageModel | LoadedTextModel;

export const FORMAT = 1;

/** @returns the hash of the weights. @throws IoError; DataError SAVE_MISMATCH when what was written is not what was meant. */
export async function saveModelFolder(dir: string, module: Module, description: ModelDescription): Promise<string> {
  return replaceFolder(dir, async (draft) => {
    const weights = await writeSafetensors(join(draft, 'model.safetensors'), await arraysOf(module.stateDict()), {
      format: 'pt',
    });
    await writeJson(join(draft, 'config.json'), configOf(description, weights));
    await writeJson(join(draft, 'preprocessor_config.json'), {
      processor_class: 'cambium',
      format: FORMAT,
      ...preprocessorOf(description),
    });
    if ('text' in description) await saveTokenizer(draft, description.text.tokenizer);
    await writeFileAtomic(join(draft, 'README.md'), modelCard(description, weights.sha256));
    await compare(module, await loadModelFolder(draft));
    return weights.sha256;
  });
}

function configOf(
  { model, heads, origin }: ModelDescription,
  { sha256, bytes }: { sha256: string; bytes: number },
): Json {
  return {
    model_type: 'cambium',
    architectures: [model.name],
    format: FORMAT,
    model: model as unknown as Json,
    ...headConfig(heads),
    weights: { file: 'model.safetensors', sha256, bytes },
    ...(origin === undefined ? {} : { origin }),
  };
}

export function preprocessorOf(description: Preprocessing): { [key: string]: Json } {
  if ('image' in description) {
    const { image, transforms } = description;
    return { image, transforms } as unknown as { [key: string]: Json };
  }
  const { tokenizer, maxLength = tokenizer.config.modelMaxLength, padToMultipleOf = 8 } = description.text;
  return { text: { maxLength: maxLength ?? null, padToMultipleOf, pair: description.pair } };
}

function modelCard(description: ModelDescription, sha256: string): string {
  const { model, heads } = description;
  const [kind, example] = 'text' in description ? ['Text', "--text 'some words'"] : ['Image', 'picture.png'];
  const [only] = heads.length === 1 ? heads : [];
  const what =
    only?.kind === 'class'
      ? `${kind} classification into ${only.names.length} classes`
      : only?.kind === 'tags'
        ? `Classification of words into ${only.names.length} classes`
        : `${kind} model of ${heads.map(({ field, names }) => `${field} (${names.length} outputs)`).join(', ')}`;
  return (
    `# ${model.name}\n\n${what}, trained with Cambium.\n\n` +
    `Use it: \`cambium predict . ${example}\`. Weights sha256: \`${sha256}\`.\n`
  );
}

/** Bit-identical answers on a fixed input, or it was not saved. */
async function compare(module: Module, loaded: LoadedModel): Promise<void> {
  const [mine, its] = [await logitsOf(module, loaded), await logitsOf(loaded.module, loaded)];
  const differs = mine.findIndex((value, i) => !Object.is(value, its[i]));
  if (differs >= 0)
    throw new DataError(
      'SAVE_MISMATCH',
      `the saved model answers ${its[differs]} where the trained one says ${mine[differs]}`,
      {
        file: loaded.dir,
        expected: mine[differs],
        got: its[differs],
      },
    );
}

async function logitsOf(module: Module, loaded: LoadedModel): Promise<Float32Array> {
  const training = module.training;
  const logits: Tensor =
    'text' in loaded
      ? loaded.task.outputs(module, fixedTokens(loaded))
      : loaded.task.outputs(module, { image: fixedPicture(loaded) });
  const values = (await logits.data()) as Float32Array;
  module.train(training);
  return values;
}

/** Two rows, the second half padding. */
function fixedTokens({ text: { tokenizer, maxLength = 16 } }: LoadedTextModel): TokenBatch {
  const steps = Math.min(16, maxLength);
  const array = (value: (i: number) => number) => ({
    dtype: 'i32' as const,
    shape: [2, steps],
    data: Int32Array.from({ length: 2 * steps }, (_, i) => value(i)),
  });
  const isToken = (i: number): boolean => i < steps + Math.ceil(steps / 2);
  return {
    inputIds: array((i) => (isToken(i) ? (i * 37) % tokenizer.vocabSize : tokenizer.padId)),
    attentionMask: array((i) => Number(isToken(i))),
    tokenTypeIds: array(() => 0),
  };
}

function fixedPicture({ image, transforms }: LoadedImageModel): HostArray {
  const resize = splitPipeline(transforms).host.findLast(
    (t) => t.kind === 'resize' || t.kind === 'pad' || t.kind === 'centerCrop',
  );
  const height = resize?.height ?? image.height ?? 32;
  const width = resize?.width ?? image.width ?? 32;
  const data = Uint8Array.from(
    { length: 2 * image.channels * height * width },
    (_, i) => (i * 37 + (i >> 5) * 11) % 256,
  );
  return { dtype: 'u8', shape: [2, image.channels, height, width], data };
}

/** The folder of a model: `dir` itself, or `model/` in a run folder. @throws IoError MODEL_NOT_FOUND. */
export async function findModelFolder(dir: string): Promise<string> {
  for (const candidate of [dir, join(dir, 'model')]) if (await exists(join(candidate, 'config.json'))) return candidate;
  if (!(await exists(dir)))
    throw new IoError('FILE_NOT_FOUND', `there is no folder ${printable(dir)}`, {
      file: dir,
      expected: 'a run or model folder',
    });
  throw new IoError('MODEL_NOT_FOUND', `${printable(dir)} holds no trained model`, {
    file: join(dir, 'model', 'config.json'),
    expected: 'config.json and model.safetensors',
    hint: 'a run has one when it is finished: cambium resume continues it',
  });
}

/** @throws DataError for damaged or foreign files, IoError. */
export async function loadModelFolder(dir: string): Promise<LoadedModel> {
  const file = join(dir, 'config.json');
  const config = object(await readJson(file), file, 'config');
  const preprocessorFile = join(dir, 'preprocessor_config.json');
  const preprocessor = object(await readJson(preprocessorFile), preprocessorFile, 'preprocessor');
  if (config.model_type !== 'cambium' || config.format !== FORMAT)
    throw new DataError('MODEL_FORMAT', `${printable(file)} is not a Cambium model of format ${FORMAT}`, {
      file,
      field: config.model_type === 'cambium' ? 'format' : 'model_type',
      expected: config.model_type === 'cambium' ? FORMAT : 'cambium',
      got: config.model_type === 'cambium' ? config.format : config.model_type,
    });
  if (config.pretraining !== undefined)
    throw new DataError(
      'MODEL_PRETRAINED',
      `${printable(dir)} is pretrained only, by ${printable(config.pretraining)}: it knows no classes`,
      {
        file,
        field: 'pretraining',
        got: config.pretraining,
        hint: `fine-tune it first: cambium train RECIPE --set init.weights=${dir}`,
      },
    );
  const { name, ...options } = object(config.model, file, 'model');
  const heads = parseHeads(config, file);
  const [only] = heads.length === 1 ? heads : [];
  const weights = object(config.weights, file, 'weights');
  const path = join(dir, 'model.safetensors');
  const digest = (await hashFile(path)).sha256;
  if (digest !== weights.sha256)
    throw new DataError('HASH_MISMATCH', `${printable(path)} is damaged: its sha256 is not the recorded one`, {
      file: path,
      offset: 0,
      expected: weights.sha256,
      got: digest,
    });
  try {
    const module = forkRng(() => createModel(String(name), options));
    await readWeights(module, path);
    const loaded: Loaded = {
      dir,
      module,
      model: { name: String(name), ...options },
      heads,
      classes: only?.kind === 'class' || only?.kind === 'tags' ? only.names : [],
      weightsHash: String(weights.sha256),
      ...(config.origin === undefined ? {} : { origin: config.origin }),
    };
    return preprocessor.text === undefined
      ? imageModel(loaded, preprocessor, preprocessorFile)
      : await textModel(loaded, object(preprocessor.text, preprocessorFile, 'text'), preprocessorFile);
  } catch (cause) {
    // In a recipe these are the user's mistakes, in a file they are damage.
    if (!(cause instanceof ConfigError)) throw cause;
    throw new DataError(cause.code, `${printable(dir)}: ${cause.message}`, { ...cause.details, file: dir, cause });
  }
}

function imageModel(loaded: Loaded, preprocessor: Record<string, Json>, file: string): LoadedImageModel {
  const image = { ...object(preprocessor.image, file, 'image'), kind: 'image' } as unknown as ImageFeature;
  const transforms = parseTransforms(preprocessor.transforms);
  const { graph } = splitPipeline(transforms);
  return { ...loaded, image, transforms, task: imageTask({ heads: loaded.heads, transforms: graph }) };
}

async function textModel(loaded: Loaded, text: Record<string, Json>, file: string): Promise<LoadedTextModel> {
  return { ...loaded, ...(await readTextInputs(loaded, text, file)), task: textTask({ heads: loaded.heads }) };
}

/** How texts become tokens, from the tokenizer and preprocessor of a folder. @throws DataError MODEL_CONFIG and those of tokenizers. */
export async function readTextInputs(
  { dir, model: { vocabSize } }: Pick<Loaded, 'dir' | 'model'>,
  text: Record<string, Json>,
  file: string,
): Promise<OfTexts> {
  const tokenizer = await loadTokenizer(dir);
  if (typeof vocabSize === 'number') tokenizer.checkFits(vocabSize);
  const whole = (value: Json | undefined): value is number =>
    typeof value === 'number' && Number.isInteger(value) && value > 0;
  const { maxLength = null, padToMultipleOf = 8, pair } = text;
  if (maxLength !== null && !whole(maxLength))
    return badConfig(file, 'text.maxLength', 'a whole number or null', maxLength);
  if (!whole(padToMultipleOf)) return badConfig(file, 'text.padToMultipleOf', 'a whole number', padToMultipleOf);
  return {
    text: { tokenizer, padToMultipleOf, ...(maxLength !== null && { maxLength }) },
    pair: pair === true,
  };
}

/** One tensor after the other: a large model is never in memory twice. */
export async function readWeights(module: Module, path: string): Promise<void> {
  const { entries } = await readSafetensorsHeader(path);
  const variables = module.stateDict();
  const unused = [...entries.keys()].find((name) => !variables.has(name));
  if (unused !== undefined)
    throw new DataError('WEIGHTS_KEYS', `${printable(path)}: the model has no ${printable(unused)}`, {
      file: path,
      tensor: unused,
    });
  for (const [name, variable] of variables) {
    const { allocate, owned } = adoptable();
    const { tensors } = await readSafetensors(path, { only: (other) => other === name, allocate });
    const array = tensors.get(name);
    const fits = array?.dtype === variable.dtype && String(array.shape) === String(variable.shape);
    if (fits && owned(array.data) && variable.adopt(array.data)) continue;
    await restore(new Map([[name, variable]]), tensors, path);
  }
}

function object(value: unknown, file: string, field: string): Record<string, Json> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, Json>;
  return badConfig(file, field, 'an object', value);
}
