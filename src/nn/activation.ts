/** Layers without parameters. Shapes stay as they are unless said otherwise. */
import type { Tensor } from '../tensor/index.ts';
import { dropout, gelu, logSoftmax, silu, softmax } from './functional.ts';
import { Module } from './module.ts';
import { probability } from './options.ts';

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
