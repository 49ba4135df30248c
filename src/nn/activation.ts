/** Layers without parameters. Shapes stay as they are unless said otherwise. */
import { ArgumentError } from '../base/index.ts';
import { full, type Tensor, type Variable } from '../tensor/index.ts';
import { dropout, elu, gelu, hardtanh, leakyRelu, logSoftmax, prelu, silu, softmax, softplus } from './functional.ts';
import { Module } from './module.ts';
import { positive, probability } from './options.ts';

/** max(x, 0). */
export class ReLU extends Module {
  forward(x: Tensor): Tensor {
    return x.relu();
  }
}

/** x * Phi(x), exact by default (Hendrycks and Gimpel 2016). */
export class GELU extends Module {
  readonly approximate: 'none' | 'tanh';
  constructor({ approximate = 'none' }: { approximate?: 'none' | 'tanh' } = {}) {
    super();
    this.approximate = approximate;
  }
  forward(x: Tensor): Tensor {
    return gelu(x, this.approximate);
  }
  override describe(): string {
    return this.approximate === 'none' ? '' : this.approximate;
  }
}

/** x * sigmoid(x). */
export class SiLU extends Module {
  forward(x: Tensor): Tensor {
    return silu(x);
  }
}

/** x where positive, else slope * x (Maas et al. 2013). */
export class LeakyReLU extends Module {
  readonly negativeSlope: number;
  constructor(negativeSlope = 0.01) {
    super();
    this.negativeSlope = negativeSlope;
  }
  forward(x: Tensor): Tensor {
    return leakyRelu(x, this.negativeSlope);
  }
  override describe(): string {
    return String(this.negativeSlope);
  }
}

/** Leaky ReLU whose slopes are learned (He et al. 2015): one for all, or one per channel of x (N, C, ...). */
export class PReLU extends Module {
  readonly weight: Variable; // (numParameters)
  constructor(numParameters = 1, { init = 0.25 }: { init?: number } = {}) {
    super();
    positive('prelu', 'numParameters', numParameters);
    this.weight = this.parameter(full([numParameters], init));
  }
  forward(x: Tensor): Tensor {
    return prelu(x, this.weight);
  }
  override describe(): string {
    return String(this.weight.size);
  }
}

/** x where positive, else alpha * (exp(x) - 1) (Clevert et al. 2016). */
export class ELU extends Module {
  readonly alpha: number;
  constructor(alpha = 1) {
    super();
    this.alpha = alpha;
  }
  forward(x: Tensor): Tensor {
    return elu(x, this.alpha);
  }
  override describe(): string {
    return String(this.alpha);
  }
}

/** log(1 + exp(beta * x)) / beta. */
export class Softplus extends Module {
  readonly beta: number;
  constructor(beta = 1) {
    super();
    if (!(beta > 0))
      throw new ArgumentError('OPTION_INVALID', `[softplus] beta must be positive, got ${beta}`, {
        op: 'softplus',
        field: 'beta',
        got: beta,
      });
    this.beta = beta;
  }
  forward(x: Tensor): Tensor {
    return this.beta === 1 ? softplus(x) : softplus(x.mul(this.beta)).div(this.beta);
  }
  override describe(): string {
    return String(this.beta);
  }
}

/** x held in [min, max]; no gradient at or beyond them. */
export class Hardtanh extends Module {
  readonly min: number;
  readonly max: number;
  constructor(min = -1, max = 1) {
    super();
    if (!(min < max))
      throw new ArgumentError('RANGE_INVALID', `[hardtanh] needs min < max, got ${min} and ${max}`, {
        op: 'hardtanh',
        got: [min, max],
      });
    this.min = min;
    this.max = max;
  }
  forward(x: Tensor): Tensor {
    return hardtanh(x, this.min, this.max);
  }
  override describe(): string {
    return `${this.min} .. ${this.max}`;
  }
}
/** min(max(x, 0), 6) (Howard et al. 2017). */
export class ReLU6 extends Hardtanh {
  constructor() {
    super(0, 6);
  }
}
export class Tanh extends Module {
  forward(x: Tensor): Tensor {
    return x.tanh();
  }
}
/** 1 / (1 + exp(-x)). */
export class Sigmoid extends Module {
  forward(x: Tensor): Tensor {
    return x.sigmoid();
  }
}
/** exp(x) / sum(exp(x)) along `axis`. */
export class Softmax extends Module {
  readonly axis: number;
  constructor(axis = -1) {
    super();
    this.axis = axis;
  }
  forward(x: Tensor): Tensor {
    return softmax(x, this.axis);
  }
}
/** log(softmax(x)) along `axis`. */
export class LogSoftmax extends Module {
  readonly axis: number;
  constructor(axis = -1) {
    super();
    this.axis = axis;
  }
  forward(x: Tensor): Tensor {
    return logSoftmax(x, this.axis);
  }
}

/** Zeroes each element with probability p in training; the identity in evaluation (Srivastava et al. 2014). */
export class Dropout extends Module {
  readonly p: number;
  constructor(p = 0.5) {
    super();
    probability('dropout', 'p', p);
    this.p = p;
  }
  forward(x: Tensor): Tensor {
    return dropout(x, this.p, this.training);
  }
  override get drawsRandom(): boolean {
    return this.p > 0;
  }
  override describe(): string {
    return `p=${this.p}`;
  }
}

/** (N, a, b, ...) -> (N, a * b * ...), or from another `startAxis` on. */
export class Flatten extends Module {
  readonly startAxis: number;
  constructor(startAxis = 1) {
    super();
    this.startAxis = startAxis;
  }
  forward(x: Tensor): Tensor {
    return x.flatten(this.startAxis);
  }
}
/** x itself: stands in for a layer that is left out. */
export class Identity extends Module {
  forward(x: Tensor): Tensor {
    return x;
  }
}
