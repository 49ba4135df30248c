/**
 * The learning rate range test (Smith 2017, https://arxiv.org/abs/1506.01186): the rate grows from step to step, and the loss tells
 * where learning is fastest and where it breaks.
 */
import { ArgumentError, NumericError } from '../base/errors.ts';
import type { LabelledBatch } from '../data/index.ts';
import { balanceOf } from './balance.ts';
import type { TrainOptions } from './fine-tune-options.ts';
import { headsToLearn } from './head-classes.ts';
import { initialise } from './init.ts';
import { copyOf, restore } from './model-weights.ts';
import { type Prepared, prepare } from './prepare.ts';
import { TrainStep } from './train-step.ts';

export interface LrFindOptions {
  /** From 1e-7 to 1 unless told. */
  readonly minLr?: number;
  readonly maxLr?: number;
  /** Steps between them, at most: 100. */
  readonly steps?: number;
}

export interface LrPoint {
  readonly lr: number;
  /** Of the step's batch. */
  readonly loss: number;
  /** Exponential mean, corrected at the beginning: its weight lasts for about a fifteenth of the steps. */
  readonly smoothed: number;
}

export interface LrFinding {
  readonly points: readonly LrPoint[];
  /** Where the smoothed loss falls fastest over the logarithm of the rate; undefined without a suggestion. */
  readonly steepest?: number;
  /** A tenth of the rate of the least smoothed loss; undefined without a suggestion. */
  readonly minimum?: number;
  /** Where the smoothed loss has done a third of its fall: what to try first. Undefined where the fall does not rise above the noise. */
  readonly valley?: number;
  /** How far the smoothed loss falls, and how far it would by chance. */
  readonly fall: number;
  readonly noise: number;
  /** The rate at which the smoothed loss was four times its least, or the loss not finite: where it stopped. */
  readonly diverged?: number;
}

/** Factor of the mean at so many steps: it must not lag behind a short sweep. */
const smoothingOf = (steps: number): number => Math.exp(-1 / Math.max(1, steps / 15));

/** Times the least smoothed loss. */
const DIVERGED = 4;

/**
 * Trains up to `steps` steps at rising rates, and puts the weights back. Schedules and epochs of the options do not matter.
 * @throws ArgumentError OPTION_INVALID for rates or steps out of range; what `fineTune` throws before its first step.
 */
export async function findLearningRate(
  options: TrainOptions,
  { minLr = 1e-7, maxLr = 1, steps = 100 }: LrFindOptions = {},
): Promise<LrFinding> {
  if (!(minLr > 0 && maxLr > minLr && Number.isFinite(maxLr)))
    throw new ArgumentError('OPTION_INVALID', `rates from ${minLr} to ${maxLr}: expected 0 < minLr < maxLr`, {
      field: 'minLr',
      got: [minLr, maxLr],
    });
  if (!Number.isInteger(steps) || steps < 10)
    throw new ArgumentError('OPTION_INVALID', `steps: expected a whole number of at least 10, found ${steps}`, {
      field: 'steps',
      got: steps,
    });
  const { model, data, init, inputs } = options;
  if (init) await initialise(model, init, headsToLearn(options));
  const balance = inputs ? undefined : await balanceOf(data.train, options);
  const { stepOptions, loader, seed, trainable } = prepare({ ...options, ...(balance && { balance }), accumulate: 1 });
  const step = new TrainStep(stepOptions);
  trainable.apply(1);
  const before = await copyOf(model.stateDict());
  const points: LrPoint[] = [];
  const keep = smoothingOf(steps);
  let [mean, least, diverged] = [0, Number.POSITIVE_INFINITY, undefined as number | undefined];
  try {
    const batches = repeated(loader);
    for (let i = 0; i < steps; i++) {
      const { value: batch } = await batches.next();
      const lr = minLr * (maxLr / minLr) ** (i / (steps - 1));
      const loss = await step
        .run([batch as LabelledBatch], { seed, step: i, microStep: i, lr })
        .catch((error: unknown) => {
          if (error instanceof NumericError && error.code === 'NON_FINITE') return Number.NaN;
          throw error;
        });
      mean = keep * mean + (1 - keep) * loss;
      const smoothed = mean / (1 - keep ** (i + 1));
      // One loss alone may be a bad batch; a mean that high is none.
      if (!Number.isFinite(smoothed) || smoothed > DIVERGED * least) {
        diverged = lr;
        break;
      }
      points.push({ lr, loss, smoothed });
      least = Math.min(least, smoothed);
    }
    await batches.return(undefined);
  } finally {
    step.release();
    await restore(model.stateDict(), before, 'the weights before the search');
  }
  return { points, ...suggestions(points, steps), ...(diverged !== undefined && { diverged }) };
}

async function* repeated(loader: Prepared['loader']): AsyncGenerator<LabelledBatch, void, void> {
  for (let epoch = 0; ; epoch++) yield* loader.epoch(epoch);
}

/** Deviations of a smoothed loss that chance alone is not likely to reach between the ends of a curve. */
const SIGNIFICANT = 8;
/** Of the steps: there the mean knows too few losses. */
const SKIPPED = 0.05;

/**
 * What a curve says. The noise is that of the losses around their smoothed curve, brought down to what is left of it in a mean; a
 * curve whose fall is below eight deviations of that suggests nothing. `steps` is what the sweep was to take.
 */
