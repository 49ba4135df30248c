/** Starting from pretrained weights: which tensors must fit, which may be new, and a record of what was loaded. */
import { basename, join } from 'node:path';
import { DataError, UnsupportedError } from '../base/errors.ts';
import { exists, hashFile, hubSnapshot, type Json, sha256, weightFileNames, weightFiles } from '../io/index.ts';
import { isOfHead, type ModelStructure, mayBeNew, PRETRAINING, structureOf } from '../models/index.ts';
import {
  formatReport,
  type InputChannels,
  isOfAdapter,
  loadWeights,
  type Module,
  type WeightsReport,
} from '../nn/index.ts';
import {
  configOfWeights,
  type HeadOutcome,
  type HeadPlan,
  headsOfWeights,
  headsText,
  type NamedHead,
  planHeads,
} from './head-classes.ts';
import { arraysOf } from './model-weights.ts';

export interface InitOptions {
  /**
   * Weights to start from: a model or run folder of ours, a folder of transformers', a .safetensors, .pth, .bin or .npz file, an
   * index of shards, or `hf:owner/name@revision`.
   */
  readonly weights: string;
  /**
   * 'auto' (default) keeps the weights' last layer if it has the same classes, moving its rows where their order is another; where
   * the weights do not name theirs, if it has as many. 'keep' takes it as it is, whatever the names; 'new' never does.
   */
  readonly head?: 'auto' | 'keep' | 'new';
  /** What a first convolution of other channels gets; 'auto' keeps its answer to a grey picture. See `loadWeights`. */
  readonly channels?: InputChannels;
  /** Everything but the head must match; true unless told. */
  readonly strict?: boolean;
  /** Where it is known already, the files are not hashed again. */
  readonly lineage?: WeightsLineage;
}

/** What was loaded from where: kept with the model that comes of it. */
export interface WeightsLineage {
  /** As it was named. */
  readonly weights: string;
  readonly files: readonly { readonly name: string; readonly bytes: number; readonly sha256: string }[];
  /** Of the file, or of the list of shards. */
  readonly sha256: string;
  /** Of weights from the hub: what the branch was when they were loaded. */
  readonly commit?: string;
  /** Of weights a run of ours made: the name of its recipe. */
  readonly recipe?: string;
  /** What that run had started from itself, and so on; at most eight of them. */
  readonly parent?: WeightsLineage;
}

export interface InitReport {
  readonly lineage: WeightsLineage;
  readonly loaded: readonly string[];
  readonly adapted: WeightsReport['adapted'];
  /** Parameters and buffers the weights do not have, or have for other classes: they keep their initial values. */
  readonly new: readonly string[];
  /** Tensors of the weights that were not used. */
  readonly unused: readonly string[];
  readonly renamed: WeightsReport['renamed'];
  /** What became of the last layer, where it was wanted for named classes and could be kept. */
  readonly heads: readonly HeadOutcome[];
  /** For people. */
  readonly text: string;
}

/**
 * Loads pretrained weights into a model. The head (the last layer, where its classes are not `wanted`) stays new; the first
 * convolution is adapted to other channels, position embeddings to other lengths; all else must match unless `strict` is false.
 * @throws DataError WEIGHTS_KEYS or WEIGHTS_SHAPE before anything changes; those of the format; IoError; NetworkError.
 */
export async function initialise(
  model: Module,
  options: InitOptions,
  wanted: readonly NamedHead[] = [],
): Promise<InitReport> {
  const { head = 'auto', channels = 'auto', strict = true } = options;
  const located = await locateWeights(options.weights);
  const { path } = located;
  const lineage = options.lineage ?? (await lineageOf(options.weights, located));
  const structure = structureIfAny(model);
  const { otherHeads, head: layer } = structure;
  const plan: HeadPlan | undefined =
    head === 'auto' && layer !== undefined
      ? planHeads(model, layer, { from: await headsOfWeights(path), to: wanted })
      : undefined;
  const load = (): Promise<WeightsReport> =>
    loadWeights(model, path, {
      print: false,
      channels,
      strict: strict && {
        missing: (name) => mayBeNew(name, structure) || isOfAdapter(name) || name.endsWith('num_batches_tracked'),
        // What an objective without labels had put on the trunk, or heads of other labels.
        unused: (name) =>
          (otherHeads?.test(name) ?? false) || name.startsWith(`${PRETRAINING}.`) || isOfHead(name, structure),
      },
      replace: (name) => head !== 'keep' && isOfHead(name, structure),
      fresh: (name) => (head === 'new' ? isOfHead(name, structure) : (plan?.fresh(name) ?? false)),
      rows: plan?.rows,
    });
  const read = await load().catch((error: unknown) => {
    throw embeddingError(error) ?? error;
  });
  // The counter of batch norm steers nothing here: where a file leaves it out, nobody need know.
  const report = {
    ...read,
    missing: read.missing.filter((name) => !isOfAdapter(name) && !name.endsWith('num_batches_tracked')),
  };
  // A wrong model loads nothing without strict either: that is never meant.
  if (report.loaded.length === 0)
    throw new DataError('WEIGHTS_KEYS', 'no tensor of the weights belongs to the model', {
      file: path,
      expected: report.missing.slice(0, 20),
      got: report.unused.slice(0, 20),
      hint: 'the weights are those of another model',
    });
  // Computed now, so that the arrays read are not kept until the first step.
  await arraysOf(model.stateDict());
  const fresh = [...report.missing, ...report.mismatched.map(({ name }) => name)];
  // A layer of another shape, or one the weights lack, is among the new ones already.
  const heads = (plan?.outcomes ?? []).filter(
    ({ layer, how }) => how === 'new' || !fresh.some((name) => name.startsWith(`${layer}.`)),
  );
  return {
    lineage,
    loaded: report.loaded,
    adapted: report.adapted,
    new: fresh,
    unused: report.unused,
    renamed: report.renamed,
    heads,
    text: [formatReport(report), ...headsText(heads), `  sha256   ${lineage.sha256}`].join('\n'),
  };
}

