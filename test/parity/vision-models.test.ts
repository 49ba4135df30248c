/** Vision models against PyTorch: names and shapes of their state, logits, gradients, three steps; a GAN's and a VAE's steps. */
import { describe, expect, test } from 'vitest';
import {
  ConvVAE,
  DCGANDiscriminator,
  DCGANGenerator,
  resnet18,
  resnet20,
  resnet34,
  resnet50,
  resnet56,
  squeezenet11,
  ViT,
  vgg11,
  vgg13,
  vgg16,
  vgg19,
} from '../../src/models/index.ts';
import { crossEntropy, type Module } from '../../src/nn/index.ts';
import { Adam, SGD } from '../../src/optim/index.ts';
import { ganStep, vaeLoss } from '../../src/tasks/index.ts';
import { currentBackend, flush, type Tensor } from '../../src/tensor/index.ts';
import { expectClose, golden, initialise, integers, stream } from './streams.ts';

interface ModelGolden {
  shapes: Record<string, number[]>;
  logits: number[];
  losses: number[];
  grads: Record<string, number>;
}

// CLASSIFIERS and PLAIN of test/golden/scripts/vision_models.py.
const classifiers: Record<string, () => Module> = {
  resnet18: () => resnet18(),
  resnet18Small: () => resnet18({ stem: 'small' }),
  resnet34: () => resnet34(),
  resnet50: () => resnet50(),
  resnet20: () => resnet20(),
  resnet56Pad: () => resnet56({ shortcut: 'pad' }),
  squeezenet1_1: () => squeezenet11({ dropout: 0 }),
  vgg11: () => vgg11({ classifier: 'pooled' }),
  vgg13: () => vgg13({ classifier: 'pooled' }),
  vgg16: () => vgg16({ classifier: 'pooled' }),
  vgg19: () => vgg19({ classifier: 'pooled' }),
  resnet56: () => resnet56(),
};
const goldens = {
  ...golden<Record<string, ModelGolden>>('vision-models'),
  ...golden<Record<string, ModelGolden>>('vision-models-plain'),
};
const images = [4, 3, 40, 40];

const shapesOf = (model: Module): Record<string, readonly number[]> =>
  Object.fromEntries([...model.stateDict()].map(([name, { shape }]) => [name, shape]));

/** |a - b| relative to b. */
const apart = (a: number, b: number): number => Math.abs(a - b) / Math.abs(b);

describe('state dicts have PyTorch’s names, order and shapes', () => {
  test.each(Object.keys(goldens))('%s', (name) => {
    const shapes = shapesOf((classifiers[name] as () => Module)());
    expect(shapes).toEqual(goldens[name]?.shapes);
    expect(Object.keys(shapes)).toEqual(Object.keys(goldens[name]?.shapes ?? {}));
  });
});

// ResNet-50 is chaotic with these weights and four images: its early gradients differ by 8e-3 between PyTorch in f32 and in
// f64 (the script prints it), so that only its first step is compared. Elsewhere gradients agree to 5e-6 until a ReLU flips
// on a value near zero: that costs up to 4e-4 with direct convolutions and, flipping more, up to 4e-3 with Winograd's.
const gradientTolerance: Record<string, number> = {
  resnet50: 2e-2,
  resnet18Small: 6e-3,
  resnet20: 6e-3,
  resnet56Pad: 6e-3,
  // The script prints 6.3e-3 between PyTorch in f32 and in f64.
  resnet56: 2e-2,
};

/** Sums of |gradient| against PyTorch's in f64; where little is left of large terms, rounding weighs more. */
async function checkGradients(model: Module, expected: Record<string, number>, tolerance: number): Promise<void> {
  const sums = model
    .namedParameters()
    .map(({ name, variable }) => [name, (variable.grad as Tensor).abs().sum()] as const);
  await flush(sums.map(([, sum]) => sum.node));
  for (const [name, sum] of sums) {
    const wanted = expected[name] as number;
    expect(Math.abs((await sum.item()) - wanted) / Math.max(wanted, 1e-3), `grad ${name}`).toBeLessThan(tolerance);
  }
}

