/** SqueezeNet 1.1 (Iandola et al. 2016, https://arxiv.org/abs/1602.07360) with torchvision's layout and names. */
import {
  AdaptiveAvgPool2d,
  Conv2d,
  Dropout,
  Identity,
  init,
  MaxPool2d,
  Module,
  ReLU,
  Sequential,
} from '../nn/index.ts';
import { concat, normal, type Tensor, zeros } from '../tensor/index.ts';
import { booleanOption, integerOption, probabilityOption, registerModel } from './registry.ts';
import { type ModelStructure, sequentialStages } from './structure.ts';

export interface SqueezeNetOptions {
  numClasses?: number;
  inChannels?: number;
  /** Before the last convolution. */
  dropout?: number;
  /** Whether logits are held at 0 and above before they are averaged, as published. Numbers and sigmoids need false. */
  outputRelu?: boolean;
}

// He uniform weights and zero biases, as torchvision.
function conv(from: number, to: number, kernel: number, options: { stride?: number; padding?: number } = {}): Conv2d {
  const layer = new Conv2d(from, to, kernel, options);
  layer.reset(init.kaimingUniform(layer.weight.shape), zeros([to]));
  return layer;
}

function lastConv(classes: number): Conv2d {
  const layer = new Conv2d(512, classes, 1);
  layer.reset(normal(layer.weight.shape, { std: 0.01 }), zeros([classes]));
  return layer;
}

/** 1x1 squeeze to few channels, then 1x1 and 3x3 expansions side by side.  (N, C, H, W) -> (N, 2 * expand, H, W). */
class Fire extends Module {
  readonly squeeze: Conv2d;
  readonly expand1x1: Conv2d;
  readonly expand3x3: Conv2d;

  constructor(from: number, squeeze: number, expand: number) {
    super();
    this.squeeze = conv(from, squeeze, 1);
    this.expand1x1 = conv(squeeze, expand, 1);
    this.expand3x3 = conv(squeeze, expand, 3, { padding: 1 });
  }
  forward(x: Tensor): Tensor {
    const h = this.squeeze.forward(x).relu();
    return concat([this.expand1x1.forward(h).relu(), this.expand3x3.forward(h).relu()], 1);
  }
}

// Three poolings after the first convolution must each find more than one pixel.
const MIN_SIZE = 17;

/** (N, inChannels, H, W), H and W at least 17 -> logits (N, numClasses). */
export class SqueezeNet extends Module {
  readonly features: Sequential;
  readonly classifier: Sequential;

  constructor({ numClasses = 10, inChannels = 3, dropout = 0.5, outputRelu = true }: SqueezeNetOptions = {}) {
    super();
    const pool = (): MaxPool2d => new MaxPool2d(3, { stride: 2, ceilMode: true });
    this.features = new Sequential(
      conv(inChannels, 64, 3, { stride: 2 }),
      new ReLU(),
      pool(),
      new Fire(64, 16, 64),
      new Fire(128, 16, 64),
      pool(),
      new Fire(128, 32, 128),
      new Fire(256, 32, 128),
      pool(),
      new Fire(256, 48, 192),
      new Fire(384, 48, 192),
      new Fire(384, 64, 256),
      new Fire(512, 64, 256),
    );
    const last = outputRelu ? new ReLU() : new Identity();
    this.classifier = new Sequential(new Dropout(dropout), lastConv(numClasses), last, new AdaptiveAvgPool2d(1));
  }

  forward(x: Tensor): Tensor {
    return this.classifier.forward(this.featureMaps(x)).flatten(1);
  }

  /** What the classifier reads: (N, 512, H', W'), about a sixteenth of the sides. */
  featureMaps(x: Tensor): Tensor {
    return this.features.forward(x);
  }

  structure(): ModelStructure {
    const stages = [...sequentialStages('features', this.features), ...sequentialStages('classifier', this.classifier)];
    return { stages, head: 'classifier.1', makeHead: lastConv };
  }
}

registerModel({
  name: 'squeezenet1_1',
  description: "SqueezeNet 1.1 (1.2 M parameters with 1000 classes), torchvision's names",
  defaults: { numClasses: 10, inChannels: 3, dropout: 0.5, outputRelu: true },
  minSize: [MIN_SIZE, MIN_SIZE],
  build: (o) =>
    new SqueezeNet({
      numClasses: integerOption(o, 'numClasses'),
      inChannels: integerOption(o, 'inChannels'),
      dropout: probabilityOption(o, 'dropout'),
      outputRelu: booleanOption(o, 'outputRelu'),
    }),
});

export const squeezenet11 = (options?: SqueezeNetOptions): SqueezeNet => new SqueezeNet(options);
