/** VGG (Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556) in torchvision's layout and names. */
import { ShapeError } from '../base/index.ts';
import {
  AdaptiveAvgPool2d,
  BatchNorm2d,
  Conv2d,
  Dropout,
  init,
  Linear,
  MaxPool2d,
  Module,
  ReLU,
  Sequential,
} from '../nn/index.ts';
import { normal, type Tensor, zeros } from '../tensor/index.ts';
import { choiceOption, integerOption, probabilityOption, registerModel } from './registry.ts';
import { type ModelStructure, sequentialStages } from './structure.ts';

export interface VGGOptions {
  numClasses?: number;
  inChannels?: number;
  /** 'torchvision': 7x7 pool, 25088-4096-4096-classes. 'pooled': global average, 512-classes (8 times fewer parameters). */
  classifier?: 'torchvision' | 'pooled';
  /** Between the layers of torchvision's classifier, or before the pooled one (0 there unless told). */
  dropout?: number;
}

// Widths of the convolutions between poolings; the name counts the layers with weights.
const configurations = {
  vgg11: [[64], [128], [256, 256], [512, 512], [512, 512]],
  vgg13: [
    [64, 64],
    [128, 128],
    [256, 256],
    [512, 512],
    [512, 512],
  ],
  vgg16: [
    [64, 64],
    [128, 128],
    [256, 256, 256],
    [512, 512, 512],
    [512, 512, 512],
  ],
  vgg19: [
    [64, 64],
    [128, 128],
    [256, 256, 256, 256],
    [512, 512, 512, 512],
    [512, 512, 512, 512],
  ],
} as const;
export type VGGName = keyof typeof configurations;

// Five poolings halve 32 down to 1.
const MIN_SIZE = 32;

/** (N, inChannels, H, W), H and W at least 32 -> logits (N, numClasses). */
export class VGG extends Module {
  readonly features: Sequential;
  readonly avgpool: AdaptiveAvgPool2d;
  readonly classifier: Sequential;

  constructor(name: VGGName, batchNorm: boolean, options: VGGOptions = {}) {
    super();
    const {
      numClasses = 10,
      inChannels = 3,
      classifier = 'torchvision',
      dropout = classifier === 'pooled' ? 0 : 0.5,
    } = options;
    const layers: Module[] = [];
    let channels = inChannels;
    for (const block of configurations[name]) {
      for (const width of block) {
        layers.push(initialised(new Conv2d(channels, width, 3, { padding: 1 })));
        if (batchNorm) layers.push(new BatchNorm2d(width));
        layers.push(new ReLU());
        channels = width;
      }
      layers.push(new MaxPool2d(2));
    }
    this.features = new Sequential(...layers);
    this.avgpool = new AdaptiveAvgPool2d(classifier === 'pooled' ? 1 : 7);
    this.classifier =
      classifier === 'pooled'
        ? new Sequential(new Dropout(dropout), new Linear(512, numClasses))
        : new Sequential(
            affine(512 * 7 * 7, 4096),
            new ReLU(),
            new Dropout(dropout),
            affine(4096, 4096),
            new ReLU(),
            new Dropout(dropout),
            affine(4096, numClasses),
          );
  }

  forward(x: Tensor): Tensor {
    const h = this.avgpool.forward(this.featureMaps(x)); // (N, 512, 7, 7), or (N, 512, 1, 1) where pooled
    return this.classifier.forward(h.flatten(1));
  }

  /** What the pooling reads: (N, 512, H / 32, W / 32). */
  featureMaps(x: Tensor): Tensor {
    this.#checkSize(x);
    return this.features.forward(x);
  }

  structure(): ModelStructure {
    const last = this.classifier.layers.length - 1;
    const { inFeatures } = this.classifier.layers[last] as Linear;
    return {
      stages: [...sequentialStages('features', this.features), ...sequentialStages('classifier', this.classifier)],
      head: `classifier.${last}`,
      makeHead: (classes) => (last === 1 ? new Linear(inFeatures, classes) : affine(inFeatures, classes)),
    };
  }

  // Fails before the pooling that would, with the way out for the picture rather than for the layer.
  #checkSize(x: Tensor): void {
    const [, , height = 0, width = 0] = x.shape;
    if (x.rank !== 4 || (height >= MIN_SIZE && width >= MIN_SIZE)) return;
    const poolings = this.features.layers.flatMap((layer, i) => (layer instanceof MaxPool2d ? [i] : []));
    const nth = Math.floor(Math.log2(Math.max(1, Math.min(height, width))));
    const layer = `features.${poolings[nth]}`;
    throw new ShapeError(
      'INPUT_TOO_SMALL',
      `VGG halves its input five times: ${height} x ${width} vanishes in pooling ${nth + 1} (${layer}); it needs at least ${MIN_SIZE} x ${MIN_SIZE}`,
      {
        layer,
        expected: `${MIN_SIZE} x ${MIN_SIZE} or more`,
        got: `${height} x ${width}`,
        hint: `pad or resize the images: add { kind: 'pad', height: ${MIN_SIZE}, width: ${MIN_SIZE} } or { kind: 'resize', ... } to the transforms`,
      },
    );
  }
}

/** torchvision's: He normal over fan out, zero bias. */
function initialised(conv: Conv2d): Conv2d {
  conv.reset(
    init.kaimingNormal(conv.weight.shape, { mode: 'fanOut', nonlinearity: 'relu' }),
    zeros([conv.outChannels]),
  );
  return conv;
}
function affine(inFeatures: number, outFeatures: number): Linear {
  const linear = new Linear(inFeatures, outFeatures);
  linear.reset(normal([outFeatures, inFeatures], { std: 0.01 }), zeros([outFeatures]));
  return linear;
}

for (const name of Object.keys(configurations) as VGGName[])
  for (const batchNorm of [false, true])
    registerModel({
      name: batchNorm ? `${name}_bn` : name,
      description: `VGG with ${name.slice(3)} weight layers${batchNorm ? ' and batch norm' : ''}, torchvision's names`,
      defaults: { numClasses: 10, inChannels: 3, classifier: 'torchvision', dropout: undefined },
      minSize: [MIN_SIZE, MIN_SIZE],
      build: (o) =>
        new VGG(name, batchNorm, {
          numClasses: integerOption(o, 'numClasses'),
          inChannels: integerOption(o, 'inChannels'),
          classifier: choiceOption(o, 'classifier', ['torchvision', 'pooled']),
          ...(o.dropout !== undefined && { dropout: probabilityOption(o, 'dropout') }),
        }),
    });

const build =
  (name: VGGName, batchNorm: boolean) =>
  (options?: VGGOptions): VGG =>
    new VGG(name, batchNorm, options);
export const vgg11 = build('vgg11', false);
export const vgg13 = build('vgg13', false);
export const vgg16 = build('vgg16', false);
export const vgg19 = build('vgg19', false);
export const vgg11Bn = build('vgg11', true);
export const vgg13Bn = build('vgg13', true);
export const vgg16Bn = build('vgg16', true);
export const vgg19Bn = build('vgg19', true);
