/** The built-in recipes. `cambium train <name>` runs one; each may be changed by `--set` or copied into a file. */
import type { RecipeInput } from './recipe.ts';
import { textRecipes } from './recipes-text.ts';

/** Mean and deviation of MNIST's training pixels / 255. */
const mnistNormal = { kind: 'normalize', mean: [0.1307], std: [0.3081] } as const;

/** Blue, green, red less their means, as Caffe's ImageNet models take them. */
const caffeInput = [
  { kind: 'bgr' },
  { kind: 'normalize', mean: [104 / 255, 117 / 255, 123 / 255], std: [1 / 255, 1 / 255, 1 / 255] },
] as const;

const cifarInput = [{ kind: 'normalize', mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }] as const;

/** Published weights measured as they are: no epoch, the test pictures alone. */
const cifarResNet = (name: 'resnet20' | 'resnet56', depth: number): RecipeInput => ({
  name: `${name}-cifar10`,
  description: `CIFAR-10 weights of ResNet-${depth} measured on the test pictures and saved as a model (needs --data-dir).`,
  data: { name: 'folder', file: 'cifar10-jpg/cifar10_40k.tar.gz' },
  transforms: [{ kind: 'resize', height: 32, width: 32 }, ...cifarInput],
  model: { name, shortcut: 'pad' },
  init: { weights: `weights/${name}-cifar10.safetensors` },
  optimizer: { name: 'sgd', lr: 0.01, momentum: 0.9 },
  batchSize: 125,
  epochs: 0,
});

