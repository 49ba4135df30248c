/** Level two of the API: one call that trains a model on data and returns typed results. The command line is built on it. */
import type { Json } from '../io/index.ts';
import { keepZeros, type Module, type PruneOptions, pruneWeights } from '../nn/index.ts';
import type { Ema } from '../optim/index.ts';
import type { Task } from '../tasks/index.ts';
import { settleAdapter } from './adapter.ts';
import { type Balance, balanceOf } from './balance.ts';
import { checkFineTuneOptions } from './check-options.ts';
import { checkStart } from './check-start.ts';
import { inMemory, inStore, type MemoryCheckpointing, restoreCheckpoint, restoreWeights } from './checkpointing.ts';
import { type Evaluation, evaluate, majorityBaseline } from './evaluate.ts';
import type { Listener, Measures } from './events.ts';
import { headOnly } from './feature-cache/head-only.ts';
import type { FineTuneOptions, TrainOptions } from './fine-tune-options.ts';
import { headsToLearn } from './head-classes.ts';
import { headPaths, type InitReport, initialise, type WeightsLineage } from './init.ts';
import { saveModelFolder } from './model-folder.ts';
import type { RunPlan } from './plan.ts';
import { prepare, refuseStreams, refuseTogether } from './prepare.ts';
import type { Checkpoints } from './run/index.ts';
import { RunStopped } from './signals.ts';
import type { Best, EpochRecord, TrainState } from './train-state.ts';
import { TrainStep } from './train-step.ts';
import { trainLoop } from './trainer.ts';

export interface TrainResult {
  readonly epochs: number;
  readonly steps: number;
  readonly history: readonly EpochRecord[];
  readonly best: Best | null;
  readonly stoppedEarly: boolean;
  readonly seconds: number;
  /** Of the best weights. */
  readonly validation?: Measures;
  /** `baseline`: of always answering the most frequent class, where every sample has one. */
  readonly test?: Evaluation & { readonly baseline?: { readonly label: string; readonly accuracy: number } };
  /** Where there is no test part: the validation part, on the weights that were kept. */
  readonly validated?: Evaluation;
  readonly modelDir?: string;
  readonly weightsHash?: string;
  /** What `init` loaded; not where the run was resumed. */
  readonly init?: InitReport;
}

export interface FineTuneResult extends TrainResult {
  /** The model with its best weights, in evaluation mode. */
  readonly model: Module;
  readonly task: Task;
  readonly plan: RunPlan;
}

/**
 * Trains `model`, keeps the best epoch's weights and measures them once on the test part.
 * @example const { model, test } = await fineTune({ model: new MnistCnn(), data, epochs: 2 });
 * @throws MemoryError before the first step when it will not fit; NumericError at the step that met NaN; RunStopped.
 */
export async function fineTune(options: FineTuneOptions & { balance?: Balance }): Promise<FineTuneResult> {
  checkFineTuneOptions(options);
  const start = performance.now();
  const { model, data, transforms, text, saveTo, adapter } = options;
  refuseStreams(data);
  refuseTogether(options);
  const init =
    options.init && !options.checkpoints?.resumeFrom
      ? await initialise(model, options.init, headsToLearn(options))
      : undefined;
  if (init) for (const listener of options.listeners ?? []) await listener({ type: 'init', report: init });
  const origin = init ? withLineage(options.origin, init.lineage) : options.origin;
  const balance = options.balance ?? (await balanceOf(data.train, options));
  if (options.prune && !options.checkpoints?.resumeFrom) await prune(options, options.prune);
  const { end, task, plan, evalBatchSize, preprocessing, restoreBest } = await train({
    ...options,
    balance,
    ...(init && { started: init }),
  });
  await restoreBest();
  const architecture = adapter ? await settleAdapter(model, adapter, options) : options.architecture;

  let weightsHash: string | undefined;
  if (saveTo !== undefined && architecture) {
    const description = {
      model: architecture,
      heads: task.heads.map(({ options: head }) => head),
      ...preprocessing,
      origin,
    };
    weightsHash = await saveModelFolder(saveTo, model, description);
  }
  const stop = (): boolean => options.signals?.received !== undefined;
  const measured = data.test ?? data.validation;
  const evaluation =
    measured && (await evaluate(model, task, measured, { batchSize: evalBatchSize, transforms, text, stop }));
  // The last checkpoint holds everything; resuming measures again.
  if (measured && !evaluation) throw new RunStopped(options.signals?.received, end.step, options.checkpoints?.run);
  const [test, validated] = data.test ? [evaluation, undefined] : [undefined, evaluation];
  const result: TrainResult = {
    epochs: end.epoch,
    steps: end.step,
    history: end.history,
    best: end.best,
    stoppedEarly: end.stoppedEarly,
    seconds: (performance.now() - start) / 1000,
    // What training measured, which the epoch was chosen by; where nothing was trained, what there is to measure.
    validation:
      end.epoch === 0 ? validated?.measures : end.history.find(({ epoch }) => epoch === end.best?.epoch)?.validation,
    test: test && { ...test, ...(test.confusion && { baseline: majorityBaseline(test.confusion) }) },
    ...(validated && { validated }),
    modelDir: weightsHash === undefined ? undefined : saveTo,
    weightsHash,
    ...(init && { init }),
  };
  return { ...result, model: model.eval(), task, plan };
}

