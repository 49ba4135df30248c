/** Convolution as matrix products over patches, a few images at a time, in either layout. */
import type { Shape, TypedArray } from '../../base/index.ts';
import type { ConvAttrs } from '../../graph/index.ts';
import type { Evaluate, Value } from './arrays.ts';
import { operands } from './bf16.ts';
import { type Geometry, geometry } from './geometry.ts';
import { gemm, type Matrix } from './matmul.ts';

interface Convolution {
  readonly x: Geometry;
  readonly y: Geometry;
  readonly kernel: readonly [number, number];
  readonly attrs: ConvAttrs;
}

/** Images [first, first + images) of one group: the sizes of its product. */
interface Part {
  readonly first: number;
  readonly images: number;
  readonly group: number;
  /** Output channels of the group. */
  readonly o: number;
  /** Elements of a patch: input channels of the group x taps. */
  readonly k: number;
  /** Output pixels of all the part's images. */
  readonly p: number;
}

// A product narrower than this spends its time packing weights; a patch matrix larger than this leaves the caches.
const PIXELS = 256;
const PATCH_ELEMENTS = 1 << 20;

function convolution(x: Shape, y: Shape, kernel: readonly [number, number], attrs: ConvAttrs): Convolution {
  return { x: geometry(x, attrs.channelsLast), y: geometry(y, attrs.channelsLast), kernel, attrs };
}
const kernelOf = (w: Value): readonly [number, number] => [w.shape[2] as number, w.shape[3] as number];

function forEachPart({ x, y, kernel, attrs: { groups } }: Convolution, body: (part: Part) => void): void {
  const o = y.c / groups;
  const k = (x.c / groups) * kernel[0] * kernel[1];
  const pixels = y.h * y.w;
  const step = Math.max(1, Math.min(Math.ceil(PIXELS / pixels), Math.floor(PATCH_ELEMENTS / (k * pixels))));
  for (let first = 0; first < x.n; first += step) {
    const images = Math.min(step, x.n - first);
    for (let group = 0; group < groups; group++) body({ first, images, group, o, k, p: images * pixels });
  }
}

/**
 * Walks the patch matrix (k, p) of a part beside the image. `add` false copies the image into `columns`, whose
 * padding stays 0; true adds `columns` to the image.
 */
function patches(conv: Convolution, part: Part, image: TypedArray, columns: Float64Array, add: boolean): void {
  const { x, y, kernel, attrs } = conv;
  const [kh, kw] = kernel;
  const [sy, sx] = attrs.stride;
  const channels = x.c / attrs.groups;
  const across = sx * x.pixel;
  let row = 0;
  for (let c = part.group * channels; c < (part.group + 1) * channels; c++)
    for (let i = 0; i < kh; i++)
      for (let j = 0; j < kw; j++, row += part.p) {
        const left = j * attrs.dilation[1] - attrs.padding[2];
        const begin = Math.max(0, Math.ceil(-left / sx));
        const end = Math.min(y.w, Math.ceil((x.w - left) / sx));
        for (let n = 0; n < part.images; n++)
          for (let oy = 0; oy < y.h; oy++) {
            const iy = oy * sy - attrs.padding[0] + i * attrs.dilation[0];
            if (iy < 0 || iy >= x.h) continue;
            const to = row + (n * y.h + oy) * y.w;
            let at = (part.first + n) * x.image + c * x.channel + (iy * x.w + begin * sx + left) * x.pixel;
            if (add)
              for (let ox = begin; ox < end; ox++, at += across) (image[at] as number) += columns[to + ox] as number;
            else for (let ox = begin; ox < end; ox++, at += across) columns[to + ox] = image[at] as number;
          }
      }
}

/** Calls `copy` for each run of pixels of a part's output: where it is in the tensor, and in a matrix (o, p). */
function outputs({ y }: Convolution, part: Part, copy: (tensor: number, matrix: number) => void): void {
  const pixels = y.h * y.w;
  for (let c = 0; c < part.o; c++)
    for (let n = 0; n < part.images; n++)
      copy((part.first + n) * y.image + (part.group * part.o + c) * y.channel, c * part.p + n * pixels);
}

/** The gradient of a part's output as a matrix (o, p). */
function outputMatrix(conv: Convolution, part: Part, gy: TypedArray): Matrix {
  const { pixel, h, w } = conv.y;
  const data = new Float64Array(part.o * part.p);
  outputs(conv, part, (tensor, matrix) => {
    for (let i = 0; i < h * w; i++) data[matrix + i] = gy[tensor + i * pixel] as number;
  });
  return rowMajor(data, part.p);
}

const rowMajor = (data: TypedArray, cols: number, offset = 0): Matrix => ({ data, offset, row: cols, col: 1 });
const transposed = (a: Matrix): Matrix => ({ ...a, row: a.col, col: a.row });

const conv2d: Evaluate<'conv2d'> = ({ inputs, attrs, shape, out }) => {
  const [x, w] = operands(inputs, attrs) as [Value, Value];
  const conv = convolution(x.shape, shape, kernelOf(w), attrs);
  const { pixel, h, w: width } = conv.y;
  forEachPart(conv, (part) => {
    const { o, k, p } = part;
    const columns = new Float64Array(k * p);
    patches(conv, part, x.data, columns, false);
    const result = new Float64Array(o * p);
    gemm(o, p, k, rowMajor(w.data, k, part.group * o * k), rowMajor(columns, p), result);
    outputs(conv, part, (tensor, matrix) => {
      for (let i = 0; i < h * width; i++) out[tensor + i * pixel] = result[matrix + i] as number;
    });
  });
};

const conv2dInputGrad: Evaluate<'conv2dInputGrad'> = ({ inputs, attrs, shape, out }) => {
  const [gy, w] = operands(inputs, attrs) as [Value, Value];
  const conv = convolution(shape, gy.shape, kernelOf(w), attrs);
  const sums = new Float64Array(out.length);
  forEachPart(conv, (part) => {
    const { o, k, p } = part;
    const columns = new Float64Array(k * p);
    const weight = transposed(rowMajor(w.data, k, part.group * o * k));
    gemm(k, p, o, weight, outputMatrix(conv, part, gy.data), columns);
    patches(conv, part, sums, columns, true);
  });
  out.set(sums);
};

const conv2dWeightGrad: Evaluate<'conv2dWeightGrad'> = ({ inputs, attrs, out }) => {
  const [x, gy] = operands(inputs, attrs) as [Value, Value];
  const conv = convolution(x.shape, gy.shape, attrs.kernelSize, attrs);
  const sums = new Float64Array(out.length);
  forEachPart(conv, (part) => {
    const { o, k, p, group } = part;
    const columns = new Float64Array(k * p);
    patches(conv, part, x.data, columns, false);
    const into = sums.subarray(group * o * k, (group + 1) * o * k);
    gemm(o, k, p, outputMatrix(conv, part, gy.data), transposed(rowMajor(columns, p)), into);
  });
  out.set(sums);
};

export const convolutions = { conv2d, conv2dInputGrad, conv2dWeightGrad };
