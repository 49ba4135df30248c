/**
 * A model saved here gives equal logits in PyTorch, and the other way round: with test/golden/scripts/roundtrip.py.
 *   npx jiti scripts/roundtrip.ts write FOLDER, python test/golden/scripts/roundtrip.py FOLDER, npx jiti scripts/roundtrip.ts check FOLDER
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fillUniform, streamKey } from '../src/base/index.ts';
import { type HostArray, readNpy, writeNpy, writeSafetensors } from '../src/io/index.ts';
import { squeezenet11 } from '../src/models/index.ts';
import { loadWeights, type Module } from '../src/nn/index.ts';
import { tensor } from '../src/tensor/index.ts';

const [mode, folder = 'roundtrip'] = process.argv.slice(2);
const shape = [4, 3, 64, 64];
const model = squeezenet11({ numClasses: 10 }).eval();

async function logits(of: Module, input: HostArray): Promise<HostArray> {
  const y = of.forward(tensor(input.data, { shape: input.shape }));
  return { dtype: 'f32', shape: y.shape, data: Float32Array.from(await y.data()) };
}

if (mode === 'write') {
  mkdirSync(folder, { recursive: true });
  const uniform = new Float64Array(4 * 3 * 64 * 64);
  fillUniform(streamKey(5, 0), uniform);
  const input: HostArray = { dtype: 'f32', shape, data: Float32Array.from(uniform) };
  await writeNpy(join(folder, 'input.npy'), input);
  await writeNpy(join(folder, 'ours.npy'), await logits(model, input));
  const arrays = new Map<string, HostArray>();
  for (const [name, variable] of model.stateDict())
    arrays.set(name, { dtype: variable.dtype, shape: variable.shape, data: await variable.data() } as HostArray);
  await writeSafetensors(join(folder, 'ours.safetensors'), arrays, { format: 'pt' });
} else if (mode === 'check') {
  const input = await readNpy(join(folder, 'input.npy'));
  const theirs = await readNpy(join(folder, 'theirs.npy'));
  for (const file of ['theirs.pth', 'wrapped.pth', 'legacy.pth', 'theirs.safetensors']) {
    if (!existsSync(join(folder, file))) continue;
    const report = await loadWeights(model, join(folder, file), { print: false });
    const { data } = await logits(model, input);
    const [difference, largest] = [data.map((v, i) => Math.abs(v - theirs.data[i]!)), theirs.data.map(Math.abs)];
    console.log(
      `PyTorch ${file} -> ours: ${report.loaded.length} tensors, largest difference ${Math.max(...difference).toPrecision(3)} of ${Math.max(...largest).toPrecision(3)}`,
    );
  }
} else throw new Error('write or check');
