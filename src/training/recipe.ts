/**
 * What a recipe may say: every field of a training run, its type and default. Strict: an unknown field is an error, never
 * ignored. Reading files and built-in recipes is the business of recipe-file.ts and recipes.ts.
 */
import { z } from 'zod';
import type { Transform } from '../data/index.ts';
import { numberLosses, objectiveNames } from '../tasks/index.ts';
import { precisions } from '../tensor/index.ts';
import { distillDefaults } from './distill.ts';
import { byteText, parseBytes } from './machine-memory.ts';
import { dataSchema, labelName, positiveInt } from './recipe-data.ts';

const count = z.number().int().min(0).max(1e9);
const fraction = z.number().min(0).max(1);
const learningRate = z.number().positive().max(1e10);
/** A share of all steps (below 1) or a number of steps. */
const duration = z.number().min(0);

/** A number of stages of the model from its input on; negative from its head. */
const depth = z.union([z.number().int().min(-1e4).max(1e4), z.literal('head')]);

/** Discriminative rates, of any optimizer. */
const rates = {
  /** Factors of the rate for named parameters; the first group that names one has it. */
  groups: z
    .array(
      z.strictObject({
        params: z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]),
        lrScale: z.number().positive().max(1e6).optional(),
        weightDecay: z.number().min(0).optional(),
      }),
    )
    .optional(),
  /** Each stage nearer to the input learns at this share of the next one's rate. */
  layerDecay: z.number().positive().max(1).optional(),
};

const betas = z.tuple([fraction, fraction]);
const adam = {
  lr: learningRate,
  betas: betas.optional(),
  eps: z.number().positive().optional(),
  weightDecay: z.number().min(0).optional(),
  /** PyTorch's own default decays everything; ours leaves bias and norm alone. */
  decayBiasAndNorm: z.boolean().optional(),
  ...rates,
};

const targets = z.array(z.string().min(1)).min(1).optional();

const adapterSchema = z.discriminatedUnion('name', [
  z.strictObject({
    name: z.literal('lora'),
    rank: z.number().int().min(1).max(65536).default(8),
    /** Twice the rank unless told. */
    alpha: z.number().positive().optional(),
    dropout: z.number().min(0).max(0.999).default(0),
    /** Linear layers by name, with `*` for anything; query and value projections unless told. */
    targets,
  }),
  z.strictObject({
    name: z.literal('bottleneck'),
    size: z.number().int().min(1).max(65536).default(16),
    activation: z.enum(['relu', 'gelu']).default('relu'),
    /** The last linear layers of attention and of the perceptron unless told. */
    targets,
  }),
  z.strictObject({
    name: z.literal('prefix'),
    /** Learned keys and values of each head of each layer. */
    length: z.number().int().min(1).max(65536).default(16),
  }),
]);

const optimizerSchema = z.discriminatedUnion('name', [
  z.strictObject({ name: z.literal('adamw'), ...adam }),
  z.strictObject({ name: z.literal('adam'), ...adam }),
  z.strictObject({
    name: z.literal('sgd'),
    lr: learningRate,
    momentum: fraction.optional(),
    nesterov: z.boolean().optional(),
    weightDecay: z.number().min(0).optional(),
    decayBiasAndNorm: z.boolean().optional(),
    ...rates,
  }),
]);

const scheduleSchema = z.discriminatedUnion('name', [
  z.strictObject({ name: z.literal('constant'), warmup: duration.optional() }),
  z.strictObject({ name: z.literal('linear'), warmup: duration.optional(), final: fraction.optional() }),
  z.strictObject({ name: z.literal('cosine'), warmup: duration.optional(), final: fraction.optional() }),
  /** Times `gamma` every `everyEpochs` epochs. */
  z.strictObject({ name: z.literal('step'), everyEpochs: z.number().positive(), gamma: fraction.optional() }),
  /** From lr / start up to lr at `peakAt` of the run, then down to lr / start / end; as PyTorch's OneCycleLR. */
  z.strictObject({
    name: z.literal('oneCycle'),
    peakAt: fraction.optional(),
    start: z.number().min(1).optional(),
    end: z.number().min(1).optional(),
  }),
]);

const whats = ['classification', 'multi-label-classification', 'regression', 'multi-task'] as const;
const labelledTasks = (['image', 'text'] as const).flatMap((input) => whats.map((what) => `${input}-${what}` as const));

/** Names end up in paths and messages. */
const name = z.string().regex(/^[\w][\w.-]{0,99}$/, 'expected letters, digits, "-", "_" and "."');

