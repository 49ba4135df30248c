/** The backends under test, and one call that runs a graph on one of them. */
import type { Backend, Graph } from '../../src/backend/index.ts';
import { loadAddon } from '../../src/backend/native/addon.ts';
import { NativeBackend } from '../../src/backend/native/backend.ts';
import { ReferenceBackend } from '../../src/backend/reference/index.ts';
import { type DType, dtypes, isFloat, type Philox, type Shape, sizeOf, type TypedArray } from '../../src/base/index.ts';
import { type Node, Storage, sourceNode, topologicalOrder } from '../../src/graph/index.ts';

/** What everything is measured against. */
export const oracle = new ReferenceBackend({ float64: true });

/** The native backend twice where its addon loads: with the passes that may be switched off, and without. */
export function testBackends(): [string, Backend][] {
  const found = loadAddon();
  const native: [string, Backend][] =
    'addon' in found
      ? [
          ['native', new NativeBackend(found.addon)],
          ['native without passes', new NativeBackend(found.addon, { epilogues: false, recomputation: false })],
        ]
      : [];
  return [['reference', new ReferenceBackend()], ...native];
}

export interface Input {
  shape: Shape;
  /** Default f32. */
  dtype?: DType;
  /** Values in [low, high), integers below `high`; default -2 .. 2. */
  low?: number;
  high?: number;
}

export const source = ({ shape, dtype = 'f32' }: Input): Node => sourceNode(new Storage(dtype, sizeOf(shape)), shape);

/** Random elements for an input. */
export function fill({ shape, dtype = 'f32', low = -2, high = 2 }: Input, random: Philox): TypedArray {
  const data = new dtypes[dtype].array(sizeOf(shape));
  for (let i = 0; i < data.length; i++) {
    const v = low + random.uniform() * (high - low);
    data[i] = dtype === 'bool' ? Number(v > (low + high) / 2) : isFloat(dtype) ? v : Math.floor(v);
  }
  return data;
}

/** The values of `wanted`, where `nodes[i]` (a source) holds `data[i]`. */
export async function run(
  backend: Backend,
  nodes: readonly Node[],
  data: readonly TypedArray[],
  wanted: readonly Node[],
): Promise<TypedArray[]> {
  const used = new Set(topologicalOrder(wanted));
  const inputs = nodes.map((node, i) => ({ node, data: data[i] as TypedArray })).filter(({ node }) => used.has(node));
  const graph: Graph = {
    inputs: inputs.map((i) => i.node),
    outputs: wanted,
    overwrites: wanted.map(() => -1),
    checks: [],
  };
  const outputs = wanted.map((node) => backend.allocate(node.dtype, sizeOf(node.shape)));
  await backend.compile(graph).run(
    inputs.map((i) => i.data),
    outputs,
  );
  return outputs;
}
