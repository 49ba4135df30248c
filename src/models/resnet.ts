/**
 * Residual networks (He et al. 2016, https://arxiv.org/abs/1512.03385): ResNet-18/34/50 with torchvision's names and
 * strides (the 3x3 convolution of a bottleneck carries the stride), and the ResNets for 32x32 images of the paper's 4.2.
 */
import { AdaptiveAvgPool2d, BatchNorm2d, Conv2d, init, Linear, MaxPool2d, Module, Sequential } from '../nn/index.ts';
import type { Tensor } from '../tensor/index.ts';
import { choiceOption, integerOption, registerModel } from './registry.ts';
import type { ModelStructure } from './structure.ts';

/** How a block's input is brought to the shape of its output: 1x1 convolution and norm, or every second pixel and zero channels. */
export type ResNetShortcut = 'projection' | 'pad';

export interface ResNetOptions {
  numClasses?: number;
  inChannels?: number;
  /** 'imagenet': 7x7 stride 2 and 3x3 pooling, 'small': 3x3 stride 1, for pictures of about 32x32. */
  stem?: 'imagenet' | 'small';
}

export interface CifarResNetOptions {
  numClasses?: number;
  inChannels?: number;
  /**
   * 'projection': names of chenyaofo/pytorch-cifar-models (`downsample.0`, head `fc`); 'pad': the paper's option A without
   * parameters and the names of akamaster/pytorch_resnet_cifar10 (head `linear`).
   */
  shortcut?: ResNetShortcut;
}

interface Configuration {
  readonly block: typeof BasicBlock | typeof Bottleneck;
  /** Blocks per stage; every stage but the first halves height and width. */
  readonly blocks: readonly number[];
  /** Channels of the stem and of each stage, before a bottleneck's expansion. */
  readonly widths: readonly number[];
}

const imagenet = [64, 128, 256, 512];

/** Same size with padding, no bias (a norm follows), He normal over fan out. */
function conv(from: number, to: number, kernel: number, stride = 1): Conv2d {
  const layer = new Conv2d(from, to, kernel, { stride, padding: kernel >> 1, bias: false });
  layer.reset(init.kaimingNormal(layer.weight.shape, { mode: 'fanOut', nonlinearity: 'relu' }));
  return layer;
}

/** x (N, from, H, W) -> (N, to, ceil(H / stride), ceil(W / stride)), parameter-free: zeros around the channels (option A). */
function padShortcut(x: Tensor, from: number, to: number, stride: number): Tensor {
  const before = (to - from) >> 1;
  const widths = [[before, to - from - before] as const, [0, 0] as const, [0, 0] as const];
  return x.slice(2, 0, undefined, stride).slice(3, 0, undefined, stride).pad(widths);
}

abstract class Block extends Module {
  readonly #from: number;
  readonly #to: number;
  readonly #stride: number;
  readonly #shortcut: ResNetShortcut;
  abstract readonly downsample: Sequential | undefined;

