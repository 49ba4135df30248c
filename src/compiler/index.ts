export { type Lowered, lower, type PassOptions } from './lower.ts';
export type { FusedOperand, NativeProgram, Step } from './program.ts';
