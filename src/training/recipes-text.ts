/** Built-in recipes that learn a language without labels, and those that are tuned from what they make. */
import type { RecipeInput } from './recipe.ts';

const smallBert = {
  name: 'bert',
  hiddenSize: 256,
  numHiddenLayers: 4,
  numAttentionHeads: 4,
  intermediateSize: 1024,
  maxPositionEmbeddings: 128,
} as const;

/**
 * Short rows, wide initial weights and sines for positions: among 64 tokens attention of a model this narrow took more than 3,000
 * steps to find its neighbours, among 16 to 24 about 800.
 */
const maskedWords = {
  task: 'masked-lm',
  objective: { masking: { probability: 0.2, maxSpan: 1 } },
  maxLength: 24,
  model: { ...smallBert, dropout: 0, initializerRange: 0.05, positionInit: 'sinusoidal' },
  optimizer: { name: 'adamw', lr: 1e-3, weightDecay: 0.01 },
  schedule: { name: 'linear', warmup: 0.06 },
  clip: { norm: 1 },
  precision: 'bf16',
  batchSize: 96,
} satisfies Partial<RecipeInput>;

const tuned = {
  model: { ...smallBert },
  optimizer: { name: 'adamw', lr: 2e-4, weightDecay: 0.01 },
  schedule: { name: 'linear', warmup: 0.1 },
  clip: { norm: 1 },
  batchSize: 32,
  epochs: 4,
} satisfies Partial<RecipeInput>;

const chinese = { weights: 'runs/bert-mlm-zh-1' } as const;

export const textRecipes: Readonly<Record<string, RecipeInput>> = {
  'bert-mlm-zh': {
    name: 'bert-mlm-zh',
    description: 'BERT of 4 layers learns Chinese by masked words, from news titles and reviews without their labels.',
    seed: 0,
    data: {
      name: 'texts',
      // Split as the recipes below split them: nothing they are measured on is read here.
      corpora: [
        { set: 'thucnews-titles' },
        { set: 'finnews-zh', validation: 0.1, seed: 0 },
        { set: 'chnsenticorp', validation: 0.1, test: 0.1, seed: 0 },
        { set: 'waimai', validation: 0.1, test: 0.1, seed: 0 },
      ],
      validation: 0.02,
    },
    tokenizer: { train: 'wordpiece', vocabSize: 6000 },
    ...maskedWords,
    epochs: 14,
  },

  'bert-finance-news': {
    name: 'bert-finance-news',
    description: 'The sentiment of Chinese financial news, from the weights of bert-mlm-zh (needs --data-dir).',
    seed: 0,
    data: { name: 'finnews-zh', validation: 0.1 },
    init: chinese,
    maxLength: 48,
    ...tuned,
  },

  'bert-news-topics': {
    name: 'bert-news-topics',
    description: 'The 10 topics of Chinese news titles, from the weights of bert-mlm-zh (needs --data-dir).',
    seed: 0,
    data: { name: 'thucnews-titles' },
    init: chinese,
    maxLength: 48,
    ...tuned,
  },

  'bert-hotel-reviews': {
    name: 'bert-hotel-reviews',
    description: 'The sentiment of Chinese hotel reviews, from the weights of bert-mlm-zh (needs --data-dir).',
    seed: 0,
    data: { name: 'chnsenticorp', validation: 0.1, test: 0.1 },
    init: chinese,
    maxLength: 128,
    ...tuned,
  },

  'bert-food-reviews': {
    name: 'bert-food-reviews',
    description:
      'The sentiment of Chinese reviews of food delivery, from the weights of bert-mlm-zh (needs --data-dir).',
    seed: 0,
    data: { name: 'waimai', validation: 0.1, test: 0.1 },
    init: chinese,
    maxLength: 64,
    ...tuned,
  },

  'bert-three-sentiments': {
    name: 'bert-three-sentiments',
    description:
      'One BERT with a head each for finance news, hotel and food reviews, from the weights of bert-mlm-zh (needs --data-dir).',
    seed: 0,
    data: {
      name: 'sets',
      // Split as the recipes above split them.
      sets: [
        { set: 'finnews-zh', label: 'finance', validation: 0.1 },
        { set: 'chnsenticorp', label: 'hotel', validation: 0.1, test: 0.1 },
        { set: 'waimai', label: 'food', validation: 0.1, test: 0.1 },
      ],
    },
    init: chinese,
    maxLength: 128,
    ...tuned,
  },

  'gpt-shakespeare': {
    name: 'gpt-shakespeare',
    description:
      'A small GPT-2 learns to go on with Shakespeare, token by token (needs --data-dir); then: cambium generate.',
    seed: 0,
    data: {
      name: 'texts',
      corpora: [{ file: 'tinyshakespeare/input.txt', document: true }],
      validation: 0.1,
      split: 'last',
    },
    task: 'causal-lm',
    tokenizer: { train: 'bpe', vocabSize: 1024 },
    maxLength: 128,
    model: { name: 'gpt2', nEmbd: 192, nLayer: 4, nHead: 4, nPositions: 256, dropout: 0.1 },
    optimizer: { name: 'adamw', lr: 2e-3, weightDecay: 0.1, betas: [0.9, 0.99] },
    schedule: { name: 'cosine', warmup: 0.05, final: 0.1 },
    clip: { norm: 1 },
    precision: 'bf16',
    batchSize: 24,
    epochs: 10,
  },

  'bert-mlm-en': {
    name: 'bert-mlm-en',
    description: 'BERT of 4 layers learns English by masked words, from film reviews and news without their labels.',
    seed: 0,
    data: {
      name: 'texts',
      corpora: [
        { set: 'sst2' },
        { file: 'agnews/test.csv.gz', textColumn: 1 },
        { file: 'agnews/test.csv.gz', textColumn: 2 },
      ],
      validation: 0.02,
    },
    tokenizer: { train: 'wordpiece', vocabSize: 8000 },
    ...maskedWords,
    epochs: 30,
  },

  'bert-sst2': {
    name: 'bert-sst2',
    description: 'The sentiment of English film reviews, from the weights of bert-mlm-en (needs --data-dir).',
    seed: 0,
    data: { name: 'sst2' },
    init: { weights: 'runs/bert-mlm-en-1' },
    maxLength: 64,
    ...tuned,
  },
};
