export * from './extract.ts';
export { featureFormat, type WrittenFeatures, writeFeatures } from './feature-file.ts';
export { captureLayer, type LayerPoint, layerText, resolveLayer, withLayerOutput } from './layer.ts';
export { type Pooling, pool, poolings } from './pooling.ts';
