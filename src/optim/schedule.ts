/** Learning rates as functions of the step alone: resuming needs no state, and a curve can be drawn before the run. */
import { inRange } from './optimizer.ts';

/** The learning rate of update `step`, from 0. */
export type LrSchedule = (step: number) => number;

/** Grows linearly from lr / warmupSteps over the first updates, then follows `rest` (whose step 0 is the end of it). */
export function withWarmup(warmupSteps: number, lr: number, rest: LrSchedule): LrSchedule {
  return (step) => (step < warmupSteps ? (lr * (step + 1)) / warmupSteps : rest(step - warmupSteps));
}

export const constantLr =
  (lr: number): LrSchedule =>
  () =>
    lr;

/** Times `gamma` every `stepSize` updates. */
export function stepLr(lr: number, { stepSize, gamma = 0.1 }: { stepSize: number; gamma?: number }): LrSchedule {
  inRange('stepSize', stepSize, 1, Number.MAX_SAFE_INTEGER);
  return (step) => lr * gamma ** Math.floor(step / stepSize);
}

const progress = (step: number, totalSteps: number): number => Math.min(1, step / Math.max(1, totalSteps - 1));

/** From lr to lr * final along a straight line. */
export const linearLr =
  (lr: number, { totalSteps, final = 0 }: { totalSteps: number; final?: number }): LrSchedule =>
  (step) =>
    lr * (1 + (final - 1) * progress(step, totalSteps));

/** From lr to lr * final along half a cosine (Loshchilov and Hutter 2017). */
export const cosineLr =
  (lr: number, { totalSteps, final = 0 }: { totalSteps: number; final?: number }): LrSchedule =>
  (step) =>
    lr * (final + ((1 - final) * (1 + Math.cos(Math.PI * progress(step, totalSteps)))) / 2);

/** Up from maxLr / divFactor to maxLr and down to maxLr / divFactor / finalDivFactor, both along cosines; torch's OneCycleLR. */
export function oneCycleLr(
  maxLr: number,
  {
    totalSteps,
    pctStart = 0.3,
    divFactor = 25,
    finalDivFactor = 1e4,
  }: { totalSteps: number; pctStart?: number; divFactor?: number; finalDivFactor?: number },
): LrSchedule {
  const initial = maxLr / divFactor;
  const last = initial / finalDivFactor;
  const peak = pctStart * totalSteps - 1;
  const anneal = (from: number, to: number, part: number): number =>
    to + ((from - to) / 2) * (1 + Math.cos(Math.PI * part));
  return (step) =>
    step <= peak
      ? anneal(initial, maxLr, step / Math.max(1e-9, peak))
      : anneal(maxLr, last, Math.min(1, (step - peak) / Math.max(1e-9, totalSteps - 1 - peak)));
}
