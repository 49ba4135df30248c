/** First pass: equal nodes become one, and what costs nothing to remove is removed. Bottom-up, one walk. */
import { sameShape, sizeOf } from '../base/index.ts';
import * as build from '../graph/build.ts';
import {
  type Attrs,
  constantNode,
  eachInItsLayer,
  makeNode,
  type Node,
  type OpName,
  topologicalOrder,
  withInputs,
} from '../graph/index.ts';

const isConstant = (node: Node | undefined, value?: number): node is Node<'constant'> =>
  node?.op === 'constant' && (value === undefined || (node as Node<'constant'>).attrs.value === value);

type Rewrite<K extends OpName> = (node: Node<K>) => Node;

const isSwapOfLastTwo = (axes: readonly number[]): boolean => {
  const r = axes.length;
  return r >= 2 && axes.every((a, i) => a === (i === r - 2 ? r - 1 : i === r - 1 ? r - 2 : i));
};

/** x * c and c * x, for constants that change nothing. */
const identity =
  (value: number, side: 'right' | 'both'): Rewrite<OpName> =>
  (node) => {
    const [a, b] = node.inputs as [Node, Node];
    if (isConstant(b, value)) return a;
    if (side === 'both' && isConstant(a, value)) return b;
    return node;
  };

const oneInput = (node: Node): Node => node.inputs[0] as Node;

// x + 0 is not x for x = -0, so addition keeps its zeros: bits matter more than one instruction.
const rules: { readonly [K in OpName]?: Rewrite<K> } = {
  detach: oneInput,
  neg: (node) => fold(node, (a) => -a) ?? node,
  add: (node) => fold(node, (a, b) => a + b) ?? joinPads(node) ?? node,
  sub: (node) => fold(node, (a, b) => a - b) ?? node,
  mul: (node) => fold(node, (a, b) => a * b) ?? identity(1, 'both')(node),
  div: (node) => fold(node, (a, b) => a / b) ?? identity(1, 'right')(node),
  cast: (node) => {
    const x = oneInput(node);
    if (x.dtype === node.dtype) return x;
    return isConstant(x) ? foldCast(x, node.dtype) : node;
  },
  reshape: (node) => {
    const x = oneInput(node);
    if (x.op === 'reshape') return build.reshape(oneInput(x), node.shape);
    if (sameShape(x.shape, node.shape)) return x;
    return isConstant(x) ? constantNode(x.attrs.value, node.shape, x.dtype) : node;
  },
  permute: (node) => {
    const x = oneInput(node);
    const { axes } = node.attrs;
    if (isConstant(x)) return constantNode(x.attrs.value, node.shape, x.dtype);
    if (x.op === 'permute') {
      const inner = (x as Node<'permute'>).attrs.axes;
      return build.permute(
        oneInput(x),
        axes.map((a) => inner[a] as number),
      );
    }
    // (A B)' = B' A': the product is made in the order it is wanted in.
    if (x.op === 'matmul' && isSwapOfLastTwo(axes)) {
      const { transA, transB, ...rest } = (x as Node<'matmul'>).attrs;
      const [a, b] = x.inputs as [Node, Node];
      return makeNode('matmul', [b, a], { transA: !transB, transB: !transA, ...rest });
    }
    // Moving only axes of size 1 moves no element.
    const real = (list: readonly number[]): number[] => list.filter((a) => x.shape[a] !== 1);
    const moved = real(axes);
    return moved.every((a, i) => i === 0 || a > (moved[i - 1] as number)) ? build.reshape(x, node.shape) : node;
  },
  expand: (node) => {
    const x = oneInput(node);
    if (isConstant(x)) return constantNode(x.attrs.value, node.shape, x.dtype);
    return x.op === 'expand' ? build.expand(oneInput(x), node.shape) : node;
  },
  slice: (node) => {
    const x = oneInput(node);
    return isConstant(x) ? constantNode(x.attrs.value, node.shape, x.dtype) : (cutPads(node) ?? node);
  },
  sum: splitReduce,
  max: splitReduce,
  matmul: (node) => {
    let [a, b] = node.inputs as [Node, Node];
    let { transA, transB } = node.attrs;
    if (a.op === 'permute' && isSwapOfLastTwo((a as Node<'permute'>).attrs.axes)) [a, transA] = [oneInput(a), !transA];
    if (b.op === 'permute' && isSwapOfLastTwo((b as Node<'permute'>).attrs.axes)) [b, transB] = [oneInput(b), !transB];
    return a === node.inputs[0] && b === node.inputs[1]
      ? node
      : makeNode('matmul', [a, b], { ...node.attrs, transA, transB });
  },
};

interface Placed {
  readonly value: Node;
  readonly axis: number;
  readonly start: number;
  readonly end: number;
}

/** `x` as a value with zeros before and after it along one axis. */
function placed(x: Node): Placed | undefined {
  if (x.op !== 'pad') return undefined;
  const { before, after, value } = x.attrs as Attrs<'pad'>;
  const axes = before.flatMap((b, i) => (b > 0 || (after[i] as number) > 0 ? [i] : []));
  if (value !== 0 || axes.length !== 1) return undefined;
  const axis = axes[0] as number;
  return {
    value: oneInput(x),
    axis,
    start: before[axis] as number,
    end: (x.shape[axis] as number) - (after[axis] as number),
  };
}

const sums = new WeakMap<Node, readonly Placed[]>();

