/**
 * Groups nodes into kernels. A group is one loop over one domain: elementwise nodes that share a linear index,
 * reductions of whole rows inside it, reductions out of it (terminals), and, as its first member, possibly a
 * matrix product or convolution whose finished tiles the rest is applied to (its epilogue).
 */
import { sizeOf } from '../base/index.ts';
import { type Attrs, type Node, ops } from '../graph/index.ts';
import { Reach } from './reach.ts';
import type { Phase } from './rematerialize.ts';

/** Rows longer than this are not held whole in registers. */
const MAX_ROW = 16384;
/** Bounds the registers and inputs of one kernel. */
const MAX_MEMBERS = 96;

export interface Group {
  /** Position in which groups were made; for stable order only. */
  readonly number: number;
  /** Elements of the domain. */
  readonly size: number;
  /** Row length when rows are reduced inside the group, else 0. */
  cols: number;
  heavy: Node | undefined;
  /** Elementwise nodes and row reductions. */
  readonly members: Set<Node>;
  /** Members that have one value per row. */
  readonly rows: Set<Node>;
  readonly terminals: Set<Node>;
  /** Members of other groups that are computed again here instead of read; see recompute.ts. */
  readonly recomputed: Set<Node>;
  /** Of its members that belong to one; see rematerialize.ts. */
  phase: Phase | undefined;
}

export interface Fusion {
  readonly groups: ReadonlySet<Group>;
  readonly groupOf: ReadonlyMap<Node, Group>;
}

/** How a reduction sees its input: [outer, count, inner] with `count` reduced. */
export function reductionForm(node: Node): { outer: number; count: number; inner: number } {
  const { axes } = node.attrs as Attrs<'sum'>;
  const { shape } = node.inputs[0] as Node;
  const first = axes[0] as number;
  const last = axes.at(-1) as number;
  return {
    outer: sizeOf(shape.slice(0, first)),
    count: sizeOf(shape.slice(first, last + 1)),
    inner: sizeOf(shape.slice(last + 1)),
  };
}

/** Sees through reshapes, which change no linear index. */
export function linear(node: Node): Node {
  let x = node;
  while (x.op === 'reshape') x = x.inputs[0] as Node;
  return x;
}

const isLeafValue = (node: Node): boolean => node.op === 'constant' || node.op === 'iota';

/** Values made from nothing but constants, indices and random streams are recomputed where they are used. */
export function freeNodes(order: readonly Node[]): Set<Node> {
  const free = new Set<Node>();
  const depth = new Map<Node, number>();
  for (const node of order) {
    if (isLeafValue(node) || node.op === 'random') {
      free.add(node);
      depth.set(node, 0);
    } else if (ops[node.op].kind === 'elementwise' && node.inputs.every((x) => free.has(linear(x)))) {
      const d = 1 + Math.max(...node.inputs.map((x) => depth.get(linear(x)) as number));
      depth.set(node, d);
      if (d <= 4) free.add(node);
    }
  }
  return free;
}

/** The base of `x` if `x` repeats one value per row along rows of `cols`, else undefined. */
export function spreadBase(x: Node, cols: number): Node | undefined {
  const e = linear(x);
  if (e.op !== 'expand') return undefined;
  const from = (e.inputs[0] as Node).shape;
  let product = 1;
  let i = e.shape.length - 1;
  for (; i >= 0 && product < cols; i--) {
    if (from[i] !== 1) return undefined;
    product *= e.shape[i] as number;
  }
  for (; i >= 0; i--) if (from[i] !== e.shape[i]) return undefined;
  return product === cols ? linear(e.inputs[0] as Node) : undefined;
}

/**
 * Groups the nodes of `order` (inputs first). Values of `barriers` are never consumed inside the kernel that makes
 * them, so that they can be looked at before anything after them runs. Nodes of different `phases` stay apart.
 */
