/** A recipe becomes a run: data, model, run folder, training, report. And an interrupted run goes on. */
import { rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError, DataError, IoError, printable, ShapeError } from '../base/errors.ts';
import { type TextCollateOptions, type Transform, validateTransforms } from '../data/index.ts';
import { ioError, type Json } from '../io/index.ts';
import { createModel, listModels, modelEntry } from '../models/index.ts';
import type { Module } from '../nn/index.ts';
import { headSizes, headsOf } from '../tasks/index.ts';
import { manualSeed } from '../tensor/index.ts';
import { balanceOf } from './balance.ts';
import { checkFineTune, type Finding } from './check-fine-tune.ts';
import { findPlace, placeOf } from './data-place.ts';
import {
  type DataRequest,
  dataHashes,
  type InMemoryLimits,
  leakNotice,
  loadRunData,
  type RunData,
} from './data-source.ts';
import type { Listener } from './events.ts';
import { type FineTuneOptions, type FineTuneResult, fineTune, planFineTune, type TrainOptions } from './fine-tune.ts';
import type { WeightsLineage } from './init.ts';
import { keepCompanions, type OpenedInit, openInit, reopenInit, textOf, writeInit } from './init-source.ts';
import { taskName } from './inputs.ts';
import { findLearningRate, type LrFinding, type LrFindOptions } from './lr-find.ts';
import { formatBytes } from './machine-memory.ts';
import { findModelFolder, loadModelFolder } from './model-folder.ts';
import type { RunPlan } from './plan.ts';
import { type PretrainResult, prepareObjective, pretrainOn, trainOptions } from './pretrain.ts';
import { isLanguage, type PretrainInputs, pretrainingOf } from './pretrain-inputs.ts';
import { type ProfileOptions, profileTraining, requireNative, type StepProfile } from './profile.ts';
import type { Recipe } from './recipe.ts';
import { parseRecipe } from './recipe-parse.ts';
import { applySettings, locateSettings, parseSetting } from './recipe-set.ts';
import { type Checkpoint, RunFolder } from './run/index.ts';
import { logTo } from './run-log.ts';
import type { ReportJson } from './run-report.ts';
import { watchSignals } from './signals.ts';
import { finishedText, parseState } from './train-state.ts';
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

/** What a run must not change under way; the head of its folder. */
interface RunHead {
  recipe: Recipe;
  data: Record<string, string>;
  /** The weights it started from. */
  init?: WeightsLineage;
  /** Where the data were, absolute; see data-place.ts. */
  dataDir?: string;
}

