/** One stage of a pipeline: what it does, and what of it is kept in the pipeline's state. */
import { join } from 'node:path';
import { ConfigError } from '../../base/errors.ts';
import {
  type AppliedLabels,
  applyLabels,
  attachHead,
  type FeatureComparison,
  type FeatureTable,
  readFeatures,
  writeFeatures,
} from '../../features/index.ts';
import { exists, type Json, makeDirectory, writeFileAtomic, writeJson } from '../../io/index.ts';
import { compareRuns } from '../compare-runs.ts';
import type { Listener, Measures } from '../events.ts';
import { labelsCsv } from '../labels-csv.ts';
import {
  type ClassificationReport,
  ConfusionMatrix,
  classificationReport,
  formatReport,
  type Interval,
  wilsonInterval,
} from '../metrics/index.ts';
import { openPart } from '../model-data.ts';
import { saveModelFolder } from '../model-folder.ts';
import type { Recipe } from '../recipe.ts';
import { resumeRun, runRecipe } from '../run-recipe.ts';
import type { ReportJson } from '../run-report.ts';
import type { EpochRecord } from '../train-state.ts';
import { featureLayer, loadForFeatures } from '../trunk-folder.ts';
import type { PlannedStage } from './pipeline.ts';
import type { StageOf } from './schema.ts';

export interface TrainStageResult {
  readonly kind: 'train';
  /** The run's folder within the pipeline's. */
  readonly run: string;
  readonly steps: number;
  readonly parameters: number;
  readonly trainable: number;
  readonly history: readonly EpochRecord[];
  readonly validation: Measures | null;
  /** Of labelled data: measured once, on the best weights and on `part`, which is the test part where there is one. */
  readonly test:
    | (Pick<ReportJson, 'part' | 'accuracy' | 'interval' | 'n' | 'loss' | 'naiveBayes'> & {
        /** All that the task measures. */
        readonly measures?: Measures;
      })
    | null;
  readonly weights: string | null;
}

export interface FeaturesStageResult {
  readonly kind: 'features';
  /** The stage whose model they are of. */
  readonly model: string;
  readonly file: string;
  readonly samples: number;
  readonly width: number;
  readonly layer: string;
  readonly labelled: boolean;
}

export interface LabelsStageResult {
  readonly kind: 'labels';
  /** CSV: id, label, confidence. */
  readonly file: string;
  readonly trained: number;
  readonly labelled: number;
  /** Where the labelled samples had labels of their own. */
  readonly accuracy: number | null;
  readonly interval: Interval | null;
  /** The model with the classifier as its head. */
  readonly model: string | null;
}

export interface CompareStageResult extends Omit<FeatureComparison, 'text'> {
  readonly kind: 'compare';
}

export type StageResult = TrainStageResult | FeaturesStageResult | LabelsStageResult | CompareStageResult;
export type StageResults = Readonly<Record<string, StageResult>>;

interface Surroundings {
  readonly out: string;
  /** Of the stages before. */
  readonly results: StageResults;
  readonly dataDir?: string | undefined;
  readonly listeners: readonly Listener[];
  readonly signals?: boolean | undefined;
}

/** @throws what training, `features`, `applyLabels` and `compareRuns` throw. */
export async function runStage({ name, stage, recipe }: PlannedStage, around: Surroundings): Promise<StageResult> {
  switch (stage.kind) {
    case 'train':
      return trainStage(name, stage, recipe as Recipe, around);
    case 'features':
      return featuresStage(name, stage, around);
    case 'labels':
      return labelsStage(name, stage, around);
    case 'compare':
      return compareStage(stage, around);
  }
}

async function trainStage(
  name: string,
  { from }: StageOf<'train'>,
  recipe: Recipe,
  { out, dataDir, listeners, signals }: Surroundings,
): Promise<TrainStageResult> {
  const dir = join(out, name);
  const request = { dataDir, listeners, signals };
  const initial = from === undefined ? recipe : { ...recipe, init: { ...recipe.init, weights: join(out, from) } };
  const { result, report } = (await exists(join(dir, 'recipe.json')))
    ? await resumeRun(dir, request)
    : await runRecipe(initial as Recipe, { ...request, out: dir });
  const { part, accuracy, interval, n, loss, naiveBayes } = report ?? {};
  const measured = 'test' in result ? (result.test ?? result.validated) : undefined;
  const figures = { part, accuracy, interval, n, loss, naiveBayes, measures: measured?.measures };
  return {
    kind: 'train',
    run: name,
    steps: result.steps,
    parameters: result.plan.parameters,
    trainable: result.plan.trainable,
    history: result.history,
    validation: result.validation ?? null,
    test: report ? (figures as TrainStageResult['test']) : null,
    weights: result.weightsHash ?? null,
  };
}

