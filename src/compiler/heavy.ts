/** Kernel names and attributes of the ops that are not loops over elements. */
import { byteSize, InternalError, type Shape, sizeOf, UnsupportedError } from '../base/index.ts';
import { type Attrs, type ConvAttrs, imageSizes, type Node, type OpName, type WindowAttrs } from '../graph/index.ts';
import { attentionGradKernel, attentionKernel, attentionOperand } from './attention.ts';
import { reductionForm } from './fuse.ts';
import { recurrentGradKernel, recurrentKernel } from './recurrent.ts';
import { restride, type View } from './view.ts';

export interface HeavyKernel {
  readonly kernel: string;
  readonly attrs: Record<string, number>;
  /** Which of the node's inputs are the kernel's, in its order; all of them by default. */
  readonly inputs?: readonly number[];
}

const shapeOf = (node: Node, i: number): Shape => (node.inputs[i] as Node).shape;

const windowAttrs = (a: WindowAttrs): Record<string, number> => ({
  strideH: a.stride[0],
  strideW: a.stride[1],
  padH: a.padding[0],
  padW: a.padding[2],
  dilH: a.dilation[0],
  dilW: a.dilation[1],
});

function convAttrs(x: Shape, y: Shape, kernel: readonly number[], a: ConvAttrs): Record<string, number> {
  const from = imageSizes(x, true);
  const to = imageSizes(y, true);
  return {
    n: from.n,
    ih: from.h,
    iw: from.w,
    ic: from.c,
    oh: to.h,
    ow: to.w,
    oc: to.c,
    kh: kernel[0] as number,
    kw: kernel[1] as number,
    ...windowAttrs(a),
    groups: a.groups,
    bf16: Number(a.precision === 'bf16'),
  };
}

function poolAttrs(x: Shape, y: Shape, a: WindowAttrs & { kernelSize: readonly number[] }): Record<string, number> {
  const from = imageSizes(x, true);
  const to = imageSizes(y, true);
  return {
    n: from.n,
    ih: from.h,
    iw: from.w,
    c: from.c,
    oh: to.h,
    ow: to.w,
    kh: a.kernelSize[0] as number,
    kw: a.kernelSize[1] as number,
    ...windowAttrs(a),
  };
}

function adaptiveAttrs(x: Shape, y: Shape): Record<string, number> {
  const from = imageSizes(x, true);
  const to = imageSizes(y, true);
  return { n: from.n, ih: from.h, iw: from.w, c: from.c, oh: to.h, ow: to.w };
}

const alongAxis = (shape: Shape, axis: number): { outer: number; axis: number; inner: number } => ({
  outer: sizeOf(shape.slice(0, axis)),
  axis: shape[axis] as number,
  inner: sizeOf(shape.slice(axis + 1)),
});

/** A batch of matrices as the product kernel walks it, or undefined where the elements would have to move. */
function matrices(
  view: View,
  trans: boolean,
): { offset: number; stride: number; ld: number; trans: boolean } | undefined {
  const [rows, cols] = view.shape.slice(-2) as [number, number];
  const strides = restride(view.shape, view.strides, [sizeOf(view.shape.slice(0, -2)), rows, cols]);
  if (!strides || sizeOf(view.shape) === 0) return undefined;
  const [stride, down, along] = strides as [number, number, number];
  if (stride < 0) return undefined;
  const { offset } = view;
  if ((along === 1 || cols === 1) && (rows === 1 || down >= cols))
    return { offset, stride, ld: rows === 1 ? cols : down, trans };
  if ((down === 1 || rows === 1) && (cols === 1 || along >= rows))
    return { offset, stride, ld: cols === 1 ? rows : along, trans: !trans };
  return undefined;
}

/** The view of input `i` that the kernel of `node` reads in place; undefined if it wants contiguous elements. */
export function stridedOperand(node: Node, i: number, view: View): View | undefined {
  if (node.op === 'matmul') return matrices(view, false) && view;
  return node.op === 'attention' || node.op === 'attentionGrad' ? attentionOperand(node, i, view) : undefined;
}

