export { type Classification, classification } from './classification.ts';
export * from './generative.ts';
export * from './image-classification.ts';
export * from './language-modeling.ts';
export * from './naive-bayes.ts';
export * from './objective.ts';
export * from './self-supervised.ts';
export type { Prediction, Task } from './task.ts';
export * from './text-classification.ts';
