/** Normalisation layers. */
import { ArgumentError, formatShape, ShapeError } from '../base/index.ts';
import { ones, type Tensor, type Variable, zeros } from '../tensor/index.ts';
import { layerNorm } from './functional.ts';
import { Module } from './module.ts';

export interface BatchNormOptions {
  eps?: number;
  /** Share of the new batch in the running statistics. */
  momentum?: number;
}

/**
 * y = (x - mean) / sqrt(var + eps) * weight + bias per channel (Ioffe and Szegedy 2015). Training uses the batch's biased
 * variance and moves the running statistics (the variance unbiased); evaluation uses the running ones.
 */
abstract class BatchNorm extends Module {
  readonly weight: Variable; // (numFeatures)
  readonly bias: Variable; // (numFeatures)
  readonly runningMean: Variable;
  readonly runningVar: Variable;
  readonly numBatchesTracked: Variable; // ()
  readonly numFeatures: number;
  readonly eps: number;
  readonly momentum: number;
  protected abstract readonly ranks: readonly number[];

  constructor(numFeatures: number, { eps = 1e-5, momentum = 0.1 }: BatchNormOptions = {}) {
    super();
    this.numFeatures = numFeatures;
    this.eps = eps;
    this.momentum = momentum;
    this.weight = this.parameter(ones([numFeatures]));
    this.bias = this.parameter(zeros([numFeatures]));
    this.runningMean = this.buffer(zeros([numFeatures]));
    this.runningVar = this.buffer(ones([numFeatures]));
    this.numBatchesTracked = this.buffer(zeros([], 'i32'));
  }

  forward(x: Tensor): Tensor {
    if (!this.ranks.includes(x.rank) || x.shape[1] !== this.numFeatures)
      throw new ShapeError(
        'CHANNELS_MISMATCH',
        `[batchNorm] takes ${this.numFeatures} channels, got ${formatShape(x.shape)}`,
        {
          op: 'batchNorm',
          expected: this.numFeatures,
          got: x.shape,
        },
      );
    const shape = x.shape.map((_, i) => (i === 1 ? this.numFeatures : 1));
    const scale = (inverse: Tensor): Tensor => inverse.mul(this.weight.reshape(shape));
    if (!this.training) {
      const inverse = this.runningVar.add(this.eps).rsqrt().reshape(shape);
      return x.sub(this.runningMean.reshape(shape)).mul(scale(inverse)).add(this.bias.reshape(shape));
    }
    const axes = x.shape.map((_, i) => i).filter((i) => i !== 1);
    const count = x.size / this.numFeatures;
    if (count <= 1)
      throw new ArgumentError(
        'BATCH_TOO_SMALL',
        `[batchNorm] training needs more than one value per channel, got ${formatShape(x.shape)}`,
        {
          op: 'batchNorm',
          got: x.shape,
          hint: 'use a larger batch, or drop the last short one',
        },
      );
    const mean = x.mean(axes, { keepDims: true });
    const centred = x.sub(mean);
    const variance = centred.square().mean(axes, { keepDims: true });
    this.#track(mean.detach().reshape(-1), variance.detach().reshape(-1), count);
    return centred.mul(scale(variance.add(this.eps).rsqrt())).add(this.bias.reshape(shape));
  }

  #track(mean: Tensor, variance: Tensor, count: number): void {
    const move = (running: Variable, now: Tensor): void =>
      running.assign(running.mul(1 - this.momentum).add(now.mul(this.momentum)));
    move(this.runningMean, mean);
    move(this.runningVar, variance.mul(count / (count - 1)));
    this.numBatchesTracked.assign(this.numBatchesTracked.add(1));
  }

  override describe(): string {
    return String(this.numFeatures);
  }
}

/** Batch norm over (N, C) or (N, C, L). */
export class BatchNorm1d extends BatchNorm {
  protected readonly ranks = [2, 3];
}
/** Batch norm over (N, C, H, W). */
export class BatchNorm2d extends BatchNorm {
  protected readonly ranks = [4];
}

/** Normalises the last `shape.length` axes of each sample (Ba et al. 2016). */
export class LayerNorm extends Module {
  readonly weight: Variable;
  readonly bias: Variable;
  readonly eps: number;
  constructor(shape: number | readonly number[], { eps = 1e-5 }: { eps?: number } = {}) {
    super();
    const dims = typeof shape === 'number' ? [shape] : shape;
    this.eps = eps;
    this.weight = this.parameter(ones(dims));
    this.bias = this.parameter(zeros(dims));
  }
  forward(x: Tensor): Tensor {
    const wanted = this.weight.shape;
    if (x.shape.slice(-wanted.length).join() !== wanted.join())
      throw new ShapeError(
        'FEATURES_MISMATCH',
        `[layerNorm] normalises ${formatShape(wanted)}, got ${formatShape(x.shape)}`,
        {
          op: 'layerNorm',
          expected: wanted,
          got: x.shape,
        },
      );
    return layerNorm(x, wanted.length, this.weight, this.bias, this.eps);
  }
  override describe(): string {
    return this.weight.shape.join('x');
  }
}