const kernels: { readonly [K in OpName]?: (node: Node<K>, views: readonly View[]) => HeavyKernel } = {
  matmul: (node, views) => {
    const a = shapeOf(node, 0);
    const whole = { offset: 0, stride: 0, ld: 0, trans: false };
    const left = matrices(views[0] as View, node.attrs.transA) ?? whole;
    const right = matrices(views[1] as View, node.attrs.transB) ?? whole;
    const [M, N] = node.shape.slice(-2) as [number, number];
    const K = a.at(node.attrs.transA ? -2 : -1) as number;
    return {
      kernel: 'gemm',
      attrs: {
        batch: sizeOf(node.shape.slice(0, -2)),
        M,
        N,
        K,
        transA: Number(left.trans),
        transB: Number(right.trans),
        lda: left.ld,
        ldb: right.ld,
        ldc: N,
        strideA: left.stride,
        strideB: right.stride,
        strideC: M * N,
        offsetA: left.offset,
        offsetB: right.offset,
        bf16: Number(node.attrs.precision === 'bf16'),
      },
    };
  },
  conv2d: (node) => ({
    kernel: 'conv2d',
    attrs: convAttrs(shapeOf(node, 0), node.shape, shapeOf(node, 1).slice(2), node.attrs),
  }),
  conv2dInputGrad: (node) => ({
    kernel: 'conv2d-input-grad',
    attrs: convAttrs(node.shape, shapeOf(node, 0), shapeOf(node, 1).slice(2), node.attrs),
  }),
  conv2dWeightGrad: (node) => ({
    kernel: 'conv2d-weight-grad',
    attrs: convAttrs(shapeOf(node, 0), shapeOf(node, 1), node.attrs.kernelSize, node.attrs),
  }),
  maxPool2d: (node) => ({ kernel: 'max-pool', attrs: poolAttrs(shapeOf(node, 0), node.shape, node.attrs) }),
  maxPool2dGrad: (node) => ({
    kernel: 'max-pool-grad',
    attrs: poolAttrs(shapeOf(node, 0), shapeOf(node, 1), node.attrs),
  }),
  avgPool2d: (node) => ({
    kernel: 'avg-pool',
    attrs: { ...poolAttrs(shapeOf(node, 0), node.shape, node.attrs), ...divisor(node.attrs) },
  }),
  avgPool2dGrad: (node) => ({
    kernel: 'avg-pool-grad',
    attrs: { ...poolAttrs(node.shape, shapeOf(node, 0), node.attrs), ...divisor(node.attrs) },
  }),
  adaptiveAvgPool2d: (node) => ({ kernel: 'adaptive-avg-pool', attrs: adaptiveAttrs(shapeOf(node, 0), node.shape) }),
  adaptiveAvgPool2dGrad: (node) => ({
    kernel: 'adaptive-avg-pool-grad',
    attrs: adaptiveAttrs(node.shape, shapeOf(node, 0)),
  }),
  attention: attentionKernel,
  attentionGrad: attentionGradKernel,
  recurrent: recurrentKernel,
  recurrentGrad: recurrentGradKernel,
  gather: (node) => ({
    kernel: 'gather',
    attrs: { ...alongAxis(shapeOf(node, 0), node.attrs.axis), indexAxis: node.shape[node.attrs.axis] as number },
  }),
  scatterAdd: (node) => ({
    kernel: 'scatter-add',
    attrs: { ...alongAxis(node.shape, node.attrs.axis), indexAxis: shapeOf(node, 0)[node.attrs.axis] as number },
  }),
  embedding: (node) => ({
    kernel: 'embedding',
    attrs: { rows: shapeOf(node, 0)[0] as number, width: node.shape.at(-1) as number, count: sizeOf(shapeOf(node, 1)) },
  }),
  embeddingGrad: (node) => ({
    kernel: 'embedding-grad',
    attrs: { rows: node.attrs.rows, width: node.shape.at(-1) as number, count: sizeOf(shapeOf(node, 0)) },
  }),
  argmax: (node) => {
    const { outer, axis, inner } = alongAxis(shapeOf(node, 0), node.attrs.axis);
    return { kernel: 'argmax', attrs: { outer, count: axis, inner } };
  },
  logSumExp: (node) => ({
    kernel: 'log-sum-exp',
    attrs: { outer: sizeOf(node.shape), count: shapeOf(node, 0).at(-1) as number },
  }),
  sum: (node) => ({ kernel: 'sum-i32', attrs: reductionForm(node) }),
  max: (node) => ({ kernel: 'max-i32', attrs: reductionForm(node) }),
};

const divisor = (a: Attrs<'avgPool2d'>): Record<string, number> => ({
  countIncludePad: Number(a.countIncludePad),
  divisor: 0,
});

/** `views`: where the elements of each input lie. Throws UnsupportedError for an element type the native kernels do not take. */
export function heavyKernel(node: Node, views: readonly View[]): HeavyKernel {
  const kernel = kernels[node.op] as ((node: Node, views: readonly View[]) => HeavyKernel) | undefined;
  if (!kernel) throw new InternalError('INTERNAL', `internal error: ${node.op} has no native kernel`);
  // Gathering moves 4-byte lanes.
  if (byteSize(node.dtype) !== 4)
    throw new UnsupportedError(
      'DTYPE_UNSUPPORTED',
      `[${node.op}] ${node.dtype} is computed by the reference backend only`,
      {
        op: node.op,
        hint: 'use f32, or CAMBIUM_BACKEND=reference',
      },
    );
  return kernel(node, views);
}
