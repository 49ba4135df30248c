/** Multilayer perceptron over flattened images. */
import { Flatten, Linear, Module, ReLU, Sequential } from '../nn/index.ts';
import type { Tensor } from '../tensor/index.ts';
import { integerOption, registerModel } from './registry.ts';
import { type ModelStructure, sequentialStages } from './structure.ts';

/** (N, C, H, W) with C * H * W = inFeatures -> hidden, ReLU -> (N, numClasses). */
export class MLP extends Module {
  readonly layers: Sequential;

  constructor({
    inFeatures = 784,
    hidden = 256,
    numClasses = 10,
  }: { inFeatures?: number; hidden?: number; numClasses?: number } = {}) {
    super();
    this.layers = new Sequential(
      new Flatten(),
      new Linear(inFeatures, hidden),
      new ReLU(),
      new Linear(hidden, numClasses),
    );
  }
  forward(x: Tensor): Tensor {
    return this.layers.forward(x);
  }
  structure(): ModelStructure {
    const { inFeatures } = this.layers.layers[3] as Linear;
    return {
      stages: sequentialStages('layers', this.layers),
      head: 'layers.3',
      makeHead: (classes) => new Linear(inFeatures, classes),
    };
  }
}

registerModel({
  name: 'mlp',
  description: 'Multilayer perceptron 784-256-10 over flattened images',
  defaults: { inFeatures: 784, hidden: 256, numClasses: 10 },
  minSize: [1, 1],
  build: (o) =>
    new MLP({
      inFeatures: integerOption(o, 'inFeatures'),
      hidden: integerOption(o, 'hidden'),
      numClasses: integerOption(o, 'numClasses'),
    }),
});
