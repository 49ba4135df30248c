export * from './generative.ts';
export * from './image-classification.ts';
export type { Prediction, Task } from './task.ts';