/** The terms of a sum of padded values, or undefined if any other term is among them. */
function placedTerms(x: Node): readonly Placed[] | undefined {
  if (x.op === 'add') return sums.get(x);
  const term = placed(x);
  return term && [term];
}

/** The gradient of what was cut into pieces is a sum of padded pieces: side by side they are a concatenation. */
function joinPads(node: Node): Node | undefined {
  const [left, right] = node.inputs.map(placedTerms);
  if (!left || !right) return undefined;
  const terms = [...left, ...right].sort((a, b) => a.start - b.start);
  // A larger sum may fill the holes of this one.
  sums.set(node, terms);
  const { axis, start } = terms[0] as Placed;
  if (terms.some((t, i) => t.axis !== axis || (i > 0 && t.start !== terms[i - 1]?.end))) return undefined;
  const end = (terms.at(-1) as Placed).end;
  const at = (value: number): number[] => node.shape.map((_, i) => (i === axis ? value : 0));
  const joined = makeNode(
    'concat',
    terms.map((t) => t.value),
    { axis },
  );
  return build.pad(joined, at(start), at((node.shape[axis] as number) - end));
}

/**
 * A piece of a sum of zero-padded values is the sum of their pieces: what flows back into part of a packed value does not
 * pass through an array of the whole. Undefined where there is another term, or a step over elements.
 */
function cutPads(node: Node<'slice'>): Node | undefined {
  const { start, step, count } = node.attrs;
  if (step.some((s) => s !== 1)) return undefined;
  const pieces: Node[] = [];
  const collect = (x: Node): boolean => {
    if (x.op === 'add') return x.inputs.every(collect);
    if (x.op !== 'pad' || (x.attrs as Attrs<'pad'>).value !== 0) return false;
    const inner = oneInput(x);
    const { before } = x.attrs as Attrs<'pad'>;
    const from = before.map((b, i) => Math.max(start[i] as number, b));
    const to = before.map((b, i) =>
      Math.min((start[i] as number) + (count[i] as number), b + (inner.shape[i] as number)),
    );
    if (from.some((f, i) => f >= (to[i] as number))) return true;
    const piece = build.slice(inner, {
      start: from.map((f, i) => f - (before[i] as number)),
      step,
      count: from.map((f, i) => (to[i] as number) - f),
    });
    const padded = build.pad(
      piece,
      from.map((f, i) => f - (start[i] as number)),
      to.map((t, i) => (start[i] as number) + (count[i] as number) - t),
    );
    pieces.push(padded);
    return true;
  };
  if (!collect(oneInput(node))) return undefined;
  return pieces.length > 0 ? pieces.reduce(build.add) : constantNode(0, node.shape, node.dtype);
}

/** The result of f32 arithmetic on constants, rounded as a program would. */
function fold(node: Node, f: (a: number, b: number) => number): Node | undefined {
  if (node.dtype !== 'f32' || !node.inputs.every((x) => isConstant(x))) return undefined;
  const [a, b] = node.inputs.map((x) => (x as Node<'constant'>).attrs.value) as [number, number];
  return constantNode(f(a, b), node.shape, 'f32');
}

function foldCast(x: Node<'constant'>, dtype: Node['dtype']): Node {
  const { value } = x.attrs;
  if (dtype === 'bool') return constantNode(value !== 0 ? 1 : 0, x.shape, dtype);
  return dtype === 'f32' || dtype === 'f64' || Number.isInteger(value)
    ? constantNode(value, x.shape, dtype)
    : makeNode('cast', [x], { dtype });
}

/** Drops axes of size 1, and takes axes that are apart one run at a time, innermost first. */
function splitReduce(node: Node<'sum'> | Node<'max'>): Node {
  const x = oneInput(node);
  const { axes } = node.attrs as Attrs<'sum'>;
  const real = axes.filter((a) => x.shape[a] !== 1);
  if (real.length === 0) return build.reshape(x, node.shape);
  let first = real.length - 1;
  while (first > 0 && sizeOf(x.shape.slice((real[first - 1] as number) + 1, real[first])) === 1) first--;
  if (first === 0) return real.length === axes.length ? node : makeNode(node.op, [x], { axes: real });
  const inner = makeNode(node.op, [x], { axes: real.slice(first) });
  return makeNode(node.op, [inner], { axes: real.slice(0, first) });
}

/** Rewrites the graph under `roots`; returns the new roots in the same order. */
export function simplify(roots: readonly Node[]): Node[] {
  const replaced = new Map<Node, Node>();
  const unique = new Map<string, Node>();
  const canonical = (node: Node): Node => {
    if (node.op === 'source') return node;
    const key = `${node.structure}:${node.inputs.map((x) => x.id).join()}`;
    const known = unique.get(key);
    if (known) return known;
    unique.set(key, node);
    return node;
  };
  // A rewrite may make a node or two of its own, or one that another rule applies to.
  const settled = new Set<Node>();
  const settle = (node: Node): Node => {
    if (settled.has(node)) return node;
    const same = canonical(withInputs(node, node.inputs.map(settle)));
    const rule = rules[same.op] as Rewrite<OpName> | undefined;
    const next = rule && !settled.has(same) ? rule(same) : same;
    const result = next === same ? same : settle(next);
    settled.add(result);
    return result;
  };
  for (const node of eachInItsLayer(topologicalOrder(roots)))
    replaced.set(
      node,
      settle(
        withInputs(
          node,
          node.inputs.map((x) => replaced.get(x) as Node),
        ),
      ),
    );
  return roots.map((root) => replaced.get(root) as Node);
}
