/**
 * Tensor: an immutable handle on a node of the lazy graph. Methods build nodes and check shapes and dtypes
 * there and then; nothing is computed until a value is asked for with `await`.
 */
import { gradients } from '../autograd/backward.ts';
import {
  ArgumentError,
  type DType,
  DTypeError,
  formatShape,
  isFloat,
  normalizeAxes,
  normalizeAxis,
  type Shape,
  ShapeError,
  sizeOf,
  type TypedArray,
} from '../base/index.ts';
import * as build from '../graph/build.ts';
import { makeNode, type Node, type OpName, Storage, sourceNode } from '../graph/index.ts';
import { adopt, dataOf, flush, labelStorage, realizedNode, scheduleInitial, scheduleUpdate } from './engine.ts';
import * as movement from './movement.ts';
import { align, matmul } from './operands.ts';

/** Anything that can stand where a tensor is expected in arithmetic. */
export type TensorLike = Tensor | number;

type Axes = number | readonly number[];
interface ReduceOptions {
  keepDims?: boolean;
}

// Tensors that collect `.grad`, by the node that stands for them in the graph.
const leaves = new WeakMap<Node, Tensor>();

export class Tensor {
  #node: Node;
  #requiresGrad = false;
  /** Gradient of the last backward passes (summed), or null. Set it to null or call `optimizer.zeroGrad()`. */
  grad: Tensor | null = null;

  /** @internal Use `tensor()`, `zeros()` ... */
  constructor(node: Node) {
    this.#node = node;
  }

