export * from './accumulate.ts';
export * from './adam.ts';
export * from './clip.ts';
export * from './ema.ts';
export { type OptimizerParameters, type ParameterGroup, parameterGroups } from './groups.ts';
export { type BaseOptions, Optimizer, type OptimizerProgress, type UpdateContext } from './optimizer.ts';
export * from './schedule.ts';
export * from './sgd.ts';
