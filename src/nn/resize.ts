/** Resizing of images (N, C, H, W) with torch.nn.functional.interpolate's coordinates. */
import { ArgumentError, formatShape, isFloat, ShapeError } from '../base/index.ts';
import { gather, type Pair, pair, type Tensor, tensor } from '../tensor/index.ts';
import { Module } from './module.ts';

export interface UpsampleOptions {
  /** Height and width of the output; or else `scaleFactor`. */
  size?: Pair;
  /** Output size is floor(input size * scaleFactor). */
  scaleFactor?: Pair;
  mode?: 'nearest' | 'bilinear';
  /** Bilinear only: corner pixels lie on corner pixels, instead of corners of images on corners. */
  alignCorners?: boolean;
}

/**
 * x (N, C, H, W) -> (N, C, H', W'). Nearest takes pixel floor(i * H / H'); bilinear weighs the two pixels around
 * (i + 1/2) H / H' - 1/2. A given scaleFactor, rather than the ratio of the sizes, maps the coordinates, as in torch.
 * Throws ArgumentError unless exactly one of `size` and `scaleFactor` is given and gives at least one pixel.
 */
export function interpolate(x: Tensor, options: UpsampleOptions): Tensor {
  const { mode = 'nearest', alignCorners = false } = options;
  checkOptions(options);
  if (x.rank !== 4 || x.size === 0 || !isFloat(x.dtype))
    throw new ShapeError(
      'SHAPE_RANK',
      `[interpolate] takes images (N, C, H, W), got ${x.dtype} ${formatShape(x.shape)}`,
      {
        op: 'interpolate',
        expected: 4,
        got: x.shape,
      },
    );
  return ([0, 1] as const).reduce((y, dim) => {
    const from = x.shape[2 + dim] as number;
    const factor = options.scaleFactor === undefined ? undefined : pair(options.scaleFactor)[dim];
    const to = factor === undefined ? pair(options.size as Pair)[dim] : Math.floor(from * factor);
    if (to < 1)
      throw new ArgumentError('SIZE_INVALID', `[interpolate] nothing is left of ${formatShape(x.shape)}`, {
        op: 'interpolate',
        got: factor,
        hint: 'use a larger scaleFactor',
      });
    const scale = factor === undefined ? from / to : 1 / factor;
    if (mode === 'nearest') return nearest(y, 2 + dim, to, scale);
    return linearly(y, 2 + dim, to, alignCorners ? (to > 1 ? (from - 1) / (to - 1) : 0) : scale, alignCorners);
  }, x);
}

function checkOptions({ size, scaleFactor, mode = 'nearest', alignCorners }: UpsampleOptions): void {
  const fail = (field: string, message: string, got: unknown): never => {
    throw new ArgumentError('OPTION_INVALID', `[interpolate] ${message}`, { op: 'interpolate', field, got });
  };
  if ((size === undefined) === (scaleFactor === undefined))
    fail('size', 'takes either size or scaleFactor', { size, scaleFactor });
  if (mode !== 'nearest' && mode !== 'bilinear') fail('mode', `mode must be nearest or bilinear, got ${mode}`, mode);
  if (alignCorners && mode === 'nearest') fail('alignCorners', 'alignCorners belongs to bilinear', alignCorners);
  if (size !== undefined && !pair(size).every((v) => Number.isInteger(v) && v >= 1))
    fail('size', `size must be integers >= 1, got ${size}`, size);
  if (scaleFactor !== undefined && !pair(scaleFactor).every((v) => Number.isFinite(v) && v > 0))
    fail('scaleFactor', `scaleFactor must be positive, got ${scaleFactor}`, scaleFactor);
}

function nearest(x: Tensor, axis: number, to: number, scale: number): Tensor {
  const from = x.shape[axis] as number;
  const pixels = Int32Array.from({ length: to }, (_, i) =>
    Math.min(Math.floor(Math.fround(i * Math.fround(scale))), from - 1),
  );
  const times = to / from;
  if (Number.isInteger(times) && pixels.every((p, i) => p === Math.floor(i / times))) {
    // Every pixel repeated: a broadcast, with no index to read.
    const apart = x.reshape([...x.shape.slice(0, axis + 1), 1, ...x.shape.slice(axis + 1)]);
    const wide = [...x.shape.slice(0, axis + 1), times, ...x.shape.slice(axis + 1)];
    return apart.expand(wide).reshape(replaced(x, axis, to));
  }
  return take(x, axis, pixels);
}

function linearly(x: Tensor, axis: number, to: number, scale: number, alignCorners: boolean): Tensor {
  const from = x.shape[axis] as number;
  const at = (i: number): number => (alignCorners ? i * scale : Math.max(0, (i + 0.5) * scale - 0.5));
  const low = Int32Array.from({ length: to }, (_, i) => Math.min(Math.floor(at(i)), from - 1));
  const share = Float32Array.from(low, (p, i) => Math.min(1, at(i) - p));
  const high = low.map((p) => Math.min(p + 1, from - 1));
  const along = (values: Float32Array): Tensor =>
    tensor(values, { shape: x.shape.map((_, i) => (i === axis ? to : 1)), dtype: x.dtype });
  return take(x, axis, low)
    .mul(along(share.map((w) => 1 - w)))
    .add(take(x, axis, high).mul(along(share)));
}

const replaced = (x: Tensor, axis: number, size: number): number[] => x.shape.map((d, i) => (i === axis ? size : d));

function take(x: Tensor, axis: number, pixels: Int32Array): Tensor {
  const index = tensor(pixels, { shape: x.shape.map((_, i) => (i === axis ? pixels.length : 1)) });
  return gather(x, axis, index.expand(replaced(x, axis, pixels.length)));
}

/** Resizes images by `interpolate`.  (N, C, H, W) -> (N, C, H', W'). */
export class Upsample extends Module {
  readonly options: UpsampleOptions;
  constructor(options: UpsampleOptions) {
    super();
    checkOptions(options);
    this.options = options;
  }
  forward(x: Tensor): Tensor {
    return interpolate(x, this.options);
  }
  override describe(): string {
    const { size, scaleFactor, mode = 'nearest' } = this.options;
    return `${size === undefined ? `times ${scaleFactor}` : `to ${pair(size).join('x')}`}, ${mode}`;
  }
}
