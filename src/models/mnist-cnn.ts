/** The small CNN of PyTorch's MNIST example. */
import { Conv2d, Dropout, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential } from '../nn/index.ts';
import type { Tensor } from '../tensor/index.ts';
import { integerOption, probabilityOption, registerModel } from './registry.ts';

export interface MnistCnnOptions {
  numClasses?: number;
  inChannels?: number;
  /** Side of the square input: 28 unless told. */
  imageSize?: number;
  /** After the pooling; the head drops twice as much. */
  dropout?: number;
}

/** conv 32 - conv 64 - pool 2 - dropout - fc 128 - dropout - fc.  (N, C, 28, 28) -> (N, numClasses). */
export class MnistCnn extends Module {
  readonly features: Sequential;
  readonly classifier: Sequential;

  constructor({ numClasses = 10, inChannels = 1, imageSize = 28, dropout = 0.25 }: MnistCnnOptions = {}) {
    super();
    const side = Math.floor((imageSize - 4) / 2);
    this.features = new Sequential(
      new Conv2d(inChannels, 32, 3),
      new ReLU(),
      new Conv2d(32, 64, 3),
      new ReLU(),
      new MaxPool2d(2),
      new Dropout(dropout),
    );
    this.classifier = new Sequential(
      new Flatten(),
      new Linear(64 * side * side, 128),
      new ReLU(),
      new Dropout(Math.min(1, 2 * dropout)),
      new Linear(128, numClasses),
    );
  }
  forward(x: Tensor): Tensor {
    return this.run(this.classifier, this.run(this.features, x));
  }
}

registerModel({
  name: 'mnist-cnn',
  description: "The small CNN of PyTorch's MNIST example (1.2 M parameters)",
  defaults: { numClasses: 10, inChannels: 1, imageSize: 28, dropout: 0.25 },
  minSize: [6, 6],
  build: (o) =>
    new MnistCnn({
      numClasses: integerOption(o, 'numClasses'),
      inChannels: integerOption(o, 'inChannels'),
      imageSize: integerOption(o, 'imageSize'),
      dropout: probabilityOption(o, 'dropout'),
    }),
});
