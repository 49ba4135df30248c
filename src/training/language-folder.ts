/** A causal language model with its tokenizer from a folder: one pre-trained here, or one of transformers'. */
import { join } from 'node:path';
import { ConfigError, DataError, printable, UnsupportedError } from '../base/errors.ts';
import { loadTokenizer, type Tokenizer } from '../data/index.ts';
import { exists, hashFile, readJson } from '../io/index.ts';
import { createModel, GPT2 } from '../models/index.ts';
import { forkRng } from '../tensor/index.ts';
import { findModelFolder, readWeights } from './model-folder.ts';
import { fromPretrained } from './pretrained.ts';

export interface LoadedLanguageModel {
  readonly model: GPT2;
  readonly tokenizer: Tokenizer;
  /** The folder, or what was asked for. */
  readonly dir: string;
}

/**
 * From a run or model folder of task causal-lm, a folder of transformers' GPT-2, or `hf:owner/name@revision`; in evaluation mode.
 * @throws DataError MODEL_TASK for a model of another task, HASH_MISMATCH, those of the formats; IoError; UnsupportedError.
 */
export async function loadLanguageModel(path: string): Promise<LoadedLanguageModel> {
  const dir = path.startsWith('hf:') ? path : await findModelFolder(path);
  const config = path.startsWith('hf:') ? undefined : await readJson(join(dir, 'config.json'));
  const own =
    typeof config === 'object' && config !== null && !Array.isArray(config) && config.model_type === 'cambium';
  if (!own) {
    const { model, tokenizer } = await fromPretrained(dir, { print: false });
    if (model instanceof GPT2 && tokenizer) return { model, tokenizer, dir };
    throw new UnsupportedError('MODEL_TASK', `${printable(dir)} is no causal language model with a tokenizer`, {
      file: dir,
      expected: 'GPT2LMHeadModel and tokenizer.json, or vocab.json with merges.txt',
    });
  }
  const { pretraining, model, weights } = config as Record<string, unknown>;
  const file = join(dir, 'model.safetensors');
  if (pretraining !== 'causal-lm')
    throw new DataError('MODEL_TASK', `${printable(dir)} does not continue texts`, {
      file: dir,
      field: 'pretraining',
      expected: 'causal-lm',
      got: pretraining ?? 'a classifier',
      hint: 'train one: cambium train gpt-shakespeare --data-dir DIR',
    });
  const recorded = (weights as { sha256?: unknown } | undefined)?.sha256;
  const { sha256 } = await hashFile(file);
  if (sha256 !== recorded)
    throw new DataError('HASH_MISMATCH', `${printable(file)} is damaged: its sha256 is not the recorded one`, {
      file,
      expected: recorded,
      got: sha256,
    });
  const { name, ...options } = (model ?? {}) as { name?: string } & Record<string, unknown>;
  const module = build(String(name), options, dir);
  await readWeights(module, file);
  const tokenizer = await loadTokenizer(dir);
  tokenizer.checkFits(module.options.vocabSize);
  return { model: module.eval(), tokenizer, dir };
}

// Building draws random numbers that nobody keeps; a mistake in a file is damage, not the user's.
function build(name: string, options: Record<string, unknown>, dir: string): GPT2 {
  try {
    const module = forkRng(() => createModel(name, options, 'causal-lm'));
    if (module instanceof GPT2) return module;
    throw new DataError('MODEL_CONFIG', `${printable(dir)}: ${printable(name)} is no GPT-2`, { file: dir, got: name });
  } catch (cause) {
    if (!(cause instanceof ConfigError)) throw cause;
    throw new DataError(cause.code, `${printable(dir)}: ${cause.message}`, { ...cause.details, file: dir, cause });
  }
}

/** Whether a folder holds weights pre-trained by causal-lm. */
export async function isLanguageFolder(dir: string): Promise<boolean> {
  const file = join(dir, 'config.json');
  if (!(await exists(file))) return false;
  const config = await readJson(file);
  return typeof config === 'object' && config !== null && !Array.isArray(config) && config.pretraining === 'causal-lm';
}
