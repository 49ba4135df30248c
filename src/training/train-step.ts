/** One update: forward, loss, backward, clipping and optimizer as one graph, run in one native call. */
import { NumericError } from '../base/errors.ts';
import type { LabelledBatch } from '../data/index.ts';
import type { Module } from '../nn/index.ts';
import { clipGradNorm, clipGradValue, type Ema, type Optimizer } from '../optim/index.ts';
import { flush, generator, requireFinite, scalar, type Tensor, Variable, zeros } from '../tensor/index.ts';
import { diagnoseNonFinite } from './nonfinite.ts';

export interface Clip {
  readonly norm?: number;
  readonly value?: number;
}

export interface StepOptions {
  readonly model: Module;
  /** The mean loss of a batch, in training mode. */
  readonly lossOf: (batch: LabelledBatch) => Tensor;
  readonly optimizer: Optimizer;
  readonly ema?: Ema | undefined;
  /** What is trained, or will be: frozen ones are passed over as long as they are. */
  readonly parameters: readonly Variable[];
  readonly clip: Clip;
  /** Called before each update, on the gradients it is made of. */
  readonly onGradients?: (() => void) | undefined;
  /** Bytes the intermediates may take, if values may be computed twice for it. */
  readonly arenaLimit?: number;
}

// Draws of one batch never reach the next batch's stream, nor the data order's (2^50).
const STREAMS_PER_BATCH = 2 ** 20;

/** Names the random numbers of batch number `microStep` of a run; those before belong to initialisation. */
export function seedBatch(seed: number, microStep: number): void {
  generator.seed = seed;
  generator.stream = (microStep + 1) * STREAMS_PER_BATCH;
}

export class TrainStep {
  readonly #options: StepOptions;
  /** Gradient sums of the batches so far, where several make one update. */
  #sums: Map<Variable, Variable> | undefined;

  constructor(options: StepOptions) {
    this.#options = options;
  }

  /**
   * Builds the graph of one batch. `share` is its part of the update's samples: 1 when it is alone. Only the `last` batch
   * of an update moves the weights; those before leave their gradients in the sums.
   */
  build(batch: LabelledBatch, share = 1, first = true, last = true): Tensor {
    const { lossOf, optimizer, ema, clip, onGradients } = this.#options;
    const parameters = this.#options.parameters.filter((p) => p.requiresGrad);
    optimizer.zeroGrad();
    const loss = lossOf(batch);
    // The share is a program input: a short last batch changes it.
    const weighted = first && last ? loss : loss.mul(scalar(share));
    weighted.backward();
    const grads = parameters.flatMap((p) => (p.grad ? [p.grad] : []));
    requireFinite([loss.node, ...grads.map((g) => g.node)]);
    if (!first || !last) this.#accumulate(parameters, first, last);
    if (!last) return loss;
    onGradients?.();
    if (clip.value !== undefined) clipGradValue(parameters, clip.value);
    if (clip.norm !== undefined) clipGradNorm(parameters, clip.norm);
    optimizer.step();
    ema?.update(optimizer.stepCount);
    return loss;
  }

  #accumulate(parameters: readonly Variable[], first: boolean, last: boolean): void {
    this.#sums ??= new Map();
    for (const p of parameters) {
      let sum = this.#sums.get(p);
      if (!sum) {
        sum = new Variable(zeros(p.shape), { label: `sum of ${p.label}.grad` });
        this.#sums.set(p, sum);
      }
      const total = first ? p.grad : p.grad ? sum.add(p.grad) : sum;
      if (!total) continue;
      if (last) p.grad = total;
      else {
        sum.assign(total);
        p.grad = null;
      }
    }
  }

  /**
   * Runs one update over `batches` and returns the mean loss of their samples.
   * @throws NumericError NON_FINITE naming step, layer and direction; nothing was updated then.
   */
  async run(
    batches: readonly LabelledBatch[],
    context: { seed: number; step: number; microStep: number; lr: number },
  ): Promise<number> {
    this.#options.optimizer.setLr(context.lr);
    const total = batches.reduce((sum, batch) => sum + batch.size, 0);
    let mean = 0;
    for (const [i, batch] of batches.entries()) {
      const share = batch.size / total;
      seedBatch(context.seed, context.microStep + i);
      const loss = this.build(batch, share, i === 0, i === batches.length - 1);
      try {
        await flush([loss.node], { arenaLimit: this.#options.arenaLimit });
        const value = await loss.item();
        mean += value * (batches.length === 1 ? 1 : share);
      } catch (error) {
        if (!(error instanceof NumericError) || error.code !== 'NON_FINITE') throw error;
        seedBatch(context.seed, context.microStep + i);
        throw await diagnoseNonFinite(error, this.#options, batch, { ...context, step: context.step + 1 });
      }
    }
    return mean;
  }

  /** Frees what only training needs. */
  release(): void {
    for (const p of this.#options.parameters) p.grad = null;
    this.#sums = undefined;
  }
}
