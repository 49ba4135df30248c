/** The IR: immutable nodes `{ op, inputs, attrs, shape, dtype }`, checked when made. */
import { type DType, dtypes, invariant, type Shape, sizeOf, type TypedArray } from '../base/index.ts';
import type { Attrs, OpName } from './attrs.ts';
import { layerOf, noteLayer } from './layer.ts';
import { ops } from './ops.ts';

/**
 * Elements in memory, or the promise of them: a variable's array is allocated at its first use, so a model can be
 * planned without paying for it. Updates overwrite a storage in place; `version` counts them.
 */
export class Storage {
  readonly dtype: DType;
  readonly length: number;
  data: TypedArray | undefined;
  version = 0;

  constructor(dtype: DType, length: number, data?: TypedArray) {
    invariant(data === undefined || data.length === length, `a storage of ${length} elements got ${data?.length}`);
    this.dtype = dtype;
    this.length = length;
    this.data = data;
  }
}

export interface Node<K extends OpName = OpName> {
  readonly id: number;
  readonly op: K;
  readonly inputs: readonly Node[];
  readonly attrs: Attrs<K>;
  readonly shape: Shape;
  readonly dtype: DType;
  /** Interned (op, attrs, shape, dtype): equal numbers mean structurally equal nodes, inputs aside. */
  readonly structure: number;
  /** Only on `source`: where the elements are, and which version of them is meant. */
  readonly storage?: Storage;
  readonly version?: number;
}

let nextId = 0;
let structureCount = 0;
const structures = new Map<string, number>();
// Most nodes have no attributes and share the shape array of an input: numbers are enough to find their structure.
const plainStructures = new Map<number, number>();
const shapesByText = new Map<string, number>();
const shapeNumbers = new WeakMap<Shape, number>();
const opNumbers = new Map(Object.keys(ops).map((op, i) => [op, i]));
const dtypeNumbers = new Map(Object.keys(dtypes).map((dtype, i) => [dtype, i]));

function shapeNumber(shape: Shape): number {
  let number = shapeNumbers.get(shape);
  if (number === undefined) {
    const text = shape.join();
    number = shapesByText.get(text);
    if (number === undefined) {
      number = shapesByText.size;
      shapesByText.set(text, number);
    }
    shapeNumbers.set(shape, number);
  }
  return number;
}

function intern(op: OpName, attrs: object, shape: Shape, dtype: DType): number {
  const plain =
    (shapeNumber(shape) * opNumbers.size + (opNumbers.get(op) as number)) * dtypeNumbers.size +
    (dtypeNumbers.get(dtype) as number);
  let text = '';
  for (const name in attrs) text += `|${String((attrs as Record<string, unknown>)[name])}`;
  if (text === '') {
    let number = plainStructures.get(plain);
    if (number === undefined) {
      number = structureCount++;
      plainStructures.set(plain, number);
    }
    return number;
  }
  const key = `${plain}${text}`;
  let number = structures.get(key);
  if (number === undefined) {
    number = structureCount++;
    structures.set(key, number);
  }
  return number;
}

const none = Object.freeze({}) as Attrs<'add'>;

/** A checked node. Throws ShapeError / DTypeError / ArgumentError naming the op, at the caller's line. */
export function makeNode<K extends OpName>(
  op: K,
  inputs: readonly Node[],
  attrs: Attrs<K> = none as Attrs<K>,
): Node<K> {
  const info = ops[op];
  invariant(info.arity < 0 ? inputs.length > 0 : inputs.length === info.arity, `${op} takes ${info.arity} inputs`);
  const { shape, dtype } = info.infer(inputs, attrs);
  return noteLayer({ id: nextId++, op, inputs, attrs, shape, dtype, structure: intern(op, attrs, shape, dtype) });
}

/** A node with one input replaced by others; keeps the op and attributes. */
export function withInputs(node: Node, inputs: readonly Node[]): Node {
  if (inputs.every((input, i) => input === node.inputs[i])) return node;
  return noteLayer({ ...node, id: nextId++, inputs }, layerOf(node));
}

/** Another node that computes the same from `inputs`: equal ones, computed again. */
export const cloneNode = (node: Node, inputs: readonly Node[]): Node =>
  noteLayer({ ...node, id: nextId++, inputs }, layerOf(node));

export function sourceNode(storage: Storage, shape: Shape): Node<'source'> {
  invariant(storage.length === sizeOf(shape), `${storage.length} elements cannot have shape ${shape.join('x')}`);
  const { dtype, version } = storage;
  return {
    id: nextId++,
    op: 'source',
    inputs: [],
    attrs: none as Attrs<'source'>,
    shape,
    dtype,
    structure: intern('source', none, shape, dtype),
    storage,
    version,
  };
}

export function constantNode(value: number, shape: Shape, dtype: DType): Node<'constant'> {
  const attrs = { value: dtype === 'f32' ? Math.fround(value) : value };
  // -0 and 0 differ in the key: `String(-0)` is '0'.
  const key = { value: Object.is(attrs.value, -0) ? '-0' : attrs.value };
  return {
    id: nextId++,
    op: 'constant',
    inputs: [],
    attrs,
    shape,
    dtype,
    structure: intern('constant', key, shape, dtype),
  };
}

export function iotaNode(shape: Shape, axis: number): Node<'iota'> {
  const attrs = { axis };
  return {
    id: nextId++,
    op: 'iota',
    inputs: [],
    attrs,
    shape,
    dtype: 'i32',
    structure: intern('iota', attrs, shape, 'i32'),
  };
}

/** Uniform [0, 1) of `shape`; `key` is an i32[4] node. */
export function randomNode(key: Node, shape: Shape): Node<'random'> {
  const attrs = none as Attrs<'random'>;
  return {
    id: nextId++,
    op: 'random',
    inputs: [key],
    attrs,
    shape,
    dtype: 'f32',
    structure: intern('random', attrs, shape, 'f32'),
  };
}

/**
 * Inputs before users, each node once; iterative, so depth is not bounded by the stack.
 * `replace` may stand another node in for one that is met, which cuts the walk there.
 */
export function topologicalOrder(roots: readonly Node[], replace?: (node: Node) => Node | undefined): Node[] {
  const order: Node[] = [];
  const done = new Set<Node>();
  // The way down to the node looked at, and which input comes next at each of them.
  const path: Node[] = [];
  const next: number[] = [];
  const resolve = (node: Node): Node => replace?.(node) ?? node;
  for (const start of roots) {
    const root = resolve(start);
    if (done.has(root)) continue;
    done.add(root);
    path.push(root);
    next.push(0);
    while (path.length > 0) {
      const top = path.length - 1;
      const node = path[top] as Node;
      const at = next[top] as number;
      next[top] = at + 1;
      const input = node.inputs[at];
      if (input === undefined) {
        order.push(node);
        path.pop();
        next.pop();
        continue;
      }
      const child = resolve(input);
      if (done.has(child)) continue;
      done.add(child);
      path.push(child);
      next.push(0);
    }
  }
  return order;
}
