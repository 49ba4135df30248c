export * from './dtype.ts';
export * from './errors.ts';
export * from './rng.ts';
export * from './shape.ts';
export * from './wildcard.ts';
