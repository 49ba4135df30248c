/** What pre-training does between unlabelled samples and model, in the shape `prepare` takes inputs for fine-tuning in. */
import { ArgumentError, NumericError, UnsupportedError } from '../base/errors.ts';
import {
  BlockLoader,
  type Dataset,
  type IterableDataset,
  type LabelledBatch,
  type LanguageBatch,
  type MaskingOptions,
  samplesOf,
  type TextCollateOptions,
  type TokenRows,
} from '../data/index.ts';
import type { SelfSupervised } from '../models/index.ts';
import type { Module } from '../nn/index.ts';
import { causalLM, maskedLM, type Objective, type ObjectiveName, objectiveNames, type Task } from '../tasks/index.ts';
import { flush, generator, type Tensor } from '../tensor/index.ts';
import type { Measures } from './events.ts';
import type { Inputs, Samples } from './inputs.ts';
import type { PictureOptions } from './pretrain-vision.ts';
import { packRows } from './token-cache/token-cache.ts';

/** Texts without labels: in memory, or a stream of files larger than that. */
export type UnlabelledTexts = Dataset<{ readonly text: string }> | IterableDataset<{ readonly text: string }>;

/** What reading texts may be told. */
export interface PackingOptions {
  /** Tokens of a part that are kept in memory; more are packed into a file in the cache folder. 64 Mi unless told. */
  readonly tokensInMemory?: number | undefined;
  readonly notify?: ((text: string) => void | Promise<void>) | undefined;
}

/** Each objective refuses those of the others. */
export interface ObjectiveOptions extends PictureOptions {
  /** Of masked-lm. */
  readonly masking?: MaskingOptions | undefined;
}

/** One part of the samples, ready to be read: how many there are, and its batches. */
export interface PretrainPart {
  readonly samples: Samples;
  loader(options: { batchSize: number; seed: number; shuffle: boolean }): {
    readonly length: number;
    epoch(epoch: number, options?: { startBatch?: number }): AsyncIterable<LabelledBatch>;
  };
}

export interface PretrainInputs {
  readonly objective: Objective;
  readonly inputs: Inputs;
  readonly train: PretrainPart;
  readonly validation?: PretrainPart;
  /** The model with what the objective puts on it, where it is not the model itself. */
  readonly model?: SelfSupervised;
  /** Closes files of tokens, where there are some. */
  close?(): void;
}

const ROW = 128;

/**
 * Inputs of the language objectives: texts packed into rows of `maxLength` tokens (128 unless told).
 * @throws UnsupportedError TOKENIZER_MISSING; DataError DATASET_EMPTY; ArgumentError for options out of range.
 */
export async function languageInputs(
  name: 'masked-lm' | 'causal-lm',
  data: { train: UnlabelledTexts; validation?: UnlabelledTexts },
  text: TextCollateOptions | undefined,
  { masking = {}, ...packing }: { masking?: MaskingOptions | undefined } & PackingOptions = {},
): Promise<PretrainInputs> {
  if (!text)
    throw new UnsupportedError('TOKENIZER_MISSING', `${data.train.name} holds texts: how do they become tokens?`, {
      field: 'text',
      hint: 'pass text: { tokenizer }, by loadTokenizer or trainWordPiece',
    });
  const { tokenizer, maxLength = ROW } = text;
  const masked = name === 'masked-lm';
  // Predicting the next token takes one more than it reads.
  const length = masked ? maxLength : maxLength + 1;
  const pack = { tokenizer, length, style: masked ? 'bert' : 'gpt' } as const;
  const opened: { close?(): void }[] = [];
  const partOf = async (part: UnlabelledTexts): Promise<PretrainPart> => {
    if (part.schema.features.text?.kind !== 'text')
      throw new ArgumentError('TEXT_EXPECTED', `${name} learns from texts, ${part.name} has no feature "text"`, {
        field: 'data',
        expected: 'a feature "text"',
        got: Object.keys(part.schema.features),
        hint: 'plainTexts, unlabelledTexts or a set of texts',
      });
    const rows = await packRows({ ...pack, ...packing, name: part.name, texts: () => strings(part) });
    opened.push(rows);
    return {
      samples: rowSamples(rows),
      loader: (options) => new BlockLoader(rows, { ...options, ...(masked && { masking }) }),
    };
  };
  const train = await partOf(data.train);
  const validation = data.validation && (await partOf(data.validation));
  const objective = (masked ? maskedLM() : causalLM()) as unknown as Objective;
  const zeroBatch = (size: number): LabelledBatch => {
    const places = masked ? size * Math.max(1, Math.round((masking.probability ?? 0.15) * length)) : size * maxLength;
    const i32 = (shape: number[], count: number) => ({ dtype: 'i32' as const, shape, data: new Int32Array(count) });
    const batch: LanguageBatch = {
      inputIds: i32([size, maxLength], size * maxLength),
      ...(masked && { positions: i32([places], places) }),
      label: i32([places], places),
      targets: places,
      ids: new Int32Array(size),
      epoch: 0,
      index: 0,
      size,
    };
    return batch;
  };
  const inputs: Inputs = {
    task: asTask(objective),
    preprocessing: { text: { ...text, maxLength }, pair: false },
    unit: 'packed rows',
    size: `rows of ${maxLength} tokens of ${tokenizer.vocabSize}`,
    sampleBytes: 4 * (masked ? Math.ceil(1.3 * maxLength) : 2 * maxLength),
    zeroBatch,
    loader: ({ batchSize, seed }) => train.loader({ batchSize, seed, shuffle: true }),
  };
  const close = (): void => {
    for (const rows of opened) rows.close?.();
  };
  return { objective, inputs, train, ...(validation && { validation }), close };
}

