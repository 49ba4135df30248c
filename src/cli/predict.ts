/** `cambium predict`: pictures of any size and mode to labels with probabilities, through the preprocessing of training. */
import { extname } from 'node:path';
import { ConfigError, DataError, printable } from '../base/errors.ts';
import {
  DataLoader,
  decodeImageFile,
  fitImage,
  type ImageU8,
  InMemoryImageDataset,
  isTable,
  pictureExtensions,
  readTextSamples,
  withoutRandom,
} from '../data/index.ts';
import type { Answer, Answers } from '../tasks/index.ts';
import {
  findModelFolder,
  type LoadedImageModel,
  type LoadedTextModel,
  loadModelFolder,
} from '../training/model-folder.ts';
import { tagsWords } from '../training/tag-texts.ts';
import type { CommonOptions, TableFlags } from './options.ts';
import { asCambiumError, note, print, printJson } from './output.ts';
import { tableOptionsOf } from './table-options.ts';
import { predictTagsCommand } from './tags.ts';
import { predictTexts } from './text.ts';

export interface PredictCommandOptions extends CommonOptions, Omit<TableFlags, 'labelColumn'> {
  top?: number;
  invert?: boolean;
  text: string[];
}

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
  if ('text' in loaded && tagsWords(loaded)) return predictTagsCommand(loaded, files, options);
  refuseOthers(files, 'text' in loaded, options.format !== undefined);
  if ('text' in loaded) return predictTextCommand(loaded, files, options);
  if (options.text.length > 0)
    throw new ConfigError('OPTION_INVALID', '--text: this model reads pictures', { field: '--text' });
  for (const file of files) {
    try {
      const answers = await predictFile(loaded, file, invert);
      if (json) await printJson({ file, ...plain(answers) });
      else await print(describe(file, answers, top));
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

/** A file whose name says that the model cannot read it. */
function refuseOthers(files: readonly string[], readsTexts: boolean, formatTold: boolean): void {
  const wrong = (file: string): boolean =>
    readsTexts ? !formatTold && !isTable(file) : isTable(file) && !pictureExtensions.has(extname(file).toLowerCase());
  const file = files.find(wrong);
  if (file === undefined) return;
  throw new ConfigError(
    'MODEL_INPUT',
    `this model reads ${readsTexts ? 'texts' : 'pictures'}: ${printable(file)} is none`,
    {
      field: 'file',
      file,
      got: file,
      hint: readsTexts
        ? "give --text 'some words', a .txt, or a .csv, .tsv, .jsonl or .parquet file; another ending needs --format"
        : `give a picture: ${[...pictureExtensions].join(' ')}`,
    },
  );
}

/** Texts given by hand, then those of the files. */
async function predictTextCommand(
  loaded: LoadedTextModel,
  files: readonly string[],
  options: PredictCommandOptions,
): Promise<void> {
  const { json = false, top = 3, text } = options;
  const given = text.map((words) => ({ text: words }));
  const sources = [
    ...(given.length > 0 ? [given] : []),
    ...files.map((file) => readTextSamples(file, tableOptionsOf(options))),
  ];
  for (const source of sources)
    for await (const { answers, ...sample } of predictTexts(loaded, source, top)) {
      if (json) await printJson({ ...sample, ...plain(answers) });
      else await print(describe(sample.text, answers, top));
    }
}

/** The answers for one picture file. */
export async function predictFile(loaded: LoadedImageModel, file: string, invert: boolean): Promise<Answers> {
  const { image: feature, transforms, task, module } = loaded;
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
    classes: ['unknown'],
  });
  const loader = new DataLoader(dataset, { batchSize: 1, transforms: withoutRandom(transforms) });
  const [answers] = await task.answers(module, await loader.batch(0, 0));
  return answers as Answers;
}

const inverted = (image: ImageU8): ImageU8 => ({ ...image, data: image.data.map((v) => 255 - v) });

/** As JSON: the answer itself where there is one label, otherwise all under `answers`, by label. */
function plain(answers: Answers): object {
  const fields = (answer: Answer): object => {
    if (!('index' in answer)) return answer;
    const { label, probabilities } = answer;
    return { label, probabilities };
  };
  const [only, ...others] = Object.values(answers);
  if (only && others.length === 0) return fields(only);
  return { answers: Object.fromEntries(Object.entries(answers).map(([field, answer]) => [field, fields(answer)])) };
}

function describe(file: string, answers: Answers, top: number): string {
  const entries = Object.entries(answers);
  const texts = entries.map(([field, answer]) => {
    const name = entries.length > 1 || !('index' in answer) ? `${word(field)} ` : '';
    return `${name}${answerText(answer, top)}`;
  });
  return `${word(file)}: ${texts.join('; ')}`;
}

function answerText(answer: Answer, top: number): string {
  if ('value' in answer) return numberText(answer.value);
  if ('values' in answer)
    return Object.entries(answer.values)
      .map(([name, value]) => `${word(name)} ${numberText(value)}`)
      .join(', ');
  const share = ([label, p]: readonly [string, number]): string => `${word(label)} ${(100 * p).toFixed(2)} %`;
  if ('tags' in answer) return answer.tags.map(({ label }) => word(label)).join(' ');
  const { probabilities } = answer;
  if ('labels' in answer)
    return answer.labels.length === 0
      ? 'none'
      : answer.labels.map((label) => share([label, probabilities[label] as number])).join(', ');
  return Object.entries(probabilities)
    .sort(([, a], [, b]) => b - a)
    .slice(0, top)
    .map(share)
    .join(', ');
}

const word = (text: string): string => printable(text).slice(1, -1);
const numberText = (value: number): string => String(Number(value.toPrecision(5)));
