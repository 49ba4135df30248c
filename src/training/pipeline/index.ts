export { builtinPipelines } from './builtin.ts';
export { loadPipeline } from './load.ts';
export { Pipeline, type PipelineOutcome, type PipelineRequest, type PlannedStage, pipeline } from './pipeline.ts';
export { definePipeline, type PipelineDefinition, type PipelineInput, type Stage } from './schema.ts';
export type {
  CompareStageResult,
  FeaturesStageResult,
  LabelsStageResult,
  StageResult,
  StageResults,
  TrainStageResult,
} from './stages.ts';
