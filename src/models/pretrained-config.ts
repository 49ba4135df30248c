/** transformers' config.json of BERT, GPT-2 and ViT, to our options and back. What we do not compute is refused, never ignored. */
import { DataError, printable, UnsupportedError } from '../base/index.ts';
import type { Json } from '../io/index.ts';
import { type BertOptions, bertActivations } from './bert-layers.ts';
import type { GPT2Options } from './gpt2.ts';
import type { ViTOptions } from './vit.ts';

export type ConfigJson = { readonly [key: string]: Json };

/** What sits on the trunk; 'none' is the bare trunk. */
export type PretrainedHead = 'none' | 'maskedLM' | 'sequence' | 'token' | 'causalLM';

/** transformers' classes by what they predict. */
export const bertClasses: Readonly<Record<string, PretrainedHead>> = {
  BertModel: 'none',
  BertForMaskedLM: 'maskedLM',
  BertForPreTraining: 'maskedLM',
  BertForSequenceClassification: 'sequence',
  BertForTokenClassification: 'token',
};

const bertFields = {
  vocab_size: 'vocabSize',
  hidden_size: 'hiddenSize',
  num_hidden_layers: 'numHiddenLayers',
  num_attention_heads: 'numAttentionHeads',
  intermediate_size: 'intermediateSize',
  hidden_act: 'hiddenAct',
  hidden_dropout_prob: 'hiddenDropoutProb',
  attention_probs_dropout_prob: 'attentionProbsDropoutProb',
  max_position_embeddings: 'maxPositionEmbeddings',
  type_vocab_size: 'typeVocabSize',
  initializer_range: 'initializerRange',
  layer_norm_eps: 'layerNormEps',
} as const satisfies Record<string, keyof BertOptions>;

const gpt2Fields = {
  vocab_size: 'vocabSize',
  n_positions: 'nPositions',
  n_embd: 'nEmbd',
  n_layer: 'nLayer',
  n_head: 'nHead',
  resid_pdrop: 'residPdrop',
  embd_pdrop: 'embdPdrop',
  attn_pdrop: 'attnPdrop',
  layer_norm_epsilon: 'layerNormEpsilon',
} as const satisfies Record<string, keyof GPT2Options>;

/** Sizes far above any model's: what a file says is not what decides how much memory is taken. */
const most = (key: string): number =>
  /layer/.test(key) ? 1000 : /vocab_size|positions|position_embeddings/.test(key) ? 2 ** 24 : 2 ** 20;

const shares = /_prob$|_pdrop$|_dropout$/;
const scales = /_eps$|_epsilon$|_range$/;

/** @throws DataError MODEL_CONFIG naming the field; UnsupportedError PRETRAINED_UNSUPPORTED for variants we do not compute. */
export function bertOptions(config: ConfigJson, file: string): BertOptions {
  refuseOther(config, file, {
    position_embedding_type: ['absolute'],
    is_decoder: [false],
    add_cross_attention: [false],
    tie_word_embeddings: [true],
    hidden_act: bertActivations,
  });
  return optionsOf(config, bertFields, file) as BertOptions;
}

/** @throws as `bertOptions`. */
export function gpt2Options(config: ConfigJson, file: string): GPT2Options {
  refuseOther(config, file, {
    activation_function: ['gelu_new', 'gelu_pytorch_tanh'],
    scale_attn_weights: [true],
    scale_attn_by_inverse_layer_idx: [false],
    add_cross_attention: [false],
    tie_word_embeddings: [true],
  });
  const { n_inner: inner, n_embd: width } = config;
  if (inner !== undefined && inner !== null && inner !== 4 * Number(width ?? 768))
    unsupported(file, 'n_inner', [4 * Number(width ?? 768)], inner);
  return optionsOf(config, gpt2Fields, file) as GPT2Options;
}

const vitFields = {
  hidden_size: 'hiddenSize',
  num_hidden_layers: 'numLayers',
  num_attention_heads: 'numHeads',
  intermediate_size: 'intermediateSize',
  image_size: 'imageSize',
  patch_size: 'patchSize',
  num_channels: 'inChannels',
} as const satisfies Record<string, keyof ViTOptions>;

