/** `cambium predict`: pictures of any size and mode to labels with probabilities, through the preprocessing of training. */
import { DataError, printable } from '../base/errors.ts';
import {
  DataLoader,
  decodeImageFile,
  fitImage,
  type ImageU8,
  InMemoryImageDataset,
  withoutRandom,
} from '../data/index.ts';
import type { Prediction } from '../tasks/index.ts';
import { findModelFolder, type LoadedModel, loadModelFolder } from '../training/model-folder.ts';
import type { PredictCommandOptions } from './main.ts';
import { asCambiumError, note, print, printJson } from './output.ts';

export async function predictCommand(
  dir: string,
  files: readonly string[],
  options: PredictCommandOptions,
): Promise<void> {
  const { json = false, invert = false, top = 3 } = options;
  const loaded = await loadModelFolder(await findModelFolder(dir));
  for (const file of files) {
    try {
      const { label, probabilities } = await predictFile(loaded, file, invert);
      if (json) await printJson({ file, label, probabilities });
      else await print(describe(file, probabilities, top));
    } catch (error) {
      // One bad file does not keep the others from their answer; the exit code tells.
      const failure = asCambiumError(error);
      if (files.length === 1 || !(failure instanceof DataError || failure.exitCode === 4)) throw error;
      process.exitCode = failure.exitCode;
      await note(`cambium: ${failure.message}`);
      if (json) await printJson({ file, error: { code: failure.code, message: failure.message } });
    }
  }
}

/** The answer for one picture file. */
export async function predictFile(loaded: LoadedModel, file: string, invert: boolean): Promise<Prediction> {
  const { image: feature, classes, transforms, task, module } = loaded;
  const decoded = await decodeImageFile(file, { channels: feature.channels === 1 ? 1 : 3 });
  const seen = invert ? inverted(decoded) : decoded;
  const { data, height, width, channels } = fitImage(seen, feature);
  const dataset = new InMemoryImageDataset({
    name: file,
    pixels: data,
    labels: new Int32Array(1),
    height,
    width,
    channels,
    classes,
  });
  const loader = new DataLoader(dataset, { batchSize: 1, transforms: withoutRandom(transforms) });
  const [prediction] = await task.predict(module, await loader.batch(0, 0));
  return prediction as Prediction;
}

const inverted = (image: ImageU8): ImageU8 => ({ ...image, data: image.data.map((v) => 255 - v) });

function describe(file: string, probabilities: Readonly<Record<string, number>>, top: number): string {
  const best = Object.entries(probabilities)
    .sort(([, a], [, b]) => b - a)
    .slice(0, top)
    .map(([label, p]) => `${printable(label).slice(1, -1)} ${(100 * p).toFixed(2)} %`);
  return `${printable(file).slice(1, -1)}: ${best.join(', ')}`;
}
