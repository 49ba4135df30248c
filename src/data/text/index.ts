export * from './collate.ts';
export * from './dataset.ts';
export * from './encoding.ts';
export type { SpecialRole, SpecialTokens, TokenizerConfig } from './special-tokens.ts';
export * from './table.ts';
export * from './tokenizer.ts';
export * from './tokenizer-files.ts';
export * from './train-tokenizer.ts';
export type { Corpus } from './word-counts.ts';
