/** Training of generative models: the alternating steps of a GAN, and the evidence lower bound of a VAE. */
import type { ConvVAE, DCGANDiscriminator, DCGANGenerator, Posterior } from '../models/index.ts';
import { bceWithLogitsLoss } from '../nn/index.ts';
import type { Optimizer } from '../optim/index.ts';
import { flush, full, type Tensor } from '../tensor/index.ts';

export interface GAN {
  readonly generator: DCGANGenerator;
  readonly discriminator: DCGANDiscriminator;
  readonly generatorOptimizer: Optimizer;
  readonly discriminatorOptimizer: Optimizer;
}

/** Means over the batch of one step. */
export interface GANLosses {
  /** -log D(real) - log(1 - D(fake)). */
  readonly discriminator: number;
  /** -log D(fake), by the discriminator just updated. */
  readonly generator: number;
}

/** The mean of -log sigmoid(logits) for real = true, of -log(1 - sigmoid(logits)) otherwise.  logits (N). */
export const adversarialLoss = (logits: Tensor, real: boolean): Tensor =>
  bceWithLogitsLoss(logits, full(logits.shape, real ? 1 : 0));

/**
 * One alternating step (Goodfellow et al. 2014, with the generator's non-saturating loss): first the discriminator on a
 * real and a generated batch, then the generator against the updated discriminator. real (N, C, S, S) in [-1, 1], noise
 * (N, latent). Both updates are one program.
 */
export async function ganStep(
  { generator, discriminator, generatorOptimizer, discriminatorOptimizer }: GAN,
  real: Tensor,
  noise: Tensor,
): Promise<GANLosses> {
  generator.train();
  discriminator.train();
  discriminatorOptimizer.zeroGrad();
  const fake = generator.forward(noise);
  const discriminatorLoss = adversarialLoss(discriminator.forward(real), true).add(
    adversarialLoss(discriminator.forward(fake.detach()), false),
  );
  discriminatorLoss.backward();
  discriminatorOptimizer.step();

  generatorOptimizer.zeroGrad();
  const generatorLoss = adversarialLoss(discriminator.forward(fake), true);
  generatorLoss.backward();
  generatorOptimizer.step();
  // Left over by the generator's pass; nobody wants it, so it is never computed.
  discriminatorOptimizer.zeroGrad();
  await flush([discriminatorLoss.node, generatorLoss.node]);
  return { discriminator: await discriminatorLoss.item(), generator: await generatorLoss.item() };
}

/**
 * -ELBO per sample: the reconstruction's binary cross-entropy summed over pixels, plus `beta` times the divergence
 * KL(N(mu, exp(logvar)) || N(0, 1)) = -1/2 sum(1 + logvar - mu^2 - exp(logvar)) (Kingma and Welling 2014, appendix B;
 * beta: Higgins et al. 2017). logits and x (N, ...) of one shape, x in [0, 1].
 */
export function elboLoss(
  logits: Tensor,
  x: Tensor,
  { mu, logvar }: Posterior,
  { beta = 1 }: { beta?: number } = {},
): Tensor {
  const reconstruction = bceWithLogitsLoss(logits, x, { reduction: 'sum' });
  const divergence = logvar
    .add(1)
    .sub(mu.square())
    .sub(logvar.exp())
    .sum()
    .mul(-0.5 * beta);
  return reconstruction.add(divergence).div(x.shape[0] as number);
}

/** -ELBO of a batch of images by `model`; a sampled latent in training mode, the mean in evaluation. */
export function vaeLoss(model: ConvVAE, x: Tensor, options?: { beta?: number }): Tensor {
  const posterior = model.encode(x);
  return elboLoss(model.decode(model.reparameterise(posterior)), x, posterior, options);
}