/** Before anything is planned or averaged. */
async function prune({ model, listeners = [] }: FineTuneOptions, options: PruneOptions): Promise<void> {
  const { weights, zeros } = await pruneWeights(model, { ...options, except: headPaths(model) });
  const share = ((100 * zeros) / weights).toFixed(1);
  const text = `pruned: ${zeros.toLocaleString('en')} of ${weights.toLocaleString('en')} weights are 0 (${share} %)`;
  for (const listener of listeners) await listener({ type: 'notice', text });
}

/** What a model came from, with the weights it started from; a resumed run's origin names them already. */
export const withLineage = (origin: Json | undefined, lineage: WeightsLineage): Json => ({
  ...(typeof origin === 'object' && origin !== null && !Array.isArray(origin) ? origin : {}),
  init: lineage as unknown as Json,
});

/** Everything only training needs (optimizer state, gradients) is garbage when this returns. */
export async function train(options: TrainOptions) {
  const prepared = prepare(options);
  const { model, data, transforms, text, listeners = [], signals } = options;
  const { task, optimizer, ema, trainable, evalBatchSize, plan, preprocessing } = prepared;
  const emit: Listener = async (event) => {
    for (const listener of listeners) await listener(event);
  };
  const { store, run = '', everySteps = 0, resumeFrom } = options.checkpoints ?? {};
  const inRam = inMemory(model, ema);
  const checkpoints = store
    ? inStore({ run, store, model, optimizer, ema, warn: (text) => emit({ type: 'notice', text }) })
    : inRam;
  const { validation, test } = data;
  const state =
    resumeFrom &&
    (await restoreCheckpoint(resumeFrom, model, optimizer, {
      ema,
      // Optimizer state is saved of what trained.
      before: ({ epoch, batch }) => void trainable.apply(Math.max(1, batch > 0 ? epoch + 1 : epoch)),
    }));
  const { check = 'auto', started: report, init, inputs } = options;
  if (check === 'auto' && report && init && !inputs)
    await checkStart(options, prepared, { weights: init.weights, report }, emit);
  const head = await headOnly(options, prepared, emit, state?.epoch ?? 0);
  const onGradients = options.prune && (await keepZeros(model, headPaths(model)));
  const step = new TrainStep({ ...prepared.stepOptions, onGradients, ...(head && { lossOf: head.lossOf }) });
  const end = await trainLoop({
    step,
    loader: head?.loader ?? prepared.loader,
    epochs: prepared.epochs,
    maxSteps: options.maxSteps,
    accumulate: prepared.accumulate,
    seed: prepared.seed,
    schedule: prepared.schedule,
    ...(validation && {
      validate: async (stop) => {
        const measure = async (): Promise<Measures | undefined> => {
          if (options.measure) return options.measure(evalBatchSize, stop);
          const found = head?.validate
            ? await head.validate(stop)
            : await evaluate(model, task, validation, { batchSize: evalBatchSize, transforms, text, stop });
          return found?.measures;
        };
        return ema ? ema.whileApplied(measure) : measure();
      },
    }),
    selectBy: prepared.selectBy,
    earlyStopping: options.earlyStopping && { minDelta: 0, ...options.earlyStopping },
    checkpoints,
    everySteps,
    plan,
    samples: {
      train: data.train.length,
      validation: validation?.length ?? 0,
      test: test?.length ?? 0,
      ...(inputs?.unit !== undefined && { unit: inputs.unit }),
    },
    listeners,
    signals,
    beforeEpoch: (epoch) => {
      const total = trainable.apply(epoch);
      const joining = trainable.joining(epoch);
      if (epoch === 1 || joining === 0) return undefined;
      return `epoch ${epoch}: ${joining.toLocaleString('en')} more parameters train, ${total.toLocaleString('en')} in all`;
    },
    state,
  }).finally(() => head?.close());
  step.release();
  return { end, task, plan, evalBatchSize, preprocessing, restoreBest: bestRestorer(end, model, ema, store, inRam) };
}

// Apart from `train`, so that the function it makes does not keep the optimizer alive.
function bestRestorer(
  end: TrainState,
  model: Module,
  ema: Ema | undefined,
  store: Checkpoints | undefined,
  inRam: MemoryCheckpointing,
) {
  return async (): Promise<void> => {
    if (!end.best || end.best.step === end.step) await ema?.apply();
    else if (store) await restoreWeights(store, end.best.step, model, ema !== undefined);
    else await inRam.restoreBest();
  };
}
