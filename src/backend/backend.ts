/**
 * What a backend is: something that turns a graph into an executable and runs it.
 * Nothing above this interface knows about Node, threads or C++.
 */
import type { DType, TypedArray } from '../base/index.ts';
import type { Node } from '../graph/index.ts';

/** One program to be: what it reads, what it computes, what must be finite before anything is overwritten. */
export interface Graph {
  /** The `source` nodes, in the order `run` receives their arrays. */
  readonly inputs: readonly Node[];
  /** The values wanted, in the order `run` receives the arrays to fill. */
  readonly outputs: readonly Node[];
  /** For each output: the input whose array it overwrites (a parameter update), or -1. */
  readonly overwrites: readonly number[];
  /** Float nodes that must be finite; when one is not, nothing is overwritten. */
  readonly checks: readonly Node[];
}

/** What is known of an executable before it first runs. */
export interface ExecutablePlan {
  /** Peak bytes of intermediates. */
  readonly arenaBytes: number;
  /** Bytes of packing and partial-sum scratch, an upper estimate. */
  readonly scratchBytes: number;
  readonly flops: number;
}

export interface Executable {
  readonly plan: ExecutablePlan;
  /**
   * Runs once; the arrays must not be touched until the promise settles.
   * Resolves to -1, or to the number of the check that failed (then no `overwrites` output was written).
   */
  run(inputs: readonly TypedArray[], outputs: readonly TypedArray[]): Promise<number>;
}

export interface CompileOptions {
  /** Bytes the intermediates may take, if values may be computed twice for it; a wish, the plan tells what became of it. */
  readonly arenaLimit?: number;
}

export interface Backend {
  readonly name: string;
  /** A zero-filled array, placed where this backend likes its memory. Throws MemoryError. */
  allocate(dtype: DType, length: number): TypedArray;
  compile(graph: Graph, options?: CompileOptions): Executable;
}
