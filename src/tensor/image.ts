/** Sliding windows over images (N, C, H, W): convolution and pooling. */
import { ArgumentError } from '../base/index.ts';
import { makeNode, type WindowAttrs } from '../graph/index.ts';
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
    }),
  );
  return bias ? y.add(bias.reshape(1, -1, 1, 1)) : y;
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
