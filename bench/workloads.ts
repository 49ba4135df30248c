/**
 * The benchmark's workloads on this side; bench/peers/torch_worker.py holds the same ones. A workload makes its model and
 * one batch; both are written to files, so that the peer starts from the same numbers.
 */
import { createModel } from '../src/models/index.ts';
import { crossEntropy, type Module } from '../src/nn/index.ts';
import { AdamW } from '../src/optim/index.ts';
import { normal, type Tensor, tensor } from '../src/tensor/index.ts';

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

/** Cross-entropy on a fixed batch with AdamW. */
async function supervised(model: Module, x: Tensor, y: Tensor): Promise<Work> {
  const optimizer = new AdamW(model.namedParameters(), { lr: 2e-5 });
  await x.realize();
  const loss = (): Tensor => {
    const logits = model.forward(x);
    return crossEntropy(logits.reshape([-1, logits.shape.at(-1) as number]), y.reshape([-1]));
  };
  return {
    modules: { '': model },
    batch: { x, y },
    async check() {
      model.eval();
      const value = await loss().item();
      model.train();
      return value;
    },
    step() {
      const value = loss();
      optimizer.zeroGrad();
      value.backward();
      optimizer.step();
      return value.item();
    },
  };
}

const images = (n: number, channels: number, side: number): Tensor => normal([n, channels, side, side]);

const vgg = (classifier: string): Module => createModel('vgg16', { numClasses: 10, classifier });

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
};
