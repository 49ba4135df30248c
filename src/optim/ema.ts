/** Exponential moving average of weights, updated with every step and used where the model is measured and saved. */
import { dataOf } from '../tensor/engine.ts';
import { flush, scalar, Variable } from '../tensor/index.ts';
import type { Named } from './groups.ts';
import { inRange } from './optimizer.ts';

export interface EmaOptions {
  /** Share of the old average kept by an update, in [0, 1): 0.999 looks back about a thousand steps. */
  readonly decay: number;
  /** The n-th update keeps at most (1 + n) / (10 + n), so that short runs forget their start; off unless told. */
  readonly warmup?: boolean;
}

/**
 * average = decay * average + (1 - decay) * weight, the first update a copy: PyTorch's AveragedModel with
 * get_ema_multi_avg_fn. Buffers are not averaged: the model's own are used, as there.
 */
export class Ema {
  readonly decay: number;
  readonly warmup: boolean;
  readonly #pairs: readonly { readonly name: string; readonly weight: Variable; readonly average: Variable }[];
  #applied = false;

  /** @throws ArgumentError OPTION_INVALID. */
  constructor(parameters: readonly Named[], { decay, warmup = false }: EmaOptions) {
    inRange('ema.decay', decay, 0, 1 - Number.EPSILON);
    this.decay = decay;
    this.warmup = warmup;
    this.#pairs = parameters.map(({ name, variable }) => ({
      name,
      weight: variable,
      average: new Variable(variable.detach(), { label: `average of ${name}` }),
    }));
  }

  /** After `optimizer.step()`, as part of the same program; `step` counts from 1. Weights that do not train are left out. */
  update(step: number): void {
    const kept = this.warmup ? Math.min(this.decay, step / (9 + step)) : this.decay;
    const keep = step === 1 ? 0 : kept;
    // Inputs of the program, so that the first step and a growing decay compile nothing.
    const [old, share] = [scalar(keep), scalar(1 - keep)];
    for (const { weight, average } of this.#pairs)
      if (weight.requiresGrad) average.assign(average.mul(old).add(weight.mul(share)));
  }

  /** The averages by the names of their parameters. */
  stateDict(): Map<string, Variable> {
    return new Map(this.#pairs.map(({ name, average }) => [name, average]));
  }

  /** Runs `body` with the averages in the model, then puts the trained weights back. */
  async whileApplied<T>(body: () => Promise<T>): Promise<T> {
    await this.#exchange(true);
    try {
      return await body();
    } finally {
      await this.#exchange(false);
    }
  }

  /** Leaves the averages in the model: training is over. */
  async apply(): Promise<void> {
    await this.#exchange(true);
  }

  // Memory is exchanged in place: no program, and no third copy of the model.
  async #exchange(apply: boolean): Promise<void> {
    if (this.#applied === apply) return;
    await flush(this.#pairs.flatMap(({ weight, average }) => [weight.node, average.node]));
    for (const { weight, average } of this.#pairs) {
      const [a, b] = [dataOf(weight.storage), dataOf(average.storage)];
      const held = a.slice();
      a.set(b);
      b.set(held);
    }
    this.#applied = apply;
  }
}
