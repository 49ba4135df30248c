/** Where a run stands between two updates: plain JSON, so that a checkpoint holds all of it. Weights travel beside it. */
import { ConfigError, DataError, printable } from '../base/errors.ts';
import type { OptimizerProgress } from '../optim/index.ts';
import type { Measures } from './events.ts';

export interface EpochRecord {
  /** From 1. */
  readonly epoch: number;
  readonly step: number;
  readonly trainLoss: number;
  readonly lr: number;
  readonly validation?: Measures;
}

export interface Best {
  readonly epoch: number;
  readonly step: number;
  readonly value: number;
}

export interface TrainState {
  /** Updates done. */
  step: number;
  /** Batches run: names the random numbers of the next one. */
  microStep: number;
  /** Epochs completed, validation included. */
  epoch: number;
  /** Batches consumed of the epoch begun. */
  batch: number;
  /** Sum of the losses of the epoch's samples so far, and how many they are. */
  lossSum: number;
  lossCount: number;
  best: Best | null;
  /** Epochs since the best. */
  sinceBest: number;
  stoppedEarly: boolean;
  /** Batches read of the last epoch completed, where `maxSteps` cut it: the rest of it was never read. */
  cut?: number | undefined;
  history: EpochRecord[];
}

export const newState = (): TrainState => ({
  step: 0,
  microStep: 0,
  epoch: 0,
  batch: 0,
  lossSum: 0,
  lossCount: 0,
  best: null,
  sinceBest: 0,
  stoppedEarly: false,
  history: [],
});

/** What a checkpoint holds of a run besides tensors. */
export interface SavedState extends TrainState {
  readonly optimizer: OptimizerProgress;
}

/** A state read from a checkpoint, checked. @throws DataError CHECKPOINT_STATE naming the field. */
export function parseState(value: unknown, file: string): SavedState {
  const fail = (field: string, got: unknown): never => {
    throw new DataError('CHECKPOINT_STATE', `${printable(file)}: ${field} is ${printable(got)}`, { file, field, got });
  };
  const row = (typeof value === 'object' && value !== null ? value : fail('state', value)) as Record<string, unknown>;
  for (const field of ['step', 'microStep', 'epoch', 'batch', 'lossCount', 'sinceBest'])
    if (!Number.isSafeInteger(row[field]) || (row[field] as number) < 0) fail(field, row[field]);
  if (!Number.isFinite(row.lossSum)) fail('lossSum', row.lossSum);
  if (typeof row.stoppedEarly !== 'boolean') fail('stoppedEarly', row.stoppedEarly);
  if (row.cut !== undefined && !(Number.isSafeInteger(row.cut) && (row.cut as number) > 0)) fail('cut', row.cut);
  if (!Array.isArray(row.history)) fail('history', row.history);
  const best = row.best as Best | null;
  if (best !== null && !(Number.isFinite(best?.value) && Number.isSafeInteger(best.epoch))) fail('best', best);
  const { stepCount, missed = {} } = (row.optimizer ?? {}) as Partial<OptimizerProgress>;
  const counts = typeof missed === 'object' && missed !== null ? Object.values(missed) : [Number.NaN];
  if (![stepCount, ...counts].every((n) => Number.isSafeInteger(n) && (n as number) >= 0))
    fail('optimizer', row.optimizer);
  return structuredClone(row) as unknown as SavedState;
}

export interface Selection {
  /** What validation measures: `accuracy`, `loss`, `rmse` ... (see measureNames). */
  readonly metric: string;
  readonly mode: 'max' | 'min';
}

/** Whether `value` is better than the best so far by more than `minDelta`. NaN never is. */
export const isBetter = (value: number, best: Best | null, mode: 'max' | 'min', minDelta = 0): boolean =>
  best === null ? !Number.isNaN(value) : mode === 'max' ? value > best.value + minDelta : value < best.value - minDelta;

