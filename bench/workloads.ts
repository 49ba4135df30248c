/**
 * The benchmark's workloads on this side; bench/peers/torch_worker.py holds the same ones. A workload makes its model and
 * one batch; both are written to files, so that the peer starts from the same numbers.
 */
import {
  BertForSequenceClassification,
  type BertOptions,
  ConvVAE,
  createModel,
  DCGANDiscriminator,
  DCGANGenerator,
  GPT2,
} from '../src/models/index.ts';
import { crossEntropy, Linear, LSTM, Module } from '../src/nn/index.ts';
import { AdamW } from '../src/optim/index.ts';
import { adversarialLoss, ganStep, vaeLoss } from '../src/tasks/index.ts';
import { normal, type Tensor, tensor, uniform } from '../src/tensor/index.ts';

export interface Work {
  readonly modules: Readonly<Record<string, Module>>;
  readonly batch: Readonly<Record<string, Tensor>>;
  /** The loss of the batch without dropout. */
  check(): Promise<number>;
  /** One whole training step (or inference), its loss read back. */
  step(): Promise<number>;
}

export interface Workload {
  readonly title: string;
  /** Samples in a step. */
  readonly samples: number;
  /** Multiply-adds of the direct algorithm in a step, times 2, in 1e9; products with padding zeros left out. */
  readonly gflop: number;
  readonly training: boolean;
  make(): Promise<Work>;
}

const labels = (count: number, classes: number): Tensor => tensor(new Int32Array(count).map((_, i) => i % classes));

/** A loss of a fixed batch with AdamW. */
async function optimised<M extends Module>(
  model: M,
  batch: Readonly<Record<string, Tensor>>,
  loss: (model: M, batch: Readonly<Record<string, Tensor>>) => Tensor,
): Promise<Work> {
  const optimizer = new AdamW(model.namedParameters(), { lr: 2e-5 });
  for (const x of Object.values(batch)) await x.realize();
  return {
    modules: { '': model },
    batch,
    async check() {
      model.eval();
      const value = await loss(model, batch).item();
      model.train();
      return value;
    },
    step() {
      const value = loss(model, batch);
      optimizer.zeroGrad();
      value.backward();
      optimizer.step();
      return value.item();
    },
  };
}

/** Cross-entropy. */
const supervised = (model: Module, x: Tensor, y: Tensor): Promise<Work> =>
  optimised(model, { x, y }, () => {
    const logits = model.forward(x);
    return crossEntropy(logits.reshape([-1, logits.shape.at(-1) as number]), y.reshape([-1]));
  });

async function adversarial(): Promise<Work> {
  const [generator, discriminator] = [new DCGANGenerator(), new DCGANDiscriminator()];
  const adamw = (model: Module): AdamW =>
    new AdamW(model.namedParameters(), { lr: 2e-4, betas: [0.5, 0.999], weightDecay: 0 });
  const [generatorOptimizer, discriminatorOptimizer] = [adamw(generator), adamw(discriminator)];
  const gan = { generator, discriminator, generatorOptimizer, discriminatorOptimizer };
  const x = await images(64, 3, 32).realize();
  const z = await normal([64, 100, 1, 1]).realize();
  return {
    modules: { generator, discriminator },
    batch: { x, z },
    check: () => {
      const real = adversarialLoss(discriminator.forward(x), true);
      return real.add(adversarialLoss(discriminator.forward(generator.forward(z)), false)).item();
    },
    async step() {
      const losses = await ganStep(gan, x, z);
      return losses.discriminator + losses.generator;
    },
  };
}

const images = (n: number, channels: number, side: number): Tensor => normal([n, channels, side, side]);

/** Every row another sequence of tokens. */
const tokens = (rows: number, steps: number, vocabulary: number): Tensor =>
  tensor(
    new Int32Array(rows * steps).map((_, i) => (i * 7919) % vocabulary),
    { shape: [rows, steps] },
  );
const bert = (options: BertOptions = {}): Promise<Work> =>
  supervised(new BertForSequenceClassification(options), tokens(16, 128, 30522), labels(16, 2));

const vgg = (classifier: string): Module => createModel('vgg16', { numClasses: 10, classifier });

/** An LSTM over embedded words, classified by its last output. */
class RecurrentClassifier extends Module {
  readonly lstm = new LSTM(128, 256, { batchFirst: true });
  readonly fc = new Linear(256, 10);
  forward(x: Tensor): Tensor {
    return this.fc.forward(this.lstm.forward(x).slice(1, -1).reshape([-1, 256]));
  }
}