  constructor(from: number, to: number, stride: number, shortcut: ResNetShortcut) {
    super();
    this.#from = from;
    this.#to = to;
    this.#stride = stride;
    this.#shortcut = shortcut;
  }
  protected projection(): Sequential | undefined {
    if (this.#shortcut === 'pad' || (this.#stride === 1 && this.#from === this.#to)) return undefined;
    return new Sequential(conv(this.#from, this.#to, 1, this.#stride), new BatchNorm2d(this.#to));
  }
  protected abstract residual(x: Tensor): Tensor;

  forward(x: Tensor): Tensor {
    const residual = this.residual(x);
    const kept = this.#stride === 1 && this.#from === this.#to;
    const identity = kept ? x : (this.downsample?.forward(x) ?? padShortcut(x, this.#from, this.#to, this.#stride));
    return residual.add(identity).relu();
  }
}

/** Two 3x3 convolutions around a shortcut. */
class BasicBlock extends Block {
  static readonly expansion = 1;
  readonly conv1: Conv2d;
  readonly bn1: BatchNorm2d;
  readonly conv2: Conv2d;
  readonly bn2: BatchNorm2d;
  readonly downsample: Sequential | undefined;

  constructor(from: number, width: number, stride: number, shortcut: ResNetShortcut) {
    super(from, width, stride, shortcut);
    this.conv1 = conv(from, width, 3, stride);
    this.bn1 = new BatchNorm2d(width);
    this.conv2 = conv(width, width, 3);
    this.bn2 = new BatchNorm2d(width);
    this.downsample = this.projection();
  }
  protected residual(x: Tensor): Tensor {
    return this.bn2.forward(this.conv2.forward(this.bn1.forward(this.conv1.forward(x)).relu()));
  }
}

/** 1x1 down, 3x3, 1x1 up to four times the width, around a shortcut. */
class Bottleneck extends Block {
  static readonly expansion = 4;
  readonly conv1: Conv2d;
  readonly bn1: BatchNorm2d;
  readonly conv2: Conv2d;
  readonly bn2: BatchNorm2d;
  readonly conv3: Conv2d;
  readonly bn3: BatchNorm2d;
  readonly downsample: Sequential | undefined;

  constructor(from: number, width: number, stride: number, shortcut: ResNetShortcut) {
    super(from, 4 * width, stride, shortcut);
    this.conv1 = conv(from, width, 1);
    this.bn1 = new BatchNorm2d(width);
    this.conv2 = conv(width, width, 3, stride);
    this.bn2 = new BatchNorm2d(width);
    this.conv3 = conv(width, 4 * width, 1);
    this.bn3 = new BatchNorm2d(4 * width);
    this.downsample = this.projection();
  }
  protected residual(x: Tensor): Tensor {
    const h = this.bn1.forward(this.conv1.forward(x)).relu();
    return this.bn3.forward(this.conv3.forward(this.bn2.forward(this.conv2.forward(h)).relu()));
  }
}

/** (N, inChannels, H, W) -> logits (N, numClasses); any size, though the 'imagenet' stem divides it by 32 in all. */
export class ResNet extends Module {
  readonly conv1: Conv2d;
  readonly bn1: BatchNorm2d;
  readonly maxpool: MaxPool2d | undefined;
  readonly layer1: Sequential;
  readonly layer2: Sequential;
  readonly layer3: Sequential;
  readonly layer4: Sequential | undefined;
  readonly avgpool: AdaptiveAvgPool2d;
  readonly fc: Linear | undefined;
  /** The head by akamaster's name. */
  readonly linear: Linear | undefined;

  constructor(
    { block, blocks, widths }: Configuration,
    {
      numClasses = 10,
      inChannels = 3,
      stem = 'imagenet',
      shortcut = 'projection',
    }: ResNetOptions & CifarResNetOptions = {},
  ) {
    super();
    const first = widths[0] as number;
    this.conv1 = stem === 'small' ? conv(inChannels, first, 3) : conv(inChannels, first, 7, 2);
    this.bn1 = new BatchNorm2d(first);
    if (stem === 'imagenet') this.maxpool = new MaxPool2d(3, { stride: 2, padding: 1 });
    let channels = first;
    const stages = blocks.map((count, i) => {
      const width = widths[i] as number;
      const layers = Array.from({ length: count }, (_, j) => {
        const layer = new block(channels, width, i > 0 && j === 0 ? 2 : 1, shortcut);
        channels = width * block.expansion;
        return layer;
      });
      return new Sequential(...layers);
    });
    [this.layer1, this.layer2, this.layer3] = stages as [Sequential, Sequential, Sequential];
    this.layer4 = stages[3];
    this.avgpool = new AdaptiveAvgPool2d(1);
    const head = new Linear(channels, numClasses);
    if (shortcut === 'pad') this.linear = head;
    else this.fc = head;
  }

  /** The last feature maps: (N, C, H', W'). */
  featureMaps(x: Tensor): Tensor {
    let h = this.bn1.forward(this.conv1.forward(x)).relu();
    h = this.maxpool?.forward(h) ?? h;
    h = this.layer3.forward(this.layer2.forward(this.layer1.forward(h)));
    return this.layer4?.forward(h) ?? h;
  }

  forward(x: Tensor): Tensor {
    return ((this.fc ?? this.linear) as Linear).forward(this.avgpool.forward(this.featureMaps(x)).flatten(1));
  }

  /** Stem, blocks, head. */
  structure(): ModelStructure {
    const head = this.fc ? 'fc' : 'linear';
    const { inFeatures } = (this.fc ?? this.linear) as Linear;
    const blocks = [this.layer1, this.layer2, this.layer3, this.layer4].flatMap((stage, i) =>
      (stage?.layers ?? []).map((_, j) => [`layer${i + 1}.${j}`]),
    );
    return {
      stages: [['conv1', 'bn1'], ...blocks, [head]],
      head,
      makeHead: (classes) => new Linear(inFeatures, classes),
    };
  }
}

const imagenetConfigurations = {
  resnet18: { block: BasicBlock, blocks: [2, 2, 2, 2], widths: imagenet },
  resnet34: { block: BasicBlock, blocks: [3, 4, 6, 3], widths: imagenet },
  resnet50: { block: Bottleneck, blocks: [3, 4, 6, 3], widths: imagenet },
} as const;
const cifarConfigurations = {
  resnet20: { block: BasicBlock, blocks: [3, 3, 3], widths: [16, 32, 64] },
  resnet56: { block: BasicBlock, blocks: [9, 9, 9], widths: [16, 32, 64] },
} as const;

for (const [name, configuration] of Object.entries(imagenetConfigurations))
  registerModel({
    name,
    description: `ResNet with ${name.slice(6)} weight layers, torchvision's names`,
    defaults: { numClasses: 10, inChannels: 3, stem: 'imagenet' },
    minSize: [1, 1],
    build: (o) =>
      new ResNet(configuration, {
        numClasses: integerOption(o, 'numClasses'),
        inChannels: integerOption(o, 'inChannels'),
        stem: choiceOption(o, 'stem', ['imagenet', 'small']),
      }),
  });
for (const [name, configuration] of Object.entries(cifarConfigurations))
  registerModel({
    name,
    description: `ResNet with ${name.slice(6)} weight layers for 32x32 images (0.27 or 0.86 M parameters)`,
    defaults: { numClasses: 10, inChannels: 3, shortcut: 'projection' },
    minSize: [1, 1],
    build: (o) =>
      new ResNet(configuration, {
        numClasses: integerOption(o, 'numClasses'),
        inChannels: integerOption(o, 'inChannels'),
        stem: 'small',
        shortcut: choiceOption(o, 'shortcut', ['projection', 'pad']),
      }),
  });

export const resnet18 = (options?: ResNetOptions): ResNet => new ResNet(imagenetConfigurations.resnet18, options);
export const resnet34 = (options?: ResNetOptions): ResNet => new ResNet(imagenetConfigurations.resnet34, options);
export const resnet50 = (options?: ResNetOptions): ResNet => new ResNet(imagenetConfigurations.resnet50, options);
export const resnet20 = (options?: CifarResNetOptions): ResNet =>
  new ResNet(cifarConfigurations.resnet20, { ...options, stem: 'small' });
export const resnet56 = (options?: CifarResNetOptions): ResNet =>
  new ResNet(cifarConfigurations.resnet56, { ...options, stem: 'small' });
