/** A named tensor on the host as plain memory: what files and data loaders speak, below the engine's tensors. */
import { type DType, dtypes, type TypedArray } from '../base/dtype.ts';
import { DataError, printable } from '../base/errors.ts';
import { formatShape, type Shape, sizeOf } from '../base/shape.ts';

export interface HostArray {
  readonly dtype: DType;
  readonly shape: Shape;
  /** Row-major, exactly `sizeOf(shape)` elements of the array type of `dtype`. */
  readonly data: TypedArray;
}

/** Throws DataError unless the array's type and length are what its dtype and shape say. */
export function checkHostArray(name: string, { dtype, shape, data }: HostArray): void {
  const info = dtypes[dtype];
  if (!info || !(data instanceof info.array))
    throw new DataError(
      'ARRAY_DTYPE',
      `tensor ${printable(name)}: ${dtype} needs a ${info?.array.name ?? 'known type'}`,
      {
        tensor: name,
        expected: info?.array.name,
        got: data?.constructor?.name,
      },
    );
  if (!shape.every((d) => Number.isInteger(d) && d >= 0) || sizeOf(shape) !== data.length)
    throw new DataError(
      'ARRAY_SHAPE',
      `tensor ${printable(name)}: shape ${formatShape(shape)} does not hold ${data.length} elements`,
      { tensor: name, expected: sizeOf(shape), got: data.length },
    );
}

/** The memory of a typed array as bytes, without a copy. */
export const bytesOf = (data: TypedArray): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
