/** Normalisation layers. */
import { ArgumentError, formatShape, ShapeError } from '../base/index.ts';
import { ones, type Tensor, type Variable, zeros } from '../tensor/index.ts';
import { batchNorm, groupNorm, instanceNorm, layerNorm } from './functional.ts';
import { Module } from './module.ts';
import { positive, probability } from './options.ts';

export interface BatchNormOptions {
  eps?: number;
  /** Share of the new batch in the running statistics. */
  momentum?: number;
  /** false leaves out weight and bias. */
  affine?: boolean;
}

/**
 * y = (x - mean) / sqrt(var + eps) * weight + bias per channel (Ioffe and Szegedy 2015). Training uses the batch's biased
 * variance and moves the running statistics (the variance unbiased); evaluation uses the running ones.
 */
abstract class BatchNorm extends Module {
  readonly weight: Variable | undefined; // (numFeatures)
  readonly bias: Variable | undefined; // (numFeatures)
  readonly runningMean: Variable; // (numFeatures)
  readonly runningVar: Variable; // (numFeatures)
  readonly numBatchesTracked: Variable; // () i32, as PyTorch keeps it
  readonly numFeatures: number;
  readonly eps: number;
  readonly momentum: number;
  /** Answers as in evaluation also in training, and leaves the running statistics alone; see `freezeBatchNorm`. */
  frozen = false;
  protected abstract readonly ranks: readonly number[];

  constructor(numFeatures: number, { eps = 1e-5, momentum = 0.1, affine = true }: BatchNormOptions = {}) {
    super();
    positive('batchNorm', 'numFeatures', numFeatures);
    probability('batchNorm', 'momentum', momentum);
    this.numFeatures = numFeatures;
    this.eps = eps;
    this.momentum = momentum;
    if (affine) {
      this.weight = this.parameter(ones([numFeatures]));
      this.bias = this.parameter(zeros([numFeatures]));
    }
    this.runningMean = this.buffer(zeros([numFeatures]));
    this.runningVar = this.buffer(ones([numFeatures]));
    this.numBatchesTracked = this.buffer(zeros([], 'i32'));
  }

  forward(x: Tensor): Tensor {
    this.#check(x);
    if (!this.training || this.frozen)
      return batchNorm(x, this.runningMean, this.runningVar, this.weight, this.bias, this.eps);
    const axes = x.shape.map((_, i) => i).filter((i) => i !== 1);
    const count = x.size / this.numFeatures;
    if (count <= 1)
      throw new ArgumentError(
        'BATCH_TOO_SMALL',
        `[batchNorm] training needs more than one value per channel, got ${formatShape(x.shape)}`,
        { op: 'batchNorm', got: x.shape, hint: 'use a larger batch, or drop the last short one' },
      );
    const mean = x.mean(axes, { keepDims: true });
    const variance = x.sub(mean).square().mean(axes);
    this.#track(mean.reshape(-1).detach(), variance.detach(), count);
    return batchNorm(x, mean, variance, this.weight, this.bias, this.eps);
  }

  #check(x: Tensor): void {
    if (this.ranks.includes(x.rank) && x.shape[1] === this.numFeatures) return;
    const channels = this.ranks.includes(x.rank);
    throw new ShapeError(
      channels ? 'CHANNELS_MISMATCH' : 'SHAPE_RANK',
      channels
        ? `[batchNorm] takes ${this.numFeatures} channels, got ${formatShape(x.shape)}`
        : `[batchNorm] takes ${this.ranks.join(' or ')} dimensions, got ${formatShape(x.shape)}`,
      { op: 'batchNorm', expected: channels ? this.numFeatures : this.ranks, got: x.shape },
    );
  }

  // Assigned with the step's other updates: a graph that is never run moves nothing.
  #track(mean: Tensor, variance: Tensor, count: number): void {
    const move = (running: Variable, now: Tensor): void =>
      running.assign(running.mul(1 - this.momentum).add(now.mul(this.momentum)));
    move(this.runningMean, mean);
    move(this.runningVar, variance.mul(count / (count - 1)));
    this.numBatchesTracked.assign(this.numBatchesTracked.add(1));
  }

  override get movesStatistics(): boolean {
    return !this.frozen;
  }

  override describe(): string {
    return String(this.numFeatures);
  }
}

/**
 * Freezes every batch norm of a model: running statistics and affine parameters stay as they are, and training uses them
 * as evaluation does. For tuning with small batches, and for trunks whose features are kept. Returns the layers' paths.
 */
export function freezeBatchNorm(model: Module): string[] {
  const found = [...model.namedModules()].filter(
    (entry): entry is [string, BatchNorm] => entry[1] instanceof BatchNorm,
  );
  for (const [, layer] of found) {
    layer.frozen = true;
    if (layer.weight) layer.weight.requiresGrad = false;
    if (layer.bias) layer.bias.requiresGrad = false;
  }
  return found.map(([path]) => path);
}

/** Batch norm over (N, C) or (N, C, L). */
export class BatchNorm1d extends BatchNorm {
  protected readonly ranks = [2, 3];
}
/** Batch norm over (N, C, H, W). */
export class BatchNorm2d extends BatchNorm {
  protected readonly ranks = [4];
}

