/** Short names for the nodes that gradient rules and compositions are written in; operands have equal shapes. */
import { type DType, isFloat, type Shape, sameShape } from '../base/index.ts';
import type { Attrs, OpName } from './attrs.ts';
import { constantNode, makeNode, type Node } from './node.ts';

type UnaryName = Extract<
  OpName,
  'neg' | 'abs' | 'sign' | 'exp' | 'log' | 'sin' | 'cos' | 'sqrt' | 'rsqrt' | 'reciprocal' | 'not' | 'detach'
>;
type BinaryName = Extract<OpName, 'add' | 'sub' | 'mul' | 'div' | 'pow' | 'eq' | 'lt' | 'le' | 'maximum' | 'minimum'>;

export const unary = (op: UnaryName, x: Node): Node => makeNode(op, [x]);
export const binary = (op: BinaryName, a: Node, b: Node): Node => makeNode(op, [a, b]);
export const add = (a: Node, b: Node): Node => makeNode('add', [a, b]);
export const sub = (a: Node, b: Node): Node => makeNode('sub', [a, b]);
export const mul = (a: Node, b: Node): Node => makeNode('mul', [a, b]);
export const div = (a: Node, b: Node): Node => makeNode('div', [a, b]);
export const neg = (x: Node): Node => makeNode('neg', [x]);
export const where = (c: Node, a: Node, b: Node): Node => makeNode('where', [c, a, b]);
export const cast = (x: Node, dtype: DType): Node => (x.dtype === dtype ? x : makeNode('cast', [x], { dtype }));

/** A constant with the shape and dtype of `x`. */
export const constantLike = (x: Node, value: number): Node => constantNode(value, x.shape, x.dtype);
/** x times a JavaScript number that is part of the graph. */
export const scale = (x: Node, value: number): Node => mul(x, constantLike(x, value));

export const reshape = (x: Node, shape: Shape): Node =>
  sameShape(x.shape, shape) ? x : makeNode('reshape', [x], { shape });
export const expand = (x: Node, shape: Shape): Node =>
  sameShape(x.shape, shape) ? x : makeNode('expand', [x], { shape });
export const permute = (x: Node, axes: readonly number[]): Node =>
  axes.every((a, i) => a === i) ? x : makeNode('permute', [x], { axes });

export function sum(x: Node, axes: readonly number[]): Node {
  const real = axes.filter((a) => x.shape[a] !== 1);
  return real.length === 0 ? x : makeNode('sum', [x], { axes: real });
}

/** Elements start, start + step ... per axis. */
export const slice = (x: Node, attrs: Attrs<'slice'>): Node =>
  sameShape(x.shape, attrs.count) && attrs.start.every((s) => s === 0) && attrs.step.every((s) => s === 1)
    ? x
    : makeNode('slice', [x], attrs);

export const pad = (x: Node, before: readonly number[], after: readonly number[], value = 0): Node =>
  [...before, ...after].every((p) => p === 0) ? x : makeNode('pad', [x], { before, after, value });

/** `x` with axis `axis` cut to [start, start + count). */
export function narrow(x: Node, axis: number, start: number, count: number): Node {
  return slice(x, {
    start: x.shape.map((_, i) => (i === axis ? start : 0)),
    step: x.shape.map(() => 1),
    count: x.shape.map((d, i) => (i === axis ? count : d)),
  });
}

/** Broadcast `x` to `shape` by NumPy's rules. */
export function broadcastTo(x: Node, shape: Shape): Node {
  if (sameShape(x.shape, shape)) return x;
  if (x.op === 'constant') return constantNode((x as Node<'constant'>).attrs.value, shape, x.dtype);
  const lead = shape.length - x.shape.length;
  return expand(reshape(x, [...new Array<number>(lead).fill(1), ...x.shape]), shape);
}

export const differentiable = (x: Node): boolean => isFloat(x.dtype);
