/** Whether a learning rate fits: how far one update moves pretrained weights, and what a few updates make of a batch's loss. */
import type { LabelledBatch } from '../data/index.ts';
import { isOfAdapter, isWithin, type Module } from '../nn/index.ts';
import type { Finding } from './check-data.ts';
import { type DryOptions, type DryRun, dryBytes, dryRuns } from './dry-steps.ts';
import { structureIfAny } from './init.ts';
import { formatBytes } from './machine-memory.ts';
import { arraysOf } from './model-weights.ts';
import type { RunPlan } from './plan.ts';

/** Ratios of update to weight, by their norms: above it a step wrecks what was learned, below it nothing moves in a run. */
const [HIGH, LOW, USUAL] = [0.1, 1e-6, 1e-3];

/** A loss that grows so many times in a few updates on one batch is not learning it; below the floor such growth means nothing. */
const [GROWTH, FLOOR] = [3, 0.1];
/** Of the loss, where neither ratio nor growth says anything: adapters and new heads. */
const UNMOVED = 1e-6;
/** And what is worth proposing instead. */
const MOVED = 0.01;
/** Each a third of the one before, about. */
const TRIALS = 16;

/** Elements looked at of one parameter: enough for a norm, and no second copy of a large model. */
const SAMPLED = 4096;

/** By name, some elements of each parameter that trains. */
type WeightSample = ReadonlyMap<string, Float32Array>;

/** Whether the trunk is frozen: what moves then, a head or adapters, wrecks nothing that was learned. */
function trunkRests(model: Module): boolean {
  const head = structureIfAny(model).stages.at(-1) ?? [];
  const moving = model.namedParameters().filter(({ variable }) => variable.requiresGrad);
  return (
    moving.length < model.parameters().length && moving.every(({ name }) => isOfAdapter(name) || isWithin(name, head))
  );
}

/**
 * Those whose ratio says something: not `fresh` ones, of random values, nor adapters, which begin at nothing; not biases, of which
 * anything is much; not a head that trains alone, often of small weights.
 */
async function sampleWeights(model: Module, fresh: readonly string[]): Promise<WeightSample> {
  if (trunkRests(model)) return new Map();
  const chosen = model
    .namedParameters()
    .filter(
      ({ name, variable }) => variable.requiresGrad && variable.size > 1 && !/bias$/.test(name) && !isOfAdapter(name),
    )
    .filter(({ name }) => !fresh.includes(name));
  const arrays = await arraysOf(new Map(chosen.map(({ name, variable }) => [name, variable])));
  return new Map(
    [...arrays].map(([name, { data }]) => {
      const every = Math.max(1, Math.floor(data.length / SAMPLED));
      const count = Math.min(data.length, SAMPLED);
      return [name, Float32Array.from({ length: count }, (_, i) => data[i * every] as number)];
    }),
  );
}

/** The middle one of the ratios of update to weight. */
function middleRatio(before: WeightSample, after: WeightSample): { name: string; ratio: number } | undefined {
  const ratios = [...before].flatMap(([name, old]) => {
    const now = after.get(name) as Float32Array;
    let [change, size] = [0, 0];
    for (let i = 0; i < old.length; i++) {
      change += ((now[i] as number) - (old[i] as number)) ** 2;
      size += (old[i] as number) ** 2;
    }
    return size > 1e-12 ? [{ name, ratio: Math.sqrt(change / size) }] : [];
  });
  return ratios.sort((a, b) => a.ratio - b.ratio)[Math.floor(ratios.length / 2)];
}

export interface RateCheck extends DryOptions {
  readonly lr: number;
  /** Parameters of random values. */
  readonly fresh: readonly string[];
  readonly plan: RunPlan;
}

