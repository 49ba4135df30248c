/** Tensors from data, constants and random streams. */
import {
  ArgumentError,
  checkShape,
  type DType,
  DTypeError,
  dtypes,
  formatShape,
  Philox,
  type Shape,
  ShapeError,
  sizeOf,
  streamKey,
  type TypedArray,
} from '../base/index.ts';
import { constantNode, iotaNode, makeNode, randomNode, Storage, sourceNode } from '../graph/index.ts';
import { fromStorage, Tensor } from './tensor.ts';

/** Numbers, booleans, or arrays of them nested to any depth. */
export type NestedArray = number | boolean | readonly NestedArray[];

export interface TensorOptions {
  /** Default: the shape of the nested array, or one dimension for a typed array. */
  shape?: Shape;
  /** Default: the typed array's own type, bool for booleans, f32 otherwise. */
  dtype?: DType;
  requiresGrad?: boolean;
}

/**
 * A tensor over `data`. A typed array of the right dtype is used as it is, without a copy: do not change it afterwards.
 * Throws ShapeError for ragged arrays or a shape of another size, DTypeError for elements that do not fit.
 */
export function tensor(data: NestedArray | TypedArray, options: TensorOptions = {}): Tensor {
  const [flat, shape, natural] = ArrayBuffer.isView(data)
    ? [data as TypedArray, options.shape ?? [data.length], typedDType(data)]
    : flatten(data as NestedArray, options.shape);
  const dtype = options.dtype ?? natural;
  checkShape(shape, 'tensor');
  if (flat.length !== sizeOf(shape))
    throw new ShapeError('SHAPE_MISMATCH', `[tensor] ${flat.length} elements do not fill ${formatShape(shape)}`, {
      op: 'tensor',
      expected: sizeOf(shape),
      got: flat.length,
    });
  const array = flat instanceof dtypes[dtype].array ? (flat as TypedArray) : convert(flat, dtype);
  const x = fromStorage(array, shape, dtype);
  if (options.requiresGrad) x.requiresGrad = true;
  return x;
}

function typedDType(data: ArrayBufferView): DType {
  if (data instanceof Float32Array) return 'f32';
  if (data instanceof Float64Array) return 'f64';
  if (data instanceof Int32Array) return 'i32';
  if (data instanceof Uint8Array) return 'u8';
  throw new DTypeError('DTYPE_UNSUPPORTED', `[tensor] ${data.constructor.name} is not a tensor's array`, {
    op: 'tensor',
    expected: 'Float32Array, Float64Array, Int32Array or Uint8Array',
    got: data.constructor.name,
  });
}

function flatten(data: NestedArray, wanted?: Shape): [number[], Shape, DType] {
  const shape: number[] = [];
  for (let x: NestedArray | undefined = data; Array.isArray(x); x = x[0]) shape.push(x.length);
  const flat: number[] = [];
  let booleans = 0;
  const walk = (x: NestedArray, depth: number): void => {
    if (Array.isArray(x)) {
      if (x.length !== shape[depth])
        throw new ShapeError('SHAPE_RAGGED', `[tensor] rows of ${x.length} and ${shape[depth]} elements in one array`, {
          op: 'tensor',
          expected: shape[depth],
          got: x.length,
        });
      for (const item of x) walk(item, depth + 1);
    } else {
      if ((typeof x !== 'number' && typeof x !== 'boolean') || depth !== shape.length)
        throw new DTypeError(
          'DTYPE_UNSUPPORTED',
          `[tensor] expected a number at depth ${shape.length}, got ${typeof x}`,
          {
            op: 'tensor',
            got: x,
          },
        );
      if (typeof x === 'boolean') booleans++;
      flat.push(Number(x));
    }
  };
  walk(data, 0);
  return [flat, wanted ?? shape, booleans > 0 && booleans === flat.length ? 'bool' : 'f32'];
}

function convert(values: ArrayLike<number>, dtype: DType): TypedArray {
  const out = new dtypes[dtype].array(values.length);
  for (let i = 0; i < values.length; i++) {
    const v = values[i] as number;
    out[i] = dtype === 'bool' ? Number(v !== 0) : v;
    if ((dtype === 'i32' || dtype === 'u8') && out[i] !== v)
      throw new DTypeError('VALUE_OUT_OF_RANGE', `[tensor] ${v} at position ${i} is not a ${dtype}`, {
        op: 'tensor',
        got: v,
      });
  }
  return out;
}

