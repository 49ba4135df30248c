/** A model for its features, from wherever it comes: a folder of ours, one of transformers', the hub, or a bare file of weights. */
import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ConfigError, DataError, printable, UnsupportedError } from '../base/errors.ts';
import {
  type ImageFeature,
  loadTokenizer,
  type TextCollateOptions,
  type Tokenizer,
  type Transform,
} from '../data/index.ts';
import { exists, findHubFile, hubFile, type Json, parseHubName, readJson, readWeights } from '../io/index.ts';
import {
  BertModel,
  createModel,
  GPT2,
  modelEntry,
  structureOf,
  ViT,
  type ViTOptions,
  vitOptions,
} from '../models/index.ts';
import type { Module } from '../nn/index.ts';
import { forkRng } from '../tensor/index.ts';
import { processorTransforms } from './image-processor.ts';
import { initialise, lineageOf, locateWeights } from './init.ts';
import { findModelFolder, type LoadedModel } from './model-folder.ts';
import { fromPretrained } from './pretrained.ts';
import { type LoadedTrunk, lastLayer, loadForFeatures } from './trunk-folder.ts';

export interface FeatureModelOptions {
  /** Of a bare file of weights: the registered model it is of. */
  readonly model?: string | undefined;
  /** Its options. The number of classes is that of the weights' last layer. */
  readonly options?: Readonly<Record<string, unknown>>;
  /** In place of what the model brings. */
  readonly transforms?: readonly Transform[] | undefined;
  /** Folder of a tokenizer, for weights that bring none. */
  readonly tokenizer?: string | undefined;
}

/** A model in evaluation mode with what makes its inputs. */
export interface OpenedModel {
  /** As it was named. */
  readonly path: string;
  readonly module: Module;
  readonly model: { readonly name: string };
  /** sha256. */
  readonly weightsHash: string;
  /** Where vectors are taken from unless told; undefined: the input of the head. */
  readonly layer?: string | undefined;
  /** Of a model of texts. */
  readonly text?: TextCollateOptions;
  /** Of a model of pictures. */
  readonly transforms?: readonly Transform[];
  /** Of a model of pictures: channels of its first layer, where known. */
  readonly channels?: number | undefined;
  /** Of a model of pictures trained here: the pictures it was given. */
  readonly image?: ImageFeature;
  readonly classes?: readonly string[];
  /** Where the preprocessing comes from, for people. */
  readonly preprocessing: string;
  /** A folder of ours, which knows its own data. */
  readonly folder?: LoadedModel | LoadedTrunk;
}

