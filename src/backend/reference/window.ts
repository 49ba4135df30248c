/** Convolution and pooling, one image at a time, in either layout. */

import type { Shape, TypedArray } from '../../base/index.ts';
import { type ConvAttrs, imageSizes, type WindowAttrs } from '../../graph/index.ts';
import { type Evaluate, type Value, value } from './arrays.ts';
import { gemm } from './matmul.ts';

interface Geometry {
  n: number;
  c: number;
  h: number;
  w: number;
  /** Element offset of (n, c, y, x). */
  at: (n: number, c: number, y: number, x: number) => number;
}

function geometry(shape: Shape, channelsLast: boolean): Geometry {
  const { n, c, h, w } = imageSizes(shape, channelsLast);
  const at = channelsLast
    ? (i: number, j: number, y: number, x: number): number => ((i * h + y) * w + x) * c + j
    : (i: number, j: number, y: number, x: number): number => ((i * c + j) * h + y) * w + x;
  return { n, c, h, w, at };
}

interface ConvCall {
  x: Geometry;
  y: Geometry;
  kernel: readonly [number, number];
  attrs: ConvAttrs;
}

/** Patches of image `n`, group `g`: rows (channel, tap), columns output pixels. `visit` gets the input offset or -1. */
function patches(
  { x, y, kernel, attrs }: ConvCall,
  n: number,
  g: number,
  visit: (element: number, from: number) => void,
): void {
  const [kh, kw] = kernel;
  const perGroup = x.c / attrs.groups;
  let element = 0;
  for (let c = g * perGroup; c < (g + 1) * perGroup; c++)
    for (let i = 0; i < kh; i++)
      for (let j = 0; j < kw; j++)
        for (let oy = 0; oy < y.h; oy++) {
          const iy = oy * attrs.stride[0] - attrs.padding[0] + i * attrs.dilation[0];
          for (let ox = 0; ox < y.w; ox++) {
            const ix = ox * attrs.stride[1] - attrs.padding[2] + j * attrs.dilation[1];
            visit(element++, iy >= 0 && iy < x.h && ix >= 0 && ix < x.w ? x.at(n, c, iy, ix) : -1);
          }
        }
}

/** Output channels of group `g`, rows, by pixels, columns. */
function pixels(data: TypedArray, y: Geometry, n: number, g: number, groups: number): Float64Array {
  const perGroup = y.c / groups;
  const out = new Float64Array(perGroup * y.h * y.w);
  let i = 0;
  for (let c = g * perGroup; c < (g + 1) * perGroup; c++)
    for (let oy = 0; oy < y.h; oy++) for (let ox = 0; ox < y.w; ox++) out[i++] = data[y.at(n, c, oy, ox)] as number;
  return out;
}

function transpose(a: Float64Array, rows: number, cols: number): Float64Array {
  const out = new Float64Array(a.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) out[c * rows + r] = a[r * cols + c] as number;
  return out;
}

function forEachGroup(
  call: ConvCall,
  body: (n: number, g: number, sizes: { o: number; k: number; p: number }) => void,
): void {
  const { x, y, kernel, attrs } = call;
  const sizes = { o: y.c / attrs.groups, k: (x.c / attrs.groups) * kernel[0] * kernel[1], p: y.h * y.w };
  for (let n = 0; n < x.n; n++) for (let g = 0; g < attrs.groups; g++) body(n, g, sizes);
}

function patchMatrix(call: ConvCall, data: TypedArray, n: number, g: number, length: number): Float64Array {
  const out = new Float64Array(length);
  patches(call, n, g, (element, from) => {
    if (from >= 0) out[element] = data[from] as number;
  });
  return out;
}

const kernelOf = (w: Value): readonly [number, number] => [w.shape[2] as number, w.shape[3] as number];

