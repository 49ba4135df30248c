/** Layers over images (N, C, H, W): convolution and pooling. */
import { ArgumentError } from '../base/index.ts';
import {
  adaptiveAvgPool2d,
  avgPool2d,
  type ConvOptions,
  type ConvTransposeOptions,
  conv2d,
  convTranspose2d,
  maxPool2d,
  type Pair,
  type PoolOptions,
  pair,
  type Tensor,
  type Variable,
} from '../tensor/index.ts';
import { biasUniform, defaultWeight, fans } from './init.ts';
import { Module } from './module.ts';
import { positive } from './options.ts';

/**
 * Cross-correlation, y[n, o] = bias[o] + sum over c of weight[o, c] * x[n, c].
 * x (N, inChannels, H, W) -> y (N, outChannels, H', W'), H' = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1.
 */
export class Conv2d extends Module {
  readonly weight: Variable; // (outChannels, inChannels / groups, kh, kw)
  readonly bias: Variable | undefined; // (outChannels)
  readonly inChannels: number;
  readonly kernelSize: readonly [number, number];
  readonly options: ConvOptions;

  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Pair,
    { bias = true, ...options }: ConvOptions & { bias?: boolean } = {},
  ) {
    super();
    const groups = options.groups ?? 1;
    checkChannels('conv2d', inChannels, outChannels, groups);
    this.inChannels = inChannels;
    this.kernelSize = pair(kernelSize);
    this.options = options;
    const shape = [outChannels, inChannels / groups, ...this.kernelSize];
    this.weight = this.parameter(defaultWeight(shape));
    if (bias) this.bias = this.parameter(biasUniform(outChannels, fans(shape).fanIn));
  }

  /** Of the weight it has now: each adapter may bring a head of its own. */
  get outChannels(): number {
    return this.weight.shape[0] as number;
  }

  /** Replaces the initial values, before anything was computed from them. */
  reset(weight: Tensor, bias?: Tensor): void {
    this.weight.initialize(weight);
    if (bias) this.bias?.initialize(bias);
  }

  forward(x: Tensor): Tensor {
    return conv2d(x, this.weight, this.bias, this.options);
  }

  override describe(): string {
    return [`${this.inChannels} -> ${this.outChannels}`, windowText(this.kernelSize, this.options)].join(', ');
  }
}

// `kernel 3x3, stride 2, padding 1`: what differs from the usual.
function windowText(kernelSize: Pair, options: ConvOptions): string {
  const { stride, padding = 0, dilation = 1, groups = 1 } = options;
  const parts = [`kernel ${pair(kernelSize).join('x')}`];
  if (stride !== undefined && stride !== 1) parts.push(`stride ${stride}`);
  if (padding !== 0) parts.push(`padding ${padding}`);
  if (dilation !== 1) parts.push(`dilation ${dilation}`);
  if (groups !== 1) parts.push(`groups ${groups}`);
  return parts.join(', ');
}

/**
 * The transpose of Conv2d, also called deconvolution. x (N, inChannels, H, W) -> y (N, outChannels, H', W'),
 * H' = (H - 1) stride - 2 padding + dilation (kernel - 1) + outputPadding + 1.
 */
export class ConvTranspose2d extends Module {
  readonly weight: Variable; // (inChannels, outChannels / groups, kh, kw)
  readonly bias: Variable | undefined; // (outChannels)
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: readonly [number, number];
  readonly options: ConvTransposeOptions;

  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Pair,
    { bias = true, ...options }: ConvTransposeOptions & { bias?: boolean } = {},
  ) {
    super();
    checkChannels('convTranspose2d', inChannels, outChannels, options.groups ?? 1);
    this.inChannels = inChannels;
    this.outChannels = outChannels;
    this.kernelSize = pair(kernelSize);
    this.options = options;
    const shape = [inChannels, outChannels / (options.groups ?? 1), ...this.kernelSize];
    // torch's fan in of the transposed weight: dimension 1, the outputs.
    this.weight = this.parameter(defaultWeight(shape));
    if (bias) this.bias = this.parameter(biasUniform(outChannels, fans(shape).fanIn));
  }

  /** Replaces the initial values, before anything was computed from them. */
  reset(weight: Tensor, bias?: Tensor): void {
    this.weight.initialize(weight);
    if (bias) this.bias?.initialize(bias);
  }

  forward(x: Tensor): Tensor {
    return convTranspose2d(x, this.weight, this.bias, this.options);
  }

  override describe(): string {
    return [`${this.inChannels} -> ${this.outChannels}`, windowText(this.kernelSize, this.options)].join(', ');
  }
}

function checkChannels(op: string, inChannels: number, outChannels: number, groups: number): void {
  for (const [field, value] of Object.entries({ inChannels, outChannels, groups })) positive(op, field, value);
  if (inChannels % groups !== 0 || outChannels % groups !== 0)
    throw new ArgumentError('GROUPS_INVALID', `[${op}] groups ${groups} must divide ${inChannels} and ${outChannels}`, {
      op,
      got: groups,
    });
}

/** Largest value of each window.  (N, C, H, W) -> (N, C, H', W'), H' = floor((H + 2 padding - kernel) / stride) + 1. */
export class MaxPool2d extends Module {
  readonly kernelSize: Pair;
  readonly options: PoolOptions;
  constructor(kernelSize: Pair, options: PoolOptions = {}) {
    super();
    this.kernelSize = kernelSize;
    this.options = options;
  }
  forward(x: Tensor): Tensor {
    return maxPool2d(x, this.kernelSize, this.options);
  }
  override describe(): string {
    return windowText(this.kernelSize, this.options);
  }
}

type AvgPoolOptions = NonNullable<Parameters<typeof avgPool2d>[2]>;

/** Mean of each window; shapes as MaxPool2d. Padding zeros count unless `countIncludePad` is false, as in PyTorch. */
export class AvgPool2d extends Module {
  readonly kernelSize: Pair;
  readonly options: AvgPoolOptions;
  constructor(kernelSize: Pair, options: AvgPoolOptions = {}) {
    super();
    this.kernelSize = kernelSize;
    this.options = options;
  }
  forward(x: Tensor): Tensor {
    return avgPool2d(x, this.kernelSize, this.options);
  }
  override describe(): string {
    return windowText(this.kernelSize, this.options);
  }
}

/** Mean over a grid of `size` windows that cover the input.  (N, C, H, W) -> (N, C, size, size). */
export class AdaptiveAvgPool2d extends Module {
  readonly size: Pair;
  constructor(size: Pair) {
    super();
    this.size = size;
  }
  forward(x: Tensor): Tensor {
    return adaptiveAvgPool2d(x, this.size);
  }
  override describe(): string {
    return pair(this.size).join('x');
  }
}