// Minutes on the reference backend.
describe.skipIf(currentBackend().name === 'reference')('classifiers agree with PyTorch', () => {
  test.each(Object.keys(goldens))(
    '%s',
    async (name) => {
      const expected = goldens[name] as ModelGolden;
      const model = (classifiers[name] as () => Module)();
      initialise(model);
      expectClose(
        await model
          .eval()
          .forward(stream(70, images, -1, 1))
          .data(),
        expected.logits,
        1e-4,
        'logits',
      );
      model.train();
      const optimizer = new SGD(model.parameters(), { lr: 1e-4, momentum: 0.9 });
      for (const [step, wanted] of expected.losses.entries()) {
        const loss = crossEntropy(model.forward(stream(10 + step, images, -1, 1)), integers(40 + step, [4], 10));
        optimizer.zeroGrad();
        loss.backward();
        if (step === 0) await checkGradients(model, expected.grads, gradientTolerance[name] ?? 1e-3);
        optimizer.step();
        expect(apart(await loss.item(), wanted), `loss ${step}`).toBeLessThan(
          name === 'resnet50' && step > 0 ? 2e-2 : 2e-4,
        );
      }
    },
    120_000,
  );
});

describe('generative models agree with PyTorch', () => {
  const expected = golden<{
    gan: { shapes: Record<string, number[]>; generator: number[]; discriminator: number[] };
    vae: { shapes: Record<string, number[]>; losses: number[] };
  }>('generative');

  test('four alternating steps of a DCGAN', async () => {
    const generator = new DCGANGenerator({ latent: 16, width: 8 });
    const discriminator = new DCGANDiscriminator({ width: 8 });
    initialise(generator);
    initialise(discriminator);
    const named = (prefix: string, model: Module): [string, readonly number[]][] =>
      Object.entries(shapesOf(model)).map(([name, shape]) => [`${prefix}.${name}`, shape]);
    expect(Object.fromEntries([...named('generator', generator), ...named('discriminator', discriminator)])).toEqual(
      expected.gan.shapes,
    );
    const adam = (model: Module): Adam => new Adam(model.parameters(), { lr: 2e-4, betas: [0.5, 0.999] });
    const gan = {
      generator,
      discriminator,
      generatorOptimizer: adam(generator),
      discriminatorOptimizer: adam(discriminator),
    };
    for (const step of [0, 1, 2, 3]) {
      const losses = await ganStep(gan, stream(10 + step, [8, 3, 32, 32], -1, 1), stream(20 + step, [8, 16], -2, 2));
      for (const side of ['discriminator', 'generator'] as const)
        expect(apart(losses[side], expected.gan[side][step] as number), `${side} ${step}`).toBeLessThan(1e-4);
    }
  });

  test('four steps of a convolutional VAE, without its noise', async () => {
    const model = new ConvVAE({ latent: 6, width: 4 });
    initialise(model);
    expect(shapesOf(model)).toEqual(expected.vae.shapes);
    model.eval();
    const optimizer = new Adam(model.parameters(), { lr: 1e-3 });
    for (const step of [0, 1, 2, 3]) {
      const loss = vaeLoss(model, stream(10 + step, [8, 1, 28, 28], 0, 1));
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      expect(apart(await loss.item(), expected.vae.losses[step] as number), `loss ${step}`).toBeLessThan(1e-5);
    }
  });
});

test('a small ViT agrees with transformers', async () => {
  const expected = golden<{
    shapes: Record<string, number[]>;
    logits: number[];
    dx: number[];
    grads: Record<string, number>;
  }>('vit');
  const sizes = { hiddenSize: 24, numLayers: 2, numHeads: 3, intermediateSize: 40 };
  const model = new ViT({ ...sizes, imageSize: 12, patchSize: 4, numClasses: 5 });
  expect(shapesOf(model)).toEqual(expected.shapes);
  const names = Object.keys(expected.shapes);
  model.loadStateDict(new Map(names.map((k, i) => [k, stream(1000 + i, expected.shapes[k] as number[], -0.4, 0.4)])));
  const x = stream(70, [3, 3, 12, 12], -1, 1);
  x.requiresGrad = true;
  const logits = model.forward(x);
  crossEntropy(logits, integers(40, [3], 5)).backward();
  expectClose(await logits.data(), expected.logits, 5e-6, 'logits');
  expectClose(await (x.grad as Tensor).data(), expected.dx, 5e-6, 'dx');
  await checkGradients(model, expected.grads, 1e-4);
});
