export { type Lowered, lower, type PassOptions } from './lower.ts';
export type { NativeProgram, Step } from './program.ts';
