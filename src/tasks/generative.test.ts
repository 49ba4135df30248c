/** GAN and VAE steps: they learn, draw from the named streams, and refuse what does not fit. */
import { describe, expect, test } from 'vitest';
import { type CambiumError, ShapeError } from '../base/index.ts';
import { ConvVAE, DCGANDiscriminator, DCGANGenerator } from '../models/index.ts';
import { Adam } from '../optim/index.ts';
import { manualSeed, normal, uniform, zeros } from '../tensor/index.ts';
import { adversarialLoss, elboLoss, ganStep, vaeLoss } from './index.ts';

const errorOf = (body: () => unknown): CambiumError => {
  try {
    body();
  } catch (error) {
    return error as CambiumError;
  }
  return expect.fail('nothing was thrown');
};

describe('VAE', () => {
  const small = (): ConvVAE => new ConvVAE({ imageSize: 8, latent: 3, width: 4 });

  test('learns a batch', async () => {
    manualSeed(1);
    const model = small();
    const optimizer = new Adam(model.parameters(), { lr: 1e-2 });
    const x = await uniform([8, 1, 8, 8]).round().realize();
    const losses: number[] = [];
    for (let i = 0; i < 60; i++) {
      const loss = vaeLoss(model, x);
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      losses.push(await loss.item());
    }
    // 64 fair coins cost 64 ln 2 = 44.4.
    expect(losses[0]).toBeGreaterThan(40);
    expect(losses.at(-1)).toBeLessThan(41);
  });

  test('samples N(mu, exp(logvar)) in training, the same for the same seed; takes mu in evaluation', async () => {
    const model = small();
    const posterior = { mu: zeros([4000, 3]).add(2), logvar: zeros([4000, 3]).add(Math.log(0.25)) };
    const draw = async (): Promise<number[]> => {
      manualSeed(7);
      return Array.from(await model.reparameterise(posterior).data());
    };
    const z = await draw();
    const mean = z.reduce((a, b) => a + b) / z.length;
    const deviation = Math.sqrt(z.reduce((a, b) => a + (b - mean) ** 2, 0) / z.length);
    expect(mean).toBeCloseTo(2, 1);
    expect(deviation).toBeCloseTo(0.5, 1);
    expect(await draw()).toEqual(z);
    model.eval();
    expect(new Set(await draw())).toEqual(new Set([2]));
  });

  test('the divergence of a standard normal from itself is 0, and of N(1, 1) 1/2 a dimension', async () => {
    const x = zeros([2, 1, 8, 8]);
    const loss = async (mu: number): Promise<number> =>
      elboLoss(x, x, { mu: zeros([2, 3]).add(mu), logvar: zeros([2, 3]) }).item();
    const plain = 64 * Math.LN2;
    expect(await loss(0)).toBeCloseTo(plain, 3);
    expect(await loss(1)).toBeCloseTo(plain + 1.5, 3);
  });

  test('samples are images; sides that do not halve twice are refused', async () => {
    const images = small().sample(5);
    expect(images.shape).toEqual([5, 1, 8, 8]);
    expect((await images.data()).every((v) => v > 0 && v < 1)).toBe(true);
    expect(errorOf(() => new ConvVAE({ imageSize: 30 })).code).toBe('SIZE_INVALID');
  });
});

describe('GAN', () => {
  test('a discriminator learns real from generated, and a generator to fool it', async () => {
    manualSeed(3);
    const options = { imageSize: 16, width: 4, channels: 1 };
    const generator = new DCGANGenerator({ ...options, latent: 5 });
    const discriminator = new DCGANDiscriminator(options);
    const adam = (lr: number, m: DCGANGenerator | DCGANDiscriminator): Adam =>
      new Adam(m.parameters(), { lr, betas: [0.5, 0.999] });
    const gan = {
      generator,
      discriminator,
      generatorOptimizer: adam(0, generator),
      discriminatorOptimizer: adam(1e-2, discriminator),
    };
    const real = await uniform([8, 1, 16, 16], { low: -1 }).realize();
    const noise = await normal([8, 5]).realize();
    const first = await ganStep(gan, real, noise);
    for (let i = 0; i < 10; i++) await ganStep(gan, real, noise);
    const taught = await ganStep(gan, real, noise);
    expect(taught.discriminator).toBeLessThan(0.5 * first.discriminator);

    const against = {
      ...gan,
      generatorOptimizer: adam(1e-2, generator),
      discriminatorOptimizer: adam(0, discriminator),
    };
    const before = await ganStep(against, real, noise);
    for (let i = 0; i < 10; i++) await ganStep(against, real, noise);
    expect((await ganStep(against, real, noise)).generator).toBeLessThan(before.generator);
  });

  test('fair logits cost ln 2', async () => {
    expect(await adversarialLoss(zeros([4]), true).item()).toBeCloseTo(Math.LN2, 6);
  });

  test('refusals', () => {
    expect(errorOf(() => new DCGANGenerator({ imageSize: 28 })).code).toBe('SIZE_INVALID');
    expect(errorOf(() => new DCGANGenerator().forward(zeros([2, 99])))).toBeInstanceOf(ShapeError);
    expect(errorOf(() => new DCGANDiscriminator().forward(zeros([2, 3, 64, 64]))).code).toBe('SIZE_MISMATCH');
  });
});
