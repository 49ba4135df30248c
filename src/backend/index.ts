export * from './backend.ts';
export * from './select.ts';