/** Among epochs of one measure the lower loss is the better one; what early stopping counts is the measure alone. */
function breaksTie({ best, history }: TrainState, record: EpochRecord, value: number): boolean {
  if (value !== best?.value) return false;
  const before = history.find(({ epoch }) => epoch === best.epoch);
  const [was = Number.NaN, is = Number.NaN] = [before?.validation?.loss, record.validation?.loss];
  return is < was;
}

/** Notes what an epoch gave; says whether it is the best so far. */
export function recordEpoch(
  state: TrainState,
  record: EpochRecord,
  { metric, mode }: Selection,
  minDelta = 0,
): boolean {
  state.history.push(record);
  // Without validation data the training loss is all there is to go by.
  const measured = record.validation?.[metric];
  const value = measured ?? record.validation?.loss ?? record.trainLoss;
  const direction = measured === undefined ? 'min' : mode;
  const enough = isBetter(value, state.best, direction, minDelta);
  const best = isBetter(value, state.best, direction) || breaksTie(state, record, value);
  state.sinceBest = enough ? 0 : state.sinceBest + 1;
  if (best) state.best = { epoch: record.epoch, step: record.step, value };
  state.epoch = record.epoch;
  state.batch = 0;
  state.lossSum = 0;
  state.lossCount = 0;
  return best;
}

/** How far a run is to go. */
export interface Limits {
  readonly epochs: number;
  readonly maxSteps?: number | undefined;
  readonly earlyStopping?: { readonly patience: number } | null | undefined;
}

/** Whether the early stop that a run ended by still holds: it may go on with more patience, or without any stop. */
export const staysStopped = (
  { stoppedEarly, sinceBest }: TrainState,
  { earlyStopping }: Omit<Limits, 'epochs'>,
): boolean => stoppedEarly && sinceBest >= (earlyStopping?.patience ?? Number.POSITIVE_INFINITY);

/**
 * Refuses more steps for a run whose last epoch was cut: it was measured as a whole one and the best was chosen by it, so
 * that the rest of its batches would never be read.
 * @throws ConfigError RESUME_CHANGED.
 */
export function refuseLonger({ step, epoch, cut }: TrainState, maxSteps: number | undefined): void {
  if (cut === undefined || step >= (maxSteps ?? Number.POSITIVE_INFINITY)) return;
  throw new ConfigError(
    'RESUME_CHANGED',
    `maxSteps: the run was ended by it after step ${step}, within epoch ${epoch}, and cannot be lengthened`,
    {
      field: 'maxSteps',
      expected: step,
      got: maxSteps ?? null,
      hint: 'start a new run from what it learned with init.weights, or go on from a checkpoint before its end with --checkpoint',
    },
  );
}

/** What people should know of a run in `dir` with nothing left to train; undefined where something is. */
export function finishedText(state: TrainState, limits: Limits, dir: string): string | undefined {
  const [why, how] = endOf(state, limits, dir) ?? [];
  if (why === undefined) return undefined;
  return (
    `already finished ${why}: nothing is trained, what was kept is measured and saved again\n` +
    `  hint: to train on: ${how}`
  );
}

function endOf(state: TrainState, limits: Limits, dir: string): [why: string, how: string] | undefined {
  const { epoch, step, batch, cut } = state;
  const { epochs, maxSteps = Number.POSITIVE_INFINITY } = limits;
  const resume = (...changes: [field: string, value: number | null][]): string =>
    `cambium resume ${dir} ${changes.map(([field, value]) => `--set ${field}=${value} --allow-change ${field}`).join(' ')}`;
  if (staysStopped(state, limits)) return [`by an early stop after epoch ${epoch}`, resume(['earlyStopping', null])];
  const more: [string, number][] = epoch < epochs ? [] : [['epochs', epochs + 1]];
  // Stopped after its last step it still has its epoch to measure.
  if (step >= maxSteps && batch === 0)
    return [
      `by maxSteps (step ${step} of ${maxSteps})`,
      cut === undefined
        ? resume(['maxSteps', 2 * step], ...more)
        : `start a new run from it: cambium train RECIPE --set init.weights=${dir}`,
    ];
  return more.length > 0 ? [`(${epoch} of ${epochs} epochs)`, resume(...more)] : undefined;
}
