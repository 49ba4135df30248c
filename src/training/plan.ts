/** What a run will take, known before its first step: parameters, work and peak memory; and the refusal when it does not fit. */
import { MemoryError } from '../base/errors.ts';
import { formatBytes, type MachineMemory, machineMemory } from './machine-memory.ts';
import { groupText, type PlanGroup } from './rates.ts';

/** What the programs of a run need at one batch size; a part of it the engine knows, a part the trainer. */
export interface StepNeeds {
  /** Weights, buffers, optimizer state and gradient sums that are not in memory yet. */
  readonly stateBytes: number;
  /** Weights that are in memory already. */
  readonly allocatedBytes: number;
  /** Intermediates of the larger program (a training step, or evaluation), gradients among them. */
  readonly arenaBytes: number;
  readonly scratchBytes: number;
  /** Batches in flight: being computed, and made ahead. */
  readonly batchBytes: number;
  /** One update: forward, backward, optimizer; of all accumulated batches. */
  readonly flops: number;
  /** What the intermediates of a training step were kept below by computing values twice. */
  readonly arenaLimit?: number;
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
    /** Set where values are computed twice to stay below it: bytes of a training step's intermediates. */
    readonly arenaLimit?: number;
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
  /** Bytes of everything, what is in memory already included, if somebody set a limit. */
  readonly memoryLimit?: number;
  /** The needs at a batch size, within a limit where values may be computed twice; pure. */
  readonly needs: (batchSize: number, memoryLimit?: number) => StepNeeds;
}

/**
 * The plan at the batch size asked for.
 * @throws MemoryError PLAN_DOES_NOT_FIT with `largestBatchSize`, unless `check` is false.
 */
export function planRun(
  request: PlanRequest,
  { check = true, memory = machineMemory() }: { check?: boolean; memory?: MachineMemory } = {},
): RunPlan {
  const { needs: needsOf, memoryLimit = Number.POSITIVE_INFINITY, ...rest } = request;
  const needs = needsOf(request.batchSize, request.memoryLimit);
  const growth = growthOf(needs);
  const room = memoryLimit - needs.allocatedBytes;
  const allowed = room < memory.available ? { available: room, limit: 'memoryLimit' } : memory;
  if (check && growth > allowed.available) refuse(request, growth, allowed);
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
      ...(needs.arenaLimit !== undefined && { arenaLimit: needs.arenaLimit }),
    },
  };
}

function refuse(
  { batchSize, needs, model, memoryLimit }: PlanRequest,
  growth: number,
  { available, limit }: Pick<MachineMemory, 'available' | 'limit'>,
): never {
  const largest = largestThatFits(batchSize, (size) => growthOf(needs(size, memoryLimit)) <= available);
  const total = available + needs(batchSize).allocatedBytes;
  const recomputed = memoryLimit === undefined && growthOf(needs(batchSize, total)) <= available;
  const words = `training ${model} with batchSize ${batchSize} needs ${formatBytes(growth)}, ${formatBytes(available)} are available (${limit})`;
  throw new MemoryError('PLAN_DOES_NOT_FIT', words, {
    field: 'batchSize',
    needed: growth,
    available,
    got: batchSize,
    ...(largest > 0 ? { largestBatchSize: largest } : {}),
    hint: recomputed
      ? `--set memoryLimit=${Math.floor(total)} computes some values twice and fits` +
        (largest > 0 ? `; so does batchSize ${largest}` : '')
      : largest > 0
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
      `on top of ${formatBytes(memory.baseline)}; ${formatBytes(memory.available)} available` +
      (memory.arenaLimit === undefined ? '' : '; some values computed twice to stay below memoryLimit'),
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
