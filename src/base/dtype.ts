/** Element types and the typed arrays that hold them. */

/** f64 is computed by the reference backend only. `bool` is one byte, 0 or 1. Room is left for bf16. */
export type DType = 'f32' | 'f64' | 'i32' | 'u8' | 'bool';

export type TypedArray = Float32Array | Float64Array | Int32Array | Uint8Array;

interface DTypeInfo {
  readonly bytes: number;
  readonly float: boolean;
  readonly array: new (length: number) => TypedArray;
  readonly view: (buffer: ArrayBuffer, byteOffset: number, length: number) => TypedArray;
}

export const dtypes: { readonly [K in DType]: DTypeInfo } = {
  f32: { bytes: 4, float: true, array: Float32Array, view: (b, o, n) => new Float32Array(b, o, n) },
  f64: { bytes: 8, float: true, array: Float64Array, view: (b, o, n) => new Float64Array(b, o, n) },
  i32: { bytes: 4, float: false, array: Int32Array, view: (b, o, n) => new Int32Array(b, o, n) },
  u8: { bytes: 1, float: false, array: Uint8Array, view: (b, o, n) => new Uint8Array(b, o, n) },
  bool: { bytes: 1, float: false, array: Uint8Array, view: (b, o, n) => new Uint8Array(b, o, n) },
};

export const isFloat = (dtype: DType): boolean => dtypes[dtype].float;
export const byteSize = (dtype: DType): number => dtypes[dtype].bytes;

/** bool < u8 < i32 < f32 < f64: the type two operands meet in. */
const rank: { readonly [K in DType]: number } = { bool: 0, u8: 1, i32: 2, f32: 3, f64: 4 };
export const promote = (a: DType, b: DType): DType => (rank[a] >= rank[b] ? a : b);
