export * from './node.ts';
export * from './ops.ts';
