/** The native backend: lowers a graph to a program and hands it to the addon, one call per run. */
import {
  ArgumentError,
  type CambiumError,
  type DType,
  dtypes,
  InternalError,
  MemoryError,
  type TypedArray,
} from '../../base/index.ts';
import { lower, type NativeProgram, type PassOptions } from '../../compiler/index.ts';
import { topologicalOrder } from '../../graph/index.ts';
import type { Backend, CompileOptions, Executable, ExecutablePlan, Graph } from '../backend.ts';
import { graphFlops } from '../flops.ts';
import type { NativeAddon, ProgramHandle } from './addon.ts';

// Below this a plain typed array is cheaper than memory of the addon's own.
const SMALL = 16384;

export class NativeBackend implements Backend {
  readonly name = 'native';
  readonly addon: NativeAddon;
  readonly #options: PassOptions;

  constructor(addon: NativeAddon, options: PassOptions = {}) {
    this.addon = addon;
    this.#options = options;
  }

  allocate(dtype: DType, length: number): TypedArray {
    const { array, bytes, view } = dtypes[dtype];
    if (length * bytes < SMALL) return new array(length);
    try {
      return view(this.addon.allocate(length * bytes), 0, length);
    } catch (cause) {
      throw new MemoryError('OUT_OF_MEMORY', `cannot allocate ${length * bytes} bytes`, { cause, got: length * bytes });
    }
  }

  compile(graph: Graph, options: CompileOptions = {}): NativeExecutable {
    const { program, scratchBytes } = lower(graph, { ...this.#options, ...options });
    const flops = graphFlops(topologicalOrder([...graph.outputs, ...graph.checks]));
    const fresh = graph.overwrites.flatMap((o, i) => (o < 0 ? [i] : []));
    return new NativeExecutable(this.addon, program, fresh, { arenaBytes: program.arenaBytes, scratchBytes, flops });
  }
}

export class NativeExecutable implements Executable {
  readonly plan: ExecutablePlan;
  readonly program: NativeProgram;
  readonly #addon: NativeAddon;
  readonly #fresh: readonly number[];
  #handle: ProgramHandle | undefined;

  constructor(addon: NativeAddon, program: NativeProgram, fresh: readonly number[], plan: ExecutablePlan) {
    this.#addon = addon;
    this.program = program;
    this.#fresh = fresh;
    this.plan = plan;
  }

  /** The addon's handle, for profiles. */
  get handle(): ProgramHandle {
    this.#handle ??= this.#addon.createProgram(this.program);
    return this.#handle;
  }

  async run(inputs: readonly TypedArray[], outputs: readonly TypedArray[]): Promise<number> {
    try {
      return await this.#addon.run(this.handle, [...inputs, ...this.#fresh.map((i) => outputs[i] as TypedArray)]);
    } catch (error) {
      throw typed(error);
    }
  }
}

/** The addon's errors carry a `code`; they become one of ours. */
function typed(error: unknown): CambiumError {
  const { code, message } = error as { code?: string; message?: string };
  if (code === 'INDEX_OUT_OF_RANGE') return new ArgumentError(code, message ?? code, { cause: error });
  if (code === 'OUT_OF_MEMORY') return new MemoryError(code, message ?? code, { cause: error });
  return new InternalError('NATIVE_FAILED', `the native engine failed: ${message ?? String(error)}`, { cause: error });
}