export function suggestions(
  points: readonly LrPoint[],
  steps = points.length,
): Pick<LrFinding, 'steepest' | 'minimum' | 'valley' | 'fall' | 'noise'> {
  const skipped = Math.ceil(SKIPPED * points.length);
  const chosen = points.slice(skipped);
  const n = chosen.length;
  const at = (i: number): number => (chosen[i] as LrPoint).smoothed;
  const rate = (i: number): number => (chosen[i] as LrPoint).lr;
  let low = 0;
  for (let i = 1; i < n; i++) if (at(i) < at(low)) low = i;
  const noise = noiseOf(points, skipped + low, steps);
  // Where the fall begins: the last place at least as high as all before the lowest.
  let top = 0;
  for (let i = 0; i < low; i++) if (at(i) >= at(top)) top = i;
  const fall = n > 0 ? at(top) - at(low) : 0;
  if (n < 3 || !(fall > SIGNIFICANT * noise)) return { fall, noise };
  let [steepest, slope] = [top + 1, 0];
  for (let i = Math.max(1, top); i <= Math.min(low, n - 2); i++) {
    const change = at(i + 1) - at(i - 1);
    if (change < slope) [steepest, slope] = [i, change];
  }
  // By the loss, not by the count of rates: most of a sweep may lie before anything happens.
  let place = top;
  while (place < low && at(place) > at(top) - fall / 3) place++;
  return { fall, noise, steepest: rate(steepest), minimum: rate(low) / 10, valley: rate(place) };
}

/**
 * Deviation of the smoothed loss by chance: over the whole curve, or before its least point where that is more, for losses scatter
 * more at high rates. Second differences know nothing of the trend, medians nothing of a curve that bursts. A mean of factor k
 * keeps (1 - k) / (1 + k) of the variance.
 */
function noiseOf(points: readonly LrPoint[], low: number, steps: number): number {
  const loss = (i: number): number => (points[i] as LrPoint).loss;
  const changes = points
    .map((_, i) => i)
    .slice(1, -1)
    .map((i) => ({ i, size: Math.abs(loss(i + 1) - 2 * loss(i) + loss(i - 1)) / Math.sqrt(6) }));
  const window = Math.max(6, Math.floor(points.length / 8));
  const near = changes.filter(({ i }) => i >= low - window && i <= low);
  const keep = smoothingOf(steps);
  return 1.4826 * Math.max(middleOf(changes), middleOf(near)) * Math.sqrt((1 - keep) / (1 + keep));
}

const middleOf = (changes: readonly { readonly size: number }[]): number =>
  changes.map(({ size }) => size).sort((a, b) => a - b)[Math.floor(changes.length / 2)] ?? 0;

const said = (lr: number): string => lr.toExponential(1).replace('e+0', '');

/** How the suggestion follows from the curve, in words. */
export function lrFindReason({ points, steepest, minimum, valley, fall, noise, diverged }: LrFinding): string[] {
  const end = points.at(-1)?.lr ?? 0;
  const losses = points.map(({ smoothed }) => smoothed);
  const [least, last] = [Math.min(...losses), losses.at(-1) ?? 0];
  const ended =
    diverged !== undefined
      ? `it diverged at ${said(diverged)}: the loss was ${DIVERGED} times its least, or not finite`
      : last - least > SIGNIFICANT * noise
        ? `it did not diverge up to ${said(end)}, but the loss rises from ${least.toFixed(4)} to ${last.toFixed(4)} at the end`
        : `it did not diverge up to ${said(end)}`;
  if (valley === undefined)
    return [
      ended,
      `no suggestion: the smoothed loss falls by ${fall.toPrecision(2)}, and by chance it moves by ${(SIGNIFICANT * noise).toPrecision(2)}`,
      'what helps: more steps (--steps 300), a larger batchSize, a higher --max-lr if it did not diverge; or a rate of the recipe as it is',
    ];
  return [
    ended,
    `suggestion: --set optimizer.lr=${said(valley)}`,
    `  the smoothed loss falls by ${fall.toPrecision(3)} (by chance it moves by ${(SIGNIFICANT * noise).toPrecision(2)}); the suggestion is where a third of that is done,`,
    `  well under way and far from its end. It falls fastest at ${said(steepest as number)}, often too high a rate to hold for a whole run;`,
    `  a tenth of the rate of the least loss is ${said(minimum as number)}`,
  ];
}

/** The curve in letters: one line a bin of rates, for terminals. */
export function lrFindText(finding: LrFinding): string {
  const { points } = finding;
  const losses = points.map(({ smoothed }) => smoothed);
  const [low, high] = [Math.min(...losses), Math.max(...losses)];
  const every = Math.max(1, Math.ceil(points.length / 25));
  const rows = points
    .filter((_, i) => i % every === 0)
    .map(({ lr, smoothed }) => {
      const width = high > low ? Math.round((40 * (smoothed - low)) / (high - low)) : 0;
      return `${lr.toExponential(1).padStart(8)}  ${smoothed.toFixed(4).padStart(9)}  ${'#'.repeat(width)}`;
    });
  return ['    rate       loss', ...rows, ...lrFindReason(finding)].join('\n');
}
