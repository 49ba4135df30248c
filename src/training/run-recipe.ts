/** A recipe becomes a run: data, model, run folder, training, report. And an interrupted run goes on. */
import { rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { IoError, printable } from '../base/errors.ts';
import { ioError, type Json } from '../io/index.ts';
import { modelEntry } from '../models/index.ts';
import type { Module } from '../nn/index.ts';
import { balanceOf } from './balance.ts';
import { findPlace, placeOf } from './data-place.ts';
import { dataHashes, type InMemoryLimits, leakNotice, type RunData } from './data-source.ts';
import type { Listener } from './events.ts';
import { type FineTuneResult, fineTune } from './fine-tune.ts';
import type { FineTuneOptions, TrainOptions } from './fine-tune-options.ts';
import { keepCompanions, type OpenedInit, openInit, reopenInit, writeInit } from './init-source.ts';
import { formatBytes } from './machine-memory.ts';
import { planFineTune } from './prepare.ts';
import { type PretrainResult, pretrainOn } from './pretrain.ts';
import type { PretrainInputs } from './pretrain-inputs.ts';
import type { Recipe } from './recipe.ts';
import { asRecipe, type OpenedRecipe, type OpenRequest, openRecipe } from './recipe-options.ts';
import { parseRecipe } from './recipe-parse.ts';
import { applySettings, locateSettings, parseSetting } from './recipe-set.ts';
import { parseHead, type RunHead, refuseChanges } from './resume-changes.ts';
import { type Checkpoint, RunFolder } from './run/index.ts';
import { logTo } from './run-log.ts';
import type { ReportJson } from './run-report.ts';
import { watchSignals } from './signals.ts';
import { finishedText, parseState, refuseLonger } from './train-state.ts';
import { writePretrainReport, writeRunReport } from './write-report.ts';

export interface RunRequest {
  dataDir?: string;
  listeners?: readonly Listener[];
  /** Whether Ctrl-C and SIGTERM save a checkpoint and end the run. */
  signals?: boolean;
  /** Of texts without labels: how much is kept in memory. Results do not depend on it. */
  inMemory?: InMemoryLimits;
}

export interface RunOutcome {
  readonly run: string;
  readonly result: FineTuneResult | PretrainResult;
  /** What was measured on the test part, without one on the validation part. */
  readonly reportText?: string;
  readonly report?: ReportJson;
}

/** @throws ConfigError, DataError, IoError, LockedError, MemoryError, NumericError, RunStopped. */
export async function runRecipe(recipe: Recipe, request: RunRequest & { out?: string } = {}): Promise<RunOutcome> {
  const { out } = request;
  const prepared = await prepare(recipe, request);
  // A plan that does not fit leaves no folder behind.
  await asRecipe(async () => planFineTune(prepared.options, true));
  const { recipe: resolved } = prepared.data;
  const head: RunHead = headOf(prepared, request.dataDir);
  const options = { keepLast: resolved.checkpoint.keepLast };
  const run = out
    ? await RunFolder.create(out, head, options)
    : await RunFolder.createNumbered('runs', resolved.name, head, options);
  try {
    return await execute(run, prepared, request);
  } catch (error) {
    // Such as weights that do not fit: the same command with better ones must not find a run in its way.
    await run.discardUnstarted().catch((cause: Error) => prepared.emit({ type: 'notice', text: cause.message }));
    throw error;
  }
}

function headOf({ data, hashes, init, options }: Prepared, dataDir: string | undefined): RunHead {
  const place = placeOf(data.recipe, dataDir);
  return {
    recipe: data.recipe,
    data: hashes,
    ...(init && { init: init.init.lineage }),
    ...(place !== undefined && { dataDir: place }),
    ...(options.distill && { teacher: options.distill.teacher.dir }),
  };
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
  const run = await RunFolder.open(dir);
  try {
    const head = parseHead(await run.readRecipe(), run.recipePath);
    const settings = (request.set ?? []).map(parseSetting);
    const recipe = parseRecipe(
      applySettings(head.recipe, settings),
      locateSettings(settings, () => undefined),
    );
    // A folder that is named now, in either way, comes before the noted one.
    const noted = recipe.data.dir === head.recipe.data.dir ? head.dataDir : undefined;
    const dataDir = request.dataDir ?? (await findPlace(noted, recipe));
    const init =
      head.init && recipe.init ? await reopenInit(recipe, dir, head.init, dataDir) : await openInit(recipe, dataDir);
    const teacherPlace = recipe.distill?.teacher === head.recipe.distill?.teacher ? head.teacher : undefined;
    const prepared = await prepare(recipe, { ...request, dataDir, noStandIn: true, teacherPlace }, init);
    const now = headOf(prepared, dataDir);
    refuseChanges(head, now, request.allowChange ?? []);
    const { checkpoint: wanted } = request;
    const found = wanted ? { checkpoint: await run.checkpoints.load(wanted) } : await run.checkpoints.latest();
    if (found && 'warnings' in found)
      for (const text of found.warnings)
        await prepared.emit({ type: 'notice', text: `${text}; going on from ${found.checkpoint.name}` });
    const state = found && parseState(found.checkpoint.state, found.checkpoint.path);
    if (state) refuseLonger(state, recipe.maxSteps);
    const done = state && finishedText(state, recipe, dir);
    if (done) await prepared.emit({ type: 'notice', text: done });
    await run.writeRecipe(now);
    return await execute(run, prepared, request, found?.checkpoint);
  } finally {
    await run.close();
  }
}

interface Prepared extends OpenedRecipe {
  readonly hashes: Record<string, string>;
  readonly emit: Listener;
}

async function prepare(
  recipe: Recipe,
  { listeners = [], ...request }: RunRequest & Pick<OpenRequest, 'noStandIn' | 'teacherPlace'>,
  reopened?: OpenedInit,
): Promise<Prepared> {
  const emit: Listener = async (event) => {
    for (const listener of listeners) await listener(event);
  };
  const notify = (text: string): void | Promise<void> => emit({ type: 'notice', text });
  // Mistakes in names are found before the data are read.
  modelEntry(recipe.model.name);
  const opened = await openRecipe(recipe, { ...request, notify }, reopened);
  const { data, options, pretraining } = opened;
  // Labels that cannot be learned are found before there is a folder.
  const balance = pretraining ? {} : await balanceOf(data.train, options);
  const leak = await leakNotice(data);
  if (leak) await notify(leak);
  // Where nothing is trained only what is measured counts.
  const part = data.test && !pretraining ? 'test' : 'validation';
  const measured: Partial<RunData> = recipe.epochs === 0 ? { [part]: data[part] } : data;
  return {
    ...opened,
    // Another teacher teaches something else: a run goes on with the one it had.
    hashes: {
      ...(await dataHashes(measured)),
      ...(options.distill && { teacher: options.distill.teacher.weightsHash }),
    },
    options: { ...options, balance },
    emit,
  };
}

async function execute(
  run: RunFolder,
  { data, options, pretraining, emit, hashes, init }: Prepared,
  request: RunRequest,
  resumeFrom?: Checkpoint,
): Promise<RunOutcome> {
  const signals = request.signals
    ? watchSignals(
        (signal) => void emit({ type: 'notice', text: `${signal}: stopping after this step; again to exit at once` }),
      )
    : undefined;
  try {
    await checkRoom(run.path, options.model, data.recipe);
    if (resumeFrom) await rewind(run, resumeFrom);
    else if (init) await keepCompanions(run.path, init);
    const keepReport: Listener = async (event) => {
      if (event.type === 'init') await writeInit(run.path, event.report);
    };
    const runOptions: TrainOptions = {
      ...options,
      listeners: [await logTo(run, resumeFrom?.step ?? 0, emit), keepReport, ...(request.listeners ?? [])],
      saveTo: run.modelDir,
      origin: {
        recipe: data.recipe as unknown as Json,
        data: hashes,
        ...(init && { init: init.init.lineage as unknown as Json }),
      },
      checkpoints: {
        run: run.path,
        store: run.checkpoints,
        everySteps: data.recipe.checkpoint.everySteps,
        resumeFrom,
      },
      signals,
    };
    if (pretraining) return await pretrainInto(run, pretraining, runOptions, { data, hashes, emit });
    const result = await fineTune(runOptions);
    const report = await writeRunReport(run, { data, hashes, result });
    if (!report)
      await emit({
        type: 'notice',
        text: 'there is neither a test nor a validation part: nothing was measured, no report',
      });
    const { model, task, plan, ...plain } = result;
    await emit({ type: 'run-end', result: plain, run: run.path });
    return { run: run.path, result, reportText: report?.text, report: report?.json };
  } finally {
    signals?.release();
    await run.close();
  }
}

async function pretrainInto(
  run: RunFolder,
  pretraining: PretrainInputs,
  options: FineTuneOptions,
  { data, hashes, emit }: Pick<Prepared, 'data' | 'hashes' | 'emit'>,
): Promise<RunOutcome> {
  const result = await pretrainOn(pretraining, options);
  const text = await writePretrainReport(run, { data, hashes, result });
  if (result.epochs === 0 && !result.validation)
    await emit({ type: 'notice', text: 'there is no validation part: nothing was measured' });
  const { model, objective, plan, ...plain } = result;
  await emit({ type: 'run-end', result: plain, run: run.path });
  return { run: run.path, result, reportText: text };
}

/** Newer checkpoints (damaged, or passed over on purpose) must not be come back to. */
async function rewind({ checkpoints }: RunFolder, { name, step, state }: Checkpoint): Promise<void> {
  for (const later of (await checkpoints.list()).filter((other) => other > name)) {
    const path = join(checkpoints.directory, later);
    try {
      // Without its manifest it is no checkpoint, whenever we die.
      await rm(join(path, 'manifest.json'), { force: true });
      await rm(path, { recursive: true, force: true });
    } catch (cause) {
      throw ioError(cause, 'delete', path);
    }
  }
  // A kill between saving the best and marking it leaves the mark on an older one.
  const { best } = state as { best?: { step?: number } | null };
  if (best?.step === step) await checkpoints.markBest(name);
}

/** Refuses to begin what cannot be saved. */
async function checkRoom(dir: string, model: Module, { optimizer, checkpoint, unfreeze, ema }: Recipe): Promise<void> {
  const bytes = (list: readonly { size: number }[]): number => list.reduce((sum, v) => sum + 4 * v.size, 0);
  const slots = optimizer.name === 'sgd' ? Number((optimizer.momentum ?? 0) > 0) : 2;
  const weights = bytes([...model.stateDict().values()]);
  const trained = bytes(model.parameters().filter((p) => p.requiresGrad || unfreeze.length > 0));
  const one = weights + (slots + Number(ema !== undefined)) * trained;
  // Those kept, the best, the one being written, and the model.
  const needed = one * (checkpoint.keepLast + 2) + weights + 2 ** 20;
  const found = await statfs(dir).catch(() => undefined);
  const free = found ? found.bavail * found.bsize : Number.POSITIVE_INFINITY;
  if (free * 0.95 < needed)
    throw new IoError(
      'DISK_FULL',
      `${printable(dir)}: the run needs ${formatBytes(needed)}, ${formatBytes(free)} are free`,
      {
        file: dir,
        needed,
        free,
        hint: 'choose a folder on another disk with --out, or keep fewer with --set checkpoint.keepLast=1',
      },
    );
}
