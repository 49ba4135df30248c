/** Sliding windows over images (N, C, H, W): convolution and pooling. */
import { ArgumentError, DTypeError, formatShape, isFloat, ShapeError } from '../base/index.ts';
import { convPrecision, makeNode, type WindowAttrs } from '../graph/index.ts';
import { Tensor } from './tensor.ts';

/** One number for both directions, or [vertical, horizontal]. */
export type Pair = number | readonly [number, number];

export interface ConvOptions {
  stride?: Pair;
  padding?: Pair;
  dilation?: Pair;
  groups?: number;
}

export interface PoolOptions {
  /** Default: the kernel size. */
  stride?: Pair;
  padding?: Pair;
  /** Between the taps of a window; average pooling has none. */
  dilation?: Pair;
  /** Output size rounds up: windows may reach past the padding, as torch's ceil_mode. */
  ceilMode?: boolean;
}

export const pair = (value: Pair): readonly [number, number] => (typeof value === 'number' ? [value, value] : value);

function windowAttrs(stride: Pair, padding: Pair, dilation: Pair): WindowAttrs {
  const [v, h] = pair(padding);
  return { stride: pair(stride), padding: [v, v, h, h], dilation: pair(dilation) };
}

/** Cross-correlation: x (N, C, H, W), weight (O, C / groups, kh, kw), bias (O) -> (N, O, H', W'). */
export function conv2d(x: Tensor, weight: Tensor, bias?: Tensor | null, options: ConvOptions = {}): Tensor {
  const { stride = 1, padding = 0, dilation = 1, groups = 1 } = options;
  const y = new Tensor(
    makeNode('conv2d', [x.node, weight.node], {
      ...windowAttrs(stride, padding, dilation),
      groups,
      channelsLast: false,
      ...convPrecision(weight.shape, groups),
    }),
  );
  return bias ? y.add(bias.reshape(1, -1, 1, 1)) : y;
}

export interface ConvTransposeOptions extends ConvOptions {
  /** Rows and columns more at the bottom and right end, which a convolution of this stride would have dropped. */
  outputPadding?: Pair;
}

/**
 * The transpose of conv2d (its gradient with respect to x): x (N, I, H, W), weight (I, O / groups, kh, kw), bias (O) ->
 * (N, O, H', W'), H' = (H - 1) stride - 2 padding + dilation (kh - 1) + outputPadding + 1. Zeiler et al. 2010.
 * Throws ShapeError for channels that do not fit or an output without elements, ArgumentError for an outputPadding that
 * is neither smaller than the stride nor than the dilation.
 */
export function convTranspose2d(
  x: Tensor,
  weight: Tensor,
  bias?: Tensor | null,
  { stride = 1, padding = 0, dilation = 1, groups = 1, outputPadding = 0 }: ConvTransposeOptions = {},
): Tensor {
  const op = 'convTranspose2d';
  const attrs = windowAttrs(stride, padding, dilation);
  checkTransposed(x, weight, groups, attrs, pair(outputPadding));
  const end = [0, 0];
  const size = ([0, 1] as const).map((dim) => {
    const pad = pair(padding)[dim];
    const more = pair(outputPadding)[dim];
    // First less is cut off at the end; what is left over lies beyond every tap and is zero.
    end[dim] = Math.max(0, pad - more);
    const extent = attrs.dilation[dim] * ((weight.shape[2 + dim] as number) - 1) + 1;
    return ((x.shape[2 + dim] as number) - 1) * attrs.stride[dim] + extent - pad - (end[dim] as number);
  }) as [number, number];
  const beyond = ([0, 1] as const).map((dim) => Math.max(0, pair(outputPadding)[dim] - pair(padding)[dim]));
  if (size.some((s) => s < 1))
    throw new ShapeError('INPUT_TOO_SMALL', `[${op}] padding leaves nothing of ${formatShape(x.shape)}: ${size}`, {
      op,
      got: x.shape,
      hint: 'use less padding or a larger kernel',
    });
  const [top, , left] = attrs.padding;
  const y = new Tensor(
    makeNode('conv2dInputGrad', [x.node, weight.node], {
      ...attrs,
      padding: [top, end[0] as number, left, end[1] as number],
      groups,
      channelsLast: false,
      ...convPrecision(weight.shape, groups),
      size,
    }),
  );
  const whole = beyond.some((b) => b > 0) ? y.pad(beyond.map((b) => [0, b] as const)) : y;
  return bias ? whole.add(bias.reshape(1, -1, 1, 1)) : whole;
}

