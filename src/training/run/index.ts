export * from './checkpoint.ts';
export * from './checkpoints.ts';
export * from './lock.ts';
export * from './metrics-file.ts';
export * from './run-folder.ts';
