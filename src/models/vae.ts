/** A convolutional variational autoencoder (Kingma and Welling 2014, https://arxiv.org/abs/1312.6114). */
import { ArgumentError } from '../base/index.ts';
import { Conv2d, ConvTranspose2d, Flatten, Linear, Module, ReLU, Sequential } from '../nn/index.ts';
import { normal, type Tensor } from '../tensor/index.ts';

export interface ConvVAEOptions {
  /** Side of the square images: a multiple of 4. */
  imageSize?: number;
  channels?: number;
  /** Dimensions of the latent vector. */
  latent?: number;
  /** Channels after the first halving; the second doubles them. */
  width?: number;
}

/** The approximate posterior N(mu, exp(logvar)) of each sample; both (N, latent). */
export interface Posterior {
  readonly mu: Tensor;
  readonly logvar: Tensor;
}

/** Two strided convolutions down, two transposed ones up.  (N, channels, S, S) in [0, 1] -> logits of the same shape. */
export class ConvVAE extends Module {
  readonly encoder: Sequential;
  readonly mu: Linear;
  readonly logvar: Linear;
  readonly expand: Linear;
  readonly decoder: Sequential;
  readonly latent: number;
  readonly #map: readonly [number, number, number];

  constructor({ imageSize = 28, channels = 1, latent = 20, width = 32 }: ConvVAEOptions = {}) {
    super();
    if (!Number.isInteger(imageSize / 4) || imageSize < 4)
      throw new ArgumentError('SIZE_INVALID', `[vae] imageSize must be a multiple of 4, got ${imageSize}`, {
        op: 'vae',
        field: 'imageSize',
        got: imageSize,
        hint: 'pad or resize the images',
      });
    const side = imageSize / 4;
    const features = 2 * width * side * side;
    this.latent = latent;
    this.#map = [2 * width, side, side];
    this.encoder = new Sequential(
      new Conv2d(channels, width, 3, { stride: 2, padding: 1 }),
      new ReLU(),
      new Conv2d(width, 2 * width, 3, { stride: 2, padding: 1 }),
      new ReLU(),
      new Flatten(),
    );
    this.mu = new Linear(features, latent);
    this.logvar = new Linear(features, latent);
    this.expand = new Linear(latent, features);
    this.decoder = new Sequential(
      new ConvTranspose2d(2 * width, width, 4, { stride: 2, padding: 1 }),
      new ReLU(),
      new ConvTranspose2d(width, channels, 4, { stride: 2, padding: 1 }),
    );
  }

  encode(x: Tensor): Posterior {
    const h = this.encoder.forward(x);
    return { mu: this.mu.forward(h), logvar: this.logvar.forward(h) };
  }

  /** mu + exp(logvar / 2) * epsilon, epsilon drawn from the global stream in training; mu itself in evaluation. */
  reparameterise({ mu, logvar }: Posterior): Tensor {
    return this.training ? mu.add(normal(mu.shape).mul(logvar.mul(0.5).exp())) : mu;
  }

  /** Latent vectors (N, latent) -> logits of the pixels (N, channels, S, S). */
  decode(z: Tensor): Tensor {
    return this.decoder.forward(
      this.expand
        .forward(z)
        .relu()
        .reshape(-1, ...this.#map),
    );
  }

  forward(x: Tensor): Tensor {
    return this.decode(this.reparameterise(this.encode(x)));
  }

  /** `count` images drawn from the prior, pixels in [0, 1]. */
  sample(count: number): Tensor {
    return this.decode(normal([count, this.latent])).sigmoid();
  }
}
