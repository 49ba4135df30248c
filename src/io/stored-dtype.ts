/** Element types as weight files store them, and how each becomes one of ours. */
import type { DType, TypedArray } from '../base/dtype.ts';

export type StoredDType = 'F64' | 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'I16' | 'I8' | 'U32' | 'U16' | 'U8' | 'BOOL';

interface StoredInfo {
  /** Bytes of one element in the file. */
  readonly bytes: number;
  /** What it is read as. */
  readonly dtype: DType;
  /** The file's bytes are the array's bytes. */
  readonly direct: boolean;
}

export const stored: { readonly [K in StoredDType]: StoredInfo } = {
  F64: { bytes: 8, dtype: 'f64', direct: true },
  F32: { bytes: 4, dtype: 'f32', direct: true },
  F16: { bytes: 2, dtype: 'f32', direct: false },
  BF16: { bytes: 2, dtype: 'f32', direct: false },
  I64: { bytes: 8, dtype: 'i32', direct: false },
  I32: { bytes: 4, dtype: 'i32', direct: true },
  I16: { bytes: 2, dtype: 'i32', direct: false },
  I8: { bytes: 1, dtype: 'i32', direct: false },
  U32: { bytes: 4, dtype: 'i32', direct: false },
  U16: { bytes: 2, dtype: 'i32', direct: false },
  U8: { bytes: 1, dtype: 'u8', direct: true },
  BOOL: { bytes: 1, dtype: 'bool', direct: true },
};

export const storedNameOf: { readonly [K in DType]: StoredDType } = {
  f64: 'F64',
  f32: 'F32',
  i32: 'I32',
  u8: 'U8',
  bool: 'BOOL',
};

export const isStored = (name: string): name is StoredDType => Object.hasOwn(stored, name);

export interface Converted {
  readonly data: TypedArray;
  /** Index of the first element our type cannot hold, or -1. */
  readonly misfit: number;
}

/** Elements of a type that is not `direct`. `raw` is little-endian and holds whole elements. */
export function convert(type: StoredDType, raw: ArrayBuffer): Converted {
  switch (type) {
    case 'F16':
      return fits(Float32Array.from(new Uint16Array(raw), halfToFloat));
    case 'BF16':
      return fits(new Float32Array(Uint32Array.from(new Uint16Array(raw), (half) => half << 16).buffer));
    case 'I8':
      return fits(Int32Array.from(new Int8Array(raw)));
    case 'I16':
      return fits(Int32Array.from(new Int16Array(raw)));
    case 'U16':
      return fits(Int32Array.from(new Uint16Array(raw)));
    case 'U32':
      return { data: new Int32Array(raw), misfit: new Int32Array(raw).findIndex((x) => x < 0) };
    case 'I64':
      return narrow(new Int32Array(raw));
    default:
      throw new TypeError(`${type} needs no conversion`);
  }
}

const fits = (data: TypedArray): Converted => ({ data, misfit: -1 });

// A 64-bit integer fits when its high word repeats the sign of its low word.
function narrow(words: Int32Array): Converted {
  const data = new Int32Array(words.length / 2);
  let misfit = -1;
  for (let i = data.length - 1; i >= 0; i--) {
    const low = words[2 * i] as number;
    data[i] = low;
    if (words[2 * i + 1] !== low >> 31) misfit = i;
  }
  return { data, misfit };
}

/** IEEE 754 half precision, subnormals and specials included. */
export function halfToFloat(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