  /** @internal The graph node this handle stands for. */
  get node(): Node {
    return this.#node;
  }
  /** @internal */
  protected setNode(node: Node): void {
    this.#node = node;
    if (this.#requiresGrad) leaves.set(node, this);
  }

  get shape(): Shape {
    return this.#node.shape;
  }
  get dtype(): DType {
    return this.#node.dtype;
  }
  /** Number of dimensions. */
  get rank(): number {
    return this.shape.length;
  }
  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  get requiresGrad(): boolean {
    return this.#requiresGrad;
  }
  set requiresGrad(value: boolean) {
    if (value && !isFloat(this.dtype))
      throw new DTypeError('DTYPE_NOT_FLOAT', `only floating-point tensors can require a gradient, got ${this.dtype}`, {
        got: this.dtype,
      });
    this.#requiresGrad = value;
    if (value) leaves.set(this.#node, this);
    else leaves.delete(this.#node);
  }

  // --- reading -------------------------------------------------------------------------------------------------

  /** Computes the value now; returns this tensor. */
  async realize(): Promise<this> {
    await flush([this.#node]);
    return this;
  }

  /** The elements in row-major order, as a copy. */
  async data(): Promise<TypedArray> {
    // Taken before waiting: an update may rename the node meanwhile.
    const node = this.#node;
    await flush([node]);
    const source = realizedNode(node) ?? this.#node;
    return dataOf(source.storage as Storage).slice();
  }

  /** The single element of a one-element tensor (bool as 0 or 1). */
  async item(): Promise<number> {
    if (this.size !== 1)
      throw new ShapeError('NOT_A_SCALAR', `[item] needs exactly one element, got ${formatShape(this.shape)}`, {
        op: 'item',
        got: this.shape,
        hint: 'reduce it first: .mean() or .sum()',
      });
    return (await this.data())[0] as number;
  }

  /** The elements as nested arrays. */
  async toArray(): Promise<unknown> {
    const data = await this.data();
    const nest = (axis: number, start: number, length: number): unknown => {
      if (axis === this.rank) return this.dtype === 'bool' ? data[start] !== 0 : data[start];
      const size = this.shape[axis] as number;
      return Array.from({ length: size }, (_, i) => nest(axis + 1, start + (i * length) / size, length / size));
    };
    return nest(0, 0, this.size);
  }

  // --- gradients -----------------------------------------------------------------------------------------------

  /** Adds d(this)/d(leaf) to `.grad` of every leaf that requires a gradient. `this` must be a scalar, or a `seed` given. */
  backward(seed?: Tensor): void {
    if (!seed && this.size !== 1)
      throw new ShapeError('NOT_A_SCALAR', `[backward] needs a scalar loss, got ${formatShape(this.shape)}`, {
        op: 'backward',
        got: this.shape,
        hint: 'reduce the loss with .mean(), or pass the gradient of this tensor',
      });
    const found = reachableLeaves(this.#node);
    if (found.length === 0)
      throw new ArgumentError('NO_GRADIENT', '[backward] nothing this value depends on requires a gradient', {
        op: 'backward',
        hint: 'train a model whose parameters require gradients, or set x.requiresGrad = true before using x',
      });
    const grads = gradients(
      this.#node,
      found.map((leaf) => leaf.node),
      seed?.node,
    );
    found.forEach((leaf, i) => {
      const grad = grads[i];
      if (grad) leaf.grad = new Tensor(leaf.grad ? build.add(leaf.grad.node, grad) : grad);
    });
  }

  /** The same value, through which no gradient flows. */
  detach(): Tensor {
    return new Tensor(makeNode('detach', [realizedNode(this.#node) ?? this.#node]));
  }

  // --- elementwise (NumPy broadcasting) -------------------------------------------------------------------------

  add(other: TensorLike): Tensor {
    return this.#binary('add', other);
  }
  sub(other: TensorLike): Tensor {
    return this.#binary('sub', other);
  }
  mul(other: TensorLike): Tensor {
    return this.#binary('mul', other);
  }
  /** True division; integer operands become f32. */
  div(other: TensorLike): Tensor {
    return this.#binary('div', other, 'f32');
  }
  pow(other: TensorLike): Tensor {
    if (other === 2) return this.mul(this);
    return this.#binary('pow', other, 'f32');
  }
  maximum(other: TensorLike): Tensor {
    return this.#binary('maximum', other);
  }
  minimum(other: TensorLike): Tensor {
    return this.#binary('minimum', other);
  }
  eq(other: TensorLike): Tensor {
    return this.#binary('eq', other);
  }
  ne(other: TensorLike): Tensor {
    return this.eq(other).not();
  }
  lt(other: TensorLike): Tensor {
    return this.#binary('lt', other);
  }
  le(other: TensorLike): Tensor {
    return this.#binary('le', other);
  }
  gt(other: TensorLike): Tensor {
    return this.#binary('lt', other, undefined, true);
  }
  ge(other: TensorLike): Tensor {
    return this.#binary('le', other, undefined, true);
  }
  and(other: Tensor): Tensor {
    return this.#binary('and', other);
  }
  or(other: Tensor): Tensor {
    return this.#binary('or', other);
  }
  not(): Tensor {
    return this.#unary('not');
  }

  neg(): Tensor {
    return this.#unary('neg');
  }
  abs(): Tensor {
    return this.#unary('abs');
  }
  sign(): Tensor {
    return this.#unary('sign');
  }
  exp(): Tensor {
    return this.#unary('exp');
  }
  log(): Tensor {
    return this.#unary('log');
  }
  log1p(): Tensor {
    return this.#unary('log1p');
  }
  expm1(): Tensor {
    return this.#unary('expm1');
  }
  sqrt(): Tensor {
    return this.#unary('sqrt');
  }
  rsqrt(): Tensor {
    return this.#unary('rsqrt');
  }
  reciprocal(): Tensor {
    return this.#unary('reciprocal');
  }
  sin(): Tensor {
    return this.#unary('sin');
  }
  cos(): Tensor {
    return this.#unary('cos');
  }
  tanh(): Tensor {
    return this.#unary('tanh');
  }
  /** 1 / (1 + exp(-x)). */
  sigmoid(): Tensor {
    return this.#unary('sigmoid');
  }
  erf(): Tensor {
    return this.#unary('erf');
  }
  relu(): Tensor {
    return this.#unary('relu');
  }
  floor(): Tensor {
    return this.#unary('floor');
  }
  ceil(): Tensor {
    return this.#unary('ceil');
  }
  /** Half to even, as torch.round. */
  round(): Tensor {
    return this.#unary('round');
  }
  square(): Tensor {
    return this.mul(this);
  }
  /** Limits values to [min, max]; a value on a bound keeps its gradient, as in torch. */
  clamp(min: number, max: number): Tensor {
    const pick = (x: Tensor, outside: Tensor, bound: number): Tensor => {
      const [node, limit] = align('clamp', x.node, bound);
      return new Tensor(build.where(outside.node, limit, node));
    };
    const low = pick(this, this.lt(min), min);
    return pick(low, low.gt(max), max);
  }
  cast(dtype: DType): Tensor {
    return dtype === this.dtype ? this : new Tensor(makeNode('cast', [this.#node], { dtype }));
  }

  // --- reductions ----------------------------------------------------------------------------------------------

  /** Sum over `axes` (all by default); they vanish unless `keepDims`. */
  sum(axes?: Axes, options?: ReduceOptions): Tensor {
    const list = normalizeAxes(axes, this.rank, 'sum');
    return dropAxes(new Tensor(build.sum(this.#number().node, list)), list, options);
  }
  mean(axes?: Axes, options?: ReduceOptions): Tensor {
    const x = this.#float();
    const list = normalizeAxes(axes, this.rank, 'mean');
    const count = list.reduce((n, a) => n * (this.shape[a] as number), 1);
    return x.sum(list, options).div(count);
  }
  /** Variance; `correction` 1 divides by n - 1 (PyTorch's default), 0 by n. */
  var(axes?: Axes, { correction = 1, keepDims }: ReduceOptions & { correction?: number } = {}): Tensor {
    const list = normalizeAxes(axes, this.rank, 'var');
    const count = list.reduce((n, a) => n * (this.shape[a] as number), 1);
    const centred = this.sub(this.mean(list, { keepDims: true }));
    return centred
      .square()
      .sum(list, { keepDims })
      .div(Math.max(0, count - correction));
  }
  std(axes?: Axes, options?: ReduceOptions & { correction?: number }): Tensor {
    return this.var(axes, options).sqrt();
  }
  /** Largest element over `axes` (all by default), as torch.amax; ties share the gradient equally. */
  max(axes?: Axes, options?: ReduceOptions): Tensor {
    const list = normalizeAxes(axes, this.rank, 'max');
    const empty = list.find((a) => this.shape[a] === 0);
    if (empty !== undefined)
      throw new ShapeError('REDUCE_EMPTY', `[max] axis ${empty} of ${formatShape(this.shape)} is empty`, { op: 'max' });
    if (list.length === 0) return this;
    return dropAxes(new Tensor(makeNode('max', [this.#number().node], { axes: list })), list, options);
  }
  min(axes?: Axes, options?: ReduceOptions): Tensor {
    return this.neg().max(axes, options).neg();
  }
  /** log(sum(exp(x))) along `axis` without overflow, as torch.logsumexp. */
  logSumExp(axis = -1, options?: ReduceOptions): Tensor {
    const a = normalizeAxis(axis, this.rank, 'logSumExp');
    const last = new Tensor(makeNode('logSumExp', [this.#float().transpose(a, -1).node]));
    return dropAxes(last.transpose(a, -1), [a], options);
  }
  /** Index of the first maximum along `axis`, i32; NaN counts as the maximum. */
  argmax(axis = -1, options?: ReduceOptions): Tensor {
    const a = normalizeAxis(axis, this.rank, 'argmax');
    return dropAxes(new Tensor(makeNode('argmax', [this.#node], { axis: a })), [a], options);
  }

  // --- movement ------------------------------------------------------------------------------------------------

  /** Same elements, new shape; one dimension may be -1. */
  reshape(...dims: number[] | [Shape]): Tensor {
    return new Tensor(movement.reshape(this.#node, Array.isArray(dims[0]) ? dims[0] : (dims as number[])));
  }
  /** Merges axes startAxis .. endAxis into one. */
  flatten(startAxis = 0, endAxis = -1): Tensor {
    return new Tensor(movement.flatten(this.#node, startAxis, endAxis));
  }
  /** Inserts an axis of size 1 at `axis`. */
  unsqueeze(axis: number): Tensor {
    const a = normalizeAxis(axis, this.rank + 1, 'unsqueeze');
    return this.reshape([...this.shape.slice(0, a), 1, ...this.shape.slice(a)]);
  }
  /** Removes axes of size 1 (all of them, or `axis` alone if it is one). */
  squeeze(axis?: number): Tensor {
    const a = axis === undefined ? undefined : normalizeAxis(axis, this.rank, 'squeeze');
    return this.reshape(this.shape.filter((d, i) => d !== 1 || (a !== undefined && i !== a)));
  }
  /** Axes in a new order. */
  permute(...axes: number[]): Tensor {
    return new Tensor(movement.permute(this.#node, axes));
  }
  /** Two axes exchanged (the last two by default). */
  transpose(a = -2, b = -1): Tensor {
    const [i, j] = [normalizeAxis(a, this.rank, 'transpose'), normalizeAxis(b, this.rank, 'transpose')];
    return this.permute(...this.shape.map((_, k) => (k === i ? j : k === j ? i : k)));
  }
  /** Broadcast to `shape` (NumPy rules). */
  expand(shape: Shape): Tensor {
    return new Tensor(movement.expand(this.#node, shape));
  }
  /** Elements [start, stop) of one axis with a step, as Python's x[start:stop:step] (negative counts from the end). */
  slice(axis: number, start?: number, stop?: number, step = 1): Tensor {
    return new Tensor(movement.slice(this.#node, axis, start, stop, step));
  }
  /** Elements in reverse order along `axes`. */
  flip(axes: Axes): Tensor {
    return normalizeAxes(axes, this.rank, 'flip').reduce<Tensor>((x, a) => x.slice(a, undefined, undefined, -1), this);
  }
  /** Constant border: `widths` gives [before, after] for each of the last axes, outermost first. */
  pad(widths: readonly (readonly [number, number])[], value = 0): Tensor {
    return new Tensor(movement.pad(this.#node, widths, value));
  }

  // --- contraction ---------------------------------------------------------------------------------------------

  /** Matrix product with torch.matmul's rules: 1-D operands are vectors, leading axes broadcast. */
  matmul(other: Tensor): Tensor {
    return new Tensor(matmul(this.#node, other.node));
  }

  // --- helpers -------------------------------------------------------------------------------------------------

  #unary(op: OpName): Tensor {
    return new Tensor(makeNode(op as 'neg', [this.#node]));
  }

  #binary(op: OpName, other: TensorLike, least?: DType, swap = false): Tensor {
    const [a, b] = align(op, this.#node, other, least);
    return new Tensor(makeNode(op as 'add', swap ? [b, a] : [a, b]));
  }

  /** bool and u8 become i32, so that they can be counted. */
  #number(): Tensor {
    return this.dtype === 'bool' || this.dtype === 'u8' ? this.cast('i32') : this;
  }
  #float(): Tensor {
    return isFloat(this.dtype) ? this : this.cast('f32');
  }
}

/** A tensor whose value can be replaced: model parameters and buffers, optimizer state. */
export class Variable extends Tensor {
  /** Name in error messages and state dicts; set by the module that registers it. */
  #label: string | undefined;
  /** @internal */
  readonly storage: Storage;

  constructor(initial: Tensor, { requiresGrad = false, label }: { requiresGrad?: boolean; label?: string } = {}) {
    // A node of its own: two variables may start from one value, and neither may write into the tensor it came from.
    const node = makeNode('detach', [initial.node]);
    super(node);
    this.storage = new Storage(initial.dtype, initial.size);
    scheduleInitial(this.#owner, node);
    this.requiresGrad = requiresGrad;
    if (label !== undefined) this.label = label;
  }

  get label(): string | undefined {
    return this.#label;
  }
  set label(label: string | undefined) {
    this.#label = label;
    if (label !== undefined) labelStorage(this.storage, label);
  }

  /** Replaces the initial value of a variable that has not been computed yet; one that has been is assigned. */
  initialize(value: Tensor): void {
    this.#checkShape('initialize', value);
    if (this.storage.data === undefined) scheduleInitial(this.#owner, makeNode('detach', [value.node]));
    else scheduleUpdate(this.#owner, value.node);
  }

  /** @internal Takes over `data` as its memory; false where that cannot be (see the engine's `adopt`). */
  adopt(data: TypedArray): boolean {
    return adopt(this.#owner, data, this.shape);
  }

  /** Replaces the value at the next flush, together with every other pending update. */
  assign(value: Tensor): void {
    this.#checkShape('assign', value);
    scheduleUpdate(this.#owner, value.node);
  }

  #checkShape(op: string, value: Tensor): void {
    if (value.dtype === this.dtype && value.shape.join() === this.shape.join()) return;
    throw new ShapeError(
      'SHAPE_MISMATCH',
      `[${op}] ${this.#label ?? 'a variable'} is ${this.dtype} ${formatShape(this.shape)}, the new value ${value.dtype} ${formatShape(value.shape)}`,
      { op, tensor: this.#label, expected: this.shape, got: value.shape },
    );
  }

  readonly #owner = ((self: Variable) => ({
    get storage() {
      return self.storage;
    },
    get node() {
      return self.node;
    },
    set node(node: Node) {
      self.setNode(node);
    },
  }))(this);
}

function reachableLeaves(root: Node): Tensor[] {
  const found: Tensor[] = [];
  const seen = new Set<Node>([root]);
  const stack = [root];
  for (let node = stack.pop(); node; node = stack.pop()) {
    const leaf = leaves.get(node);
    if (leaf && leaf.node === node) {
      found.push(leaf);
      continue;
    }
    if (node.op === 'detach') continue;
    for (const input of node.inputs)
      if (!seen.has(input)) {
        seen.add(input);
        stack.push(input);
      }
  }
  return found;
}

function dropAxes(x: Tensor, axes: readonly number[], options?: ReduceOptions): Tensor {
  return options?.keepDims ? x : x.reshape(x.shape.filter((_, i) => !axes.includes(i)));
}

/** A source over host data; no copy. */
export function fromStorage(data: TypedArray, shape: Shape, dtype: DType): Tensor {
  return new Tensor(sourceNode(new Storage(dtype, data.length, data), shape));
}
