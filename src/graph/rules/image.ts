/** Shape rules of convolution and pooling, in either layout. */
import { ArgumentError, formatShape, type Shape, ShapeError } from '../../base/index.ts';
import type { ConvAttrs, Operand, OpInfo, PoolAttrs, WindowAttrs } from '../attrs.ts';
import { wantFloat, wantRank, wantSame } from './checks.ts';

/** Positions of [channels, height, width] in an activation. */
export const imageAxes = (channelsLast: boolean): { c: number; h: number; w: number } =>
  channelsLast ? { c: 3, h: 1, w: 2 } : { c: 1, h: 2, w: 3 };

/** A (N, C, H, W) shape in either layout. */
export function imageShape(n: number, c: number, h: number, w: number, channelsLast: boolean): number[] {
  return channelsLast ? [n, h, w, c] : [n, c, h, w];
}

/** Reads N, C, H, W of an activation in either layout. */
export function imageSizes(shape: Shape, channelsLast: boolean): { n: number; c: number; h: number; w: number } {
  const axes = imageAxes(channelsLast);
  return { n: shape[0] as number, c: shape[axes.c] as number, h: shape[axes.h] as number, w: shape[axes.w] as number };
}

/** Output size of a sliding window; ShapeError when the window does not fit. */
export function windowSize(op: string, size: number, kernel: number, a: WindowAttrs, dim: 0 | 1): number {
  const pad = a.padding[dim * 2] as number;
  const padEnd = a.padding[dim * 2 + 1] as number;
  const extent = a.dilation[dim] * (kernel - 1) + 1;
  const out = Math.floor((size + pad + padEnd - extent) / a.stride[dim]) + 1;
  if (out < 1)
    throw new ShapeError(
      'INPUT_TOO_SMALL',
      `[${op}] a window of ${extent} does not fit an input ${dim === 0 ? 'height' : 'width'} of ${size} with padding ${pad}+${padEnd}`,
      {
        op,
        expected: `at least ${extent - pad - padEnd}`,
        got: size,
        hint: 'pad or resize the input, or use fewer pooling layers',
      },
    );
  return out;
}

function checkWindow(op: string, a: WindowAttrs & { kernelSize?: readonly number[] }): void {
  const positive = [...a.stride, ...a.dilation, ...(a.kernelSize ?? [])];
  if (positive.some((v) => !Number.isInteger(v) || v < 1) || a.padding.some((v) => !Number.isInteger(v) || v < 0))
    throw new ArgumentError(
      'WINDOW_INVALID',
      `[${op}] kernel size, stride and dilation must be integers >= 1, padding integers >= 0`,
      {
        op,
        got: a,
      },
    );
}

export function inferConv([x, w]: readonly Operand[], a: ConvAttrs): Operand {
  const op = 'conv2d';
  if (!x || !w) throw new ShapeError('SHAPE_RANK', '[conv2d] needs an input and a weight', { op });
  wantRank(op, x, 4, 'input (N, C, H, W)');
  wantRank(op, w, 4, 'weight (O, C / groups, kh, kw)');
  wantFloat(op, x);
  if (w.dtype !== x.dtype)
    wantSame(op, [
      { shape: [], dtype: x.dtype },
      { shape: [], dtype: w.dtype },
    ]);
  checkWindow(op, a);
  const { n, c, h, w: width } = imageSizes(x.shape, a.channelsLast);
  const [o, cg, kh, kw] = w.shape as [number, number, number, number];
  if (!Number.isInteger(a.groups) || a.groups < 1 || c % a.groups !== 0 || o % a.groups !== 0)
    throw new ShapeError(
      'GROUPS_INVALID',
      `[conv2d] groups ${a.groups} must divide input channels ${c} and output channels ${o}`,
      {
        op,
        got: a.groups,
      },
    );
  if (c / a.groups !== cg)
    throw new ShapeError(
      'CHANNELS_MISMATCH',
      `[conv2d] input ${formatShape(x.shape)} has ${c} channels, weight ${formatShape(w.shape)} takes ${cg * a.groups}`,
      {
        op,
        expected: cg * a.groups,
        got: c,
        hint: 'build the model with inChannels equal to the data, or convert the images',
      },
    );
  return {
    shape: imageShape(n, o, windowSize(op, h, kh, a, 0), windowSize(op, width, kw, a, 1), a.channelsLast),
    dtype: x.dtype,
  };
}

export function inferPool(op: string, x: Operand, a: PoolAttrs): Operand {
  wantRank(op, x, 4, 'input (N, C, H, W)');
  wantFloat(op, x);
  checkWindow(op, a);
  for (const dim of [0, 1] as const)
    if (Math.max(a.padding[dim * 2] as number, a.padding[dim * 2 + 1] as number) * 2 > a.kernelSize[dim])
      throw new ArgumentError('PADDING_TOO_LARGE', `[${op}] padding must be at most half the kernel size`, {
        op,
        got: a.padding,
      });
  const { n, c, h, w } = imageSizes(x.shape, a.channelsLast);
  return {
    shape: imageShape(
      n,
      c,
      windowSize(op, h, a.kernelSize[0], a, 0),
      windowSize(op, w, a.kernelSize[1], a, 1),
      a.channelsLast,
    ),
    dtype: x.dtype,
  };
}

export const conv2dInputGrad: OpInfo<'conv2dInputGrad'> = {
  kind: 'heavy',
  arity: 2,
  infer: ([gy, w], a) => {
    const { n } = imageSizes((gy as Operand).shape, a.channelsLast);
    const c = ((w as Operand).shape[1] as number) * a.groups;
    return { shape: imageShape(n, c, a.size[0], a.size[1], a.channelsLast), dtype: (gy as Operand).dtype };
  },
};

export const conv2dWeightGrad: OpInfo<'conv2dWeightGrad'> = {
  kind: 'heavy',
  arity: 2,
  infer: ([x, gy], a) => {
    const c = imageSizes((x as Operand).shape, a.channelsLast).c;
    const o = imageSizes((gy as Operand).shape, a.channelsLast).c;
    return { shape: [o, c / a.groups, ...a.kernelSize], dtype: (gy as Operand).dtype };
  },
};

/** Pooling to `size`, or back to it. */
export function resized(x: Operand, a: { size: readonly [number, number]; channelsLast: boolean }): Operand {
  const { n, c } = imageSizes(x.shape, a.channelsLast);
  return { shape: imageShape(n, c, a.size[0], a.size[1], a.channelsLast), dtype: x.dtype };
}
