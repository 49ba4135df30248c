/** Asks the engine what a training step and an evaluation step of a model would need, without running or allocating them. */
import type { LabelledBatch } from '../data/index.ts';
import type { Module } from '../nn/index.ts';
import type { Ema, Optimizer } from '../optim/index.ts';
import type { Task } from '../tasks/index.ts';
import { autocast, generator, type Precision, planAndDiscard } from '../tensor/index.ts';
import { growthOf, type StepNeeds } from './plan.ts';
import { type Clip, TrainStep } from './train-step.ts';

export interface NeedsRequest {
  readonly model: Module;
  readonly task: Task;
  /** A batch as large as any of its size, and bytes of one of its samples. */
  readonly zeroBatch: (size: number) => LabelledBatch;
  readonly sampleBytes: number;
  /** A fresh one: planning touches its state. */
  readonly optimizer: () => Optimizer;
  readonly ema?: (() => Ema) | undefined;
  readonly clip: Clip;
  readonly onGradients?: (() => void) | undefined;
  readonly precision: Precision;
  readonly accumulate: number;
  /** Bytes of all of it, weights that are in memory already included; values are computed twice where it would be more. */
  readonly memoryLimit?: number;
  /** Of evaluation, at a training batch size; 0 where nothing is evaluated. */
  readonly evalBatchSize: (batchSize: number) => number;
}

// Batches alive at once: the one computed and the two the loader makes ahead, plus one between the two.
const BATCHES_AHEAD = 4;

/** The needs of training at `batchSize`; above `memoryLimit` only where no recomputation helps. */
export function stepNeeds(request: NeedsRequest, batchSize: number): StepNeeds {
  const needs = needsWithin(request, batchSize, undefined);
  const over = growthOf(needs) + needs.allocatedBytes - (request.memoryLimit ?? Number.POSITIVE_INFINITY);
  return over > 0 ? needsWithin(request, batchSize, Math.max(1, needs.arenaBytes - over)) : needs;
}

function needsWithin(request: NeedsRequest, batchSize: number, arenaLimit: number | undefined): StepNeeds {
  const { model, task, accumulate, clip, onGradients, precision } = request;
  const size = request.sampleBytes;
  const evalBatch = request.evalBatchSize(batchSize);
  const batchBytes = size * (batchSize * (BATCHES_AHEAD + accumulate - 1) + evalBatch * BATCHES_AHEAD);
  // Far beyond any machine: not worth a graph.
  if (batchBytes > 2 ** 40)
    return { stateBytes: 0, allocatedBytes: 0, arenaBytes: batchBytes * 16, scratchBytes: 0, batchBytes, flops: 0 };

  const { seed, stream } = generator;
  const named = model.namedParameters();
  const parameters = named.map(({ variable }) => variable).filter((variable) => variable.requiresGrad);
  const step = new TrainStep({
    model,
    lossOf: (batch) => autocast(precision, () => task.loss(model, batch)),
    optimizer: request.optimizer(),
    ema: request.ema?.(),
    parameters,
    clip,
    onGradients,
  });
  const batch = request.zeroBatch(batchSize);
  const alone = accumulate === 1;
  const plans = [planAndDiscard([step.build(batch, 1 / accumulate, true, alone).node], { arenaLimit })];
  if (!alone) plans.push(planAndDiscard([step.build(batch, 1 / accumulate, false, true).node], { arenaLimit }));
  step.release();
  const last = plans.at(-1) as (typeof plans)[number];
  if (evalBatch > 0) {
    const outputs = task.evaluate(model, request.zeroBatch(evalBatch));
    plans.push(planAndDiscard(outputs.flatMap(({ loss, predictions }) => [loss.node, predictions.node])));
  }
  model.train();
  Object.assign(generator, { seed, stream });

  const allocated = [...model.stateDict().values()].reduce((sum, v) => sum + (v.storage.data?.byteLength ?? 0), 0);
  return {
    stateBytes: Math.max(0, last.inputBytes - size * batchSize - allocated),
    allocatedBytes: allocated,
    arenaBytes: Math.max(...plans.map((plan) => plan.arenaBytes)),
    scratchBytes: Math.max(...plans.map((plan) => plan.scratchBytes)),
    batchBytes,
    flops: accumulate * (plans[0]?.flops ?? 0),
    arenaLimit,
  };
}
