export { type AdapterDescription, loadAdapter, saveAdapter } from './adapter.ts';
export { type Balance, type BalanceOptions, balanceOf, type ClassWeights } from './balance.ts';
export { checkFineTune, type Finding, findingsText } from './check-fine-tune.ts';
export { type Checkpointing, inMemory } from './checkpointing.ts';
export {
  type CompareModelsRequest,
  compareModels,
  compareModelsText,
  type ModelCost,
  type ModelMisfit,
} from './compare-models.ts';
export { type CompareRunsRequest, compareRuns } from './compare-runs.ts';
export { dataHashes, type Images, loadRunData, type RunData } from './data-source.ts';
export type { DistillOptions } from './distill.ts';
export { type EvaluateOptions, type Evaluation, evaluate, majorityBaseline } from './evaluate.ts';
export { type EventTable, type Listener, type Measures, on, type TrainEvent } from './events.ts';
export { type FeatureData, type FeatureDataRequest, openFeatureData } from './feature-data.ts';
export { type FeatureModelOptions, type OpenedModel, openFeatureModel } from './feature-model.ts';
export { type FineTuneResult, fineTune, type TrainResult } from './fine-tune.ts';
export type { FineTuneOptions } from './fine-tune-options.ts';
export type { HeadOutcome, NamedHead } from './head-classes.ts';
export { type InitOptions, type InitReport, initialise, type WeightsLineage } from './init.ts';
export type { Inputs, Preprocessing, Samples } from './inputs.ts';
export { type LoadedLanguageModel, loadLanguageModel } from './language-folder.ts';
export { findLearningRate, type LrFinding, type LrFindOptions, lrFindText } from './lr-find.ts';
export * from './metrics/index.ts';
export { type ModelPart, openPart, type PartRequest } from './model-data.ts';
export {
  findModelFolder,
  type LoadedImageModel,
  type LoadedModel,
  type LoadedTextModel,
  loadModelFolder,
  type ModelDescription,
  saveModelFolder,
} from './model-folder.ts';
export * from './pipeline/index.ts';
export { planText, type RunPlan } from './plan.ts';
export { planFineTune } from './prepare.ts';
export { type PretrainOptions, type PretrainResult, pretrain } from './pretrain.ts';
export {
  measureObjective,
  type ObjectiveOptions,
  type PretrainInputs,
  type UnlabelledTexts,
} from './pretrain-inputs.ts';
export {
  type FromPretrainedOptions,
  fromPretrained,
  type Pretrained,
  type PretrainedModel,
  type SavePretrainedOptions,
  savePretrained,
} from './pretrained.ts';
export { type ProfileOptions, profileTraining, type StepProfile } from './profile.ts';
export { profileText } from './profile-text.ts';
export { type ProgressOptions, terminalProgress } from './progress.ts';
export { type RateGroup, type RateOptions, ratesOf } from './rates.ts';
export { defineRecipe, type Recipe, type RecipeInput, recipeSchema } from './recipe.ts';
export { loadRecipe } from './recipe-file.ts';
export { parseRecipe } from './recipe-parse.ts';
export { planRecipe, profileRecipe } from './recipe-tools.ts';
export { builtinRecipes } from './recipes.ts';
export * from './run/index.ts';
export { type ResumeRequest, type RunOutcome, type RunRequest, resumeRun, runRecipe } from './run-recipe.ts';
export { type ClassReport, type HeadReport, makeReport, type Report, type ReportJson } from './run-report.ts';
export { makeOptimizer, makeSchedule, type OptimizerOptions, type ScheduleOptions } from './schedule.ts';
export { RunStopped } from './signals.ts';
export { type TaggedText, type TaggedWord, type TextEntity, type TextOrWords, tagTexts } from './tag-texts.ts';
export {
  type Depth,
  type FreezeOptions,
  freeze,
  freezeBelow,
  type TrainableOptions,
  type UnfreezeOptions,
  unfreeze,
  unfreezeFrom,
} from './trainable.ts';