export function fuse(
  order: readonly Node[],
  barriers: ReadonlySet<Node>,
  epilogues = true,
  phases: ReadonlyMap<Node, Phase> = new Map(),
): Fusion {
  const free = freeNodes(order);
  const groups = new Set<Group>();
  const groupOf = new Map<Node, Group>();
  const reach = new Reach(groupOf);
  let made = 0;

  const newGroup = (size: number): Group => {
    const group: Group = {
      number: made++,
      size,
      cols: 0,
      heavy: undefined,
      members: new Set(),
      rows: new Set(),
      terminals: new Set(),
      recomputed: new Set(),
      phase: undefined,
    };
    groups.add(group);
    return group;
  };
  const join = (node: Node, group: Group, row: boolean): void => {
    group.members.add(node);
    group.phase ??= phases.get(node);
    if (row) group.rows.add(node);
    groupOf.set(node, group);
    readBy(node, group);
  };
  const apart = (a: Phase | undefined, b: Phase | undefined): boolean => a !== undefined && b !== undefined && a !== b;
  const readBy = (node: Node, group: Group): void => {
    for (const x of node.inputs) reach.add(group, x);
  };

  function* externals(group: Group): Generator<Node> {
    const nodes = [...group.members, ...group.terminals];
    if (group.heavy) nodes.push(group.heavy);
    for (const node of nodes)
      for (const x of node.inputs) {
        const m = linear(x);
        if (group.members.has(m) || m === group.heavy || (group.cols > 0 && isSpread(x, group))) continue;
        yield m;
      }
  }
  const isSpread = (x: Node, group: Group): boolean => {
    const base = spreadBase(x, group.cols);
    return base !== undefined && group.rows.has(base);
  };

  const reaches = (from: Node, target: Group): boolean => reach.reaches(from, target);

  /** Whether `node` may run inside `group`: no input of it comes from the group by a way outside. */
  const mayJoin = (node: Node, group: Group): boolean =>
    group.members.size < MAX_MEMBERS &&
    !apart(phases.get(node), group.phase) &&
    node.inputs.every((x) => {
      const m = linear(x);
      if (free.has(m)) return true;
      if (group.members.has(m) && !barriers.has(m)) return true;
      if (group.cols > 0 && isSpread(x, group)) return true;
      return !reaches(m, group);
    });

  const mayMerge = (a: Group, b: Group): boolean => {
    if (a === b) return true;
    if (a.size !== b.size || (a.cols !== b.cols && a.cols !== 0 && b.cols !== 0)) return false;
    if ((a.cols > 0 || b.cols > 0) && (a.terminals.size > 0 || b.terminals.size > 0)) return false;
    if (a.members.size + b.members.size > MAX_MEMBERS || apart(a.phase, b.phase)) return false;
    const clear = (from: Group, to: Group): boolean => {
      for (const e of externals(from))
        if (to.members.has(e) && !barriers.has(e)) {
          // One value per row is only reachable from inside through a spread.
          if (to.rows.has(e) !== from.rows.has(e) && to.rows.has(e)) return false;
        } else if (reaches(e, to)) return false;
      return true;
    };
    return clear(a, b) && clear(b, a);
  };
  const merge = (a: Group, b: Group): Group => {
    if (a === b) return a;
    for (const node of b.members) {
      a.members.add(node);
      if (b.rows.has(node)) a.rows.add(node);
      groupOf.set(node, a);
    }
    for (const node of b.terminals) {
      a.terminals.add(node);
      groupOf.set(node, a);
    }
    a.cols ||= b.cols;
    a.phase ??= b.phase;
    groups.delete(b);
    reach.merge(a, b);
    return a;
  };

  /** The group whose lanes `x` is computed in, and whether as one value per row of it. */
  const laneOf = (x: Node, size: number): { group: Group; row: boolean } | undefined => {
    const m = linear(x);
    if (barriers.has(m)) return undefined;
    const group = groupOf.get(m);
    if (group?.members.has(m)) {
      const row = group.rows.has(m);
      return (row ? group.size / group.cols : group.size) === size ? { group, row } : undefined;
    }
    if (m.op !== 'expand') return undefined;
    const base = linear(m.inputs[0] as Node);
    const owner = groupOf.get(base);
    return owner?.rows.has(base) && !barriers.has(base) && owner.size === size && spreadBase(m, owner.cols) === base
      ? { group: owner, row: false }
      : undefined;
  };

  const placeElementwise = (node: Node): void => {
    const size = sizeOf(node.shape);
    let home: { group: Group; row: boolean } | undefined;
    for (const x of node.inputs) {
      const lane = laneOf(x, size);
      if (!lane) continue;
      if (!home) {
        if (mayJoin(node, lane.group)) home = lane;
      } else if (!home.row && !lane.row && mayMerge(home.group, lane.group)) {
        const trial = home.group;
        // The node itself must still fit the union.
        if (node.inputs.every((y) => fits(y, trial, lane.group)))
          home = { group: merge(trial, lane.group), row: false };
      }
    }
    home ??= { group: newGroup(size), row: false };
    join(node, home.group, home.row);
  };
  const fits = (x: Node, a: Group, b: Group): boolean => {
    const m = linear(x);
    const inside = (g: Group): boolean => (g.members.has(m) && !barriers.has(m)) || (g.cols > 0 && isSpread(x, g));
    return free.has(m) || inside(a) || inside(b) || !(reaches(m, a) || reaches(m, b));
  };

  const placeReduction = (node: Node): void => {
    const form = reductionForm(node);
    const x = node.inputs[0] as Node;
    const size = sizeOf(x.shape);
    const lane = laneOf(x, size);
    const row = form.inner === 1 && form.count <= MAX_ROW && form.count > 1;
    const group = lane && !lane.row && mayJoin(node, lane.group) ? lane.group : undefined;
    if (row) {
      const fit = group && (group.cols === 0 || group.cols === form.count) && group.terminals.size === 0;
      const home = fit ? group : newGroup(size);
      home.cols = form.count;
      join(node, home, true);
    } else {
      // A group that could be an epilogue keeps that chance: the reduction then reads the stored value.
      const home = group && group.cols === 0 && !epilogueOf(group) ? group : newGroup(size);
      home.terminals.add(node);
      groupOf.set(node, home);
      readBy(node, home);
    }
  };
  /** The kernel whose tiles `group` could be applied to: it takes nothing else that needs the whole of them. */
  const epilogueOf = (group: Group): { heavy: Node; owner: Group } | undefined => {
    const inputs = [...externals(group)];
    for (const heavy of inputs) {
      const owner = groupOf.get(heavy);
      if (!takesEpilogue(heavy) || sizeOf(heavy.shape) !== group.size || !owner || owner.members.size > 0) continue;
      if (apart(owner.phase, group.phase) || (barriers.has(heavy) && outweighed(heavy))) continue;
      if (!inputs.some((e) => e !== heavy && reaches(e, owner))) return { heavy, owner };
    }
    return undefined;
  };

  for (const node of order) {
    if (free.has(node)) continue;
    const { kind } = ops[node.op];
    if (kind === 'elementwise') placeElementwise(node);
    else if (kind === 'reduce' && node.dtype === 'f32') placeReduction(node);
    else if (kind === 'heavy' || kind === 'reduce') {
      const group = newGroup(sizeOf(node.shape));
      group.heavy = node;
      group.phase = phases.get(node);
      groupOf.set(node, group);
      readBy(node, group);
    }
  }

  if (epilogues)
    for (const group of [...groups]) {
      if (group.heavy || group.cols > 0 || group.terminals.size > 0) continue;
      const found = epilogueOf(group);
      if (!found) continue;
      const { heavy, owner } = found;
      group.heavy = heavy;
      group.phase ??= owner.phase;
      groupOf.set(heavy, group);
      groups.delete(owner);
      reach.merge(group, owner);
    }
  return { groups, groupOf };
}

