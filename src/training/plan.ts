/** What a run will take, known before its first step: parameters, work and peak memory; and the refusal when it does not fit. */
import { MemoryError } from '../base/errors.ts';
import { formatBytes, type MachineMemory, machineMemory } from './machine-memory.ts';
import { groupText, type PlanGroup } from './rates.ts';

/** What the programs of a run need at one batch size; a part of it the engine knows, a part the trainer. */
export interface StepNeeds {
  /** Weights, buffers, optimizer state and gradient sums that are not in memory yet. */
  readonly stateBytes: number;
  /** Intermediates of the larger program (a training step, or evaluation), gradients among them. */
  readonly arenaBytes: number;
  readonly scratchBytes: number;
  /** Batches in flight: being computed, and made ahead. */
  readonly batchBytes: number;
  /** One update: forward, backward, optimizer; of all accumulated batches. */
  readonly flops: number;
}

export interface RunPlan {
  readonly model: string;
  readonly parameters: number;
  readonly trainable: number;
  readonly batchSize: number;
  readonly accumulate: number;
  readonly steps: number;
  readonly flopsPerStep: number;
  /** Regularisation in words: nobody should have to look for it. */
  readonly settings: string;
  /** Where not everything trains alike. */
  readonly groups?: readonly PlanGroup[];
  readonly memory: {
    /** Resident now, before anything is trained. */
    readonly baseline: number;
    readonly state: number;
    readonly arena: number;
    readonly scratch: number;
    readonly batches: number;
    /** What the run adds to the baseline, and both together. */
    readonly growth: number;
    readonly peak: number;
    readonly available: number;
    readonly limit: string;
  };
}

// Node's heap, code and buffers grow by about this much while a small model trains.
const RUNTIME_GROWTH = 24 * 2 ** 20;

export const growthOf = (needs: StepNeeds): number =>
  needs.stateBytes + needs.arenaBytes + needs.scratchBytes + needs.batchBytes + RUNTIME_GROWTH;

export interface PlanRequest {
  readonly model: string;
  readonly parameters: number;
  readonly trainable: number;
  readonly batchSize: number;
  readonly accumulate: number;
  readonly steps: number;
  readonly settings: string;
  readonly groups?: readonly PlanGroup[];
  /** The needs at a batch size; pure. */
  readonly needs: (batchSize: number) => StepNeeds;
}

/**
 * The plan at the batch size asked for.
 * @throws MemoryError PLAN_DOES_NOT_FIT with `largestBatchSize`, unless `check` is false.
 */
export function planRun(
  request: PlanRequest,
  { check = true, memory = machineMemory() }: { check?: boolean; memory?: MachineMemory } = {},
): RunPlan {
  const { needs: needsOf, ...rest } = request;
  const needs = needsOf(request.batchSize);
  const growth = growthOf(needs);
  if (check && growth > memory.available) refuse(request, growth, memory);
  return {
    ...rest,
    flopsPerStep: needs.flops,
    memory: {
      baseline: memory.resident,
      state: needs.stateBytes,
      arena: needs.arenaBytes,
      scratch: needs.scratchBytes,
      batches: needs.batchBytes,
      growth,
      peak: memory.resident + growth,
      available: memory.available,
      limit: memory.limit,
    },
  };
}

function refuse({ batchSize, needs, model }: PlanRequest, growth: number, { available, limit }: MachineMemory): never {
  const largest = largestThatFits(batchSize, (size) => growthOf(needs(size)) <= available);
  const words = `training ${model} with batchSize ${batchSize} needs ${formatBytes(growth)}, ${formatBytes(available)} are available (${limit})`;
  throw new MemoryError('PLAN_DOES_NOT_FIT', words, {
    field: 'batchSize',
    needed: growth,
    available,
    got: batchSize,
    ...(largest > 0 ? { largestBatchSize: largest } : {}),
    hint:
      largest > 0
        ? `batchSize ${largest} fits: --set batchSize=${largest} (and --set accumulate=${Math.ceil(batchSize / largest)} for the same update)`
        : 'no batch size fits: choose a smaller model, or sgd, which keeps less state than adamw',
  });
}

/** The largest size below `size` for which `fits`; 0 if there is none. Assumes that less is never worse. */
function largestThatFits(size: number, fits: (size: number) => boolean): number {
  let good = 0;
  let bad = size;
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (fits(middle)) good = middle;
    else bad = middle;
  }
  return good;
}

/** The plan in a few lines. */
export function planText(plan: RunPlan): string {
  const { memory } = plan;
  const frozen =
    plan.trainable === plan.parameters ? 'all trainable' : `${plan.trainable.toLocaleString('en')} trainable`;
  const batch = plan.accumulate > 1 ? `${plan.batchSize} x ${plan.accumulate}` : `${plan.batchSize}`;
  return [
    `model: ${plan.model}, ${plan.parameters.toLocaleString('en')} parameters, ${frozen}`,
    ...(plan.groups ?? []).map((group) => `  ${groupText(group)}`),
    `training: ${plan.settings}`,
    `work: ${plan.steps} steps of batch ${batch}, ${formatFlops(plan.flopsPerStep)} each`,
    `memory: ${formatBytes(memory.growth)} predicted at peak (weights and optimizer ${formatBytes(memory.state)}, ` +
      `step ${formatBytes(memory.arena + memory.scratch)}, batches ${formatBytes(memory.batches)}) ` +
      `on top of ${formatBytes(memory.baseline)}; ${formatBytes(memory.available)} available`,
  ].join('\n');
}

/** 1.5e9 -> `1.50 GFLOP`. */
export function formatFlops(flops: number): string {
  const units = ['FLOP', 'kFLOP', 'MFLOP', 'GFLOP', 'TFLOP', 'PFLOP'];
  let value = flops;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value.toPrecision(3)} ${units[unit]}`;
}
