/** The form a compiled graph takes for the native runtime; docs/native-program.md explains every field. */
import type { DType } from '../base/index.ts';
import type { Layer } from '../graph/index.ts';

export interface FusedOperand {
  buffer: number;
  dtype: DType;
  /** In elements. */
  offset: number;
  strides: number[];
}

export interface Fused {
  dims: number[];
  cols: number;
  inputs: FusedOperand[];
  outputs: (FusedOperand & { reg: number })[];
  registers: ('full' | 'row')[];
  code: [string, ...number[]][];
  terminal?: { reg: number; op: string; buffer: number; outer: number; count: number; inner: number }[];
}

export interface Step {
  kernel: string;
  name: string;
  in: number[];
  out: number[];
  attrs: Record<string, number>;
  fused?: Fused;
  /** Of profiles, where layers are recorded; the runtime does not read it. */
  layer?: Layer;
}

export interface NativeProgram {
  arenaBytes: number;
  buffers: ({ input: number } | { arena: number })[];
  /** Bytes each buffer needs. */
  lengths: number[];
  steps: Step[];
}
