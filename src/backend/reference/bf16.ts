/** Operands as a bf16 contraction sees them. */
import type { TypedArray } from '../../base/index.ts';
import type { PrecisionAttrs } from '../../graph/index.ts';
import type { Value } from './arrays.ts';

const single = new Float32Array(1);
const bits = new Uint32Array(single.buffer);

/** `x` rounded to bfloat16, to nearest even; f32 subnormals become zero, as AVX512_BF16 has it. */
export function toBf16(x: number): number {
  single[0] = x;
  const u = bits[0] as number;
  const size = u & 0x7fffffff;
  if (size < 0x00800000) bits[0] = u & 0x80000000;
  else if (size > 0x7f800000) return Number.NaN;
  else bits[0] = ((u + 0x7fff + ((u >>> 16) & 1)) & 0xffff0000) >>> 0;
  return single[0] as number;
}

/** The inputs, rounded if the op says so. */
export function operands(inputs: readonly Value[], { precision }: PrecisionAttrs): readonly Value[] {
  if (precision !== 'bf16') return inputs;
  return inputs.map((x) => ({ ...x, data: rounded(x.data) }));
}

export function rounded(data: TypedArray): Float32Array {
  const out = new Float32Array(data.length);
  for (let i = 0; i < out.length; i++) out[i] = toBf16(data[i] as number);
  return out;
}
