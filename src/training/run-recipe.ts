/** A recipe becomes a run: data, model, run folder, training, report. And an interrupted run goes on. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError, DataError, printable } from '../base/errors.ts';
import { classNames, type Transform, validateTransforms } from '../data/index.ts';
import { exists, ioError, type Json } from '../io/index.ts';
import { createModel, modelEntry } from '../models/index.ts';
import type { Module } from '../nn/index.ts';
import { manualSeed } from '../tensor/index.ts';
import type { Snapshot } from './checkpointing.ts';
import { type DataRequest, dataHashes, leakNotice, loadRunData, type RunData } from './data-source.ts';
import type { Listener, TrainEvent } from './events.ts';
import { type FineTuneOptions, type FineTuneResult, fineTune, planFineTune } from './fine-tune.ts';
import type { RunPlan } from './plan.ts';
import type { Recipe } from './recipe.ts';
import { parseRecipe } from './recipe-parse.ts';
import { applySettings, parseSetting } from './recipe-set.ts';
import { type ReportJson, reportOf } from './run-report.ts';
import { createRun, openRun, type Run } from './run-store.ts';
import { watchSignals } from './signals.ts';

export interface RunRequest {
  dataDir?: string;
  listeners?: readonly Listener[];
  /** Whether Ctrl-C and SIGTERM save a checkpoint and end the run. */
  signals?: boolean;
}

export interface RunOutcome {
  readonly run: string;
  readonly result: FineTuneResult;
  /** The classification report of the test part, if there is one. */
  readonly reportText?: string;
  readonly report?: ReportJson;
}

/** What a run must not change under way; the head of its folder. */
interface RunHead {
  recipe: Recipe;
  data: Record<string, string>;
}

/** @throws ConfigError, DataError, IoError, LockedError, MemoryError, NumericError, RunStopped. */
export async function runRecipe(recipe: Recipe, request: RunRequest & { out?: string } = {}): Promise<RunOutcome> {
  const prepared = await prepare(recipe, request);
  // A plan that does not fit leaves no folder behind.
  planFineTune(prepared.options, true);
  const dir = request.out ?? (await freeName(prepared.data.recipe.name));
  const head: RunHead = { recipe: prepared.data.recipe, data: prepared.hashes };
  const run = await createRun(dir, head as unknown as Json, {
    keepLast: recipe.checkpoint.keepLast,
    checkpointBytes: checkpointBytes(prepared.options.model, recipe),
  });
  return execute(run, prepared, request);
}

export interface ResumeRequest extends RunRequest {
  /** Fields of the recipe that may differ from the interrupted run's; `data` for the samples. */
  allowChange?: readonly string[];
  set?: readonly string[];
  /** Start from this checkpoint instead of the newest intact one. */
  checkpoint?: string;
}

/** Goes on after the newest intact checkpoint, bit for bit. @throws ConfigError RESUME_CHANGED naming the field. */
export async function resumeRun(dir: string, request: ResumeRequest = {}): Promise<RunOutcome> {
  const run = await openRun(dir);
  try {
    const head = headOf(run);
    const settings = (request.set ?? []).map(parseSetting);
    const recipe = parseRecipe(applySettings(head.recipe, settings));
    const prepared = await prepare(recipe, request);
    refuseChanges(head, { recipe: prepared.data.recipe, data: prepared.hashes }, request.allowChange ?? []);
    const found = await run.newest(request.checkpoint);
    for (const text of found.warnings) await prepared.emit({ type: 'notice', text });
    return await execute(run, prepared, request, found.snapshot);
  } catch (error) {
    await run.close();
    throw error;
  }
}

/** What a recipe would take. */
export async function planRecipe(recipe: Recipe, request: DataRequest = {}): Promise<RunPlan> {
  const data = await loadRunData(recipe, request);
  return planFineTune(optionsOf(data));
}

interface Prepared {
  readonly data: RunData;
  readonly hashes: Record<string, string>;
  readonly options: FineTuneOptions;
  readonly emit: Listener;
}

async function prepare(recipe: Recipe, { dataDir, listeners = [] }: RunRequest): Promise<Prepared> {
  const emit: Listener = async (event) => {
    for (const listener of listeners) await listener(event);
  };
  const notify = (text: string): void | Promise<void> => emit({ type: 'notice', text });
  // Mistakes in names are found before the data are read.
  modelEntry(recipe.model.name);
  const data = await loadRunData(recipe, { dataDir, notify });
  const options = optionsOf(data);
  const leak = await leakNotice(data);
  if (leak) await notify(leak);
  return { data, hashes: await dataHashes(data), options, emit };
}

/** The model's options follow the data where the recipe leaves them open. */
function buildModel(recipe: Recipe, data: RunData): { module: Module; architecture: Recipe['model'] } {
  const { schema } = data.train;
  const classes = classNames(schema).length;
  const { modelSize } = validateTransforms(recipe.transforms, schema);
  const { defaults } = modelEntry(recipe.model.name);
  const fits: Record<string, unknown> = {
    numClasses: classes,
    inChannels: modelSize.channels,
    imageSize: modelSize.height,
    inFeatures: modelSize.channels * modelSize.height * modelSize.width,
  };
  const open = Object.entries(fits).filter(([key]) => key in defaults);
  const architecture = { ...Object.fromEntries(open), ...recipe.model };
  const { name, ...options } = architecture;
  if (options.numClasses !== undefined && options.numClasses !== classes)
    throw new ConfigError(
      'CLASSES_MISMATCH',
      `model.numClasses is ${printable(options.numClasses)}, the data have ${classes} classes`,
      {
        field: 'model.numClasses',
        expected: classes,
        got: options.numClasses,
        hint: `leave it out, or set it to ${classes}`,
      },
    );
  manualSeed(recipe.seed);
  return { module: createModel(name, options), architecture };
}