const conv2d: Evaluate<'conv2d'> = ({ inputs, attrs, shape, out }) => {
  const [x, w] = [value(inputs, 0), value(inputs, 1)];
  const call = {
    x: geometry(x.shape, attrs.channelsLast),
    y: geometry(shape, attrs.channelsLast),
    kernel: kernelOf(w),
    attrs,
  };
  const { y } = call;
  forEachGroup(call, (n, g, { o, k, p }) => {
    const result = new Float64Array(o * p);
    const weight = Float64Array.from(w.data.subarray(g * o * k, (g + 1) * o * k));
    gemm(o, p, k, weight, patchMatrix(call, x.data, n, g, k * p), result);
    for (let c = 0; c < o; c++)
      for (let i = 0; i < p; i++) out[y.at(n, g * o + c, Math.floor(i / y.w), i % y.w)] = result[c * p + i] as number;
  });
};

const conv2dInputGrad: Evaluate<'conv2dInputGrad'> = ({ inputs, attrs, shape, out }) => {
  const [gy, w] = [value(inputs, 0), value(inputs, 1)];
  const call = {
    x: geometry(shape, attrs.channelsLast),
    y: geometry(gy.shape, attrs.channelsLast),
    kernel: kernelOf(w),
    attrs,
  };
  const sums = new Float64Array(out.length);
  forEachGroup(call, (n, g, { o, k, p }) => {
    const weight = transpose(Float64Array.from(w.data.subarray(g * o * k, (g + 1) * o * k)), o, k);
    const columns = new Float64Array(k * p);
    gemm(k, p, o, weight, pixels(gy.data, call.y, n, g, attrs.groups), columns);
    patches(call, n, g, (element, to) => {
      if (to >= 0) (sums[to] as number) += columns[element] as number;
    });
  });
  out.set(sums as never);
};

const conv2dWeightGrad: Evaluate<'conv2dWeightGrad'> = ({ inputs, attrs, out }) => {
  const [x, gy] = [value(inputs, 0), value(inputs, 1)];
  const call = {
    x: geometry(x.shape, attrs.channelsLast),
    y: geometry(gy.shape, attrs.channelsLast),
    kernel: attrs.kernelSize,
    attrs,
  };
  const sums = new Float64Array(out.length);
  forEachGroup(call, (n, g, { o, k, p }) => {
    const columns = transpose(patchMatrix(call, x.data, n, g, k * p), k, p);
    gemm(o, k, p, pixels(gy.data, call.y, n, g, attrs.groups), columns, sums.subarray(g * o * k, (g + 1) * o * k));
  });
  out.set(sums as never);
};

/** Calls `visit` for every output pixel with its window clipped to the input, in row-major order. */
function windows(
  x: Geometry,
  y: Geometry,
  a: WindowAttrs & { kernelSize: readonly [number, number] },
  visit: (to: number, taps: number[], paddedSize: number) => void,
): void {
  const taps: number[] = [];
  for (let n = 0; n < x.n; n++)
    for (let c = 0; c < x.c; c++)
      for (let oy = 0; oy < y.h; oy++)
        for (let ox = 0; ox < y.w; ox++) {
          taps.length = 0;
          let padded = 0;
          for (let i = 0; i < a.kernelSize[0]; i++)
            for (let j = 0; j < a.kernelSize[1]; j++) {
              const iy = oy * a.stride[0] - a.padding[0] + i * a.dilation[0];
              const ix = ox * a.stride[1] - a.padding[2] + j * a.dilation[1];
              if (iy < x.h + a.padding[1] && ix < x.w + a.padding[3]) padded++;
              if (iy >= 0 && iy < x.h && ix >= 0 && ix < x.w) taps.push(x.at(n, c, iy, ix));
            }
          visit(y.at(n, c, oy, ox), taps, padded);
        }
}

/** The first maximum; NaN counts as one. */
function argmaxOf(data: TypedArray, taps: readonly number[]): number {
  let best = taps[0] as number;
  for (const tap of taps) {
    const [now, then] = [data[tap] as number, data[best] as number];
    if (now > then || (Number.isNaN(now) && !Number.isNaN(then))) best = tap;
  }
  return best;
}