/** Of torchvision's models of ImageNet, as its own `transforms()` of the weights do. */
const imagenetTransforms: readonly Transform[] = [
  { kind: 'resizeShorter', size: 256 },
  { kind: 'centerCrop', height: 224, width: 224 },
  { kind: 'normalize', mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
];
const IMAGENET_CLASSES = 1000;

/**
 * Opens a run or model folder of ours, a folder of transformers' BERT, GPT-2 or ViT (or `hf:owner/name@revision`), or with `model` a
 * file of weights in any known format.
 * @throws ConfigError MODEL_UNNAMED, OPTION_INVALID for options that would do nothing, TRANSFORMS_MISSING, TOKENIZER_MISSING, those of createModel; UnsupportedError
 * PRETRAINED_UNSUPPORTED, PREPROCESSOR_UNSUPPORTED; DataError WEIGHTS_*, MODEL_CONFIG; IoError; NetworkError.
 */
export async function openFeatureModel(path: string, options: FeatureModelOptions = {}): Promise<OpenedModel> {
  if (options.model === undefined && Object.keys(options.options ?? {}).length > 0)
    throw new ConfigError('OPTION_INVALID', '--set is for the options of --model', {
      field: '--set',
      got: options.options,
      hint: 'name the model of bare weights, --model NAME, or leave it out: a folder knows its own options',
    });
  const opened = await open(path, options);
  refuseUnused(opened, options);
  return opened;
}

/** Options that would do nothing. */
function refuseUnused({ text, folder, path }: OpenedModel, { tokenizer, transforms }: FeatureModelOptions): void {
  if (tokenizer !== undefined && (!text || folder))
    throw new ConfigError(
      'OPTION_INVALID',
      `--tokenizer: ${printable(path)} ${text ? 'has its own' : 'reads pictures'}`,
      {
        field: '--tokenizer',
        got: tokenizer,
        hint: text ? 'leave it out: texts become tokens as in training' : 'leave it out; --transforms is for pictures',
      },
    );
  if (transforms !== undefined && text)
    throw new ConfigError('OPTION_INVALID', `--transforms are for pictures, and ${printable(path)} reads texts`, {
      field: '--transforms',
      hint: 'leave it out; --tokenizer is for texts',
    });
}

async function open(path: string, options: FeatureModelOptions): Promise<OpenedModel> {
  if (options.model !== undefined) return bareWeights(path, options.model, options);
  if (path.startsWith('hf:')) {
    // A branch may move between two requests: everything comes from the commit config.json came from.
    const file = await hubFile(path, 'config.json');
    return foreign(path, `hf:${parseHubName(path).repo}@${basename(dirname(file))}`, file, options);
  }
  const isFile = await stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
  if (isFile)
    throw new ConfigError('MODEL_UNNAMED', `${printable(path)} is a file: which model are its weights of?`, {
      field: '--model',
      hint: 'name it: --model resnet20; cambium models lists them',
    });
  const dir = await findModelFolder(path);
  const file = join(dir, 'config.json');
  const config = await readJson(file);
  return isObject(config) && config.model_type !== 'cambium'
    ? foreign(path, dir, file, options)
    : ours(path, dir, options);
}

async function ours(path: string, dir: string, { transforms }: FeatureModelOptions): Promise<OpenedModel> {
  const folder = await loadForFeatures(dir);
  const { module, model, weightsHash } = folder;
  const common = {
    path,
    module,
    model,
    weightsHash,
    folder,
    layer: 'layer' in folder ? folder.layer : undefined,
    ...('classes' in folder && folder.classes.length > 0 && { classes: folder.classes }),
    preprocessing: transforms ? 'as told' : 'as in training',
  };
  if ('text' in folder) return { ...common, text: folder.text };
  const { image } = folder;
  return { ...common, image, channels: image.channels, transforms: transforms ?? folder.transforms };
}

const isObject = (value: Json): value is { [key: string]: Json } =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A folder of transformers', or a commit of the hub. */
async function foreign(path: string, from: string, file: string, options: FeatureModelOptions): Promise<OpenedModel> {
  const config = await readJson(file);
  if (!isObject(config))
    throw new DataError('MODEL_CONFIG', `${printable(file)}: expected an object`, { file, got: config });
  const { architectures, model_type: type } = config;
  const name = String((Array.isArray(architectures) ? architectures[0] : undefined) ?? type);
  if (type === 'vit') return vit(path, from, file, name, options);
  if (type !== 'bert' && type !== 'gpt2')
    throw new UnsupportedError(
      'PRETRAINED_UNSUPPORTED',
      `${printable(file)}: model_type is ${printable(type ?? null)}`,
      {
        file,
        field: 'model_type',
        expected: ['bert', 'gpt2', 'vit'],
        got: type,
        hint: 'if a registered model has the same tensors, name it: --model NAME (cambium models lists them)',
      },
    );
  const { model: module, tokenizer: own, labels } = await fromPretrained(from, { print: false });
  const tokenizer = options.tokenizer === undefined ? own : await loadTokenizer(options.tokenizer);
  if (!tokenizer) return noTokenizer(path);
  tokenizer.checkFits(Number(config.vocab_size));
  const places = Number(config.max_position_embeddings ?? config.n_positions ?? 1024);
  return {
    path,
    module,
    model: { name },
    weightsHash: (await lineageOf(from, await locateWeights(from))).sha256,
    layer: topOf(module),
    text: { tokenizer, maxLength: Math.min(places, tokenizer.config.modelMaxLength ?? places) },
    ...(labels && { classes: labels }),
    preprocessing: options.tokenizer === undefined ? 'its own tokenizer' : `the tokenizer of ${options.tokenizer}`,
  };
}

/** What is read where there is no head to read it: the norm of GPT-2, the last block of BERT. */
function topOf(module: Module): string | undefined {
  if (module instanceof GPT2) return 'transformer.ln_f';
  if (module instanceof BertModel) return 'encoder';
  return structureOf(module).head === undefined ? lastLayer(module) : undefined;
}

async function vit(
  path: string,
  from: string,
  file: string,
  name: string,
  { transforms }: FeatureModelOptions,
): Promise<OpenedModel> {
  const config = (await readJson(file)) as { [key: string]: Json };
  const options: ViTOptions = vitOptions(config, file);
  const module = forkRng(() => new ViT(options));
  const { lineage } = await initialise(module, { weights: from });
  const processor = from.startsWith('hf:')
    ? await findHubFile(from, 'preprocessor_config.json')
    : join(from, 'preprocessor_config.json');
  const found = processor !== undefined && (from.startsWith('hf:') || (await exists(processor)));
  if (!transforms && !found) return noTransforms(path, 'it has no preprocessor_config.json');
  return {
    path,
    module: module.eval(),
    model: { name },
    weightsHash: lineage.sha256,
    channels: module.options.inChannels,
    transforms: transforms ?? processorTransforms(await readJson(processor as string), processor as string),
    preprocessing: transforms ? 'as told' : 'its own preprocessor_config.json',
  };
}

/** Weights of a registered model, which say nothing of their inputs. */
async function bareWeights(path: string, name: string, options: FeatureModelOptions): Promise<OpenedModel> {
  const { options: given = {}, transforms } = options;
  const { defaults, input = 'image' } = modelEntry(name);
  const tokenizer = input === 'text' ? await tokenizerOf(path, options) : undefined;
  const own = { ...given, ...(tokenizer && 'vocabSize' in defaults && { vocabSize: tokenizer.vocabSize }) };
  const classes = given.numClasses ?? (await classesOf(path, name, own));
  const module = forkRng(() => createModel(name, { ...own, ...(classes !== undefined && { numClasses: classes }) }));
  const { lineage } = await initialise(module, { weights: path }).catch((error: unknown) => {
    throw otherOptions(error, name, { ...defaults, ...own }) ?? error;
  });
  const common = { path, module: module.eval(), model: { name }, weightsHash: lineage.sha256 };
  const layer = topOf(module);
  if (tokenizer) {
    const maxLength = tokenizer.config.modelMaxLength;
    const text = { tokenizer, ...(maxLength !== undefined && { maxLength }) };
    return { ...common, layer, text, preprocessing: `the tokenizer of ${options.tokenizer ?? path}` };
  }
  const channels = Number(given.inChannels ?? defaults.inChannels ?? 3);
  if (transforms) return { ...common, layer, channels, transforms, preprocessing: 'as told' };
  if (classes !== IMAGENET_CLASSES || channels !== 3)
    return noTransforms(path, 'bare weights do not say how pictures become inputs');
  return {
    ...common,
    layer,
    channels,
    transforms: imagenetTransforms,
    preprocessing: "torchvision's of ImageNet: shorter side 256, centre 224 x 224, its mean and deviation",
  };
}

/** Options the weights or the tokenizer settle. */
const SETTLED = ['numClasses', 'vocabSize'];

/** Weights that do not fit may be of the same model with other options: which it has, and with what values. */
function otherOptions(error: unknown, name: string, options: Readonly<Record<string, unknown>>): DataError | undefined {
  if (!(error instanceof DataError) || !['WEIGHTS_KEYS', 'WEIGHTS_SHAPE'].includes(error.code)) return undefined;
  const had = Object.entries(options).filter(([key]) => !SETTLED.includes(key));
  if (had.length === 0) return undefined;
  const list = had.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(', ');
  return new DataError(error.code, error.message, {
    ...error.details,
    hint: `are they of another model, or of ${name} with other options? it was built with ${list}: --set OPTION=VALUE changes one`,
    cause: error,
  });
}

async function tokenizerOf(path: string, { tokenizer }: FeatureModelOptions): Promise<Tokenizer> {
  if (tokenizer !== undefined) return loadTokenizer(tokenizer);
  const folder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  const there = folder && (await Promise.all(TOKENIZER_FILES.map((name) => exists(join(path, name))))).some(Boolean);
  return there || path.startsWith('hf:') ? loadTokenizer(path) : noTokenizer(path);
}

const TOKENIZER_FILES = ['tokenizer.json', 'vocab.txt', 'vocab.json'];

/** Rows of the last layer in the file; undefined where it has none, or calls it otherwise. */
async function classesOf(
  path: string,
  name: string,
  options: Readonly<Record<string, unknown>>,
): Promise<number | undefined> {
  const { head } = structureOf(forkRng(() => createModel(name, options)));
  if (head === undefined || !('numClasses' in modelEntry(name).defaults)) return undefined;
  const weight = `${head}.weight`;
  const { tensors } = await readWeights(path, { only: (tensor) => tensor === weight || tensor.endsWith(`.${weight}`) });
  const [found] = tensors.values();
  return found && found.shape.length >= 2 ? found.shape[0] : undefined;
}

function noTransforms(path: string, why: string): never {
  throw new ConfigError('TRANSFORMS_MISSING', `${printable(path)}: ${why}`, {
    field: '--transforms',
    expected: 'a list of transforms, as in recipes',
    hint: "for example --transforms '[{kind: resize, height: 32, width: 32}, {kind: normalize, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}]'",
  });
}

function noTokenizer(path: string): never {
  throw new ConfigError('TOKENIZER_MISSING', `${printable(path)} has no tokenizer: how do texts become tokens?`, {
    field: '--tokenizer',
    expected: 'a folder with tokenizer.json, vocab.txt, or vocab.json with merges.txt',
    hint: 'pass --tokenizer FOLDER',
  });
}