const notify =
  (listeners: readonly Listener[]) =>
  async (text: string): Promise<void> => {
    for (const listener of listeners) await listener({ type: 'notice', text });
  };

async function featuresStage(
  name: string,
  { of, split, limit, layer, pooling, format }: StageOf<'features'>,
  { out, dataDir, listeners }: Surroundings,
): Promise<FeaturesStageResult> {
  const loaded = await loadForFeatures(join(out, of));
  const request = { split, limit, dataDir, unlabelled: true, notify: notify(listeners) };
  const { part, batchSize } = await openPart(loaded, request);
  const file = `${name}.${format}`;
  const written = await writeFeatures(join(out, file), loaded, part, {
    layer: layer ?? featureLayer(loaded),
    pooling,
    batchSize,
  });
  const [samples, width] = written.shape;
  return { kind: 'features', model: of, file, samples, width, layer: written.layer, labelled: written.labelled };
}

async function labelsStage(
  name: string,
  { from, to, method, k, l2, attach }: StageOf<'labels'>,
  { out, results }: Surroundings,
): Promise<LabelsStageResult> {
  const [known, asked] = [await vectorsOf(out, results, from), await vectorsOf(out, results, to)];
  const options = { method, ...(k !== undefined && { k }), ...(l2 !== undefined && { l2 }) };
  const applied = await applyLabels(known, asked, options);
  await makeDirectory(join(out, name));
  await writeFileAtomic(join(out, name, 'labels.csv'), labelsCsv(applied));
  const report = asked.labels && reportOf(applied, asked.labels);
  if (report) {
    await writeJson(join(out, name, 'report.json'), report as unknown as Json);
    await writeFileAtomic(join(out, name, 'report.txt'), formatReport(report, { digits: 4 }));
  }
  if (attach) await saveAttached(join(out, name, 'model'), join(out, featuresOf(results, from).model), applied);
  const right = asked.labels?.reduce((n, label, i) => n + Number(label === applied.predictions[i]), 0);
  return {
    kind: 'labels',
    file: join(name, 'labels.csv'),
    trained: known.shape[0],
    labelled: asked.shape[0],
    accuracy: applied.accuracy ?? null,
    interval: right === undefined ? null : wilsonInterval(right, asked.shape[0]),
    model: attach ? join(name, 'model') : null,
  };
}

const featuresOf = (results: StageResults, name: string): FeaturesStageResult => results[name] as FeaturesStageResult;

const vectorsOf = (out: string, results: StageResults, name: string): Promise<FeatureTable> =>
  readFeatures(join(out, featuresOf(results, name).file));

function reportOf({ classes, predictions }: AppliedLabels, labels: Int32Array): ClassificationReport {
  const confusion = new ConfusionMatrix(classes);
  confusion.update(predictions, labels);
  return classificationReport(confusion);
}

/** The model the features came from, with the classifier as its head, as a folder that `predict` takes. */
async function saveAttached(dir: string, run: string, { head, classes }: AppliedLabels): Promise<void> {
  if (!head)
    throw new ConfigError('PIPELINE_INVALID', 'attach: nearest neighbours are no head of a model', {
      field: 'attach',
      hint: 'take method: linear',
    });
  const { module, model, origin, ...inputs } = await loadForFeatures(run);
  attachHead(module, head);
  const heads = [{ field: 'label', kind: 'class', names: classes } as const];
  const architecture = { ...model, numClasses: classes.length };
  const preprocessing =
    'text' in inputs
      ? { text: inputs.text, pair: inputs.pair }
      : { image: inputs.image, transforms: inputs.transforms };
  await saveModelFolder(dir, module, {
    model: architecture,
    heads,
    ...preprocessing,
    ...(origin !== undefined && { origin }),
  });
}

async function compareStage(
  { before, after, layer, ...which }: StageOf<'compare'>,
  { out, dataDir, listeners }: Surroundings,
): Promise<CompareStageResult> {
  const { split, limit, pooling } = which;
  const { text: _, ...found } = await compareRuns(join(out, before), join(out, after), {
    ...{ split, limit, pooling, layer, dataDir },
    notify: notify(listeners),
  });
  return { kind: 'compare', ...found };
}

/** Whether what the stage left is still there: somebody may have cleared it away. */
export function isThere(out: string, result: StageResult): Promise<boolean> {
  switch (result.kind) {
    case 'train':
      return exists(join(out, result.run, 'recipe.json'));
    case 'features':
    case 'labels':
      return exists(join(out, result.file));
    case 'compare':
      return Promise.resolve(true);
  }
}