const maxPool2d: Evaluate<'maxPool2d'> = ({ inputs, attrs, shape, out }) => {
  const x = value(inputs, 0);
  windows(geometry(x.shape, attrs.channelsLast), geometry(shape, attrs.channelsLast), attrs, (to, taps) => {
    out[to] = taps.length > 0 ? (x.data[argmaxOf(x.data, taps)] as number) : Number.NEGATIVE_INFINITY;
  });
};

const maxPool2dGrad: Evaluate<'maxPool2dGrad'> = ({ inputs, attrs, out }) => {
  const [x, gy] = [value(inputs, 0), value(inputs, 1)];
  const sums = new Float64Array(out.length);
  windows(geometry(x.shape, attrs.channelsLast), geometry(gy.shape, attrs.channelsLast), attrs, (from, taps) => {
    if (taps.length > 0) (sums[argmaxOf(x.data, taps)] as number) += gy.data[from] as number;
  });
  out.set(sums as never);
};

const avgPool2d: Evaluate<'avgPool2d'> = ({ inputs, attrs, shape, out }) => {
  const x = value(inputs, 0);
  windows(geometry(x.shape, attrs.channelsLast), geometry(shape, attrs.channelsLast), attrs, (to, taps, padded) => {
    let sum = 0;
    for (const tap of taps) sum += x.data[tap] as number;
    out[to] = sum / (attrs.countIncludePad ? padded : taps.length);
  });
};

const avgPool2dGrad: Evaluate<'avgPool2dGrad'> = ({ inputs, attrs, shape, out }) => {
  const gy = value(inputs, 0);
  const sums = new Float64Array(out.length);
  windows(geometry(shape, attrs.channelsLast), geometry(gy.shape, attrs.channelsLast), attrs, (from, taps, padded) => {
    const share = (gy.data[from] as number) / (attrs.countIncludePad ? padded : taps.length);
    for (const tap of taps) (sums[tap] as number) += share;
  });
  out.set(sums as never);
};

/** Window i of an adaptive pool: floor(i * size / count) up to, not including, ceil((i + 1) * size / count). */
function adaptive(x: Geometry, y: Geometry, visit: (to: number, from: number, area: number) => void): void {
  const edge = (i: number, size: number, count: number): [number, number] => [
    Math.floor((i * size) / count),
    Math.ceil(((i + 1) * size) / count),
  ];
  for (let n = 0; n < x.n; n++)
    for (let c = 0; c < x.c; c++)
      for (let oy = 0; oy < y.h; oy++)
        for (let ox = 0; ox < y.w; ox++) {
          const [top, bottom] = edge(oy, x.h, y.h);
          const [left, right] = edge(ox, x.w, y.w);
          const area = (bottom - top) * (right - left);
          for (let i = top; i < bottom; i++)
            for (let j = left; j < right; j++) visit(y.at(n, c, oy, ox), x.at(n, c, i, j), area);
        }
}

const adaptiveAvgPool2d: Evaluate<'adaptiveAvgPool2d'> = ({ inputs, attrs, shape, out }) => {
  const x = value(inputs, 0);
  const sums = new Float64Array(out.length);
  adaptive(geometry(x.shape, attrs.channelsLast), geometry(shape, attrs.channelsLast), (to, from, area) => {
    (sums[to] as number) += (x.data[from] as number) / area;
  });
  out.set(sums as never);
};

const adaptiveAvgPool2dGrad: Evaluate<'adaptiveAvgPool2dGrad'> = ({ inputs, attrs, shape, out }) => {
  const gy = value(inputs, 0);
  const sums = new Float64Array(out.length);
  adaptive(geometry(shape, attrs.channelsLast), geometry(gy.shape, attrs.channelsLast), (from, to, area) => {
    (sums[to] as number) += (gy.data[from] as number) / area;
  });
  out.set(sums as never);
};

export const windowOps = {
  conv2d,
  conv2dInputGrad,
  conv2dWeightGrad,
  maxPool2d,
  maxPool2dGrad,
  avgPool2d,
  avgPool2dGrad,
  adaptiveAvgPool2d,
  adaptiveAvgPool2dGrad,
};
