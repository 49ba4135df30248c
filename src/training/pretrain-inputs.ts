/** What pre-training does between unlabelled samples and model, in the shape `prepare` takes inputs for fine-tuning in. */
import { ArgumentError, NumericError, UnsupportedError } from '../base/errors.ts';
import {
  BlockLoader,
  type BlockStream,
  type Dataset,
  type IterableDataset,
  type LabelledBatch,
  type LanguageBatch,
  type MaskingOptions,
  streamBlocks,
  type TextCollateOptions,
  TokenBlocks,
} from '../data/index.ts';
import type { SelfSupervised } from '../models/index.ts';
import type { Module } from '../nn/index.ts';
import { causalLM, maskedLM, type Objective, type ObjectiveName, objectiveNames, type Task } from '../tasks/index.ts';
import { flush, generator, type Tensor } from '../tensor/index.ts';
import type { Measures } from './events.ts';
import type { Inputs, Samples } from './inputs.ts';
import type { PictureOptions } from './pretrain-vision.ts';

/** Texts without labels: in memory, or a stream of files larger than that. */
export type UnlabelledTexts = Dataset<{ readonly text: string }> | IterableDataset<{ readonly text: string }>;

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
  { masking = {} }: { masking?: MaskingOptions | undefined } = {},
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
  const blocksOf = async (part: UnlabelledTexts): Promise<TokenBlocks | BlockStream> =>
    'get' in part ? TokenBlocks.from(strings(part), { ...pack, name: part.name }) : streamBlocks(part, pack);
  const partOf = async (part: UnlabelledTexts): Promise<PretrainPart> => {
    const blocks = await blocksOf(part);
    return {
      samples: samplesOf(blocks),
      loader: (options) => new BlockLoader(blocks, { ...options, ...(masked && { masking }) }),
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
    size: `rows of ${maxLength} tokens of ${tokenizer.vocabSize}`,
    sampleBytes: 4 * (masked ? Math.ceil(1.3 * maxLength) : 2 * maxLength),
    zeroBatch,
    loader: ({ batchSize, seed }) => train.loader({ batchSize, seed, shuffle: true }),
  };
  return { objective, inputs, train, ...(validation && { validation }) };
}

async function* strings(part: Dataset<{ readonly text: string }>): AsyncGenerator<string, void, void> {
  for (let i = 0; i < part.length; i++) {
    const sample = part.get(i);
    yield (sample instanceof Promise ? await sample : sample).text;
  }
}

// Only length and schema are asked of them.
function samplesOf(blocks: TokenBlocks | BlockStream): Samples {
  if (blocks instanceof TokenBlocks) return blocks as unknown as Samples;
  return {
    name: blocks.name,
    length: blocks.length,
    schema: { features: { text: { kind: 'text' } }, labels: {} },
    get: () => {
      throw new ArgumentError('STREAM_NO_INDEX', `${blocks.name} is a stream: its rows are read in order only`, {});
    },
  };
}

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
