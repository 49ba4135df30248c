/** Layers over images (N, C, H, W): convolution and pooling. */
import { ArgumentError } from '../base/index.ts';
import {
  adaptiveAvgPool2d,
  avgPool2d,
  type ConvOptions,
  conv2d,
  maxPool2d,
  type Pair,
  type PoolOptions,
  pair,
  type Tensor,
  type Variable,
} from '../tensor/index.ts';
import { biasUniform, fans, kaimingUniform } from './init.ts';
import { Module } from './module.ts';

/** Cross-correlation.  x (N, inChannels, H, W) -> y (N, outChannels, H', W'). */
export class Conv2d extends Module {
  readonly weight: Variable; // (outChannels, inChannels / groups, kh, kw)
  readonly bias: Variable | undefined; // (outChannels)
  readonly inChannels: number;
  readonly outChannels: number;
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
    if (inChannels % groups !== 0 || outChannels % groups !== 0)
      throw new ArgumentError(
        'GROUPS_INVALID',
        `[conv2d] groups ${groups} must divide ${inChannels} and ${outChannels}`,
        {
          op: 'conv2d',
          got: groups,
        },
      );
    this.inChannels = inChannels;
    this.outChannels = outChannels;
    this.kernelSize = pair(kernelSize);
    this.options = options;
    const shape = [outChannels, inChannels / groups, ...this.kernelSize];
    this.weight = this.parameter(kaimingUniform(shape));
    if (bias) this.bias = this.parameter(biasUniform(outChannels, fans(shape).fanIn));
  }

  /** Replaces the initial values, before anything was computed from them. */
  reset(weight: Tensor, bias: Tensor): void {
    this.weight.initialize(weight);
    this.bias?.initialize(bias);
  }

  forward(x: Tensor): Tensor {
    return conv2d(x, this.weight, this.bias, this.options);
  }

  override describe(): string {
    const { stride = 1, padding = 0, groups = 1 } = this.options;
    const extra = [
      stride !== 1 && `stride ${stride}`,
      padding !== 0 && `padding ${padding}`,
      groups !== 1 && `groups ${groups}`,
    ];
    return [
      `${this.inChannels} -> ${this.outChannels}`,
      `kernel ${this.kernelSize.join('x')}`,
      ...extra.filter(Boolean),
    ].join(', ');
  }
}

/** Largest value of each window. */
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
    return `kernel ${pair(this.kernelSize).join('x')}`;
  }
}

/** Mean of each window. */
export class AvgPool2d extends Module {
  readonly kernelSize: Pair;
  readonly options: Parameters<typeof avgPool2d>[2];
  constructor(kernelSize: Pair, options: Parameters<typeof avgPool2d>[2] = {}) {
    super();
    this.kernelSize = kernelSize;
    this.options = options;
  }
  forward(x: Tensor): Tensor {
    return avgPool2d(x, this.kernelSize, this.options);
  }
  override describe(): string {
    return `kernel ${pair(this.kernelSize).join('x')}`;
  }
}

/** Mean over a grid of `size` windows that cover the input. */
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
