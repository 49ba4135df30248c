/** `cambium quantize`: a trained model with its weights in 8 bits, as a folder of its own. */
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { ArgumentError } from '../base/errors.ts';
import type { Json } from '../io/index.ts';
import { isQuantized, quantizeWeights } from '../nn/index.ts';
import { formatBytes } from '../training/machine-memory.ts';
import { findModelFolder, loadModelFolder, saveModelFolder } from '../training/model-folder.ts';
import type { CommonOptions } from './options.ts';
import { note, printJson } from './output.ts';

export interface QuantizeCommandOptions extends CommonOptions {
  out: string;
}

const isObject = (value: Json | undefined): value is { [key: string]: Json } =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const sizeOf = async (dir: string): Promise<number> => (await stat(join(dir, 'model.safetensors'))).size;

export async function quantizeCommand(run: string, { out, json = false }: QuantizeCommandOptions): Promise<void> {
  const loaded = await loadModelFolder(await findModelFolder(run));
  if (isQuantized(loaded.module))
    throw new ArgumentError('OPTION_INVALID', 'its weights have 8 bits already', { got: loaded.dir });
  if (resolve(out) === resolve(loaded.dir))
    throw new ArgumentError('OPTION_INVALID', '--out is the model itself, which would be lost', {
      field: '--out',
      got: out,
      hint: 'name a folder of its own',
    });
  const layers = await quantizeWeights(loaded.module);
  const weights = await saveModelFolder(out, loaded.module, {
    ...loaded,
    model: { ...loaded.model, quantized: { bits: 8 } },
    origin: { ...(isObject(loaded.origin) ? loaded.origin : {}), quantizedFrom: loaded.weightsHash },
  });
  const [before, after] = [await sizeOf(loaded.dir), await sizeOf(out)];
  if (json) return printJson({ out, layers: layers.length, before, after, weights });
  await note(
    `saved: ${out} (${formatBytes(before)} -> ${formatBytes(after)}, ${layers.length} layers with weights in 8 bits)`,
  );
}