export const workloads: Readonly<Record<string, Workload>> = {
  W1: {
    title: 'VGG16, full head, 3x32x32, batch 16',
    samples: 16,
    gflop: 35.18,
    training: true,
    make: () => supervised(vgg('torchvision'), images(16, 3, 32), labels(16, 10)),
  },
  'W1-128': {
    title: 'VGG16, full head, 3x32x32, batch 128',
    samples: 128,
    gflop: 281.41,
    training: true,
    make: () => supervised(vgg('torchvision'), images(128, 3, 32), labels(128, 10)),
  },
  W2: {
    title: 'VGG16, pooled head, 3x32x32, batch 64',
    samples: 64,
    gflop: 94.79,
    training: true,
    make: () => supervised(vgg('pooled'), images(64, 3, 32), labels(64, 10)),
  },
  W2b: {
    title: 'VGG16 features, inference, 3x32x32, batch 64',
    samples: 64,
    gflop: 31.66,
    training: false,
    async make() {
      const model = vgg('pooled').eval() as Module & { features: Module; avgpool: Module };
      const x = await images(64, 3, 32).realize();
      const step = (): Promise<number> => model.avgpool.forward(model.features.forward(x)).mean().item();
      return { modules: { '': model }, batch: { x }, check: step, step };
    },
  },
  W3: {
    title: 'VGG16, full head, 3x224x224, batch 8',
    samples: 8,
    gflop: 717.01,
    training: true,
    make: () => supervised(vgg('torchvision'), images(8, 3, 224), labels(8, 10)),
  },
  W4a: {
    title: 'ResNet-18, 3x224x224, batch 16',
    samples: 16,
    gflop: 157.82,
    training: true,
    make: () => supervised(createModel('resnet18', { numClasses: 1000 }), images(16, 3, 224), labels(16, 1000)),
  },
  W4b: {
    title: 'ResNet-18, 3x32x32, batch 128',
    samples: 128,
    gflop: 16.28,
    training: true,
    make: () => supervised(createModel('resnet18'), images(128, 3, 32), labels(128, 10)),
  },
  W5: {
    title: 'BERT-base classifier, sequence 128, batch 16, dropout 0.1',
    samples: 16,
    gflop: 1072.6,
    training: true,
    make: () => bert(),
  },
  W5t: {
    title: 'BERT classifier of 4 layers, 256 wide, sequence 128, batch 16, dropout 0.1',
    samples: 16,
    gflop: 41.88,
    training: true,
    make: () => bert({ hiddenSize: 256, numHiddenLayers: 4, numAttentionHeads: 4, intermediateSize: 1024 }),
  },
  W6: {
    title: 'GPT of 6 layers, 384 wide, context 256, batch 12, no dropout',
    samples: 12,
    gflop: 217.9,
    training: true,
    make: () => {
      const quiet = { residPdrop: 0, embdPdrop: 0, attnPdrop: 0 };
      const model = new GPT2({ vocabSize: 65, nPositions: 256, nEmbd: 384, nLayer: 6, nHead: 6, ...quiet });
      return supervised(model, tokens(12, 256, 65), tokens(12, 257, 65).slice(1, 1));
    },
  },
  W7: {
    title: 'LSTM classifier, input 128, hidden 256, 100 steps, batch 64',
    samples: 64,
    gflop: 13.42,
    training: true,
    make: () => supervised(new RecurrentClassifier(), normal([64, 100, 128]), labels(64, 10)),
  },
  W8c: {
    title: "PyTorch's MNIST example CNN, 1x28x28, batch 64",
    samples: 64,
    gflop: 4.58,
    training: true,
    make: () => supervised(createModel('mnist-cnn'), images(64, 1, 28), labels(64, 10)),
  },
  W8m: {
    title: 'MLP 784-256-10, batch 64',
    samples: 64,
    gflop: 0.05,
    training: true,
    make: () => supervised(createModel('mlp'), images(64, 1, 28), labels(64, 10)),
  },
  W9: {
    title: 'DCGAN pair, 3x32x32, batch 64',
    samples: 64,
    gflop: 22.27,
    training: true,
    make: adversarial,
  },
  W10: {
    title: 'convolutional VAE, 1x28x28, batch 128',
    samples: 128,
    gflop: 1.94,
    training: true,
    make: () =>
      optimised(new ConvVAE(), { x: uniform([128, 1, 28, 28]) }, (model, { x }) => vaeLoss(model, x as Tensor)),
  },
};
