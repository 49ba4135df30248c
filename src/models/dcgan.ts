/**
 * DCGAN (Radford et al. 2016, https://arxiv.org/abs/1511.06434) with the names and initial values of PyTorch's tutorial
 * (https://docs.pytorch.org/tutorials/beginner/dcgan_faces_tutorial.html), for square images of 8, 16, 32 ... pixels.
 */
import { ArgumentError, formatShape, ShapeError } from '../base/index.ts';
import { BatchNorm2d, Conv2d, ConvTranspose2d, LeakyReLU, Module, ReLU, Sequential, Tanh } from '../nn/index.ts';
import { normal, type Tensor, zeros } from '../tensor/index.ts';

export interface DCGANOptions {
  /** Side of the images: 4 times a power of two. */
  imageSize?: number;
  channels?: number;
  /** Channels beside the image; each halving of the side doubles them (the tutorial's ngf and ndf). */
  width?: number;
}

/** Times the side doubles from 4 to `imageSize`. */
function doublings(imageSize: number): number {
  const n = Math.log2(imageSize / 4);
  if (Number.isInteger(n) && n >= 1) return n;
  throw new ArgumentError('SIZE_INVALID', `[dcgan] imageSize must be 8, 16, 32, 64 ..., got ${imageSize}`, {
    op: 'dcgan',
    field: 'imageSize',
    got: imageSize,
    hint: 'resize the images to 32 x 32 or 64 x 64',
  });
}

// The tutorial's weights_init: N(0, 0.02), and N(1, 0.02) for norms.
function started<M extends Conv2d | ConvTranspose2d>(layer: M): M {
  layer.reset(normal(layer.weight.shape, { std: 0.02 }));
  return layer;
}
function norm(channels: number): BatchNorm2d {
  const layer = new BatchNorm2d(channels);
  layer.weight?.initialize(normal([channels], { mean: 1, std: 0.02 }));
  layer.bias?.initialize(zeros([channels]));
  return layer;
}

/** Noise (N, latent, 1, 1) or (N, latent) -> images (N, channels, imageSize, imageSize) in [-1, 1]. */
export class DCGANGenerator extends Module {
  readonly main: Sequential;
  readonly latent: number;

  constructor({ latent = 100, imageSize = 32, channels = 3, width = 64 }: DCGANOptions & { latent?: number } = {}) {
    super();
    this.latent = latent;
    let size = width * 2 ** (doublings(imageSize) - 1);
    const layers: Module[] = [started(new ConvTranspose2d(latent, size, 4, { bias: false }))];
    for (; size >= 2 * width; size /= 2)
      layers.push(norm(size), new ReLU(), started(new ConvTranspose2d(size, size / 2, 4, halving)));
    layers.push(norm(width), new ReLU(), started(new ConvTranspose2d(width, channels, 4, halving)), new Tanh());
    this.main = new Sequential(...layers);
  }

  forward(z: Tensor): Tensor {
    if (z.shape[1] !== this.latent || z.size !== (z.shape[0] as number) * this.latent)
      throw new ShapeError(
        'FEATURES_MISMATCH',
        `[dcgan] the generator takes noise (N, ${this.latent}), got ${formatShape(z.shape)}`,
        { op: 'dcgan', expected: ['N', this.latent], got: z.shape },
      );
    return this.main.forward(z.reshape(-1, this.latent, 1, 1));
  }
}

/**
 * Images (N, channels, imageSize, imageSize) -> logits (N) of being real; the sigmoid that ends the tutorial's belongs to
 * the loss here.
 */
export class DCGANDiscriminator extends Module {
  readonly main: Sequential;

  constructor({ imageSize = 32, channels = 3, width = 64 }: DCGANOptions = {}) {
    super();
    const layers: Module[] = [started(new Conv2d(channels, width, 4, halving)), new LeakyReLU(0.2)];
    const last = width * 2 ** (doublings(imageSize) - 1);
    for (let size = width; size < last; size *= 2)
      layers.push(started(new Conv2d(size, 2 * size, 4, halving)), norm(2 * size), new LeakyReLU(0.2));
    this.main = new Sequential(...layers, started(new Conv2d(last, 1, 4, { bias: false })));
  }

  forward(x: Tensor): Tensor {
    const y = this.main.forward(x);
    if (y.shape[2] !== 1 || y.shape[3] !== 1)
      throw new ShapeError('SIZE_MISMATCH', `[dcgan] the discriminator leaves ${formatShape(y.shape)} of the images`, {
        op: 'dcgan',
        got: x.shape,
        hint: 'build it with imageSize equal to the side of the images',
      });
    return y.reshape(-1);
  }
}

const halving = { stride: 2, padding: 1, bias: false } as const;