// transformers' own, where the config leaves them out.
const vitDefaults = {
  hiddenSize: 768,
  numLayers: 12,
  numHeads: 12,
  intermediateSize: 3072,
  imageSize: 224,
  patchSize: 16,
  inChannels: 3,
};

/** With as many classes as the config names. @throws as `bertOptions`. */
export function vitOptions(config: ConfigJson, file: string): ViTOptions {
  refuseOther(config, file, { hidden_act: ['gelu'], qkv_bias: [true], layer_norm_eps: [1e-12] });
  const labels = labelsOf(config, file);
  return { ...vitDefaults, ...optionsOf(config, vitFields, file), ...(labels && { numClasses: labels.length }) };
}

function optionsOf(config: ConfigJson, fields: Readonly<Record<string, string>>, file: string): object {
  return Object.fromEntries(
    Object.entries(fields).flatMap(([key, name]): [string, Json][] => {
      const value = config[key];
      if (value === undefined || value === null) return [];
      if (key === 'hidden_act') return [[name, value]];
      const fits =
        typeof value === 'number' &&
        (shares.test(key)
          ? value >= 0 && value < 1
          : scales.test(key)
            ? value > 0 && value < 1e3
            : Number.isInteger(value) && value > 0 && value <= most(key));
      if (!fits)
        throw new DataError('MODEL_CONFIG', `${printable(file)}: ${key}: found ${printable(value)}`, {
          file,
          field: key,
          expected: shares.test(key)
            ? 'a number in [0, 1)'
            : scales.test(key)
              ? 'a number above 0'
              : `a whole number from 1 to ${most(key)}`,
          got: value,
        });
      return [[name, value]];
    }),
  );
}

function refuseOther(config: ConfigJson, file: string, allowed: Readonly<Record<string, readonly Json[]>>): void {
  for (const [field, values] of Object.entries(allowed)) {
    const value = config[field];
    if (value !== undefined && value !== null && !values.includes(value)) unsupported(file, field, values, value);
  }
}

function unsupported(file: string, field: string, expected: readonly Json[], got: Json): never {
  throw new UnsupportedError(
    'PRETRAINED_UNSUPPORTED',
    `${printable(file)}: ${field} is ${printable(got)}, which this model does not compute`,
    { file, field, expected, got },
  );
}

/** Names of the classes, in order; undefined where the config tells none. @throws DataError MODEL_CONFIG. */
export function labelsOf(config: ConfigJson, file: string): string[] | undefined {
  const { id2label, num_labels: count } = config;
  if (id2label === undefined || id2label === null)
    return typeof count === 'number' && Number.isInteger(count) && count > 0 && count < 1e6
      ? Array.from({ length: count }, (_, i) => `LABEL_${i}`)
      : undefined;
  const rows = typeof id2label === 'object' && !Array.isArray(id2label) ? id2label : {};
  const labels = Object.keys(rows).map((_, i) => rows[String(i)]);
  if (labels.length === 0 || !labels.every((label) => typeof label === 'string'))
    throw new DataError('MODEL_CONFIG', `${printable(file)}: id2label: expected labels numbered from 0`, {
      file,
      field: 'id2label',
      got: id2label,
    });
  return labels as string[];
}

/** transformers' fields of our options. */
const fieldsOf = (options: object, fields: Readonly<Record<string, string>>): ConfigJson =>
  Object.fromEntries(
    Object.entries(fields).map(([key, name]) => [key, (options as Record<string, Json>)[name] as Json]),
  );

export const bertConfig = (options: BertOptions): ConfigJson => ({
  model_type: 'bert',
  ...fieldsOf(options, bertFields),
  position_embedding_type: 'absolute',
});

export const gpt2Config = (options: GPT2Options): ConfigJson => ({
  model_type: 'gpt2',
  ...fieldsOf(options, gpt2Fields),
  n_ctx: options.nPositions as number,
  activation_function: 'gelu_new',
});

/** Classes for config.json. */
export const labelFields = (labels: readonly string[]): ConfigJson => ({
  id2label: Object.fromEntries(labels.map((label, i) => [String(i), label])),
  label2id: Object.fromEntries(labels.map((label, i) => [label, i])),
});
