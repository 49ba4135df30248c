/**
 * The training loop: epochs of updates, validation after each, the best weights kept, the run resumable at every update.
 * It knows no architecture, no task's arithmetic and no file format; it calls them in order and tells its listeners.
 */
import type { LabelledBatch } from '../data/index.ts';
import type { LrSchedule } from '../optim/index.ts';
import type { Checkpointing } from './checkpointing.ts';
import type { EventTable, Listener, Measures, TrainEvent } from './events.ts';
import type { BatchSource } from './inputs.ts';
import type { RunPlan } from './plan.ts';
import { RunStopped, type SignalWatch } from './signals.ts';
import { newState, recordEpoch, refuseLonger, type Selection, staysStopped, type TrainState } from './train-state.ts';
import type { TrainStep } from './train-step.ts';

export interface TrainLoop {
  readonly step: TrainStep;
  readonly loader: BatchSource;
  readonly epochs: number;
  /** Updates at most: the epoch they end in is measured and noted as one that was read to its end. */
  readonly maxSteps?: number | undefined;
  readonly accumulate: number;
  readonly seed: number;
  readonly schedule: LrSchedule;
  /** Measures the validation part; stops early when `stop` says so and then gives nothing. */
  readonly validate?: (stop: () => boolean) => Promise<Measures | undefined>;
  /** Called before the first step of every epoch, the one continued included; what it says is told. */
  readonly beforeEpoch?: (epoch: number) => string | undefined;
  readonly selectBy: Selection;
  readonly earlyStopping?: { readonly patience: number; readonly minDelta: number } | null;
  readonly checkpoints: Checkpointing;
  readonly everySteps: number;
  readonly plan: RunPlan;
  readonly samples: EventTable['run-start']['samples'];
  readonly listeners: readonly Listener[];
  readonly signals?: SignalWatch;
  /** Where the run stood when it was interrupted. */
  readonly state?: TrainState;
}

/** Trains until the last epoch, the last step or an early stop. @throws RunStopped, NumericError, IoError, ConfigError RESUME_CHANGED. */
export async function trainLoop(loop: TrainLoop): Promise<TrainState> {
  const { loader, epochs, maxSteps = Number.POSITIVE_INFINITY, accumulate, listeners, checkpoints } = loop;
  const state = loop.state ?? newState();
  refuseLonger(state, loop.maxSteps);
  state.stoppedEarly = staysStopped(state, loop);
  const stepsPerEpoch = Math.ceil(loader.length / accumulate);
  const emit = async (event: TrainEvent): Promise<void> => {
    for (const listener of listeners) await listener(event);
  };
  const stopping = (): boolean => loop.signals?.received !== undefined;
  const stop = async (): Promise<never> => {
    const name = await checkpoints.save(state, 'signal');
    if (name) await emit({ type: 'checkpoint', step: state.step, name, reason: 'signal' });
    throw new RunStopped(loop.signals?.received, state.step, checkpoints.run);
  };
  const save = async (reason: 'epoch' | 'steps', best = false): Promise<void> => {
    const name = await checkpoints.save(state, reason, best);
    if (name) await emit({ type: 'checkpoint', step: state.step, name, reason });
  };

  await emit({
    type: 'run-start',
    run: checkpoints.run,
    plan: loop.plan,
    epochs,
    stepsPerEpoch,
    step: state.step,
    samples: loop.samples,
  });

  const open = (): boolean => state.step < maxSteps;
  // A run that was stopped after its last step still has its epoch to measure.
  while (state.epoch < epochs && !state.stoppedEarly && (open() || state.batch > 0)) {
    const epoch = state.epoch + 1;
    const stepsBefore = state.step - Math.ceil(state.batch / accumulate);
    const stepsNow = Math.min(stepsPerEpoch, maxSteps - stepsBefore);
    const news = loop.beforeEpoch?.(epoch);
    if (news !== undefined) await emit({ type: 'notice', text: news });
    const clock = new Clock();
    const batchesLeft = open() ? loader.epoch(state.epoch, { startBatch: state.batch }) : [];
    for await (const batches of groups(batchesLeft, accumulate)) {
      const lr = loop.schedule(state.step);
      const loss = await loop.step.run(batches, { seed: loop.seed, step: state.step, microStep: state.microStep, lr });
      const size = batches.reduce((sum, batch) => sum + batch.size, 0);
      state.step++;
      state.microStep += batches.length;
      state.batch += batches.length;
      state.lossSum += loss * size;
      state.lossCount += size;
      clock.tick(size);
      await emit({
        type: 'step',
        step: state.step,
        epoch,
        stepInEpoch: Math.ceil(state.batch / accumulate),
        stepsPerEpoch: stepsNow,
        loss,
        epochLoss: state.lossSum / state.lossCount,
        lr,
        samplesPerSecond: clock.samplesPerSecond,
        secondsPerStep: clock.secondsPerStep,
      });
      if (stopping()) await stop();
      if (!open()) break;
      // The one at the epoch's end is saved after validation.
      if (loop.everySteps > 0 && state.step % loop.everySteps === 0 && state.batch < loader.length) await save('steps');
    }
    const { seconds, samplesPerSecond } = clock;

    const validation = await loop.validate?.(stopping);
    if (stopping()) await stop();
    if (validation) await emit({ type: 'validation', epoch, step: state.step, measures: validation });
    const record = {
      epoch,
      step: state.step,
      trainLoss: state.lossSum / state.lossCount,
      lr: loop.schedule(Math.max(0, state.step - 1)),
      ...(validation ? { validation } : {}),
    };
    if (state.batch < loader.length) state.cut = state.batch;
    const best = recordEpoch(state, record, loop.selectBy, loop.earlyStopping?.minDelta);
    const patience = loop.earlyStopping?.patience;
    if (patience !== undefined && state.sinceBest >= patience) state.stoppedEarly = true;
    // Told first: what is logged up to a checkpoint belongs to it.
    await emit({ type: 'epoch-end', ...record, seconds, samplesPerSecond, best });
    await save('epoch', best);
    if (state.stoppedEarly && patience !== undefined)
      await emit({ type: 'early-stop', epoch, bestEpoch: state.best?.epoch ?? epoch, patience });
  }
  return state;
}

/** Batches in groups of `size`; the last may be smaller. */
async function* groups(
  batches: AsyncIterable<LabelledBatch> | Iterable<LabelledBatch>,
  size: number,
): AsyncGenerator<LabelledBatch[]> {
  let group: LabelledBatch[] = [];
  for await (const batch of batches) {
    group.push(batch);
    if (group.length < size) continue;
    yield group;
    group = [];
  }
  if (group.length > 0) yield group;
}

// Rates over the epoch; the first steps also compile, so the ETA looks at recent ones.
class Clock {
  readonly #start = performance.now();
  #last = this.#start;
  #samples = 0;
  #secondsPerStep = 0;

  tick(samples: number): void {
    const now = performance.now();
    const seconds = (now - this.#last) / 1000;
    this.#secondsPerStep = this.#secondsPerStep === 0 ? seconds : 0.9 * this.#secondsPerStep + 0.1 * seconds;
    this.#last = now;
    this.#samples += samples;
  }

  get secondsPerStep(): number {
    return this.#secondsPerStep;
  }
  get seconds(): number {
    return (this.#last - this.#start) / 1000;
  }
  get samplesPerSecond(): number {
    return this.seconds > 0 ? this.#samples / this.seconds : 0;
  }
}
