/** Stochastic gradient descent, with PyTorch's momentum and a weight decay that is true L2. */
import { ArgumentError } from '../base/index.ts';
import type { Tensor, Variable } from '../tensor/index.ts';
import type { OptimizerParameters } from './groups.ts';
import { type BaseOptions, inRange, Optimizer, type UpdateContext } from './optimizer.ts';

export interface SGDOptions extends BaseOptions {
  momentum: number;
  /** Share of the new gradient kept out of the momentum. */
  dampening: number;
  nesterov: boolean;
}

/**
 * `weightDecay` is L2: the gradient of weightDecay / 2 * |p|^2 is added to the loss's, momentum sees it too.
 * g = grad + weightDecay * p;  v = momentum * v + (1 - dampening) * g, v = g at first;
 * p = p - lr * v, or p - lr * (g + momentum * v) with Nesterov (Sutskever et al. 2013).
 */
export class SGD extends Optimizer<SGDOptions> {
  constructor(parameters: OptimizerParameters<SGDOptions>, options: Partial<SGDOptions> & { lr: number }) {
    super(parameters, { weightDecay: 0, momentum: 0, dampening: 0, nesterov: false, ...options });
  }

  protected override check(options: SGDOptions): void {
    super.check(options);
    inRange('momentum', options.momentum, 0, 1);
    inRange('dampening', options.dampening, 0, 1);
    if (options.nesterov && (options.momentum === 0 || options.dampening !== 0))
      throw new ArgumentError('OPTION_INVALID', 'nesterov needs momentum > 0 and dampening 0', { field: 'nesterov' });
  }

  protected stateNames({ momentum }: SGDOptions): readonly string[] {
    return momentum > 0 ? ['momentum_buffer'] : [];
  }

  protected update(p: Variable, grad: Tensor, options: SGDOptions, { lr, step, input }: UpdateContext): Tensor {
    const { momentum, dampening, nesterov, weightDecay } = options;
    const rate = input('lr', lr);
    const g = weightDecay > 0 ? grad.add(p.mul(weightDecay)) : grad;
    if (momentum === 0) return p.sub(g.mul(rate));
    const velocity = this.stateOf(p, 'momentum_buffer');
    // The first gradient enters whole; as an input, so that the second step is the same program.
    const share = dampening === 0 ? g : g.mul(input('share', step === 1 ? 1 : 1 - dampening));
    const v = velocity.mul(momentum).add(share);
    velocity.assign(v);
    return p.sub((nesterov ? g.add(v.mul(momentum)) : v).mul(rate));
  }
}
