export * from './apply-labels.ts';
export * from './compare.ts';
export * from './extract.ts';
export { featureFormat, type WrittenFeatures, writeFeatures } from './feature-file.ts';
export * from './k-means.ts';
export { captureLayer, type LayerPoint, layerText, resolveLayer, withLayerOutput } from './layer.ts';
export { type LayerShape, layerShapes } from './layers.ts';
export * from './linear-probe.ts';
export {
  type Classified,
  knnClassify,
  type Metric,
  metrics,
  type Neighbour,
  type SearchOptions,
  similaritySearch,
} from './neighbours.ts';
export type { FeatureOrigin } from './origin.ts';
export { type Pooling, pool, poolings } from './pooling.ts';
export * from './project.ts';
export { readFeatures } from './read.ts';
export { checkTable, type FeatureTable, rowsOf } from './table.ts';
