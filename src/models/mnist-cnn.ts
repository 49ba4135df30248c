/** The small CNN of PyTorch's MNIST example (https://github.com/pytorch/examples/tree/main/mnist). */
import { ConfigError } from '../base/index.ts';
import { Conv2d, Dropout, Linear, MaxPool2d, Module } from '../nn/index.ts';
import type { Tensor } from '../tensor/index.ts';
import { integerOption, probabilityOption, registerModel } from './registry.ts';
import type { ModelStructure } from './structure.ts';

// Two 3x3 convolutions and a pooling leave one pixel.
const MIN_SIZE = 6;

export interface MnistCnnOptions {
  numClasses?: number;
  inChannels?: number;
  /** Side of the square input: 28 unless told. */
  imageSize?: number;
  /** After the pooling; the head drops twice as much. */
  dropout?: number;
}

/**
 * conv 32 - conv 64 - pool 2 - dropout - fc 128 - dropout - fc, with the example's names (conv1, conv2, fc1, fc2).
 * (N, C, 28, 28) -> logits (N, numClasses); the example's own logSoftmax belongs to the loss here.
 */
export class MnistCnn extends Module {
  readonly conv1: Conv2d;
  readonly conv2: Conv2d;
  readonly pool: MaxPool2d;
  readonly dropout1: Dropout;
  readonly dropout2: Dropout;
  readonly fc1: Linear;
  readonly fc2: Linear;

  constructor({ numClasses = 10, inChannels = 1, imageSize = 28, dropout = 0.25 }: MnistCnnOptions = {}) {
    super();
    const side = Math.floor((imageSize - 4) / 2);
    if (side < 1)
      throw new ConfigError('MODEL_OPTION_INVALID', `model option "imageSize" must be at least ${MIN_SIZE}`, {
        field: 'model.imageSize',
        expected: `>= ${MIN_SIZE}`,
        got: imageSize,
      });
    this.conv1 = new Conv2d(inChannels, 32, 3);
    this.conv2 = new Conv2d(32, 64, 3);
    this.pool = new MaxPool2d(2);
    this.dropout1 = new Dropout(dropout);
    this.dropout2 = new Dropout(Math.min(1, 2 * dropout));
    this.fc1 = new Linear(64 * side * side, 128);
    this.fc2 = new Linear(128, numClasses);
  }

  forward(x: Tensor): Tensor {
    let h = this.dropout1.forward(this.featureMaps(x)).flatten(1);
    h = this.dropout2.forward(this.fc1.forward(h).relu()); // (N, 128)
    return this.fc2.forward(h);
  }

  /** What the first linear layer reads, before dropout: (N, 64, (H - 4) / 2, (W - 4) / 2). */
  featureMaps(x: Tensor): Tensor {
    const h = this.conv1.forward(x).relu(); // (N, 32, H - 2, W - 2)
    return this.pool.forward(this.conv2.forward(h).relu());
  }

  structure(): ModelStructure {
    return {
      stages: [['conv1'], ['conv2'], ['dropout1', 'fc1'], ['dropout2', 'fc2']],
      head: 'fc2',
      makeHead: (classes) => new Linear(128, classes),
    };
  }
}

registerModel({
  name: 'mnist-cnn',
  description: "The small CNN of PyTorch's MNIST example (1.2 M parameters)",
  defaults: { numClasses: 10, inChannels: 1, imageSize: 28, dropout: 0.25 },
  minSize: [MIN_SIZE, MIN_SIZE],
  build: (o) =>
    new MnistCnn({
      numClasses: integerOption(o, 'numClasses'),
      inChannels: integerOption(o, 'inChannels'),
      imageSize: integerOption(o, 'imageSize'),
      dropout: probabilityOption(o, 'dropout'),
    }),
});
