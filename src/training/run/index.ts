export * from './checkpoint.ts';
export * from './checkpoint-store.ts';
export * from './lock.ts';
export * from './metrics-file.ts';
export * from './run-folder.ts';
