/** `cambium quantize`: a trained classifier with its weights in 8 bits, as a folder of its own. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ArgumentError, UnsupportedError } from '../base/errors.ts';
import { type Json, refuseFilled } from '../io/index.ts';
import { isQuantized, quantizeWeights } from '../nn/index.ts';
import { isLanguageFolder } from '../training/language-folder.ts';
import { formatBytes } from '../training/machine-memory.ts';
import { findModelFolder, loadModelFolder, saveModelFolder } from '../training/model-folder.ts';
import type { CommonOptions } from './options.ts';
import { note, printJson } from './output.ts';

export interface QuantizeCommandOptions extends CommonOptions {
  out: string;
}

export async function quantizeCommand(run: string, { out, json = false }: QuantizeCommandOptions): Promise<void> {
  await refuseFilled(out);
  const folder = await findModelFolder(run);
  if (await isLanguageFolder(folder))
    throw new UnsupportedError('QUANTIZE_UNSUPPORTED', 'models that continue texts keep their weights in f32', {
      field: 'model',
      got: folder,
    });
  const loaded = await loadModelFolder(folder);
  if (isQuantized(loaded.module))
    throw new ArgumentError('OPTION_INVALID', 'its weights have 8 bits already', { got: folder });
  const layers = await quantizeWeights(loaded.module);
  const before = await sizeOf(folder);
  const weights = await saveModelFolder(out, loaded.module, {
    ...loaded,
    model: { ...loaded.model, quantized: { bits: 8 } },
    origin: { ...objectOf(loaded.origin), quantizedFrom: loaded.weightsHash },
  });
  const after = await sizeOf(out);
  if (json) return printJson({ out, layers: layers.length, before, after, weights });
  await note(
    `saved: ${out} (${formatBytes(before)} -> ${formatBytes(after)}, ${layers.length} layers with weights in 8 bits)`,
  );
}

const objectOf = (value: Json | undefined): { [key: string]: Json } =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {};

const sizeOf = async (dir: string): Promise<number> => (await stat(join(dir, 'model.safetensors'))).size;
