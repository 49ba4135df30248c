/** Kernel names and attributes of the ops that are not loops over elements. */
import { byteSize, InternalError, type Shape, sizeOf, UnsupportedError } from '../base/index.ts';
import { type Attrs, type ConvAttrs, imageSizes, type Node, type OpName, type WindowAttrs } from '../graph/index.ts';
import { reductionForm } from './fuse.ts';

export interface HeavyKernel {
  readonly kernel: string;
  readonly attrs: Record<string, number>;
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

const kernels: { readonly [K in OpName]?: (node: Node<K>) => HeavyKernel } = {
  matmul: (node) => {
    const { transA, transB } = node.attrs;
    const a = shapeOf(node, 0);
    const b = shapeOf(node, 1);
    const [M, N] = node.shape.slice(-2) as [number, number];
    const K = a.at(transA ? -2 : -1) as number;
    return {
      kernel: 'gemm',
      attrs: {
        batch: sizeOf(node.shape.slice(0, -2)),
        M,
        N,
        K,
        transA: Number(transA),
        transB: Number(transB),
        lda: a.at(-1) as number,
        ldb: b.at(-1) as number,
        ldc: N,
        strideA: M * K,
        strideB: K * N,
        strideC: M * N,
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
  sum: (node) => ({ kernel: 'sum-i32', attrs: reductionForm(node) }),
  max: (node) => ({ kernel: 'max-i32', attrs: reductionForm(node) }),
};

const divisor = (a: Attrs<'avgPool2d'>): Record<string, number> => ({
  countIncludePad: Number(a.countIncludePad),
  divisor: 0,
});

/** Throws UnsupportedError for an element type the native kernels do not take. */
export function heavyKernel(node: Node): HeavyKernel {
  const kernel = kernels[node.op] as ((node: Node) => HeavyKernel) | undefined;
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
  return kernel(node);
}
