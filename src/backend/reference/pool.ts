/** Pooling: windows are the product of a span of rows and a span of columns, in either layout. */
import type { Shape, TypedArray } from '../../base/index.ts';
import type { PoolAttrs } from '../../graph/index.ts';
import { type Evaluate, value } from './arrays.ts';
import { type Geometry, geometry } from './geometry.ts';

/** The taps of one output coordinate that lie in the input: first, first + step ... (count of them). */
interface Span {
  readonly first: number;
  readonly step: number;
  readonly count: number;
  /** Taps in the input or its padding. */
  readonly padded: number;
}

/** The spans of every output coordinate along height (dim 0) or width (1). */
function poolSpans(x: Geometry, y: Geometry, a: PoolAttrs, dim: 0 | 1): Span[] {
  const [size, outputs] = dim === 0 ? [x.h, y.h] : [x.w, y.w];
  const [before, after] = [a.padding[dim * 2] as number, a.padding[dim * 2 + 1] as number];
  const step = a.dilation[dim];
  const tapsBelow = (start: number, limit: number): number =>
    Math.min(a.kernelSize[dim], Math.max(0, Math.ceil((limit - start) / step)));
  return Array.from({ length: outputs }, (_, i) => {
    const start = i * a.stride[dim] - before;
    const skipped = tapsBelow(start, 0);
    const count = tapsBelow(start, size) - skipped;
    return { first: start + skipped * step, step, count, padded: tapsBelow(start, size + after) };
  });
}

/** floor(i * size / outputs) up to, not including, ceil((i + 1) * size / outputs). */
function adaptiveSpans(size: number, outputs: number): Span[] {
  return Array.from({ length: outputs }, (_, i) => {
    const first = Math.floor((i * size) / outputs);
    const count = Math.ceil(((i + 1) * size) / outputs) - first;
    return { first, step: 1, count, padded: count };
  });
}

interface Windows {
  readonly x: Geometry;
  readonly y: Geometry;
  readonly rows: readonly Span[];
  readonly cols: readonly Span[];
}

function poolWindows(xShape: Shape, yShape: Shape, a: PoolAttrs): Windows {
  const [x, y] = [geometry(xShape, a.channelsLast), geometry(yShape, a.channelsLast)];
  return { x, y, rows: poolSpans(x, y, a, 0), cols: poolSpans(x, y, a, 1) };
}

function adaptiveWindows(xShape: Shape, yShape: Shape, channelsLast: boolean): Windows {
  const [x, y] = [geometry(xShape, channelsLast), geometry(yShape, channelsLast)];
  return { x, y, rows: adaptiveSpans(x.h, y.h), cols: adaptiveSpans(x.w, y.w) };
}

/** Calls `visit` once a window: the output's offset, its plane's offset in the input, its rows and columns. */
function forEachWindow(
  { x, y, rows, cols }: Windows,
  visit: (to: number, plane: number, row: Span, col: Span) => void,
): void {
  for (let n = 0; n < x.n; n++)
    for (let c = 0; c < x.c; c++) {
      const plane = n * x.image + c * x.channel;
      let to = n * y.image + c * y.channel;
      for (const row of rows)
        for (const col of cols) {
          visit(to, plane, row, col);
          to += y.pixel;
        }
    }
}

/** Calls `visit` with each output and the offset of the first maximum of its window; NaN counts as one. */
function forEachMaximum(windows: Windows, data: TypedArray, visit: (to: number, from: number) => void): void {
  const { w, pixel } = windows.x;
  forEachWindow(windows, (to, plane, row, col) => {
    let best = -1;
    let most = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < row.count; i++) {
      let from = plane + ((row.first + i * row.step) * w + col.first) * pixel;
      for (let j = 0; j < col.count; j++, from += col.step * pixel) {
        const v = data[from] as number;
        // A NaN stays: nothing is greater than it.
        if (best < 0 || v > most || (Number.isNaN(v) && !Number.isNaN(most))) {
          best = from;
          most = v;
        }
      }
    }
    if (best >= 0) visit(to, best);
  });
}

const maxPool2d: Evaluate<'maxPool2d'> = ({ inputs, attrs, shape, out }) => {
  const x = value(inputs, 0);
  out.fill(Number.NEGATIVE_INFINITY);
  forEachMaximum(poolWindows(x.shape, shape, attrs), x.data, (to, from) => {
    out[to] = x.data[from] as number;
  });
};

const maxPool2dGrad: Evaluate<'maxPool2dGrad'> = ({ inputs, attrs, out }) => {
  const [x, gy] = [value(inputs, 0), value(inputs, 1)];
  const sums = new Float64Array(out.length);
  forEachMaximum(poolWindows(x.shape, gy.shape, attrs), x.data, (from, to) => {
    (sums[to] as number) += gy.data[from] as number;
  });
  out.set(sums);
};

/** Each output is the mean of its window. */
function average(windows: Windows, countPadding: boolean, data: TypedArray, out: TypedArray): void {
  const { w, pixel } = windows.x;
  forEachWindow(windows, (to, plane, row, col) => {
    let sum = 0;
    for (let i = 0; i < row.count; i++) {
      let from = plane + ((row.first + i * row.step) * w + col.first) * pixel;
      for (let j = 0; j < col.count; j++, from += col.step * pixel) sum += data[from] as number;
    }
    out[to] = sum / divisor(row, col, countPadding);
  });
}

/** The transpose of `average`: each element of `grad` is shared among its window. */
function spread(windows: Windows, countPadding: boolean, grad: TypedArray, out: TypedArray): void {
  const { w, pixel } = windows.x;
  const sums = new Float64Array(out.length);
  forEachWindow(windows, (from, plane, row, col) => {
    const share = (grad[from] as number) / divisor(row, col, countPadding);
    for (let i = 0; i < row.count; i++) {
      let to = plane + ((row.first + i * row.step) * w + col.first) * pixel;
      for (let j = 0; j < col.count; j++, to += col.step * pixel) (sums[to] as number) += share;
    }
  });
  out.set(sums);
}

const divisor = (row: Span, col: Span, countPadding: boolean): number =>
  countPadding ? row.padded * col.padded : row.count * col.count;

const avgPool2d: Evaluate<'avgPool2d'> = ({ inputs, attrs, shape, out }) => {
  const x = value(inputs, 0);
  average(poolWindows(x.shape, shape, attrs), attrs.countIncludePad, x.data, out);
};

const avgPool2dGrad: Evaluate<'avgPool2dGrad'> = ({ inputs, attrs, shape, out }) => {
  const gy = value(inputs, 0);
  spread(poolWindows(shape, gy.shape, attrs), attrs.countIncludePad, gy.data, out);
};

const adaptiveAvgPool2d: Evaluate<'adaptiveAvgPool2d'> = ({ inputs, attrs, shape, out }) => {
  const x = value(inputs, 0);
  average(adaptiveWindows(x.shape, shape, attrs.channelsLast), false, x.data, out);
};

const adaptiveAvgPool2dGrad: Evaluate<'adaptiveAvgPool2dGrad'> = ({ inputs, attrs, shape, out }) => {
  const gy = value(inputs, 0);
  spread(adaptiveWindows(shape, gy.shape, attrs.channelsLast), false, gy.data, out);
};

export const pools = {
  maxPool2d,
  maxPool2dGrad,
  avgPool2d,
  avgPool2dGrad,
  adaptiveAvgPool2d,
  adaptiveAvgPool2dGrad,
};
