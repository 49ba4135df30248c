/** A pretrained model as a folder: weights, what they were built from, tokenizer. Read back and compared before it is shown. */
import { join } from 'node:path';
import { DataError } from '../base/errors.ts';
import { saveTokenizer } from '../data/index.ts';
import {
  type Json,
  readSafetensors,
  replaceFolder,
  writeFileAtomic,
  writeJson,
  writeSafetensors,
} from '../io/index.ts';
import type { Module } from '../nn/index.ts';
import type { ObjectiveName } from '../tasks/index.ts';
import type { Preprocessing } from './inputs.ts';
import { FORMAT, type ModelOrigin, preprocessorOf } from './model-folder.ts';
import { arraysOf } from './model-weights.ts';

export type PretrainedDescription = Omit<ModelOrigin, 'heads'> & Preprocessing & { readonly objective: ObjectiveName };

/** @returns the hash of the weights. @throws IoError; DataError SAVE_MISMATCH when what was written is not what was meant. */
export async function savePretrained(dir: string, module: Module, description: PretrainedDescription): Promise<string> {
  const { model, objective, origin } = description;
  return replaceFolder(dir, async (draft) => {
    const arrays = await arraysOf(module.stateDict());
    const file = join(draft, 'model.safetensors');
    const { sha256, bytes } = await writeSafetensors(file, arrays, { format: 'pt' });
    const { tensors } = await readSafetensors(file);
    for (const [name, array] of arrays) {
      const read = tensors.get(name);
      const same = read && Buffer.compare(bytesOf(array.data), bytesOf(read.data)) === 0;
      if (!same || tensors.size !== arrays.size)
        throw new DataError('SAVE_MISMATCH', `${name}: what was read back is not what was written`, {
          file,
          tensor: name,
        });
    }
    await writeJson(join(draft, 'config.json'), {
      model_type: 'cambium',
      architectures: [model.name],
      format: FORMAT,
      model: model as unknown as Json,
      pretraining: objective,
      weights: { file: 'model.safetensors', sha256, bytes },
      ...(origin === undefined ? {} : { origin }),
    });
    await writeJson(join(draft, 'preprocessor_config.json'), {
      processor_class: 'cambium',
      format: FORMAT,
      ...preprocessorOf(description),
    });
    if ('text' in description) await saveTokenizer(draft, description.text.tokenizer);
    await writeFileAtomic(
      join(draft, 'README.md'),
      `# ${model.name}\n\nPretrained with Cambium by ${objective}, without labels. Fine-tune it: ` +
        `\`cambium train RECIPE --set init.weights=FOLDER\`. Weights sha256: \`${sha256}\`.\n`,
    );
    return sha256;
  });
}

const bytesOf = (data: ArrayBufferView): Buffer => Buffer.from(data.buffer, data.byteOffset, data.byteLength);
