/**
 * The reference backend: interprets the graph node by node in plain TypeScript. It is the oracle the kernels are
 * tested against (with `float64` it does not round between ops), and what runs where there is no addon.
 */
import { setImmediate as breathe } from 'node:timers/promises';
import { byteSize, type DType, dtypes, MemoryError, sizeOf, type TypedArray } from '../../base/index.ts';
import { type Node, type OpName, type Storage, topologicalOrder } from '../../graph/index.ts';
import type { Backend, Executable, ExecutablePlan, Graph } from '../backend.ts';
import { graphFlops } from '../flops.ts';
import type { Call, Evaluate, Value } from './arrays.ts';
import { attentions } from './attention.ts';
import { convolutions } from './conv.ts';
import { elementwise } from './elementwise.ts';
import { indexing } from './indexing.ts';
import { matmul } from './matmul.ts';
import { movement } from './movement.ts';
import { pools } from './pool.ts';
import { recurrences } from './recurrent.ts';
import { reductions } from './reduce.ts';

/** The total table: one row per primitive. */
export const evaluate: { readonly [K in OpName]: Evaluate<K> } = {
  ...elementwise,
  ...movement,
  ...reductions,
  matmul,
  ...convolutions,
  ...pools,
  ...attentions,
  ...recurrences,
  ...indexing,
};

// Timers and progress lines must run while a long graph does.
const BREATHE_MS = 50;

export class ReferenceBackend implements Backend {
  readonly name = 'reference';
  readonly #float64: boolean;

  constructor({ float64 = false }: { float64?: boolean } = {}) {
    this.#float64 = float64;
  }

  allocate(dtype: DType, length: number): TypedArray {
    const held = this.#held(dtype);
    try {
      return new dtypes[held].array(length);
    } catch (cause) {
      throw new MemoryError('OUT_OF_MEMORY', `cannot allocate ${length * byteSize(held)} bytes`, { cause });
    }
  }

  compile(graph: Graph): Executable {
    const order = topologicalOrder([...graph.outputs, ...graph.checks]);
    const lastUse = new Map<Node, number>();
    order.forEach((node, i) => {
      for (const input of node.inputs) lastUse.set(input, i);
    });
    for (const node of [...graph.outputs, ...graph.checks]) lastUse.set(node, order.length);
    const plan = { arenaBytes: peakBytes(order, lastUse), scratchBytes: 0, flops: graphFlops(order) };
    return {
      plan: plan satisfies ExecutablePlan,
      run: (inputs, outputs) => this.#run(graph, order, lastUse, inputs, outputs),
    };
  }

  #held(dtype: DType): DType {
    return this.#float64 && dtype === 'f32' ? 'f64' : dtype;
  }

  async #run(
    graph: Graph,
    order: readonly Node[],
    lastUse: ReadonlyMap<Node, number>,
    inputs: readonly TypedArray[],
    outputs: readonly TypedArray[],
  ): Promise<number> {
    const arrays = new Map(graph.inputs.map((node, i) => [node.storage as Storage, inputs[i] as TypedArray]));
    const values = new Map<Node, Value>();
    let last = performance.now();
    for (const [i, node] of order.entries()) {
      values.set(node, this.#value(node, values, arrays));
      for (const input of node.inputs) if (lastUse.get(input) === i) values.delete(input);
      if (performance.now() - last > BREATHE_MS) {
        await breathe();
        last = performance.now();
      }
    }
    const failed = graph.checks.findIndex((node) => !allFinite((values.get(node) as Value).data));
    // Everything is computed before anything is overwritten: an output may be another's input.
    const results = graph.outputs.map((node) => {
      const { data } = values.get(node) as Value;
      return node.op === 'source' ? data.slice() : data;
    });
    results.forEach((data, i) => {
      if (failed < 0 || (graph.overwrites[i] as number) < 0) (outputs[i] as TypedArray).set(data);
    });
    return failed;
  }

  #value(node: Node, values: ReadonlyMap<Node, Value>, arrays: ReadonlyMap<Storage, TypedArray>): Value {
    const { shape, dtype, attrs } = node;
    if (node.storage) return { data: arrays.get(node.storage) as TypedArray, shape, dtype };
    const out = this.allocate(dtype, sizeOf(shape));
    const call: Call<OpName> = { inputs: node.inputs.map((x) => values.get(x) as Value), attrs, shape, dtype, out };
    (evaluate[node.op] as Evaluate<OpName>)(call);
    return { data: out, shape, dtype };
  }
}

function allFinite(data: TypedArray): boolean {
  for (let i = 0; i < data.length; i++) if (!Number.isFinite(data[i] as number)) return false;
  return true;
}

/** The most bytes of intermediates alive at once. */
function peakBytes(order: readonly Node[], lastUse: ReadonlyMap<Node, number>): number {
  const bytes = (node: Node): number => (node.storage ? 0 : sizeOf(node.shape) * byteSize(node.dtype));
  let live = 0;
  let peak = 0;
  order.forEach((node, i) => {
    live += bytes(node);
    peak = Math.max(peak, live);
    for (const input of new Set(node.inputs)) if (lastUse.get(input) === i) live -= bytes(input);
  });
  return peak;
}
