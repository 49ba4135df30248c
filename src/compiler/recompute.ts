/**
 * Decides which values a kernel computes again instead of reading them. Backward often wants several functions of one
 * value (of GELU: x / 2, 1 + erf, a Gaussian): storing the one and computing the others twice moves fewer bytes.
 */
import { byteSize } from '../base/index.ts';
import { type Node, ops } from '../graph/index.ts';
import { type EmitContext, operandKind } from './emit.ts';
import { type Fusion, type Group, linear } from './fuse.ts';

type Context = Pick<EmitContext, 'free' | 'barriers'>;

/** Instructions computed again for one value that is read: as much time as moving some tens of bytes. */
const MAX_CHAIN = 16;
/** A store costs its bytes and, most of the time, fetching the line first. */
const STORE = 1.5;

/** Fills `recomputed` of the groups. `roots` are wanted in memory whatever the kernels read. */
export function recompute(order: readonly Node[], roots: readonly Node[], fusion: Fusion, context: Context): void {
  const readers = readersOf(order, roots, fusion, context);
  for (const group of fusion.groups) {
    const byMaker = new Map<Group, Set<Node>>();
    for (const value of lanesRead(group, context)) {
      const maker = fusion.groupOf.get(value);
      if (!maker || maker === group || maker.size !== group.size || !isLane(value, maker, context)) continue;
      byMaker.set(maker, (byMaker.get(maker) ?? new Set()).add(value));
    }
    for (const [maker, values] of byMaker) replaceReads(group, maker, values, readers, context);
  }
}

/** Who reads a value from memory: groups, and `undefined` for everything that is not a lane of a group. */
type Readers = Map<Node, Set<Group | undefined>>;

function readersOf(order: readonly Node[], roots: readonly Node[], { groups }: Fusion, context: Context): Readers {
  const readers: Readers = new Map();
  const add = (node: Node, reader: Group | undefined): void => {
    readers.set(node, (readers.get(node) ?? new Set()).add(reader));
  };
  for (const root of roots) add(linear(root), undefined);
  const lanes = new Set<Node>();
  for (const group of groups) {
    for (const value of lanesRead(group, context)) add(value, group);
    for (const node of [...group.members, ...group.terminals]) lanes.add(node);
  }
  for (const node of order)
    if (!lanes.has(node) && node.op !== 'reshape') for (const x of node.inputs) add(linear(x), undefined);
  return readers;
}

/** Values the group's members read from memory lane by lane. */
function* lanesRead(group: Group, context: Context): Generator<Node> {
  for (const node of [...group.members, ...group.terminals])
    for (const x of node.inputs)
      if (operandKind(x, group, context) === 'memory' && (!group.rows.has(node) || ops[node.op].kind === 'reduce'))
        yield linear(x);
}

/** Whether `node` has one value per element of its group and is computed by instructions. */
const isLane = (node: Node, group: Group, { barriers }: Context): boolean =>
  group.members.has(node) && !group.rows.has(node) && !barriers.has(node) && ops[node.op].kind === 'elementwise';

function replaceReads(group: Group, maker: Group, values: ReadonlySet<Node>, readers: Readers, context: Context): void {
  const candidates = new Map<Node, { values: Node[]; chain: Set<Node> }>();
  for (const value of values)
    for (const [source, chain] of sourcesOf(value, maker, context)) {
      const entry = candidates.get(source) ?? { values: [], chain: new Set() };
      entry.values.push(value);
      for (const node of chain) entry.chain.add(node);
      candidates.set(source, entry);
    }
  let best: { source: Node; gain: number } | undefined;
  for (const [source, entry] of candidates) {
    if (entry.chain.size > MAX_CHAIN) continue;
    const bytes = byteSize(source.dtype);
    let gain = -(values.has(source) ? 0 : bytes) - (readers.get(source)?.size ? 0 : STORE * bytes);
    for (const value of entry.values) {
      const alone = readers.get(value)?.size === 1;
      gain += byteSize(value.dtype) * (1 + (alone ? STORE : 0));
    }
    if (gain > 0 && gain > (best?.gain ?? 0)) best = { source, gain };
  }
  if (!best) return;
  const { values: replaced, chain } = candidates.get(best.source) as { values: Node[]; chain: Set<Node> };
  for (const value of replaced) readers.get(value)?.delete(group);
  readers.set(best.source, (readers.get(best.source) ?? new Set()).add(group));
  for (const node of chain) group.recomputed.add(node);
}

/**
 * Lanes of `maker` (or its product) from which alone, beside constants, `value` follows, each with the instructions in
 * between. Random streams are dearer than what they would save.
 */
function sourcesOf(value: Node, maker: Group, context: Context): Map<Node, Set<Node>> {
  const found = new Map<Node, Set<Node>>();
  const chain = new Set<Node>();
  let frontier = new Set([value]);
  // Widest first: every round replaces what is at the front by what it is computed from.
  for (let round = 0; round < MAX_CHAIN; round++) {
    const next = new Set<Node>();
    for (const node of frontier) {
      if (!isLane(node, maker, context)) {
        next.add(node);
        continue;
      }
      // A node that others of the front still depend on waits for them.
      if ([...frontier].some((other) => other !== node && dependsOn(other, node, maker, context))) {
        next.add(node);
        continue;
      }
      chain.add(node);
      for (const x of node.inputs) {
        const m = linear(x);
        if (context.free.has(m)) {
          if (!isConstant(m)) return found;
        } else next.add(m);
      }
    }
    frontier = next;
    const [only] = frontier;
    if (frontier.size === 1 && only && (only === maker.heavy || isLane(only, maker, context)))
      found.set(only, new Set(chain));
    if (frontier.size === 0 || [...frontier].some((node) => node !== maker.heavy && !isLane(node, maker, context)))
      break;
    if (frontier.size === 1 && only === maker.heavy) break;
  }
  return found;
}

/** Whether `node` is computed, inside `maker`, from `from`. */
function dependsOn(node: Node, from: Node, maker: Group, context: Context): boolean {
  const stack = [node];
  const seen = new Set<Node>();
  for (let at = stack.pop(); at; at = stack.pop()) {
    if (seen.has(at)) continue;
    seen.add(at);
    if (!isLane(at, maker, context)) continue;
    for (const x of at.inputs) {
      const m = linear(x);
      if (m === from) return true;
      stack.push(m);
    }
  }
  return false;
}

const isConstant = (node: Node): boolean =>
  node.op === 'constant' || (ops[node.op].kind === 'elementwise' && node.inputs.every((x) => isConstant(linear(x))));
