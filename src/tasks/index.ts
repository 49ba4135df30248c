export type { Classification } from './classification.ts';
export * from './distillation.ts';
export { areEntityTags, type Entity, entitiesOf } from './entities.ts';
export * from './generative.ts';
export type {
  Answer,
  ClassHeadOptions,
  EntityPrediction,
  Head,
  HeadOptions,
  HeadOutput,
  LabelsPrediction,
  MultiLabelHeadOptions,
  NumberHeadOptions,
  NumberLoss,
  NumberPrediction,
  NumbersPrediction,
  Prediction,
  TagHeadOptions,
  TagsPrediction,
} from './head.ts';
export { numberLosses } from './head.ts';
export * from './image-task.ts';
export * from './language-modeling.ts';
export * from './mixing.ts';
export * from './naive-bayes.ts';
export * from './objective.ts';
export * from './self-supervised.ts';
export * from './supervised.ts';
export type { Task } from './task.ts';
export * from './text-task.ts';
