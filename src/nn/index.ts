export * from './activation.ts';
export * from './conv.ts';
export * from './functional.ts';
export * as init from './init.ts';
export * from './linear.ts';
export * from './losses.ts';
export * from './module.ts';
export * from './norm.ts';
export * from './summary.ts';
