/**
 * Less memory for more work: values of forward that backward wants are dropped and computed again just before it wants them.
 * First those that cost one pass over memory (normalisation, activations); then, where that is not enough, whole stretches of
 * forward between values that are kept (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost").
 */
import { byteSize, sizeOf } from '../base/index.ts';
import { type Attrs, cloneNode, type Node, ops, topologicalOrder, withInputs } from '../graph/index.ts';
import { isContraction } from './fuse.ts';
import type { Unit } from './schedule.ts';

/** Below this a value is not worth its second computation. */
const SMALL = 2 ** 16;
/** Dropped values that may hang on each other: more would be alive at once. */
const MAX_DEPTH = 2;
/** Time of a multiply-add and of a byte moved, in any unit: about what a core of today does. */
const FLOP = 1 / 400;
const BYTE = 1 / 50;

/** What a lowering knows of its values. */
export interface Arranged {
  /** Units that the wanted values need, in order; and all others. */
  readonly forward: readonly Unit[];
  readonly backward: readonly Unit[];
  /** Values in the arena. */
  readonly stored: ReadonlySet<Node>;
  readonly arenaBytes: number;
}

/** The roots of a graph some of whose values are computed twice, and which nodes belong to which computation. */
export interface Rewritten {
  readonly roots: readonly Node[];
  readonly phases: ReadonlyMap<Node, Phase>;
}
export type Phase = 'first' | 'again';

/**
 * The cheapest rewriting of `roots`, of those tried, whose arena is at most `limit`; where none is, the smallest.
 * `wanted` is the part of the roots that forward is for; `arrange` lowers a rewriting far enough to know its arena.
 */
export function rematerialize<A extends Arranged>(
  plain: A,
  roots: readonly Node[],
  wanted: readonly Node[],
  limit: number,
  arrange: (rewritten: Rewritten) => A,
): A {
  let smallest = plain;
  const attempt = (dropped: ReadonlySet<Node>): A => {
    const found = arrange(rewrite(roots, wanted, plain.stored, dropped));
    if (found.arenaBytes < smallest.arenaBytes) smallest = found;
    return found;
  };
  /** Drops the fewest of `parts`, best first, that fit. */
  const fewest = (parts: readonly ReadonlySet<Node>[]): A | undefined => {
    const drop = (count: number): A => attempt(new Set(parts.slice(0, count).flatMap((part) => [...part])));
    let best = parts.length > 0 ? drop(parts.length) : undefined;
    if (!best || best.arenaBytes > limit) return undefined;
    for (let [low, high] = [0, parts.length]; high - low > 1; ) {
      const middle = (low + high) >> 1;
      const found = drop(middle);
      if (found.arenaBytes <= limit) [best, high] = [found, middle];
      else low = middle;
    }
    return best;
  };

  const forward = new Forward(plain);
  const cheap = fewest(forward.cheap().map((node) => new Set([node])));
  if (cheap) return cheap;
  // Fine enough to drop little where little is too much; then what leaves least alive at once.
  for (const count of [8, 5, 12, 3, 18, 2, 27]) {
    const found = fewest(forward.segments(count));
    if (found) return found;
  }
  return smallest;
}

/** `dropped` and what lies between them and the values that stay is made a second time, for what is not part of `wanted`. */
function rewrite(
  roots: readonly Node[],
  wanted: readonly Node[],
  stored: ReadonlySet<Node>,
  dropped: ReadonlySet<Node>,
): Rewritten {
  const again = new Map<Node, Node>();
  const phases = new Map<Node, Phase>();
  for (const node of topologicalOrder(wanted)) {
    phases.set(node, 'first');
    const inputs = node.inputs.map((x) => again.get(x) as Node);
    const changed = dropped.has(node) || (!stored.has(node) && inputs.some((x, i) => x !== node.inputs[i]));
    const copy = changed ? cloneNode(node, inputs) : node;
    if (changed) phases.set(copy, 'again');
    again.set(node, copy);
  }
  const made = new Map<Node, Node>();
  for (const node of topologicalOrder(roots)) {
    if (again.has(node)) continue;
    made.set(
      node,
      withInputs(
        node,
        node.inputs.map((x) => (again.get(x) ?? made.get(x)) as Node),
      ),
    );
  }
  return { roots: roots.map((root) => made.get(root) ?? root), phases };
}

const bytesOf = (node: Node): number => sizeOf(node.shape) * byteSize(node.dtype);
const sum = (nodes: Iterable<Node>): number => [...nodes].reduce((bytes, node) => bytes + bytesOf(node), 0);

/** The units of forward, with what backward wants of each. */
class Forward {
  readonly #units: readonly Unit[];
  /** By unit: the values in memory. */
  readonly #made: Node[][];
  /** By value: the last unit of forward that reads it. */
  readonly #last = new Map<Node, number>();
  readonly #held = new Set<Node>();