/** By dry steps on `batch`; everything is as before afterwards. One finding at most, with a rate that was tried. */
export async function checkRate(batch: LabelledBatch, check: RateCheck): Promise<Finding[]> {
  const { lr, fresh, plan, stepOptions } = check;
  const needed = dryBytes(check);
  if (plan.memory.growth + needed > plan.memory.available)
    return [
      {
        code: 'RATE_NOT_TRIED',
        severity: 'note',
        message: `the rate was not tried: dry steps would take ${formatBytes(needed)} more than the run, which leaves too little of ${formatBytes(plan.memory.available)}`,
        fix: 'a smaller batchSize, or a machine with more memory',
      },
    ];
  const findings: Finding[] = [];
  const before = await sampleWeights(stepOptions.model, fresh);
  let middle: ReturnType<typeof middleRatio>;
  async function* rates(): AsyncGenerator<number, void, DryRun> {
    const run = yield lr;
    if (run.losses.length === 1 && Number.isNaN(run.losses[0])) findings.push(notFinite);
    const wrong = run.losses.length > 1 && judge(run, middle);
    if (!wrong) return;
    const { message, least, most } = wrong;
    // On one batch a rate that does less than the recipe's own is no advice.
    const better = (other: DryRun): boolean => falls(other, least) && fallOf(other) > fallOf(run);
    let [rate, factor, found] = [wrong.start, wrong.factor, undefined as DryRun | undefined];
    for (let i = 0; factor !== 0 && i < TRIALS && !(found && better(found)); i++) {
      if (found) {
        // Low enough to learn, and slower than the recipe's: what may be better lies between them.
        if (factor < 1 && falls(found, least)) factor = i === 1 ? 3 : 0;
        const next = Number((rate * factor).toPrecision(1));
        if (factor === 0 || next > most) break;
        rate = next;
      }
      found = yield rate;
    }
    const losses = found?.losses ?? [];
    const text = (value: number | undefined): string => (value ?? Number.NaN).toPrecision(3);
    findings.push({
      code: wrong.code,
      severity: 'problem',
      message,
      fix:
        found && better(found)
          ? `--set optimizer.lr=${rate} (with it the loss goes from ${text(losses[0])} to ${text(losses.at(-1))})`
          : wrong.factor === 0
            ? 'no gradient reaches the weights: check freeze and the labels'
            : found && falls(found, least)
              ? 'none that was tried makes the loss of this batch fall further, so none is named: cambium lr-find shows where it falls'
              : 'at no rate that was tried did the loss fall: check labels and inputs, then cambium lr-find',
    });
  }
  await dryRuns(check, batch, rates(), async () => {
    middle = middleRatio(before, await sampleWeights(stepOptions.model, fresh));
  });
  return findings;
}

const notFinite: Finding = {
  code: 'LOSS_NON_FINITE',
  severity: 'problem',
  message:
    'the loss of the first batch, or a gradient of it, is NaN or infinite before anything has moved: no rate helps',
  fix: 'check the inputs (cambium data), the weights of init, and precision=fp32',
};

const falls = ({ losses }: DryRun, share: number): boolean =>
  (losses.at(-1) as number) < (losses[0] as number) * (1 - share);

/** The share of the first loss that is gone in the end; least of all where it became NaN. */
function fallOf({ losses }: DryRun): number {
  const fall = 1 - (losses.at(-1) as number) / (losses[0] as number);
  return Number.isNaN(fall) ? Number.NEGATIVE_INFINITY : fall;
}

interface Wrong {
  readonly code: 'RATE_HIGH' | 'RATE_LOW';
  readonly message: string;
  /** The rate to try next, and what to multiply it by until the loss falls; 0 where no rate helps. */
  readonly start: number;
  readonly factor: number;
  /** The share of the loss that such a rate must take off it. */
  readonly least: number;
  /** No higher rate is tried. */
  readonly most: number;
}

function judge({ lr, losses }: DryRun, middle: ReturnType<typeof middleRatio>): Wrong | undefined {
  const [first = Number.NaN, ...later] = losses;
  const last = later.at(-1) ?? Number.NaN;
  const third = Number((lr / 3).toPrecision(1));
  const grown = !Number.isFinite(last) || (last > GROWTH * Math.max(first, FLOOR) && Math.min(...later) > first);
  const byRatio = (ratio: number): number => Number((lr * (USUAL / Math.max(ratio, 1e-12))).toPrecision(1));
  if (middle && (middle.ratio > HIGH || middle.ratio < LOW)) {
    const high = middle.ratio > HIGH;
    const grows = grown
      ? `; in ${later.length} steps the loss of a batch goes from ${first.toPrecision(3)} to ${last.toPrecision(3)}`
      : '';
    return {
      code: high ? 'RATE_HIGH' : 'RATE_LOW',
      message: `a step at rate ${lr} moves half of the weights by ${middle.ratio.toExponential(1)} of their size or ${high ? 'more' : 'less'} (${middle.name}); ${LOW} to ${HIGH} is usual${grows}`,
      start: byRatio(middle.ratio),
      factor: middle.ratio === 0 ? 0 : high ? 1 / 3 : 3,
      least: UNMOVED,
      most: high ? lr * (HIGH / middle.ratio) : Number.POSITIVE_INFINITY,
    };
  }
  if (grown)
    return {
      code: 'RATE_HIGH',
      message: `at rate ${lr} the loss of a batch goes from ${first.toPrecision(3)} to ${last.toPrecision(3)} in ${later.length} steps on that batch`,
      start: third,
      factor: 1 / 3,
      least: UNMOVED,
      most: lr,
    };
  if (middle || lr === 0 || Math.abs(last - first) > UNMOVED * Math.abs(first)) return undefined;
  return {
    code: 'RATE_LOW',
    message: `${later.length} steps at rate ${lr} leave the loss of their batch at ${first.toPrecision(6)}: what trains, new or an adapter, does not move`,
    start: Number((lr * 10).toPrecision(1)),
    factor: last === first && lr > 1e-3 ? 0 : 10,
    least: MOVED,
    most: Number.POSITIVE_INFINITY,
  };
}