export const recipeSchema = z.strictObject({
  name,
  description: z.string().max(2000).optional(),
  seed: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
  data: dataSchema,
  /** Caps on the sizes of the parts. */
  limit: z
    .strictObject({ train: positiveInt.optional(), validation: positiveInt.optional(), test: positiveInt.optional() })
    .default({}),
  /** Checked against the pictures by the data floor, which names the transform. */
  transforms: z.array(z.record(z.string(), z.unknown())).default([]),
  /** What is learned from labels follows from the data; said here, it is checked. The others learn without labels. */
  task: z.enum([...labelledTasks, 'token-classification', ...objectiveNames]).optional(),
  /** More of what is predicted, by label: what its loss counts among several, the loss of numbers, the threshold of several labels. */
  heads: z
    .record(
      labelName,
      z.strictObject({
        weight: z.number().min(0).max(1e6).optional(),
        loss: z.enum(numberLosses).optional(),
        threshold: z.number().gt(0).lt(1).optional(),
      }),
    )
    .optional(),
  /** Of pre-training: the objective's own options. */
  objective: z
    .strictObject({
      /** Of masked-lm: the share of tokens to predict; of those, shares hidden and replaced; tokens hidden side by side. */
      masking: z
        .strictObject({
          probability: z.number().positive().max(0.9).optional(),
          mask: fraction.optional(),
          random: fraction.optional(),
          maxSpan: z.number().int().min(1).max(64).optional(),
        })
        .optional(),
      /** contrastive: of the softmax over similarities; width of the projection. */
      temperature: z.number().positive().max(100).optional(),
      projectionSize: z.number().int().min(1).max(65536).optional(),
      /** denoising-autoencoder: deviation of the noise, share and side of the blanked squares. masked-autoencoder: share of hidden patches. */
      noise: z.number().min(0).max(100).optional(),
      maskRatio: fraction.max(0.999).optional(),
      maskSize: z.number().int().min(1).max(16384).optional(),
      /** masked-autoencoder: width and blocks of the decoder; patches compared at mean 0 and deviation 1. */
      decoderSize: z.number().int().min(16).max(65536).multipleOf(4).optional(),
      decoderLayers: z.number().int().min(1).max(1000).optional(),
      normalizePixels: z.boolean().optional(),
    })
    .default({}),
  /** Of texts: read from a folder or file, or learned from the training texts (the default: WordPiece of 8,000 pieces). */
  tokenizer: z
    .strictObject({
      path: z.string().min(1).optional(),
      train: z.enum(['wordpiece', 'bpe', 'char']).optional(),
      vocabSize: z.number().int().min(6).max(1e6).optional(),
      minFrequency: z.number().int().min(0).max(1e9).optional(),
      lowercase: z.boolean().optional(),
      chineseCharacters: z.boolean().optional(),
    })
    .optional(),
  /** Tokens of a text at most; unlimited, or what the tokenizer says, unless told. */
  maxLength: z.number().int().min(1).max(1e6).optional(),
  /** Batches of texts are padded to a multiple of this; 8 unless told. */
  padToMultipleOf: z.number().int().min(1).max(4096).optional(),
  /** A registered model and its options. */
  model: z.looseObject({ name: z.string().min(1) }),
  /** Weights to start from; a relative path is looked for under --data-dir (or data.dir), then in the working directory. null: random ones. */
  init: z
    .strictObject({
      /** A model or run folder, a weight file, an index of shards, or hf:owner/name@revision. */
      weights: z.string().min(1),
      /** auto: the last layer is kept if it has the same classes, in their new order. keep: as it is. new: it always starts anew. */
      head: z.enum(['auto', 'keep', 'new']).default('auto'),
      /** What a first convolution of other channels gets; auto keeps its answer to a grey picture. */
      channels: z.enum(['auto', 'sum', 'mean']).default('auto'),
      /** Everything but the head must match. */
      strict: z.boolean().default(true),
    })
    .nullish(),
  /** auto: a run from pretrained weights tells what seems wrong with labels, inputs and rate, with its fix; nothing else changes. */
  check: z.enum(['auto', 'off']).default('auto'),
  /**
   * An adapter (and the head) trains instead of the weights; run/adapter holds it alone, run/model has low-rank ones merged and
   * keeps others.
   */
  adapter: adapterSchema.optional(),
  optimizer: optimizerSchema,
  schedule: scheduleSchema.default({ name: 'constant' }),
  batchSize: positiveInt,
  /** Of validation and test; twice `batchSize` unless told. */
  evalBatchSize: positiveInt.optional(),
  /** 0: nothing is trained; the weights of `init` are measured and saved as a model. */
  epochs: count.max(1e6),
  /** Updates at most: training ends in the middle of an epoch if need be, measured as at its end. */
  maxSteps: positiveInt.optional(),
  /** bf16: products and convolutions of training round their operands to bfloat16; weights and sums stay fp32. */
  precision: z.enum(precisions).default('fp32'),
  /**
   * Bytes (or `900 MiB`) that weights, optimizer, intermediates and batches may take: where they would take more, values
   * of forward are computed again in backward.
   */
  memoryLimit: z
    .union([
      z
        .number()
        .int()
        .min(1)
        .max(2 ** 50),
      z.string().regex(byteText, 'expected bytes, or a size such as "900 MiB"'),
    ])
    .transform((size) => (typeof size === 'string' ? parseBytes(size) : size))
    .optional(),
  /** auto: what lies below the first layer that trains runs once, its outputs are cached on disk. */
  featureCache: z.enum(['auto', 'off']).default('auto'),
  /** Batches whose gradients are summed into one update. */
  accumulate: positiveInt.default(1),
  clip: z.strictObject({ norm: z.number().positive().optional(), value: z.number().positive().optional() }).default({}),
  /** Parameters left as they are: names, with `*` for anything, or all below a depth; `{ belowDepth: head }` trains the head alone. */
  freeze: z
    .union(
      [
        z.array(z.string().min(1)),
        z.strictObject({ names: z.array(z.string().min(1)).optional(), belowDepth: depth.optional() }),
      ],
      { error: 'expected a list of names, or { names, belowDepth }' },
    )
    .default([]),
  /** Gradual unfreezing: what joins at the beginning of an epoch. */
  unfreeze: z
    .array(
      z.strictObject({
        epoch: z.number().int().min(2).max(1e6),
        names: z.array(z.string().min(1)).optional(),
        fromDepth: depth.optional(),
      }),
    )
    .default([]),
  /** Running statistics and affine parameters of every batch norm stay as they are. */
  freezeBatchNorm: z.boolean().default(false),
  /** Of linear and convolutional layers but the head, the share `amount` of smallest weights is 0 from the first step on. */
  prune: z
    .strictObject({ amount: z.number().gt(0).lt(1), scope: z.enum(['model', 'layer']).default('model') })
    .optional(),
  /** Averaged weights for evaluation and saving; decay 0.999 unless told. */
  ema: z.strictObject({ decay: fraction.max(0.9999999).default(0.999), warmup: z.boolean().default(false) }).optional(),
  labelSmoothing: z.number().min(0).max(0.999).default(0),
  /** What a class counts in the training loss: balanced, numbers in the order of the classes, or by name. */
  classWeights: z
    .union([z.literal('balanced'), z.array(z.number().positive()).min(2), z.record(z.string(), z.number().positive())])
    .optional(),
  /** balanced: draws with replacement, each class as often. */
  sampler: z.enum(['shuffled', 'balanced']).optional(),
  /** Of pictures: training samples are mixed in pairs. */
  mixup: z.strictObject({ alpha: z.number().positive().max(1000).default(0.2) }).optional(),
  cutmix: z.strictObject({ alpha: z.number().positive().max(1000).default(1) }).optional(),
  /** The loss has a share `alpha` of a trained model's answers, softened by `temperature`. `teacher`: a run or model folder. */
  distill: z
    .strictObject({
      teacher: z.string().min(1),
      temperature: z.number().positive().max(1000).default(distillDefaults.temperature),
      alpha: z.number().positive().max(1).default(distillDefaults.alpha),
    })
    .optional(),
  /** Which epoch's weights are kept: by accuracy where every sample (or word) has one class, by microF1 of entities, else by loss, unless told. */
  selectBy: z
    .strictObject({
      /** accuracy, macroF1, loss; of numbers rmse, mae, r2; of several heads `<label>.<metric>`. */
      metric: z.string().min(1).max(200),
      mode: z.enum(['max', 'min']).optional(),
    })
    .optional(),
  /** Stops after `patience` epochs without an improvement of more than `minDelta`. */
  earlyStopping: z
    .strictObject({ patience: positiveInt, minDelta: z.number().min(0).default(0) })
    .nullable()
    .default(null),
  checkpoint: z
    .strictObject({
      /** Besides the one at each epoch's end. 0: none. */
      everySteps: count.default(0),
      keepLast: positiveInt.default(2),
    })
    .prefault({}),
});

/** What a recipe file or object may look like: defaults may be left out. */
export type RecipeInput = Omit<z.input<typeof recipeSchema>, 'transforms'> & { transforms?: readonly Transform[] };
/** A recipe with every default filled in. */
export type Recipe = z.output<typeof recipeSchema>;

/** Types a recipe in a TypeScript file: `export default defineRecipe({ ... })`. */
export const defineRecipe = (recipe: RecipeInput): RecipeInput => recipe;