  constructor({ forward, backward, stored }: Arranged) {
    this.#units = forward;
    this.#made = forward.map(({ makes }) => makes.filter((node) => stored.has(node) && bytesOf(node) >= SMALL));
    forward.forEach(({ reads }, i) => {
      for (const read of reads) this.#last.set(read, i);
    });
    const wanted = new Set(backward.flatMap(({ reads }) => [...reads]));
    for (const node of this.#made.flat()) if (wanted.has(node)) this.#held.add(node);
  }

  /** Values that one pass over values that stay makes again; those that save most for their time first. */
  cheap(): Node[] {
    const depth = new Map<Node, number>();
    const found: { node: Node; gain: number }[] = [];
    this.#units.forEach(({ group, makes, reads }, i) => {
      const before = Math.max(0, ...[...reads].map((read) => depth.get(read) ?? 0));
      const product = group?.heavy && isDear(group.heavy);
      // Of a product's values the one the others follow from stays.
      const order = makes.filter((node) => this.#made[i]?.includes(node)).sort((a, b) => a.id - b.id);
      for (const node of product ? order.slice(1) : order) {
        if (!this.#held.has(node) || (!product && before >= MAX_DEPTH)) continue;
        depth.set(node, 1 + (product ? 0 : before));
        found.push({ node, gain: bytesOf(node) / (bytesOf(node) + (product ? bytesOf(node) : sum(reads))) });
      }
    });
    return found.sort((a, b) => b.gain - a.gain || bytesOf(b.node) - bytesOf(a.node)).map(({ node }) => node);
  }

  /** What about `count` stretches of forward make and do not hand on; the last stays, since backward begins there. */
  segments(count: number): Set<Node>[] {
    const cuts = this.#cuts(count);
    const found: { nodes: Set<Node>; gain: number }[] = [];
    cuts.forEach((end, k) => {
      const start = k > 0 ? (cuts[k - 1] as number) : 0;
      const nodes = new Set<Node>();
      let time = 0;
      for (let i = start; i < end; i++) {
        for (const node of this.#made[i] as Node[]) if ((this.#last.get(node) ?? -1) < end) nodes.add(node);
        time += timeOf(this.#units[i] as Unit);
      }
      const saved = sum([...nodes].filter((node) => this.#held.has(node)));
      if (saved > 0) found.push({ nodes, gain: saved / time });
    });
    return found.sort((a, b) => b.gain - a.gain).map(({ nodes }) => nodes);
  }

  /** Ends of all stretches but the last: about equal shares of what is held, cut where little is handed on. */
  #cuts(count: number): number[] {
    const held = this.#made.map((nodes) => sum(nodes.filter((node) => this.#held.has(node))));
    const share = held.reduce((a, b) => a + b, 0) / count;
    const cuts: number[] = [];
    let inside = 0;
    let best: { end: number; handed: number } | undefined;
    for (let end = 1; end < this.#units.length; end++) {
      inside += held[end - 1] as number;
      if (inside < 0.6 * share) continue;
      const handed = this.#handedOn(end);
      if (!best || handed < best.handed) best = { end, handed };
      if (inside < 1.2 * share) continue;
      cuts.push(best.end);
      inside = held.slice(best.end, end).reduce((a, b) => a + b, 0);
      best = undefined;
    }
    return cuts;
  }

  /** Bytes made before unit `end` and read from it on. */
  #handedOn(end: number): number {
    return sum(
      this.#made
        .slice(0, end)
        .flat()
        .filter((node) => (this.#last.get(node) ?? -1) >= end),
    );
  }
}

const isDear = (node: Node): boolean => isContraction(node) || node.op === 'attention' || node.op === 'recurrent';

function timeOf({ group, makes, reads }: Unit): number {
  const moved = sum(reads) + sum(makes.filter((node) => ops[node.op].kind !== 'reduce')) / Math.max(1, makes.length);
  const heavy = group?.heavy;
  return BYTE * moved + (heavy && isDear(heavy) ? FLOP * productFlops(heavy) : 0);
}

/** Multiply-adds of a product or convolution, times 2; of attention and recurrent layers about as many. */
function productFlops(node: Node): number {
  const [a, b] = node.inputs as [Node, Node];
  const elements = sizeOf(node.shape);
  if (node.op === 'matmul')
    return 2 * elements * (a.shape.at((node.attrs as Attrs<'matmul'>).transA ? -2 : -1) as number);
  if (node.op === 'conv2d') return 2 * elements * sizeOf(b.shape.slice(1));
  if (node.op === 'conv2dInputGrad') return 2 * sizeOf(a.shape) * sizeOf(b.shape.slice(1));
  if (node.op === 'recurrent') return 2 * sizeOf(node.shape.slice(0, 2)) * sizeOf(b.shape);
  return 4 * elements * (b.shape.at(-2) as number);
}
