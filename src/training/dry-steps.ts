/** A few updates on one batch, tried and taken back: what a learning rate does before a run begins with it. */
import { NumericError } from '../base/errors.ts';
import type { LabelledBatch } from '../data/index.ts';
import type { Optimizer } from '../optim/index.ts';
import { flush, generator, type Variable } from '../tensor/index.ts';
import { copyOf, restore } from './model-weights.ts';
import { type StepOptions, TrainStep } from './train-step.ts';

/** Updates of a trial. */
const STEPS = 3;

export interface DryRun {
  readonly lr: number;
  /** Of the same batch with the same random numbers: before the first update, and after each. NaN ends them. */
  readonly losses: readonly number[];
}

export interface DryOptions {
  readonly stepOptions: StepOptions;
  /** One whose state is that of the first step. */
  readonly newOptimizer: () => Optimizer;
  readonly seed: number;
}

/**
 * Bytes a trial takes besides what a step does: copies of what it changes, and an optimizer's state.
 */
export const dryBytes = ({ stepOptions }: Pick<DryOptions, 'stepOptions'>): number =>
  [...changing(stepOptions).values()].reduce((sum, { size }) => sum + 4 * 3 * size, 0);

/**
 * Trains at each rate that `next` asks for, from the same weights each time; gives what `next` has made of it. Weights, statistics,
 * modes and random numbers are those of before afterwards, to the bit.
 */
export async function dryRuns(
  { stepOptions, newOptimizer, seed }: DryOptions,
  batch: LabelledBatch,
  rates: AsyncGenerator<number, void, DryRun>,
  afterFirst: () => Promise<void>,
): Promise<void> {
  const { model } = stepOptions;
  const variables = changing(stepOptions);
  const before = await copyOf(variables);
  // Averages begin as copies of the weights: made now, not when the weights have moved.
  if (stepOptions.ema) await flush([...stepOptions.ema.stateDict().values()].map(({ node }) => node));
  const modes = [...model.namedModules()].map(([, module]) => [module, module.training] as const);
  const { seed: seedBefore, stream } = generator;
  let asked = await rates.next();
  try {
    for (let first = true; !asked.done; first = false) {
      const lr = asked.value;
      const step = new TrainStep({ ...stepOptions, ema: undefined, optimizer: newOptimizer() });
      const losses: number[] = [];
      try {
        for (let i = 0; i <= STEPS; i++) {
          losses.push(await step.run([batch], { seed, step: 0, microStep: 0, lr }));
          if (first && i === 0) await afterFirst();
        }
      } catch (error) {
        if (!(error instanceof NumericError) || error.code !== 'NON_FINITE') throw error;
        losses.push(Number.NaN);
      } finally {
        step.release();
        await restore(variables, before, 'the weights before the dry steps');
      }
      asked = await rates.next({ lr, losses });
    }
  } finally {
    for (const [module, training] of modes) module.training = training;
    generator.seed = seedBefore;
    generator.stream = stream;
  }
}

/** What training changes: the parameters that train, and every buffer. */
function changing({ model, parameters }: StepOptions): Map<string, Variable> {
  const training = new Set(parameters.filter(({ requiresGrad }) => requiresGrad));
  const named = model.namedParameters();
  const all = new Map(named.map(({ name, variable }) => [name, variable]));
  const buffers = [...model.stateDict()].filter(([name]) => !all.has(name));
  return new Map([
    ...named.filter(({ variable }) => training.has(variable)).map(({ name, variable }) => [name, variable] as const),
    ...buffers,
  ]);
}
