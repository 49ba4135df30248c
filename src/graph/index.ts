export * from './attention.ts';
export * from './node.ts';
export * from './ops.ts';