function checkTransposed(
  x: Tensor,
  weight: Tensor,
  groups: number,
  { stride, padding, dilation }: WindowAttrs,
  outputPadding: readonly [number, number],
): void {
  const op = 'convTranspose2d';
  if (x.rank !== 4 || weight.rank !== 4)
    throw new ShapeError(
      'SHAPE_RANK',
      `[${op}] input (N, C, H, W) and weight (C, O / groups, kh, kw) have 4 dimensions, got ${formatShape(x.shape)} and ${formatShape(weight.shape)}`,
      { op, expected: 4, got: [x.shape, weight.shape] },
    );
  if (!isFloat(x.dtype) || x.dtype !== weight.dtype)
    throw new DTypeError(
      'DTYPE_MISMATCH',
      `[${op}] needs floating-point operands of one type, got ${x.dtype} and ${weight.dtype}`,
      {
        op,
        got: [x.dtype, weight.dtype],
      },
    );
  const atLeast = (values: readonly number[], least: number): boolean =>
    values.every((v) => Number.isInteger(v) && v >= least);
  if (!atLeast([...stride, ...dilation, groups], 1) || !atLeast([...padding, ...outputPadding], 0))
    throw new ArgumentError(
      'WINDOW_INVALID',
      `[${op}] stride, dilation and groups must be integers >= 1, padding and outputPadding integers >= 0`,
      { op, got: { stride, dilation, groups, padding, outputPadding } },
    );
  for (const dim of [0, 1] as const)
    if (outputPadding[dim] >= Math.max(stride[dim], dilation[dim]))
      throw new ArgumentError(
        'PADDING_TOO_LARGE',
        `[${op}] outputPadding ${outputPadding[dim]} must be smaller than the stride ${stride[dim]} or the dilation ${dilation[dim]}`,
        { op, got: outputPadding },
      );
  const channels = x.shape[1] as number;
  if (channels !== weight.shape[0] || channels % groups !== 0)
    throw new ShapeError(
      'CHANNELS_MISMATCH',
      `[${op}] input ${formatShape(x.shape)} has ${channels} channels, weight ${formatShape(weight.shape)} takes ${weight.shape[0]} in ${groups} groups`,
      {
        op,
        expected: weight.shape[0],
        got: channels,
        hint: 'the weight of a transposed convolution is (inChannels, outChannels / groups, kh, kw)',
      },
    );
}

// ceilMode is padding at the end, but a last window must start inside the input or its left padding.
function poolWindow(
  x: Tensor,
  kernelSize: Pair,
  { stride, padding = 0, dilation = 1, ceilMode = false }: PoolOptions,
): WindowAttrs {
  const attrs = windowAttrs(stride ?? kernelSize, padding, dilation);
  if (!ceilMode || x.rank !== 4) return attrs;
  const extra = ([0, 1] as const).map((dim) => {
    const size = x.shape[2 + dim] as number;
    const step = attrs.stride[dim];
    const pad = pair(padding)[dim];
    const kernel = attrs.dilation[dim] * (pair(kernelSize)[dim] - 1) + 1;
    let count = Math.ceil((size + 2 * pad - kernel) / step) + 1;
    if ((count - 1) * step >= size + pad) count--;
    return Math.max(0, (count - 1) * step + kernel - size - 2 * pad);
  }) as [number, number];
  const [top, bottom, left, right] = attrs.padding;
  return { ...attrs, padding: [top, bottom + extra[0], left, right + extra[1]] };
}

/** Largest value of each window; padding never wins. */
export function maxPool2d(x: Tensor, kernelSize: Pair, options: PoolOptions = {}): Tensor {
  return new Tensor(
    makeNode('maxPool2d', [x.node], {
      ...poolWindow(x, kernelSize, options),
      kernelSize: pair(kernelSize),
      channelsLast: false,
    }),
  );
}

/** Mean of each window; `countIncludePad` lets padding zeros count, as PyTorch does by default. */
export function avgPool2d(
  x: Tensor,
  kernelSize: Pair,
  {
    countIncludePad = true,
    ...options
  }: Omit<PoolOptions, 'ceilMode' | 'dilation'> & { countIncludePad?: boolean } = {},
): Tensor {
  return new Tensor(
    makeNode('avgPool2d', [x.node], {
      ...poolWindow(x, kernelSize, options),
      kernelSize: pair(kernelSize),
      countIncludePad,
      channelsLast: false,
    }),
  );
}

/** Mean over a grid of `size` windows that cover the input: window i spans floor(i * in / out) .. ceil((i + 1) * in / out). */
export function adaptiveAvgPool2d(x: Tensor, size: Pair): Tensor {
  const [h, w] = pair(size);
  if (![h, w].every((v) => Number.isInteger(v) && v >= 1))
    throw new ArgumentError('SIZE_INVALID', `[adaptiveAvgPool2d] output size must be integers >= 1, got ${h} x ${w}`, {
      op: 'adaptiveAvgPool2d',
      got: size,
    });
  return new Tensor(makeNode('adaptiveAvgPool2d', [x.node], { size: [h, w], channelsLast: false }));
}
