/** From a recipe's `optimizer` and `schedule` to the objects of optim, with durations turned into steps. */
import { ConfigError } from '../base/errors.ts';
import type { NamedVariable, ResolvedAdapter } from '../nn/index.ts';
import {
  Adam,
  AdamW,
  constantLr,
  cosineLr,
  type LrSchedule,
  linearLr,
  type Optimizer,
  oneCycleLr,
  parameterGroups,
  SGD,
  stepLr,
  withWarmup,
} from '../optim/index.ts';
import { groupByRate, type Rate } from './rates.ts';
import type { Recipe } from './recipe.ts';

export type OptimizerOptions = Recipe['optimizer'];
export type ScheduleOptions = Recipe['schedule'];

/** The optimizer over what is trainable. Bias and norm are not decayed unless `decayBiasAndNorm`. */
export function makeOptimizer(
  { name, decayBiasAndNorm = false, groups: _, layerDecay: __, ...options }: OptimizerOptions,
  parameters: readonly NamedVariable[],
  rates: ReadonlyMap<string, Rate> = new Map(),
): Optimizer {
  const trainable = parameters.filter(({ variable }) => variable.requiresGrad);
  if (trainable.length === 0)
    throw new ConfigError('NOTHING_TO_TRAIN', 'every parameter is frozen', {
      field: 'freeze',
      hint: 'leave at least the head out of freeze',
    });
  // Options left out must not overwrite the defaults by undefined.
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    lr: number;
  };
  const over = groupByRate(trainable, rates).flatMap(({ params, rate: { lrScale, weightDecay } }) =>
    (decayBiasAndNorm ? [{ params }] : parameterGroups(params)).map((group) => ({
      // A group's own decay leaves alone what has none.
      ...(weightDecay !== undefined && { weightDecay }),
      ...group,
      ...(lrScale !== 1 && { lr: given.lr * lrScale }),
    })),
  );
  switch (name) {
    case 'adamw':
      return new AdamW(over, given) as unknown as Optimizer;
    case 'adam':
      return new Adam(over, given) as unknown as Optimizer;
    case 'sgd':
      return new SGD(over, given) as unknown as Optimizer;
  }
}

/** The learning rate of every update of a run. */
export function makeSchedule(
  schedule: ScheduleOptions,
  { lr, totalSteps, stepsPerEpoch }: { lr: number; totalSteps: number; stepsPerEpoch: number },
): LrSchedule {
  const warm = (warmup: number | undefined, curve: (totalSteps: number) => LrSchedule): LrSchedule => {
    const steps =
      warmup === undefined ? 0 : Math.min(totalSteps, Math.round(warmup < 1 ? warmup * totalSteps : warmup));
    const rest = curve(Math.max(1, totalSteps - steps));
    return steps > 0 ? withWarmup(steps, lr, rest) : rest;
  };
  switch (schedule.name) {
    case 'constant':
      return warm(schedule.warmup, () => constantLr(lr));
    case 'linear':
      return warm(schedule.warmup, (total) => linearLr(lr, { totalSteps: total, final: schedule.final }));
    case 'cosine':
      return warm(schedule.warmup, (total) => cosineLr(lr, { totalSteps: total, final: schedule.final }));
    case 'step':
      return stepLr(lr, {
        stepSize: Math.max(1, Math.round(schedule.everyEpochs * stepsPerEpoch)),
        gamma: schedule.gamma,
      });
    case 'oneCycle':
      return oneCycleLr(lr, {
        totalSteps,
        pctStart: schedule.peakAt,
        divFactor: schedule.start,
        finalDivFactor: schedule.end,
      });
  }
}

/** What regularises and drives a run, in one line: nobody should have to look for it. */
export function settingsText(
  optimizer: OptimizerOptions,
  schedule: ScheduleOptions,
  {
    labelSmoothing = 0,
    clip = {},
    precision = 'fp32',
    ema,
    freezeBatchNorm = false,
    adapter,
    prune,
    teacher,
  }: {
    labelSmoothing?: number;
    clip?: { norm?: number; value?: number };
    precision?: string;
    ema?: { decay: number };
    freezeBatchNorm?: boolean;
    adapter?: ResolvedAdapter | undefined;
    prune?: { amount: number } | undefined;
    teacher?: { name: string; temperature: number; alpha: number } | undefined;
  } = {},
): string {
  const { name, lr, weightDecay = name === 'adamw' ? 0.01 : 0, decayBiasAndNorm = false } = optimizer;
  const kind = name === 'adamw' ? 'decoupled decay' : 'L2';
  const decay =
    weightDecay > 0 ? `${kind} ${weightDecay}${decayBiasAndNorm ? '' : ' (not on bias and norm)'}` : 'no decay';
  const parts = [`${name} lr ${lr}, ${decay}`, `schedule ${schedule.name}`];
  if (ema) parts.push(`weights averaged (decay ${ema.decay})`);
  if (adapter) parts.push(adapterText(adapter));
  if (prune) parts.push(`${(100 * prune.amount).toFixed(1)} % of weights pruned`);
  if (teacher) parts.push(`teacher ${teacher.name} (temperature ${teacher.temperature}, ${teacher.alpha} of the loss)`);
  if (freezeBatchNorm) parts.push('batch norm frozen');
  if (precision !== 'fp32') parts.push(`products in ${precision}`);
  if (labelSmoothing > 0) parts.push(`label smoothing ${labelSmoothing}`);
  if (clip.norm !== undefined) parts.push(`gradient norm <= ${clip.norm}`);
  if (clip.value !== undefined) parts.push(`gradients within ${clip.value}`);
  return parts.join('; ');
}

function adapterText(adapter: ResolvedAdapter): string {
  switch (adapter.name) {
    case 'lora':
      return `low-rank adapters of rank ${adapter.rank}, alpha ${adapter.alpha}`;
    case 'bottleneck':
      return `bottleneck adapters of ${adapter.size}`;
    case 'prefix':
      return `a prefix of ${adapter.length} in every layer`;
  }
}