/** (x - mean) / sqrt(var + eps) * weight + bias over the last `shape.length` axes of each sample (Ba et al. 2016). */
export class LayerNorm extends Module {
  readonly weight: Variable | undefined; // (...shape)
  readonly bias: Variable | undefined; // (...shape)
  readonly normalizedShape: readonly number[];
  readonly eps: number;

  constructor(
    shape: number | readonly number[],
    { eps = 1e-5, affine = true }: { eps?: number; affine?: boolean } = {},
  ) {
    super();
    this.normalizedShape = typeof shape === 'number' ? [shape] : [...shape];
    for (const d of this.normalizedShape) positive('layerNorm', 'shape', d);
    this.eps = eps;
    if (affine) {
      this.weight = this.parameter(ones(this.normalizedShape));
      this.bias = this.parameter(zeros(this.normalizedShape));
    }
  }

  forward(x: Tensor): Tensor {
    const wanted = this.normalizedShape;
    if (x.shape.slice(-wanted.length).join() !== wanted.join())
      throw new ShapeError(
        'FEATURES_MISMATCH',
        `[layerNorm] normalises ${formatShape(wanted)}, got ${formatShape(x.shape)}`,
        { op: 'layerNorm', expected: wanted, got: x.shape },
      );
    return layerNorm(x, wanted.length, this.weight, this.bias, this.eps);
  }

  override describe(): string {
    return this.normalizedShape.join('x');
  }
}

/** Normalises the channels of each sample in `numGroups` groups (Wu and He 2018).  x (N, numChannels, ...). */
export class GroupNorm extends Module {
  readonly weight: Variable | undefined; // (numChannels)
  readonly bias: Variable | undefined; // (numChannels)
  readonly numGroups: number;
  readonly numChannels: number;
  readonly eps: number;

  constructor(
    numGroups: number,
    numChannels: number,
    { eps = 1e-5, affine = true }: { eps?: number; affine?: boolean } = {},
  ) {
    super();
    positive('groupNorm', 'numGroups', numGroups);
    positive('groupNorm', 'numChannels', numChannels);
    if (numChannels % numGroups !== 0)
      throw new ArgumentError('GROUPS_INVALID', `[groupNorm] ${numGroups} groups must divide ${numChannels} channels`, {
        op: 'groupNorm',
        got: numGroups,
      });
    this.numGroups = numGroups;
    this.numChannels = numChannels;
    this.eps = eps;
    if (affine) {
      this.weight = this.parameter(ones([numChannels]));
      this.bias = this.parameter(zeros([numChannels]));
    }
  }

  forward(x: Tensor): Tensor {
    wantChannels('groupNorm', x, this.numChannels, (rank) => rank >= 2, '2 or more');
    return groupNorm(x, this.numGroups, this.weight, this.bias, this.eps);
  }

  override describe(): string {
    return `${this.numGroups} groups of ${this.numChannels}`;
  }
}

/**
 * Normalises each channel of each sample by its own mean and biased variance, in training and evaluation alike (Ulyanov
 * et al. 2016). No weight and bias unless `affine`, as in PyTorch.
 */
abstract class InstanceNorm extends Module {
  readonly weight: Variable | undefined; // (numFeatures)
  readonly bias: Variable | undefined; // (numFeatures)
  readonly numFeatures: number;
  readonly eps: number;
  protected abstract readonly ranks: readonly number[];

  constructor(numFeatures: number, { eps = 1e-5, affine = false }: { eps?: number; affine?: boolean } = {}) {
    super();
    positive('instanceNorm', 'numFeatures', numFeatures);
    this.numFeatures = numFeatures;
    this.eps = eps;
    if (affine) {
      this.weight = this.parameter(ones([numFeatures]));
      this.bias = this.parameter(zeros([numFeatures]));
    }
  }

  forward(x: Tensor): Tensor {
    wantChannels('instanceNorm', x, this.numFeatures, (rank) => this.ranks.includes(rank), this.ranks.join(' or '));
    if (x.size === (x.shape[0] as number) * this.numFeatures)
      throw new ShapeError(
        'INPUT_TOO_SMALL',
        `[instanceNorm] needs more than one value per channel and sample, got ${formatShape(x.shape)}`,
        { op: 'instanceNorm', got: x.shape, hint: 'a single value less its own mean is always 0' },
      );
    return instanceNorm(x, this.weight, this.bias, this.eps);
  }

  override describe(): string {
    return String(this.numFeatures);
  }
}
/** Instance norm over (N, C, L). */
export class InstanceNorm1d extends InstanceNorm {
  protected readonly ranks = [3];
}
/** Instance norm over (N, C, H, W). */
export class InstanceNorm2d extends InstanceNorm {
  protected readonly ranks = [4];
}

function wantChannels(op: string, x: Tensor, channels: number, fits: (rank: number) => boolean, ranks: string): void {
  const details = { op, got: x.shape };
  if (!fits(x.rank))
    throw new ShapeError('SHAPE_RANK', `[${op}] takes ${ranks} dimensions, got ${formatShape(x.shape)}`, {
      ...details,
      expected: ranks,
    });
  if (x.shape[1] !== channels)
    throw new ShapeError('CHANNELS_MISMATCH', `[${op}] takes ${channels} channels, got ${formatShape(x.shape)}`, {
      ...details,
      expected: channels,
    });
}