/** Every element `value`. */
export function full(shape: Shape, value: number, dtype: DType = 'f32'): Tensor {
  checkShape(shape, 'full');
  return new Tensor(constantNode(value, shape, dtype));
}
export const zeros = (shape: Shape, dtype: DType = 'f32'): Tensor => full(shape, 0, dtype);
export const ones = (shape: Shape, dtype: DType = 'f32'): Tensor => full(shape, 1, dtype);

/**
 * A number that changes from call to call (learning rate, step count): it is an input of the program, so a new
 * value does not compile a new one. Plain numbers in expressions are part of the program.
 */
export const scalar = (value: number, dtype: DType = 'f32'): Tensor =>
  fromStorage(Object.assign(new dtypes[dtype].array(1), [value]), [], dtype);

/** start, start + step ... below stop. */
export function arange(start: number, stop: number, step = 1, dtype: DType = 'i32'): Tensor {
  const count = Math.max(0, Math.ceil((stop - start) / step));
  if (!Number.isFinite(count))
    throw new ArgumentError('RANGE_INVALID', `[arange] ${start}..${stop} by ${step} is not a range`, { op: 'arange' });
  const index = new Tensor(iotaNode([count], 0));
  return index.cast(dtype).mul(step).add(start).cast(dtype);
}

/** i32 index along `axis` of `shape`. */
export function iota(shape: Shape, axis: number): Tensor {
  checkShape(shape, 'iota');
  return new Tensor(iotaNode(shape, axis));
}

/** 1 where the class equals the index, on a new last axis. f32. */
export function oneHot(index: Tensor, numClasses: number): Tensor {
  const shape = [...index.shape, numClasses];
  return iota(shape, index.rank).eq(index.cast('i32').unsqueeze(-1)).cast('f32');
}

/** Joins tensors along an existing axis. */
export function concat(tensors: readonly Tensor[], axis = 0): Tensor {
  const first = tensors[0];
  if (!first) throw new ArgumentError('EMPTY', '[concat] needs at least one tensor', { op: 'concat' });
  const a = axis < 0 ? axis + first.rank : axis;
  if (!Number.isInteger(a) || a < 0 || a >= first.rank)
    throw new ArgumentError('AXIS_INVALID', `[concat] axis ${axis} is outside a tensor of rank ${first.rank}`, {
      op: 'concat',
      got: axis,
    });
  return new Tensor(
    makeNode(
      'concat',
      tensors.map((t) => t.node),
      { axis: a },
    ),
  );
}

/** Joins tensors of one shape along a new axis. */
export const stack = (tensors: readonly Tensor[], axis = 0): Tensor =>
  concat(
    tensors.map((t) => t.unsqueeze(axis)),
    axis < 0 && tensors[0] ? axis + tensors[0].rank + 1 : axis,
  );

/** The stream random tensors are drawn from: element i of draw number `stream` under `seed` is always the same. */
export const generator = { seed: 0, stream: 0 };

/** Restarts the random stream. @param seed non-negative integer below 2^53. */
export function manualSeed(seed: number): void {
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new ArgumentError('SEED_INVALID', `a seed is a non-negative integer below 2^53, got ${seed}`, { got: seed });
  generator.seed = seed;
  generator.stream = 0;
}

/** Runs `body` and puts the random stream back: what it draws, such as initial values nobody keeps, moves nothing. As torch.random.fork_rng. */
export function forkRng<T>(body: () => T): T {
  const { seed, stream } = generator;
  try {
    return body();
  } finally {
    Object.assign(generator, { seed, stream });
  }
}

/** Uniform in [low, high), f32; the next draw of the global stream. */
export function uniform(shape: Shape, { low = 0, high = 1 }: { low?: number; high?: number } = {}): Tensor {
  checkShape(shape, 'uniform');
  const key = new Storage('i32', 4, streamKey(generator.seed, generator.stream++));
  const u = new Tensor(randomNode(sourceNode(key, [4]), shape));
  return low === 0 && high === 1 ? u : u.mul(high - low).add(low);
}

/** Normal with `mean` and `std`, f32 (Box-Muller on two uniform draws). */
export function normal(shape: Shape, { mean = 0, std = 1 }: { mean?: number; std?: number } = {}): Tensor {
  const radius = uniform(shape).neg().log1p().mul(-2).sqrt();
  const angle = uniform(shape).mul(2 * Math.PI);
  return radius.mul(angle.cos()).mul(std).add(mean);
}

/** A random permutation of 0 .. n-1, i32; drawn on the host. */
export function randomPermutation(n: number): Tensor {
  const order = new Int32Array(n).map((_, i) => i);
  return tensor(new Philox(generator.seed, generator.stream++).shuffle(order));
}
