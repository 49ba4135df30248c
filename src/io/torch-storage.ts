/** Raw storage bytes to elements, and strided tensors out of them, with a budget for copies. */
import { type DType, dtypes, type TypedArray } from '../base/dtype.ts';
import { sizeOf, stridesOf } from '../base/shape.ts';
import { malformed } from './byte-source.ts';
import { allocate } from './failure.ts';
import type { HostArray } from './host-array.ts';
import { convert, stored } from './stored-dtype.ts';
import type { TorchStorage, TorchTensor } from './torch-tensors.ts';

/** The elements of a storage. `offset` is where its bytes lie, for errors. @throws DataError `code` for a value ours cannot hold. */
export function decodeStorage(
  path: string,
  offset: number,
  { type, key, itemSize }: Pick<TorchStorage, 'type' | 'key' | 'itemSize'>,
  bytes: Uint8Array<ArrayBuffer>,
  code = 'TORCH_VALUE',
): { dtype: DType; data: TypedArray } {
  const { dtype, direct } = stored[type];
  const raw =
    bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength ? bytes.buffer : bytes.slice().buffer;
  const { data, misfit } = direct
    ? {
        data: dtypes[dtype].view(raw, 0, raw.byteLength / itemSize),
        misfit: dtype === 'bool' ? new Uint8Array(raw).findIndex((b) => b > 1) : -1,
      }
    : convert(type, raw);
  if (misfit >= 0)
    malformed(
      path,
      code,
      offset + misfit * itemSize,
      dtype === 'bool' ? '0 or 1' : 'an integer of 32 bits',
      'another value',
      {
        entry: key,
      },
    );
  return { dtype, data };
}

/**
 * Hands out arrays: a tensor that is the whole of its storage gets the storage itself, once; the rest are copies. What
 * the copies take together is bounded, since a stride of 0 makes a tensor of any size out of one element.
 */
export class Gatherer {
  readonly #path: string;
  readonly #given = new Set<TypedArray>();
  #budget: number;

  constructor(path: string, fileBytes: number) {
    this.#path = path;
    this.#budget = 4 * fileBytes + 2 ** 20;
  }

  take(name: string, { offset, shape, strides, at }: TorchTensor, dtype: DType, data: TypedArray): HostArray {
    const size = sizeOf(shape);
    const contiguous = size === 0 || stridesOf(shape).every((s, i) => shape[i] === 1 || s === strides[i]);
    if (contiguous && offset === 0 && size === data.length && !this.#given.has(data)) {
      this.#given.add(data);
      return { dtype, shape, data };
    }
    const bytes = size * dtypes[dtype].bytes;
    this.#budget -= bytes;
    if (this.#budget < 0)
      malformed(this.#path, 'TORCH_EXPANSION', at, 'tensors of about the size of the file', `${bytes} bytes more`, {
        tensor: name,
      });
    const out = allocate(() => new dtypes[dtype].array(size), bytes, `tensor ${name}`);
    if (contiguous) out.set(data.subarray(offset, offset + size));
    else gather(out, data, offset, shape, strides);
    return { dtype, shape, data: out };
  }
}

/** Row-major copy of a strided view whose every element has been checked to lie inside. */
export function gather(
  out: TypedArray,
  data: TypedArray,
  offset: number,
  shape: readonly number[],
  strides: readonly number[],
): void {
  const index = shape.map(() => 0);
  let from = offset;
  for (let i = 0; i < out.length; i++) {
    out[i] = data[from] as number;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis] as number;
      index[axis] = (index[axis] as number) + 1;
      if ((index[axis] as number) < (shape[axis] as number)) break;
      from -= (shape[axis] as number) * (strides[axis] as number);
      index[axis] = 0;
    }
  }
}
