export * from './adam.ts';
export * from './clip.ts';
export {
  type BaseOptions,
  Optimizer,
  type OptimizerParameters,
  type ParameterGroup,
  parameterGroups,
} from './optimizer.ts';
export * from './schedule.ts';
export * from './sgd.ts';