// An input gradient of a strided convolution is finished line by line; below this many channels lines are too short.
const MIN_CHANNELS = 16;
// Maps this small are computed position by position, all images together (native/kernels/conv2d.cpp): finished tiles are
// lines a whole image apart, often a power of two, and applying more than a store to them thrashes the cache.
const SMALL_MAP = 64;
const SMALL_MAP_IMAGES = 8;

/** Sums of products over two operands. */
export const isContraction = (node: Node): boolean =>
  node.op === 'matmul' || node.op === 'conv2d' || node.op === 'conv2dInputGrad';

/**
 * Whether the factors of a product are larger than it. One that lives in an epilogue alone is checked through its factors,
 * and what rides there waits for all checks: factors of small weights would be kept for long.
 */
const outweighed = ({ inputs, shape }: Node): boolean =>
  inputs.reduce((sum, x) => sum + sizeOf(x.shape), 0) > 2 * sizeOf(shape);

/** Kernels that hand finished tiles on. */
function takesEpilogue(node: Node): boolean {
  if (node.op === 'matmul') return true;
  if (!isContraction(node)) return false;
  const [n, h, w, channels] = node.shape as [number, number, number, number];
  if (node.op === 'conv2dInputGrad' && channels < MIN_CHANNELS) return false;
  return h * w === 1 || h * w > SMALL_MAP || n < SMALL_MAP_IMAGES;
}
