/** Adam and AdamW, with PyTorch's formulas and defaults. */
import type { Tensor, Variable } from '../tensor/index.ts';
import type { OptimizerParameters } from './groups.ts';
import { type BaseOptions, inRange, Optimizer, type UpdateContext } from './optimizer.ts';

export interface AdamOptions extends BaseOptions {
  /** Decay of the running mean of gradients and of their squares. */
  betas: readonly [number, number];
  /** Added to the root, against division by zero. */
  eps: number;
}

abstract class AdamBase extends Optimizer<AdamOptions> {
  protected override check(options: AdamOptions): void {
    super.check(options);
    for (const beta of options.betas) inRange('betas', beta, 0, 1 - Number.EPSILON);
    inRange('eps', options.eps, 0, Number.MAX_VALUE);
  }

  protected stateNames(): readonly string[] {
    return ['exp_avg', 'exp_avg_sq'];
  }

  /**
   * m = m + (1 - b1) (g - m), v = b2 v + (1 - b2) g^2; the result is lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps).
   * What depends on t is computed here in double precision: 1 - 0.999^t would lose half its digits in f32.
   */
  protected move(
    p: Variable,
    grad: Tensor,
    { betas: [b1, b2], eps }: AdamOptions,
    { lr, step, input }: UpdateContext,
  ): Tensor {
    const [mean, square] = [this.stateOf(p, 'exp_avg'), this.stateOf(p, 'exp_avg_sq')];
    const m = mean.add(grad.sub(mean).mul(1 - b1));
    const v = square.mul(b2).add(grad.mul(grad).mul(1 - b2));
    mean.assign(m);
    square.assign(v);
    const denominator = v
      .sqrt()
      .mul(input('1 / sqrt(1 - beta2^t)', 1 / Math.sqrt(1 - b2 ** step)))
      .add(eps);
    return m.mul(input('lr / (1 - beta1^t)', lr / (1 - b1 ** step))).div(denominator);
  }
}

/** Kingma and Ba 2015. `weightDecay` is L2: it enters the gradient. */
export class Adam extends AdamBase {
  constructor(parameters: OptimizerParameters<AdamOptions>, options: Partial<AdamOptions> & { lr: number }) {
    super(parameters, { betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, ...options });
  }
  protected update(p: Variable, grad: Tensor, options: AdamOptions, context: UpdateContext): Tensor {
    const g = options.weightDecay > 0 ? grad.add(p.mul(options.weightDecay)) : grad;
    return p.sub(this.move(p, g, options, context));
  }
}

/** Loshchilov and Hutter 2019. `weightDecay` is decoupled: p shrinks by lr * weightDecay, whatever the gradient. */
export class AdamW extends AdamBase {
  constructor(parameters: OptimizerParameters<AdamOptions>, options: Partial<AdamOptions> & { lr: number }) {
    super(parameters, { betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.01, ...options });
  }
  protected update(p: Variable, grad: Tensor, options: AdamOptions, context: UpdateContext): Tensor {
    const { weightDecay } = options;
    const shrunk = weightDecay > 0 ? p.mul(context.input('1 - lr decay', 1 - context.lr * weightDecay)) : p;
    return shrunk.sub(this.move(p, grad, options, context));
  }
}
