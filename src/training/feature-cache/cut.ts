/**
 * Where a model may be cut: a layer whose output is the same in every epoch, and through which everything above gets to
 * know of the input. Decided on the graph of one step, so it holds for any architecture.
 */
import { createHash } from 'node:crypto';
import { graphFlops } from '../../backend/flops.ts';
import { type Shape, sizeOf } from '../../base/index.ts';
import { type LabelledBatch, tokenFields } from '../../data/index.ts';
import { withLayerOutput } from '../../features/index.ts';
import { type Node, topologicalOrder } from '../../graph/index.ts';
import { bytesOf, type HostArray } from '../../io/index.ts';
import type { Module } from '../../nn/index.ts';
import { dataOf, flush } from '../../tensor/engine.ts';
import { forkRng, planAndDiscard, type Tensor, type Variable, zeros } from '../../tensor/index.ts';

export interface Cut {
  /** Module whose output is kept. */
  readonly path: string;
  /** Of one sample's output, f32. */
  readonly shape: Shape;
  /** Names everything the output depends on besides the input: operations, constants and weights. */
  readonly hash: string;
}

type InputField = 'image' | (typeof tokenFields)[number];
/** What the model reads of a batch: a picture or tokens, which must not reach the loss but through the cut. */
export type InputArrays = { readonly [K in InputField]?: HostArray };
export type InputBatch = LabelledBatch & InputArrays;

export const inputArrays = (batch: LabelledBatch): InputArrays =>
  Object.fromEntries(
    (['image', ...tokenFields] as const).flatMap((field) => {
      const array = (batch as InputBatch)[field];
      return array ? [[field, array] as const] : [];
    }),
  );

/** The memory of those arrays, by which sources of a graph are known. */
export const inputData = (batch: LabelledBatch): unknown[] => Object.values(inputArrays(batch)).map(({ data }) => data);

/** Part of a step's forward work that must lie below a cut: reading a first layer's maps costs more than computing them. */
const LEAST_SHARE = 0.25;

interface Call {
  readonly path: string;
  readonly module: Module;
  readonly output: Tensor;
}

/**
 * The cut that saves most: above every layer that always answers the same, then the smallest output before the next layer
 * with weights. `build` makes the graph of a step's loss from a batch; `everTrained` will be updated at some time.
 * Undefined where little or nothing stays the same.
 */
export async function findCut(
  model: Module,
  build: (batch: InputBatch) => Tensor,
  batch: InputBatch,
  everTrained: readonly Variable[],
): Promise<Cut | undefined> {
  // A weight that was never computed is an expression of random numbers, not a source.
  await flush([...model.stateDict().values()].map(({ node }) => node));
  const calls: Call[] = [];
  const loss = discarding(() =>
    model.withForwardHook(
      (path, module, output) => void calls.push({ path, module, output }),
      () => build(batch),
    ),
  );
  // Batch statistics make a sample's answer depend on its neighbours.
  const moving = calls.findIndex(({ module }) => movesStatistics(module));
  const reachable = calls.slice(0, moving < 0 ? calls.length : moving);
  const trained = new Set(everTrained.map(({ storage }) => storage));
  const weights = new Set([...model.stateDict().values()].map(({ storage }) => storage));
  const inputs = inputData(batch);
  const texts = (batch as InputBatch).inputIds !== undefined;
  let best: Call | undefined;
  for (let i = reachable.length - 1; i >= 0; i--) {
    const call = reachable[i] as Call;
    if (best && hasWeights((reachable[i + 1] as Call).module)) break;
    const { path, output } = call;
    if (path === '' || output.dtype !== 'f32' || output.shape[0] !== batch.size) continue;
    // What has a place for every token has another shape in every batch.
    if (texts && output.shape.length !== 2) continue;
    if (best && sizeOf(output.shape) >= sizeOf(best.output.shape)) continue;
    if (calls.filter((other) => other.path === path).length > 1) continue;
    const nodes = topologicalOrder([output.node]);
    const fixed = nodes.every((node) => !isRandom(node) && !(node.storage && trained.has(node.storage)));
    const knows = nodes.some(({ storage }) => storage && inputs.includes(storage.data));
    if (!fixed || !knows || !nodes.some(({ storage }) => storage && weights.has(storage))) continue;
    const above = discarding(() => withLayerOutput(model, path, zeros(output.shape), () => build(batch)));
    if (!dependsOn(above.node, inputs)) best = call;
  }
  if (!best) return undefined;
  const { path, output } = best;
  const [below, all] = [output, loss].map(({ node }) => graphFlops(topologicalOrder([node]))) as [number, number];
  if (below < LEAST_SHARE * all) return undefined;
  return { path, shape: output.shape.slice(1), hash: hashGraph(output.node, inputs) };
}

/** Builds a graph and forgets what it would have updated (statistics, random streams). */
export function discarding<T>(build: () => T): T {
  try {
    return forkRng(build);
  } finally {
    planAndDiscard([]);
  }
}

export const dependsOn = (node: Node, inputs: readonly unknown[]): boolean =>
  topologicalOrder([node]).some(({ storage }) => storage !== undefined && inputs.includes(storage.data));

const movesStatistics = (module: Module): boolean =>
  module.training && [...module.namedModules()].some(([, inner]) => inner.movesStatistics);

const hasWeights = (module: Module): boolean => module.stateDict().size > 0;

const isRandom = ({ op, attrs }: Node): boolean =>
  op === 'random' || ((attrs as { dropout?: number }).dropout ?? 0) > 0;

/** sha256 over the operations of a graph and the contents of every source but `inputs`. */
function hashGraph(root: Node, inputs: readonly unknown[]): string {
  const hash = createHash('sha256');
  const numbers = new Map<Node, number>();
  for (const node of topologicalOrder([root])) {
    numbers.set(node, numbers.size);
    const { op, attrs, dtype, shape, inputs: from, storage } = node;
    hash.update(`${op} ${JSON.stringify(attrs)} ${dtype} ${shape.join()} ${from.map((x) => numbers.get(x)).join()}\n`);
    if (!storage) continue;
    const input = inputs.indexOf(storage.data);
    hash.update(input >= 0 ? `input ${input}\n` : bytesOf(dataOf(storage)));
  }
  return hash.digest('hex');
}