// The rows of an embedding come from the tokenizer: that is where the mistake is.
function embeddingError(error: unknown): DataError | undefined {
  if (!(error instanceof DataError) || error.code !== 'WEIGHTS_SHAPE') return undefined;
  const { tensor, expected, got } = error.details as { tensor?: string; expected?: number[]; got?: number[] };
  if (!/(word_embeddings|wte|embedding)\.weight$/.test(tensor ?? '') || expected?.[1] !== got?.[1]) return undefined;
  return new DataError(
    'TOKENIZER_MISMATCH',
    `${tensor}: the weights know ${got?.[0]} tokens, the model and its tokenizer ${expected?.[0]}`,
    {
      tensor,
      expected: got?.[0],
      got: expected?.[0],
      hint: 'name the tokenizer the weights were trained with: tokenizer: { path: FOLDER }',
      cause: error,
    },
  );
}

/** @internal */
export function structureIfAny(model: Module): ModelStructure {
  try {
    return structureOf(model);
  } catch (error) {
    // A model of one's own loads what matches it exactly.
    if (error instanceof UnsupportedError) return { stages: [] };
    throw error;
  }
}

/** The path of the last layer, where the model names one. */
export function headPaths(model: Module): string[] {
  const { head } = structureIfAny(model);
  return head === undefined ? [] : [head];
}

/** The weights of a run are in its model folder. */
export async function weightsPath(path: string): Promise<string> {
  const model = join(path, 'model');
  return !path.startsWith('hf:') && (await exists(join(model, 'config.json'))) ? model : path;
}

/** Files a folder of weights on the hub may have besides them: what it brings on disk. */
const companionFiles = [
  ...['config.json', 'preprocessor_config.json'],
  ...['tokenizer.json', 'vocab.txt', 'vocab.json', 'merges.txt', 'tokenizer_config.json', 'special_tokens_map.json'],
];

export interface LocatedWeights {
  /** A file or folder on disk. */
  readonly path: string;
  readonly commit?: string;
}

/** Where weights are on disk, fetched with their companions where they are on the hub: a branch is asked for once. @throws IoError, NetworkError. */
export async function locateWeights(weights: string): Promise<LocatedWeights> {
  if (!weights.startsWith('hf:')) return { path: await weightsPath(weights) };
  const { folder, commit } = await hubSnapshot(weights, { weights: weightFileNames, companions: companionFiles });
  return { path: folder, commit };
}

/** Names, sizes and hashes of the files, and where they came from themselves. @throws IoError, DataError. */
export async function lineageOf(weights: string, { path, commit }: LocatedWeights): Promise<WeightsLineage> {
  const files: WeightsLineage['files'][number][] = [];
  for (const file of await weightFiles(path)) {
    const { bytes, sha256: digest } = await hashFile(file);
    files.push({ name: basename(file), bytes, sha256: digest });
  }
  const [only] = files;
  const all = files.map(({ name, sha256: digest }) => `${digest}  ${name}\n`).join('');
  return {
    weights,
    files,
    sha256: files.length === 1 && only ? only.sha256 : sha256(Buffer.from(all)),
    ...(commit !== undefined && { commit }),
    ...(await ancestry(path)),
  };
}

const GENERATIONS = 8;

/** What config.json says of the run that made the weights. */
async function ancestry(path: string): Promise<Pick<WeightsLineage, 'recipe' | 'parent'>> {
  const { config } = (await configOfWeights(path)) ?? {};
  if (config?.model_type !== 'cambium') return {};
  const origin = object(config.origin);
  const recipe = object(origin?.recipe)?.name;
  const parent = parseLineage(origin?.init, GENERATIONS);
  return { ...(typeof recipe === 'string' && { recipe }), ...(parent && { parent }) };
}

/** It is a record for people: what does not look like one is left out. */
function parseLineage(json: Json | undefined, generations: number): WeightsLineage | undefined {
  const { weights, sha256: digest, files, commit, recipe, parent: older } = object(json) ?? {};
  if (generations === 0 || typeof weights !== 'string' || typeof digest !== 'string' || !Array.isArray(files))
    return undefined;
  const parent = parseLineage(older, generations - 1);
  return {
    weights,
    files: files.flatMap((file) => {
      const { name, bytes, sha256: its } = object(file) ?? {};
      return typeof name === 'string' && typeof bytes === 'number' && typeof its === 'string'
        ? [{ name, bytes, sha256: its }]
        : [];
    }),
    sha256: digest,
    ...(typeof commit === 'string' && { commit }),
    ...(typeof recipe === 'string' && { recipe }),
    ...(parent && { parent }),
  };
}

const object = (json: Json | undefined): { readonly [key: string]: Json } | undefined =>
  typeof json === 'object' && json !== null && !Array.isArray(json) ? json : undefined;