/** @throws ConfigError, DataError, IoError, LockedError, MemoryError, NumericError, RunStopped. */
export async function runRecipe(recipe: Recipe, request: RunRequest & { out?: string } = {}): Promise<RunOutcome> {
  const { out } = request;
  const prepared = await prepare(recipe, request);
  // A plan that does not fit leaves no folder behind.
  await planned(prepared.options, true);
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

function headOf({ data, hashes, init }: Prepared, dataDir: string | undefined): RunHead {
  const place = placeOf(data.recipe, dataDir);
  return {
    recipe: data.recipe,
    data: hashes,
    ...(init && { init: init.init.lineage }),
    ...(place !== undefined && { dataDir: place }),
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
    const prepared = await prepare(recipe, { ...request, dataDir, noStandIn: true }, init);
    const now = headOf(prepared, dataDir);
    refuseChanges(head, now, request.allowChange ?? []);
    const { checkpoint: wanted } = request;
    const found = wanted ? { checkpoint: await run.checkpoints.load(wanted) } : await run.checkpoints.latest();
    if (found && 'warnings' in found)
      for (const text of found.warnings)
        await prepared.emit({ type: 'notice', text: `${text}; going on from ${found.checkpoint.name}` });
    const done = found && finishedText(parseState(found.checkpoint.state, found.checkpoint.path), recipe.epochs, dir);
    if (done) await prepared.emit({ type: 'notice', text: done });
    await run.writeRecipe(now);
    return await execute(run, prepared, request, found?.checkpoint);
  } finally {
    await run.close();
  }
}

/** What a recipe would take. */
export async function planRecipe(recipe: Recipe, request: DataRequest = {}): Promise<RunPlan> {
  const init = await openInit(recipe, request.dataDir);
  const data = await loadRunData(init?.recipe ?? recipe, { ...request, text: textInputs(init) });
  return planned((await optionsOf(data, init, request)).options);
}

/** Where the time of one training step of a recipe goes. @throws UnsupportedError PROFILE_NATIVE_ONLY. */
export async function profileRecipe(recipe: Recipe, request: DataRequest & ProfileOptions = {}): Promise<StepProfile> {
  requireNative();
  const init = await openInit(recipe, request.dataDir);
  const data = await loadRunData(init?.recipe ?? recipe, { ...request, text: textInputs(init) });
  const { options } = await optionsOf(data, init, request);
  return asRecipe(() => profileTraining(options, request));
}

/** The learning rate range test on a recipe; nothing is saved. */
export async function findRecipeRate(recipe: Recipe, request: DataRequest & LrFindOptions = {}): Promise<LrFinding> {
  const init = await openInit(recipe, request.dataDir);
  const data = await loadRunData(init?.recipe ?? recipe, { ...request, text: textInputs(init) });
  const { options } = await optionsOf(data, init, request);
  return asRecipe(() => findLearningRate(options, request));
}

/** Labels, inputs and rate of a recipe, before it runs; see checkFineTune. */
export async function checkRecipe(recipe: Recipe, request: DataRequest = {}): Promise<Finding[]> {
  const init = await openInit(recipe, request.dataDir);
  const data = await loadRunData(init?.recipe ?? recipe, { ...request, text: textInputs(init) });
  const { options } = await optionsOf(data, init, request);
  return asRecipe(() => checkFineTune(options));
}

const planned = (options: TrainOptions, check = false): Promise<RunPlan> =>
  asRecipe(async () => planFineTune(options, check));

/** A model that does not fit its data is a mistake in the recipe. */
async function asRecipe<T>(body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (cause) {
    if (!(cause instanceof ShapeError)) throw cause;
    throw new ConfigError(cause.code, cause.message, { field: 'model', ...cause.details, cause });
  }
}

interface Prepared {
  readonly data: RunData;
  readonly hashes: Record<string, string>;
  readonly options: TrainOptions;
  /** Of a task that learns without labels. */
  readonly pretraining?: PretrainInputs;
  readonly emit: Listener;
  readonly init?: OpenedInit;
}

const textInputs = (init: OpenedInit | undefined): TextCollateOptions | undefined =>
  init?.tokenizer && textOf(init.recipe, init.tokenizer);

async function prepare(
  recipe: Recipe,
  { dataDir, noStandIn, listeners = [], inMemory }: RunRequest & Pick<DataRequest, 'noStandIn'>,
  reopened?: OpenedInit,
): Promise<Prepared> {
  const emit: Listener = async (event) => {
    for (const listener of listeners) await listener(event);
  };
  const notify = (text: string): void | Promise<void> => emit({ type: 'notice', text });
  // Mistakes in names are found before the data are read.
  modelEntry(recipe.model.name);
  const init = reopened ?? (await openInit(recipe, dataDir));
  const text = textInputs(init);
  const data = await loadRunData(init?.recipe ?? recipe, { dataDir, notify, noStandIn, inMemory, text });
  const { options, pretraining } = await optionsOf(data, init, { notify, inMemory });
  // Labels that cannot be learned are found before there is a folder.
  const balance = pretraining ? {} : await balanceOf(data.train, options);
  const leak = await leakNotice(data);
  if (leak) await notify(leak);
  // Where nothing is trained only what is measured counts.
  const measured =
    recipe.epochs === 0
      ? ({ [data.test ? 'test' : 'validation']: data.test ?? data.validation } as Partial<RunData>)
      : data;
  return {
    data,
    // Another teacher teaches something else: a run goes on with the one it had.
    hashes: {
      ...(await dataHashes(measured)),
      ...(options.distill && { teacher: options.distill.teacher.weightsHash }),
    },
    options: { ...options, balance },
    pretraining,
    emit,
    ...(init && { init }),
  };
}

/** The model's options follow the data where the recipe leaves them open. */
function buildModel(recipe: Recipe, data: RunData): { module: Module; architecture: Recipe['model'] } {
  const { schema } = data.train;
  const pretraining = pretrainingOf(recipe.task);
  const heads = pretraining ? [] : headsOf(schema);
  const classes = heads.reduce((sum, { names }) => sum + names.length, 0);
  if (!pretraining && recipe.task !== undefined && recipe.task !== taskName(schema))
    throw new ConfigError(
      'RECIPE_INVALID',
      `task is ${recipe.task}, by their labels the data are for ${taskName(schema)}`,
      {
        field: 'task',
        expected: taskName(schema),
        got: recipe.task,
      },
    );
  const { defaults, input = 'image' } = modelEntry(recipe.model.name);
  const wanted = data.text ? 'text' : 'image';
  if (input !== wanted)
    throw new ConfigError(
      'MODEL_INPUT',
      `model ${printable(recipe.model.name)} reads ${input}, the data are ${wanted}`,
      {
        field: 'model.name',
        expected: `a model of ${wanted}`,
        got: recipe.model.name,
        hint: `cambium models lists those of ${wanted}`,
      },
    );
  const perToken = heads.some(({ kind }) => kind === 'tags');
  if (perToken && !('perToken' in defaults)) refuseTokens(recipe.model.name);
  const fits: Record<string, unknown> = {
    ...(perToken && { perToken }),
    ...(!pretraining && { numClasses: classes, ...(heads.length > 1 && { heads: headSizes(heads) }) }),
    // Numbers and the logits of single labels are negative as often as not.
    ...(heads.some(({ kind }) => kind !== 'class') && { outputRelu: false }),
    ...(data.text ? textFits(data.text) : imageFits(data)),
  };
  const open = Object.entries(fits).filter(([key]) => key in defaults || key === 'heads');
  const architecture = { ...Object.fromEntries(open), ...recipe.model };
  const { name, ...options } = architecture;
  if (!pretraining && options.numClasses !== undefined && options.numClasses !== classes)
    throw new ConfigError(
      'CLASSES_MISMATCH',
      `model.numClasses is ${printable(options.numClasses)}, the data have ${classes} ${heads.every(({ kind }) => kind === 'class') && heads.length === 1 ? 'classes' : 'values to predict'}`,
      {
        field: 'model.numClasses',
        expected: classes,
        got: options.numClasses,
        hint: `leave it out, or set it to ${classes}`,
      },
    );
  if (options.heads !== undefined && JSON.stringify(options.heads) !== JSON.stringify(fits.heads))
    throw new ConfigError('CLASSES_MISMATCH', 'model.heads is not what the data have labels for', {
      field: 'model.heads',
      expected: fits.heads,
      got: options.heads,
      hint: 'leave it out: it follows from data.labels',
    });
  if (!pretraining && (options.perToken ?? false) !== perToken)
    throw new ConfigError(
      'MODEL_TASK',
      `model.perToken is ${String(options.perToken)}, the data have ${perToken ? '' : 'no '}tags`,
      {
        field: 'model.perToken',
        expected: perToken,
        got: options.perToken,
        hint: 'leave it out: it follows from the data',
      },
    );
  if (data.text && typeof options.vocabSize === 'number') data.text.tokenizer.checkFits(options.vocabSize);
  manualSeed(recipe.seed);
  return {
    module: createModel(name, options, pretraining && isLanguage(pretraining) ? pretraining : undefined),
    architecture,
  };
}

function refuseTokens(name: string): never {
  const able = listModels().flatMap(({ name: other, defaults }) => ('perToken' in defaults ? other : []));
  throw new ConfigError(
    'MODEL_TASK',
    `model ${printable(name)} classifies texts as a whole, the data have a class for each word`,
    {
      field: 'model.name',
      expected: able,
      got: name,
      hint: `for token-classification there are: ${able.join(', ')}`,
    },
  );
}

function imageFits({ recipe, train }: RunData): Record<string, unknown> {
  const { height, width, channels } = validateTransforms(recipe.transforms, train.schema).modelSize;
  return { inChannels: channels, imageSize: height, inFeatures: channels * height * width };
}

const textFits = ({ tokenizer }: TextCollateOptions): Record<string, unknown> => ({
  vocabSize: tokenizer.vocabSize,
  padTokenId: tokenizer.padId,
});

/** No more tokens than the model has positions. @throws ConfigError LENGTH_EXCEEDED for a recipe that wants more. */
function fitLength(text: TextCollateOptions, { maxLength }: Recipe, positions: unknown): TextCollateOptions {
  if (typeof positions !== 'number') return text;
  if (maxLength !== undefined && maxLength > positions)
    throw new ConfigError('LENGTH_EXCEEDED', `maxLength ${maxLength}: the model has ${positions} positions`, {
      field: 'maxLength',
      expected: `<= ${positions}`,
      got: maxLength,
      hint: `set maxLength to ${positions}, or build the model with ${maxLength} positions`,
    });
  return {
    ...text,
    maxLength: Math.min(positions, text.maxLength ?? text.tokenizer.config.modelMaxLength ?? positions),
  };
}

async function optionsOf(
  data: RunData,
  init: OpenedInit | undefined,
  { notify, inMemory }: Pick<DataRequest, 'notify' | 'inMemory'>,
): Promise<{ options: TrainOptions; pretraining?: PretrainInputs }> {
  const { distill } = data.recipe;
  const options = {
    ...classificationOptions(data, init),
    ...(distill && { distill: { ...distill, teacher: await loadModelFolder(await findModelFolder(distill.teacher)) } }),
  };
  const objective = pretrainingOf(data.recipe.task);
  if (!objective) return { options };
  const { model, transforms, text } = options;
  const needs = { model, transforms, text, packing: { notify, tokensInMemory: inMemory?.tokens } };
  const pretraining = await prepareObjective(objective, data, { ...needs, ...data.recipe.objective });
  return { options: trainOptions(pretraining, { ...options, selectBy: { metric: 'loss' } }), pretraining };
}

function classificationOptions(data: RunData, init?: OpenedInit): FineTuneOptions {
  const { recipe } = data;
  const { module, architecture } = buildModel(recipe, data);
  const given: Record<string, unknown> = { ...modelEntry(architecture.name).defaults, ...architecture };
  const positions = given.maxPositionEmbeddings ?? given.nPositions;
  const { optimizer, schedule, epochs, batchSize, evalBatchSize, accumulate, clip, labelSmoothing, precision } = recipe;
  const { freeze, unfreeze, freezeBatchNorm, ema, lora, classWeights, sampler, mixup, cutmix, heads, maxSteps } =
    recipe;
  return {
    model: module,
    architecture,
    ...(init && { init: init.init }),
    data,
    transforms: recipe.transforms as unknown as Transform[],
    text: data.text && fitLength(data.text, recipe, positions),
    optimizer,
    schedule,
    epochs,
    maxSteps,
    batchSize,
    evalBatchSize,
    accumulate,
    clip,
    freeze,
    unfreeze,
    freezeBatchNorm,
    lora,
    ema,
    classWeights,
    sampler,
    mixup,
    cutmix,
    labelSmoothing,
    heads,
    precision,
    memoryLimit: recipe.memoryLimit,
    featureCache: recipe.featureCache,
    check: recipe.check,
    selectBy: recipe.selectBy,
    earlyStopping: recipe.earlyStopping,
    seed: recipe.seed,
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

function parseHead(value: Json, file: string): RunHead {
  const head = value as unknown as Partial<RunHead> | null;
  const isPlace = head?.dataDir === undefined || typeof head.dataDir === 'string';
  if (typeof head?.recipe !== 'object' || typeof head.data !== 'object' || !isPlace)
    throw new DataError('NOT_A_RUN', `${printable(file)} is not the head of a training run`, { file });
  return head as RunHead;
}

function refuseChanges(before: RunHead, after: RunHead, allowed: readonly string[]): void {
  const differences = [
    ...changes(before.recipe, after.recipe, ''),
    ...changes(before.data, after.data, 'data.sha256.'),
  ];
  const ignored = new Set(['description', 'data.dir', 'check']);
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
