/**
 * The learning rate range test (Smith 2017, https://arxiv.org/abs/1506.01186): the rate grows from step to step, and the loss tells
 * where learning is fastest and where it breaks.
 */
import { ArgumentError, NumericError } from '../base/errors.ts';
import type { LabelledBatch } from '../data/index.ts';
import { balanceOf } from './balance.ts';
import { prepare, type TrainOptions } from './fine-tune.ts';
import { headsToLearn } from './head-classes.ts';
import { initialise } from './init.ts';
import { copyOf, restore } from './model-weights.ts';

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
  /** Exponential mean with factor 0.98, corrected at the beginning. */
  readonly smoothed: number;
}

export interface LrFinding {
  readonly points: readonly LrPoint[];
  /** Where the smoothed loss falls fastest over the logarithm of the rate; undefined where it never falls. */
  readonly steepest?: number;
  /** Midway through the longest fall: steadier than the steepest place, and what to try first. */
  readonly valley?: number;
  /** The rate at which the loss was four times its least, or not finite: where it stopped. */
  readonly diverged?: number;
}

const SMOOTHING = 0.98;

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
  const { step, loader, seed, trainable } = prepare({ ...options, ...(balance && { balance }), accumulate: 1 });
  trainable.apply(1);
  const before = await copyOf(model.stateDict());
  const points: LrPoint[] = [];
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
      mean = SMOOTHING * mean + (1 - SMOOTHING) * loss;
      const smoothed = mean / (1 - SMOOTHING ** (i + 1));
      if (!Number.isFinite(smoothed) || smoothed > 4 * least) {
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
  return { points, ...suggestions(points), ...(diverged !== undefined && { diverged }) };
}

async function* repeated(loader: ReturnType<typeof prepare>['loader']): AsyncGenerator<LabelledBatch, void, void> {
  for (let epoch = 0; ; epoch++) yield* loader.epoch(epoch);
}

/** The steepest fall, and the middle of the longest falling subsequence (fastai's valley). */
export function suggestions(points: readonly LrPoint[]): Pick<LrFinding, 'steepest' | 'valley'> {
  const n = points.length;
  const at = (i: number): number => (points[i] as LrPoint).smoothed;
  let [steepest, slope] = [-1, 0];
  for (let i = 1; i + 1 < n; i++) {
    const fall = at(i + 1) - at(i - 1);
    if (fall < slope) [steepest, slope] = [i, fall];
  }
  const longest = new Int32Array(n).fill(1);
  let end = 0;
  for (let i = 1; i < n; i++) {
    for (let j = 0; j < i; j++)
      if (at(i) < at(j)) longest[i] = Math.max(longest[i] as number, (longest[j] as number) + 1);
    if ((longest[i] as number) > (longest[end] as number)) end = i;
  }
  const length = (longest[end] as number | undefined) ?? 0;
  const third = Math.floor(length / 3);
  const middle = end - length + third + Math.floor(third / 2);
  return {
    ...(steepest >= 0 && { steepest: (points[steepest] as LrPoint).lr }),
    ...(length > 2 && { valley: (points[Math.max(0, middle)] as LrPoint).lr }),
  };
}

/** The curve in letters: one line a bin of rates, for terminals. */
export function lrFindText({ points, steepest, valley, diverged }: LrFinding): string {
  const losses = points.map(({ smoothed }) => smoothed);
  const [low, high] = [Math.min(...losses), Math.max(...losses)];
  const every = Math.max(1, Math.ceil(points.length / 25));
  const rows = points
    .filter((_, i) => i % every === 0)
    .map(({ lr, smoothed }) => {
      const width = high > low ? Math.round((40 * (smoothed - low)) / (high - low)) : 0;
      return `${lr.toExponential(1).padStart(8)}  ${smoothed.toFixed(4).padStart(9)}  ${'#'.repeat(width)}`;
    });
  const said = (lr: number): string => lr.toExponential(1).replace('e+0', '');
  return [
    '    rate       loss',
    ...rows,
    diverged === undefined ? 'it did not diverge' : `it diverged at ${said(diverged)}`,
    valley === undefined ? 'the loss did not fall: no suggestion' : `suggestion: --set optimizer.lr=${said(valley)}`,
    ...(steepest === undefined ? [] : [`steepest at ${said(steepest)}`]),
  ].join('\n');
}
