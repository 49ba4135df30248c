export * from './attrs.ts';
export * from './layer.ts';
export * from './node.ts';
export * from './ops.ts';
export * from './precision.ts';
export * from './rules/attention.ts';
export { imageAxes, imageShape, imageSizes, windowSize } from './rules/image.ts';
export * from './rules/recurrent.ts';