function optionsOf(data: RunData): FineTuneOptions {
  const { recipe } = data;
  const { module, architecture } = buildModel(recipe, data);
  const { optimizer, schedule, epochs, batchSize, evalBatchSize, accumulate, clip, freeze, labelSmoothing } = recipe;
  return {
    model: module,
    architecture,
    data,
    transforms: recipe.transforms as unknown as Transform[],
    optimizer,
    schedule,
    epochs,
    batchSize,
    evalBatchSize,
    accumulate,
    clip,
    freeze,
    labelSmoothing,
    selectBy: recipe.selectBy,
    earlyStopping: recipe.earlyStopping,
    seed: recipe.seed,
  };
}

async function execute(run: Run, prepared: Prepared, request: RunRequest, resumeFrom?: Snapshot): Promise<RunOutcome> {
  const { data, options, emit, hashes } = prepared;
  const signals = request.signals ? watchSignals() : undefined;
  try {
    await run.rewindLog(resumeFrom);
    const modelDir = join(run.dir, 'model');
    const result = await fineTune({
      ...options,
      listeners: [logTo(run), ...(request.listeners ?? [])],
      saveTo: modelDir,
      origin: { recipe: data.recipe as unknown as Json, data: hashes },
      checkpoints: { store: run, everySteps: data.recipe.checkpoint.everySteps, resumeFrom },
      signals,
    });
    const report = reportOf(result, hashes.test);
    if (report) await run.writeReport(report.text, report.json as unknown as Json);
    await emit({ type: 'run-end', result, run: run.dir });
    return { run: run.dir, result, reportText: report?.text, report: report?.json };
  } finally {
    signals?.release();
    await run.close();
  }
}

/** One line an update and one an epoch: only what is the same in every repetition, so that runs can be compared. */
function logTo(run: Run): Listener {
  return async (event: TrainEvent) => {
    if (event.type === 'step') {
      const { step, epoch, loss, lr } = event;
      run.log({ step, epoch, loss, lr });
    } else if (event.type === 'epoch-end') {
      const { step, epoch, trainLoss, validation, best } = event;
      run.log({ step, epoch, trainLoss, validation: validation ?? null, best });
      await run.flushLog();
    } else if (event.type === 'checkpoint') await run.flushLog();
  };
}

function headOf(run: Run): RunHead {
  const head = run.head as unknown as Partial<RunHead> | null;
  if (typeof head?.recipe !== 'object' || typeof head.data !== 'object')
    throw new DataError('RUN_FORMAT', `${printable(run.dir)} is not the folder of a training run`, { file: run.dir });
  return head as RunHead;
}

function refuseChanges(before: RunHead, after: RunHead, allowed: readonly string[]): void {
  const differences = [
    ...changes(before.recipe, after.recipe, ''),
    ...changes(before.data, after.data, 'data.sha256.'),
  ];
  const ignored = new Set(['description', 'data.dir']);
  const allowedFor = (field: string): boolean =>
    allowed.some(
      (name) => field === name || field.startsWith(`${name}.`) || (name === 'data' && field.startsWith('data')),
    );
  const refused = differences.filter(({ field }) => !ignored.has(field) && !allowedFor(field));
  const [first] = refused;
  if (!first) return;
  const isData = first.field.startsWith('data.sha256.');
  const list = refused.map(({ field }) => (isData ? field.replace('data.sha256.', 'data ') : field)).join(', ');
  throw new ConfigError(
    'RESUME_CHANGED',
    isData
      ? `the samples are not those of the interrupted run: ${list} differ`
      : `${list}: changed since the run began (${first.field} was ${printable(first.before ?? null)}, is ${printable(first.after ?? null)})`,
    {
      field: isData ? 'data' : first.field,
      expected: first.before,
      got: first.after,
      hint: isData
        ? 'pass --data-dir with the same files, or accept other ones by --allow-change data'
        : `accept it by --allow-change ${first.field}`,
    },
  );
}

interface Change {
  field: string;
  before: unknown;
  after: unknown;
}

/** Where two plain values differ, by dotted path. */
function changes(before: unknown, after: unknown, path: string): Change[] {
  const isObject = (v: unknown): v is Record<string, unknown> =>
    typeof v === 'object' && v !== null && !Array.isArray(v);
  if (isObject(before) && isObject(after))
    return [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap((key) =>
      changes(before[key], after[key], path === '' || path.endsWith('.') ? path + key : `${path}.${key}`),
    );
  return JSON.stringify(before) === JSON.stringify(after) ? [] : [{ field: path, before, after }];
}

const checkpointBytes = (model: Module, { optimizer }: Recipe): number => {
  const weights = [...model.stateDict().values()].reduce((sum, v) => sum + 4 * v.size, 0);
  const trained = model.parameters().reduce((sum, v) => sum + (v.requiresGrad ? 4 * v.size : 0), 0);
  return weights + trained * (optimizer.name === 'sgd' ? ((optimizer.momentum ?? 0) > 0 ? 1 : 0) : 2);
};

/** `runs/<name>-1`, or the next number that is free. */
async function freeName(name: string): Promise<string> {
  try {
    await mkdir('runs', { recursive: true });
  } catch (cause) {
    throw ioError(cause, 'create', 'runs', { hint: 'choose a run folder with --out DIR' });
  }
  for (let n = 1; ; n++) if (!(await exists(`runs/${name}-${n}`))) return `runs/${name}-${n}`;
}
