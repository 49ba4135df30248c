/** `cambium predict`: pictures of any size and mode to labels with probabilities, through the preprocessing of training. */
import { ConfigError, DataError, printable } from '../base/errors.ts';
import {
  DataLoader,
  decodeImageFile,
  fitImage,
  type ImageU8,
  InMemoryImageDataset,
  withoutRandom,
} from '../data/index.ts';
import type { Prediction } from '../tasks/index.ts';
import {
  findModelFolder,
  type LoadedImageModel,
  type LoadedTextModel,
  loadModelFolder,
} from '../training/model-folder.ts';
import type { PredictCommandOptions } from './main.ts';
import { asCambiumError, note, print, printJson } from './output.ts';
import { predictTexts, textsOf } from './text.ts';

export async function predictCommand(
  dir: string,
  files: readonly string[],
  options: PredictCommandOptions,
): Promise<void> {
  const { json = false, invert = false, top = 3 } = options;
  const loaded = await loadModelFolder(await findModelFolder(dir));
  if (files.length === 0 && options.text.length === 0)
    throw new ConfigError('USAGE', "missing required argument 'file'", {
      hint: 'text' in loaded ? "give --text 'some words', or files" : 'give pictures',
    });
  if ('text' in loaded) return predictTextCommand(loaded, files, options);
  if (options.text.length > 0)
    throw new ConfigError('OPTION_INVALID', '--text: this model reads pictures', { field: '--text' });
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

/** Texts given by hand, then those of the files. */
async function predictTextCommand(
  loaded: LoadedTextModel,
  files: readonly string[],
  options: PredictCommandOptions,
): Promise<void> {
  const { json = false, top = 3, text } = options;
  const given = text.map((words) => ({ text: words }));
  const sources = [...(given.length > 0 ? [given] : []), ...files.map((file) => textsOf(file, options))];
  for (const source of sources)
    for await (const { prediction, ...sample } of predictTexts(loaded, source, top)) {
      const { label, probabilities } = prediction;
      if (json) await printJson({ ...sample, label, probabilities });
      else await print(describe(sample.text, probabilities, top));
    }
}

/** The answer for one picture file. */
export async function predictFile(loaded: LoadedImageModel, file: string, invert: boolean): Promise<Prediction> {
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
