export { type Classification, classification } from './classification.ts';
export * from './generative.ts';
export * from './image-classification.ts';
export * from './naive-bayes.ts';
export type { Prediction, Task } from './task.ts';
export * from './text-classification.ts';
