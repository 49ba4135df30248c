export { type Precision, precisions } from '../graph/index.ts';
export { type AttentionOptions, attention } from './attention.ts';
export { autocast } from './autocast.ts';
export * from './creation.ts';
export {
  currentBackend,
  engineStats,
  flush,
  type ProgramPlan,
  planAndDiscard,
  requireFinite,
  useBackend,
} from './engine.ts';
export * from './image.ts';
export * from './indexing.ts';
export { type RecurrenceOptions, recurrence } from './recurrent.ts';
export { Tensor, type TensorLike, Variable } from './tensor.ts';
