export * from './activation.ts';
export {
  type AdapterPlace,
  activeAdapter,
  adapterNames,
  adapterOf,
  isOfAdapter,
  removeAdapter,
  removeAdapters,
  setAdapter,
} from './adapters.ts';
export {
  type AdapterOptions,
  applyAdapter,
  isMergeable,
  type ResolvedAdapter,
  resolveAdapter,
} from './apply-adapter.ts';
export { scaledDotProductAttention } from './attention.ts';
export * from './bottleneck.ts';
export * from './container.ts';
export * from './conv.ts';
export * from './functional.ts';
export * as init from './init.ts';
export * from './linear.ts';
export * from './load-weights.ts';
export * from './lora.ts';
export * from './losses.ts';
export { isWithin } from './matrix-layers.ts';
export { Module, type NamedVariable } from './module.ts';
export { type AttentionMasks, MultiheadAttention, type MultiheadAttentionOptions } from './multihead-attention.ts';
export * from './norm.ts';
export * from './positions.ts';
export * from './prefix.ts';
export { keepZeros, type PruneOptions, plannedZeros, pruneWeights, type Sparsity, sparsityOf } from './prune.ts';
export { declareQuantized, quantizeWeights } from './quantize.ts';
export { isQuantized } from './quantized-weight.ts';
export * from './recurrent.ts';
export { GRUCell, LSTMCell, RNNCell } from './recurrent-cell.ts';
export * from './resize.ts';
export { reshapeSaved } from './saved-modules.ts';
export type { LoadReport, StoredTensor } from './state.ts';
export * from './summary.ts';
export { type ForwardHook, withLayers } from './trace.ts';
export * from './transformer.ts';
