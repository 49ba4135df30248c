/** Our side of test/golden/scripts/pretrained.py: npx jiti scripts/pretrained.ts FOLDER [MODEL_FOLDER ...]. */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fillUniform, streamKey } from '../src/base/index.ts';
import { exists, type HostArray, readNpy, writeNpy } from '../src/io/index.ts';
import { GPT2 } from '../src/models/index.ts';
import { type Tensor, tensor } from '../src/tensor/index.ts';
import { fromPretrained, loadModelFolder, savePretrained } from '../src/training/index.ts';

const [folder, ...models] = process.argv.slice(2);
if (folder === undefined) throw new Error('usage: pretrained.ts FOLDER [MODEL_FOLDER ...]');

const texts = JSON.parse(await readFile(join(folder, 'texts.json'), 'utf8')) as string[];
const i32 = async (name: string): Promise<Tensor> => {
  const { data, shape } = await readNpy(join(folder, name));
  return tensor(Int32Array.from(data), { shape });
};
const [inputIds, attentionMask] = [await i32('ids.npy'), await i32('mask.npy')];

for (const name of (await readdir(folder)).sort()) {
  if (name.endsWith('-ours') || !(await exists(join(folder, name, 'logits.npy'))) || name.startsWith('model-'))
    continue;
  const from = join(folder, name);
  const { model, tokenizer, labels, config, report } = await fromPretrained(from, { print: false });
  const logits = model instanceof GPT2 ? model.forward(inputIds) : model.forward({ inputIds, attentionMask });
  const [ours, theirs] = [await logits.data(), (await readNpy(join(from, 'logits.npy'))).data];
  const difference = Math.max(...Array.from(ours, (v, i) => Math.abs(v - Number(theirs[i]))));
  const ids = tokenizer?.encodeBatch(texts).inputIds.data;
  const same =
    ids === undefined ? 'no tokenizer' : `ids ${String(ids) === String(await inputIds.data()) ? 'equal' : 'OTHER'}`;
  console.log(
    `${name}: transformers -> ours: ${report.loaded.length} tensors, logits differ by ${difference.toPrecision(3)}, ${same}`,
  );
  await savePretrained(join(folder, `${name}-ours`), model, { tokenizer, labels, config });
}

for (const [i, source] of models.entries()) {
  const loaded = await loadModelFolder(source);
  if (!('image' in loaded)) throw new Error(`${source} is no model of pictures`);
  const shape = [2, 3, 64, 64];
  const values = new Float64Array(2 * 3 * 64 * 64);
  fillUniform(streamKey(11, i), values);
  const input: HostArray = { dtype: 'f32', shape, data: Float32Array.from(values, (v) => 4 * v - 2) };
  const logits = loaded.module.eval().forward(tensor(input.data, { shape }));
  const out = join(folder, `model-${i}`);
  await mkdir(out, { recursive: true });
  await writeNpy(join(out, 'input.npy'), input);
  await writeNpy(join(out, 'logits.npy'), {
    dtype: 'f32',
    shape: logits.shape,
    data: Float32Array.from(await logits.data()),
  });
  await writeFile(join(out, 'source.txt'), resolve(source));
}