export const builtinRecipes: Readonly<Record<string, RecipeInput>> = {
  quickstart: {
    name: 'quickstart',
    description: 'A small CNN learns digits in seconds: to see that everything works.',
    seed: 1,
    data: { name: 'mnist', validation: 1000, digits: { train: 6000, test: 1000 } },
    limit: { train: 12_000, test: 2000 },
    transforms: [mnistNormal],
    model: { name: 'mnist-cnn' },
    optimizer: { name: 'adamw', lr: 2e-3, weightDecay: 0.01 },
    schedule: { name: 'oneCycle' },
    batchSize: 64,
    epochs: 1,
  },

  'cnn-mnist': {
    name: 'cnn-mnist',
    description: 'The classic small CNN on all of MNIST: above 99 % in a few minutes.',
    seed: 1,
    data: { name: 'mnist', validation: 5000, digits: { train: 12_000, test: 2000 } },
    transforms: [{ kind: 'randomAffine', degrees: 10, translate: 0.08, scale: [0.9, 1.1] }, mnistNormal],
    model: { name: 'mnist-cnn' },
    optimizer: { name: 'adamw', lr: 3e-3, weightDecay: 0.01 },
    schedule: { name: 'oneCycle' },
    batchSize: 128,
    epochs: 5,
    labelSmoothing: 0.05,
  },

  'vgg16-mnist': {
    name: 'vgg16-mnist',
    description: 'VGG16 with batch norm and a pooled head on 1x32x32, from random weights: 99.3 % and more on MNIST.',
    seed: 1,
    data: { name: 'mnist', validation: 5000, digits: { train: 8000, test: 1000 } },
    transforms: [
      { kind: 'randomAffine', degrees: 10, translate: 0.08, scale: [0.9, 1.1], shear: 5 },
      { kind: 'pad', height: 32, width: 32 },
      mnistNormal,
    ],
    model: { name: 'vgg16_bn', inChannels: 1, classifier: 'pooled' },
    optimizer: { name: 'adamw', lr: 1e-3, weightDecay: 0.01 },
    schedule: { name: 'oneCycle' },
    batchSize: 64,
    epochs: 2,
    labelSmoothing: 0.05,
  },

  'vgg16-mnist-head': {
    name: 'vgg16-mnist-head',
    description:
      'VGG16 with frozen convolutions: their features are computed once, then the head trains in seconds an epoch.',
    seed: 1,
    data: { name: 'mnist', validation: 6000, digits: { train: 2000, test: 500 } },
    transforms: [{ kind: 'pad', height: 32, width: 32 }, mnistNormal],
    // From random weights; --set init.weights=DIR takes a pretrained trunk.
    model: { name: 'vgg16', inChannels: 1, classifier: 'pooled' },
    freeze: { belowDepth: 'head' },
    optimizer: { name: 'adamw', lr: 1e-2, weightDecay: 1e-4 },
    schedule: { name: 'cosine' },
    batchSize: 64,
    epochs: 10,
  },

  'vgg16-rotation': {
    name: 'vgg16-rotation',
    description: 'The trunk of VGG16 learns digits without labels: how is this picture turned?',
    seed: 1,
    data: { name: 'mnist', validation: 6000, digits: { train: 6000, test: 1000 } },
    limit: { validation: 1024 },
    task: 'rotation',
    transforms: [
      { kind: 'randomAffine', degrees: 10, translate: 0.1, scale: [0.85, 1.15], shear: 8 },
      { kind: 'pad', height: 32, width: 32 },
      mnistNormal,
    ],
    model: { name: 'vgg16_bn', inChannels: 1, classifier: 'pooled' },
    optimizer: { name: 'adamw', lr: 1e-3, weightDecay: 0.01 },
    schedule: { name: 'cosine', warmup: 0.1 },
    precision: 'bf16',
    batchSize: 32,
    epochs: 1,
  },

  'vgg16-few-labels': {
    name: 'vgg16-few-labels',
    description: 'VGG16 learns digits from 100 labelled pictures, from the weights of vgg16-rotation.',
    seed: 1,
    data: { name: 'mnist', validation: 6000, digits: { train: 6000, test: 1000 } },
    limit: { train: 100, validation: 200 },
    transforms: [
      { kind: 'randomAffine', degrees: 10, translate: 0.08, scale: [0.9, 1.1], shear: 5 },
      { kind: 'pad', height: 32, width: 32 },
      mnistNormal,
    ],
    model: { name: 'vgg16_bn', inChannels: 1, classifier: 'pooled' },
    init: { weights: 'runs/vgg16-rotation-1' },
    optimizer: { name: 'adamw', lr: 5e-4, weightDecay: 0.01 },
    schedule: { name: 'oneCycle' },
    batchSize: 20,
    epochs: 60,
  },

  'squeezenet-hymenoptera': {
    name: 'squeezenet-hymenoptera',
    description: 'SqueezeNet 1.1 with ImageNet weights learns ants and bees from 243 pictures (needs --data-dir).',
    seed: 1,
    data: { name: 'folder', file: 'hymenoptera/hymenoptera_256.tar.gz' },
    transforms: [
      { kind: 'resizeShorter', size: 256 },
      { kind: 'randomResizedCrop', height: 227, width: 227, scale: [0.25, 1] },
      { kind: 'randomFlip' },
      { kind: 'centerCrop', height: 227, width: 227 },
      ...caffeInput,
    ],
    model: { name: 'squeezenet1_1' },
    init: { weights: 'weights/squeezenet1_1-caffe-imagenet.safetensors' },
    optimizer: {
      name: 'adamw',
      lr: 1e-4,
      weightDecay: 0.01,
      layerDecay: 0.85,
      groups: [{ params: 'classifier', lrScale: 10 }],
    },
    schedule: { name: 'cosine', warmup: 0.1 },
    labelSmoothing: 0.1,
    ema: { decay: 0.98, warmup: true },
    batchSize: 16,
    evalBatchSize: 51,
    epochs: 8,
  },

  'digit-attributes': {
    name: 'digit-attributes',
    description:
      'One small CNN with three heads: which digit, its properties (even, loop, prime), and its slant in degrees.',
    seed: 1,
    data: { name: 'mnist', attributes: true, validation: 5000, digits: { train: 12_000, test: 2000 } },
    transforms: [mnistNormal],
    model: { name: 'mnist-cnn' },
    optimizer: { name: 'adamw', lr: 2e-3, weightDecay: 0.01 },
    schedule: { name: 'oneCycle' },
    batchSize: 128,
    epochs: 3,
  },

  'cell-counts': {
    name: 'cell-counts',
    description:
      'SqueezeNet 1.1 with ImageNet weights counts blood cells of three kinds, from 205 pictures (needs --data-dir).',
    seed: 1,
    data: { name: 'voc-counts', file: 'bccd/bccd.tar.gz' },
    // Platelets are a few pixels wide in anything smaller.
    transforms: [
      { kind: 'resize', height: 360, width: 480 },
      { kind: 'randomFlip' },
      { kind: 'randomAffine', degrees: 15, translate: 0.05 },
      ...caffeInput,
    ],
    model: { name: 'squeezenet1_1' },
    init: { weights: 'weights/squeezenet1_1-caffe-imagenet.safetensors' },
    heads: { counts: { loss: 'huber' } },
    optimizer: { name: 'adamw', lr: 3e-4, weightDecay: 0.01, groups: [{ params: 'classifier', lrScale: 3 }] },
    schedule: { name: 'cosine', warmup: 0.1 },
    ema: { decay: 0.98, warmup: true },
    batchSize: 16,
    evalBatchSize: 36,
    epochs: 25,
  },

  'resnet20-cifar10': cifarResNet('resnet20', 20),
  'resnet56-cifar10': cifarResNet('resnet56', 56),

  'text-quickstart': {
    name: 'text-quickstart',
    description: 'An LSTM learns the sentiment of short reviews in English and Chinese, in seconds and offline.',
    seed: 1,
    data: { name: 'phrases', validation: 500 },
    tokenizer: { train: 'wordpiece', vocabSize: 1000 },
    model: { name: 'lstm-classifier', embeddingDim: 32, hiddenSize: 48, dropout: 0.1 },
    optimizer: { name: 'adamw', lr: 5e-3, weightDecay: 0.01 },
    schedule: { name: 'oneCycle' },
    clip: { norm: 1 },
    batchSize: 32,
    epochs: 2,
  },

  'entities-quickstart': {
    name: 'entities-quickstart',
    description:
      'An LSTM finds people, organisations and places in English and Chinese sentences, in seconds and offline.',
    seed: 1,
    data: { name: 'entities', validation: 500 },
    task: 'token-classification',
    tokenizer: { train: 'wordpiece', vocabSize: 400, lowercase: false },
    model: { name: 'lstm-classifier', embeddingDim: 48, hiddenSize: 64, dropout: 0.4 },
    optimizer: { name: 'adamw', lr: 5e-3, weightDecay: 0.01 },
    schedule: { name: 'oneCycle' },
    clip: { norm: 1 },
    batchSize: 32,
    epochs: 3,
  },

  'lstm-news-topics': {
    name: 'lstm-news-topics',
    description: 'A bidirectional LSTM learns the 10 topics of Chinese news titles (THUCNews; needs --data-dir).',
    seed: 1,
    data: { name: 'thucnews-titles' },
    tokenizer: { train: 'wordpiece', vocabSize: 6000 },
    maxLength: 48,
    model: { name: 'lstm-classifier', embeddingDim: 128, hiddenSize: 128, dropout: 0.3 },
    optimizer: { name: 'adamw', lr: 2e-3, weightDecay: 0.01 },
    schedule: { name: 'oneCycle' },
    clip: { norm: 1 },
    batchSize: 64,
    epochs: 3,
  },

  ...textRecipes,

  // The tutorial's program as written: full VGG16, batch 16, AdamW 2e-5 and no schedule, 5 epochs, every weight trained.
  // It asks for weights pretrained on ImageNet; without them it starts from random ones, which its learning rate suits
  // badly: use vgg16-mnist to learn digits, this one to reproduce the text.
  'vgg16-mnist-tutorial': {
    name: 'vgg16-mnist-tutorial',
    description: "The tutorial's program exactly: full VGG16, batch 16, AdamW 2e-5, 5 epochs, from random weights.",
    seed: 1,
    data: { name: 'mnist', validation: 5000, digits: { train: 1600, test: 400 } },
    transforms: [
      // 28x28 would vanish in the fifth pooling, and VGG's first layer wants three channels.
      { kind: 'pad', height: 32, width: 32 },
      { kind: 'channels', channels: 3 },
      { kind: 'normalize', mean: [0.5], std: [0.5] },
    ],
    model: { name: 'vgg16' },
    // torch.optim.AdamW's default decay, written out, on every parameter as there.
    optimizer: { name: 'adamw', lr: 2e-5, weightDecay: 0.01, decayBiasAndNorm: true },
    schedule: { name: 'constant' },
    batchSize: 16,
    epochs: 5,
  },
};