async function* strings(part: UnlabelledTexts): AsyncGenerator<string, void, void> {
  for await (const { text } of 'get' in part ? samplesOf(part) : part.samples()) yield text;
}

// Only length and schema are asked of them.
const rowSamples = ({ name, length }: TokenRows): Samples => ({
  name,
  length,
  schema: { features: { text: { kind: 'text' } }, labels: {} },
  get: () => {
    throw new ArgumentError('STREAM_NO_INDEX', `${name} is read as rows of tokens, not by its texts`, {});
  },
});

/** For what plans and profiles a step: the same graphs under the names a task has for them. */
export const asTask = (objective: Objective): Task => ({
  name: objective.name,
  heads: [],
  loss: objective.loss,
  evaluate: (model, batch) => {
    const { loss, correct } = objective.measure(model, batch);
    return [{ loss, predictions: correct ?? loss }];
  },
});

/** Means over a part's predictions; masks, views and noise are those of epoch 0 every time. Undefined when stopped. */
export async function measureObjective(
  model: Module,
  objective: Objective,
  part: PretrainPart,
  { batchSize, seed = 0, stop = () => false }: { batchSize: number; seed?: number; stop?: () => boolean },
): Promise<(Measures & { readonly predictions: number }) | undefined> {
  let [predictions, loss, correct, counted] = [0, 0, 0, false];
  for await (const batch of part.loader({ batchSize, seed, shuffle: false }).epoch(0)) {
    const measured = repeatably(seed, batch.index, () => objective.measure(model, batch));
    const outputs: Tensor[] = [measured.loss, ...(measured.correct ? [measured.correct] : [])];
    await flush(outputs.map(({ node }) => node));
    if (measured.weight > 0) loss += (await measured.loss.item()) * measured.weight;
    if (measured.correct) {
      correct += await measured.correct.item();
      counted = true;
    }
    predictions += measured.weight;
    if (stop()) return undefined;
  }
  const mean = loss / Math.max(1, predictions);
  if (!Number.isFinite(mean))
    throw new NumericError('NON_FINITE', `${part.samples.name}: the loss is NaN or infinite in evaluation`, {
      direction: 'forward',
      got: mean,
      hint: 'the weights have grown too large: try a smaller optimizer.lr',
    });
  return {
    loss: mean,
    ...(counted && { accuracy: correct / Math.max(1, predictions) }),
    ...(objective.perplexity && { perplexity: Math.exp(mean) }),
    predictions,
  };
}

// Above the streams of any training batch, below those of the data's order.
const MEASURING = 2 ** 49;

/** Random numbers in the graph (noise) depend on seed and batch alone; those of training go on as if nothing had been drawn. */
function repeatably<T>(seed: number, index: number, body: () => T): T {
  const { seed: seedBefore, stream } = generator;
  generator.seed = seed;
  generator.stream = MEASURING + index * 2 ** 20;
  try {
    return body();
  } finally {
    generator.seed = seedBefore;
    generator.stream = stream;
  }
}

/** A recipe's task, where it is one that learns without labels. */
export const pretrainingOf = (task: string | undefined): ObjectiveName | undefined =>
  objectiveNames.find((name) => name === task);

/** Which of the objectives read texts. */
export const isLanguage = (name: ObjectiveName): name is 'masked-lm' | 'causal-lm' =>
  name === 'masked-lm' || name === 'causal-lm';
