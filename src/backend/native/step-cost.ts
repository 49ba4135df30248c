/** What a step of a native program must do at least: multiply-adds of the direct algorithm, and bytes in and out. */
import { byteSize } from '../../base/index.ts';
import type { FusedOperand, NativeProgram, Step } from '../../compiler/index.ts';

export const stepClasses = ['gemm', 'convolution', 'attention and recurrent', 'memory-bound'] as const;
export type StepClass = (typeof stepClasses)[number];

export function stepClass({ kernel }: Step): StepClass {
  if (kernel === 'gemm') return 'gemm';
  if (kernel.startsWith('conv2d')) return 'convolution';
  return /^(attention|recurrent)/.test(kernel) ? 'attention and recurrent' : 'memory-bound';
}

/** Multiply and add count one each; products with padding zeros and elementwise work are left out. */
export function stepFlops({ kernel, attrs }: Step): number {
  const a = (name: string): number => attrs[name] ?? 0;
  switch (kernel) {
    case 'gemm':
      return 2 * a('batch') * a('M') * a('N') * a('K');
    case 'conv2d':
    case 'conv2d-input-grad':
    case 'conv2d-weight-grad': {
      const taps =
        insideTaps(a('ih'), a('oh'), a('kh'), a('strideH'), a('padH'), a('dilH')) *
        insideTaps(a('iw'), a('ow'), a('kw'), a('strideW'), a('padW'), a('dilW'));
      return (2 * a('n') * a('oc') * a('ic') * taps) / a('groups');
    }
    case 'attention':
    case 'attention-grad': {
      const [tq, tk, d, dv] = [a('tq'), a('tk'), a('d'), a('dv')];
      // Under `causal` the products above the diagonal are not made.
      const square = Math.min(tq, tk);
      const pairs = a('causal') ? (square * (square + 1)) / 2 + (tq - square) * tk : tq * tk;
      return 2 * a('batch') * a('heads') * pairs * (kernel === 'attention' ? d + dv : 3 * d + 2 * dv);
    }
    case 'recurrent':
    case 'recurrent-grad': {
      const gates = [4, 3, 1, 1][a('cell')] as number;
      return 2 * a('steps') * a('batch') * gates * a('hidden') ** 2;
    }
    default:
      return 0;
  }
}

/** Over all outputs along one axis: how many kernel positions fall inside the input. */
function insideTaps(input: number, output: number, kernel: number, stride: number, pad: number, dil: number): number {
  let count = 0;
  for (let o = 0; o < output; o++)
    for (let k = 0; k < kernel; k++) {
      const i = o * stride - pad + k * dil;
      if (i >= 0 && i < input) count++;
    }
  return count;
}

/** Bytes of everything read and written, each once. */
export function stepBytes({ kernel, in: reads, out, attrs, fused }: Step, { lengths }: NativeProgram): number {
  const length = (buffer: number): number => lengths[buffer] as number;
  let total = 0;
  if (kernel === 'copy') return 2 * (attrs.bytes ?? 0);
  for (const buffer of new Set(reads)) total += kernel === 'embedding' ? 0 : length(buffer);
  // Of a table only the rows asked for are read.
  if (kernel === 'embedding')
    total += length(reads[1] as number) + Math.min(length(reads[0] as number), length(out[0] as number));
  for (const buffer of new Set(out)) total += length(buffer);
  if (!fused) return total;
  const walked = (operand: FusedOperand): number => {
    const elements = fused.dims.reduce((n, size, i) => (operand.strides[i] === 0 ? n : n * size), 1);
    return Math.min(length(operand.buffer), elements * byteSize(operand.dtype));
  };
  // Shifted views of one buffer read most of its elements again, from cache.
  for (const side of [fused.inputs, fused.outputs]) {
    const most = new Map<number, number>();
    for (const operand of side)
      most.set(operand.buffer, Math.min(length(operand.buffer), (most.get(operand.buffer) ?? 0) + walked(operand)));
    for (const bytes of most.values()) total += bytes;
  }
  for (const { buffer } of fused.terminal ?? []) total += length(buffer);
  return total;
}
