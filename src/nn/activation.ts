/** Layers without parameters. */
import { ArgumentError } from '../base/index.ts';
import type { Tensor } from '../tensor/index.ts';
import { dropout, gelu, silu, softmax } from './functional.ts';
import { Module } from './module.ts';

export class ReLU extends Module {
  forward(x: Tensor): Tensor {
    return x.relu();
  }
}
export class GELU extends Module {
  readonly approximate: 'none' | 'tanh';
  constructor({ approximate = 'none' }: { approximate?: 'none' | 'tanh' } = {}) {
    super();
    this.approximate = approximate;
  }
  forward(x: Tensor): Tensor {
    return gelu(x, this.approximate);
  }
}
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
export class Sigmoid extends Module {
  forward(x: Tensor): Tensor {
    return x.sigmoid();
  }
}
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

/** Drops with probability p in training; the identity in evaluation. */
export class Dropout extends Module {
  readonly p: number;
  constructor(p = 0.5) {
    super();
    if (!(p >= 0 && p <= 1))
      throw new ArgumentError('PROBABILITY_INVALID', `[dropout] p must be in [0, 1], got ${p}`, {
        op: 'dropout',
        got: p,
      });
    this.p = p;
  }
  forward(x: Tensor): Tensor {
    return dropout(x, this.p, this.training);
  }
  override describe(): string {
    return `p=${this.p}`;
  }
}

/** (N, ...) -> (N, features). */
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
export class Identity extends Module {
  forward(x: Tensor): Tensor {
    return x;
  }
}
