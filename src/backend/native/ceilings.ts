/** What this machine can do, measured by kernels of the engine itself: a large product, and a pass over memory. */
import { MemoryError, type TypedArray } from '../../base/index.ts';
import type { NativeProgram, Step } from '../../compiler/index.ts';
import type { NativeBackend } from './backend.ts';

export interface MeasuredCeilings {
  /** Multiplies and adds a second of a large fp32 product. */
  readonly flops: number;
  /** The same of operands rounded to bf16. */
  readonly bf16Flops: number;
  /** Bytes a second, read and written in place, far past the last cache. */
  readonly bandwidth: number;
}

const SIDE = 1536;
const STREAM_BYTES = 2 ** 28;
const RUNS = 5;

/**
 * Takes about half a second. Needs 300 MB for that long. Profiling must be on.
 * @throws MemoryError where there is no room.
 */
export async function measureCeilings(backend: NativeBackend): Promise<MeasuredCeilings> {
  const matrix = (): TypedArray => backend.allocate('f32', SIDE * SIDE).fill(0.5);
  const arrays = [matrix(), matrix(), matrix()];
  const flopsOf = async (bf16: number): Promise<number> =>
    (2 * SIDE ** 3) / (await seconds(backend, gemm(bf16), arrays));
  const flops = await flopsOf(0);
  const bf16Flops = await flopsOf(1);
  const stream = backend.allocate('f32', STREAM_BYTES / 4);
  return { flops, bf16Flops, bandwidth: (2 * STREAM_BYTES) / (await seconds(backend, scale(), [stream])) };
}

/** The fastest of a few runs of a program of one step. */
async function seconds({ addon }: NativeBackend, step: Step, arrays: readonly TypedArray[]): Promise<number> {
  const program: NativeProgram = {
    arenaBytes: 0,
    buffers: arrays.map((_, input) => ({ input })),
    lengths: arrays.map((array) => array.byteLength),
    steps: [step],
  };
  const handle = addon.createProgram(program);
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < RUNS; run++) {
    try {
      await addon.run(handle, arrays);
    } catch (cause) {
      throw new MemoryError('OUT_OF_MEMORY', 'no room to measure the limits of this machine', { cause });
    }
    best = Math.min(best, addon.profile(handle)[0] as number);
  }
  return best / 1e9;
}

function gemm(bf16: number): Step {
  const sides = { M: SIDE, N: SIDE, K: SIDE, lda: SIDE, ldb: SIDE, ldc: SIDE };
  const places = { strideA: 0, strideB: 0, strideC: 0, offsetA: 0, offsetB: 0 };
  return {
    kernel: 'gemm',
    name: 'ceiling',
    in: [0, 1],
    out: [2],
    attrs: { batch: 1, ...sides, transA: 0, transB: 0, ...places, bf16 },
  };
}

function scale(): Step {
  const whole = { buffer: 0, dtype: 'f32' as const, offset: 0, strides: [1] };
  return {
    kernel: 'fused',
    name: 'ceiling',
    in: [],
    out: [],
    attrs: {},
    fused: {
      dims: [STREAM_BYTES / 4],
      cols: 0,
      inputs: [whole],
      outputs: [{ ...whole, reg: 2 }],
      registers: ['full', 'full', 'full'],
      code: [
        ['load', 0, 0],
        ['const', 1, 0.5],
        ['mul', 2, 0, 1],
      ],
    },
  };
}
