/**
 * A transposed convolution to few channels (the last layer of a decoder, the gradient of a picture) as one product and a
 * sum of overlapping tiles: every source pixel makes its whole window at once, and windows that overlap are added. A
 * gathering kernel would multiply by vectors of one or three channels instead.
 */
import * as build from '../graph/build.ts';
import {
  type Attrs,
  eachInItsLayer,
  imageSizes,
  inherited,
  makeNode,
  type Node,
  topologicalOrder,
  withInputs,
} from '../graph/index.ts';

/** Channels from which the kernel's own vectors are filled. */
const FEW_CHANNELS = 16;
/** Bounds the windows that are added at one pixel. */
const MAX_OVERLAP = 16;

/** Rewrites the graph under `roots`, channels-last already. */
export function overlapAdd(roots: readonly Node[]): Node[] {
  const order = topologicalOrder(roots);
  if (!order.some(qualifies)) return [...roots];
  const made = new Map<Node, Node>();
  for (const node of eachInItsLayer(order)) {
    const same = withInputs(
      node,
      node.inputs.map((x) => made.get(x) as Node),
    );
    made.set(node, qualifies(node) ? windows(same as Node<'conv2dInputGrad'>) : same);
  }
  return roots.map((root) => made.get(root) as Node);
}

function qualifies(node: Node): boolean {
  if (node.op !== 'conv2dInputGrad' || node.inputs.some((x) => x.shape.includes(0))) return false;
  const { channelsLast, groups, dilation, stride } = node.attrs as Attrs<'conv2dInputGrad'>;
  const [, channels, kh, kw] = (node.inputs[1] as Node).shape as [number, number, number, number];
  if (!channelsLast || groups !== 1 || dilation.some((d) => d !== 1) || channels >= FEW_CHANNELS) return false;
  // 1 x 1 windows are a product already.
  return kh * kw > 1 && Math.ceil(kh / stride[0]) * Math.ceil(kw / stride[1]) <= MAX_OVERLAP;
}

function windows(node: Node<'conv2dInputGrad'>): Node {
  const { stride, padding, size } = node.attrs;
  const [gy, weight] = node.inputs as [Node, Node];
  const { n, h, w, c: depth } = imageSizes(gy.shape, true);
  const [, channels, kh, kw] = weight.shape as [number, number, number, number];
  const [sh, sw] = stride;
  const [ah, aw] = [Math.ceil(kh / sh), Math.ceil(kw / sw)];
  // Taps of zero where the stride does not divide the kernel.
  const even = build.pad(weight, [0, 0, 0, 0], [0, 0, ah * sh - kh, aw * sw - kw]);
  const tile = sh * sw * channels;

  // Columns [ah, aw, sh, sw, channels]: what is added up lies together.
  const apart = build.reshape(even, [depth, channels, ah, sh, aw, sw]);
  const matrix = build.reshape(build.permute(apart, [0, 2, 4, 3, 5, 1]), [depth, ah * aw * tile]);
  const products = makeNode('matmul', [build.reshape(gy, [n * h * w, depth]), matrix], {
    transA: false,
    transB: false,
    ...inherited(node.attrs),
  });
  // [n, h, w, ...] with a rim of zeros, so that every term is a view of it.
  const [rimH, rimW] = [ah - 1, aw - 1];
  const rimmed = build.pad(build.reshape(products, [n, h, w, ah * aw * tile]), [0, rimH, rimW, 0], [0, rimH, rimW, 0]);
  const [rows, cols] = [h + rimH, w + rimW];
  let sum: Node | undefined;
  for (let a = 0; a < ah; a++)
    for (let b = 0; b < aw; b++) {
      const term = build.slice(rimmed, {
        start: [0, rimH - a, rimW - b, (a * aw + b) * tile],
        step: [1, 1, 1, 1],
        count: [n, rows, cols, tile],
      });
      const placed = build.permute(build.reshape(term, [n, rows, cols, sh, sw * channels]), [0, 1, 3, 2, 4]);
      sum = sum ? build.add(sum, placed) : placed;
    }
  const full = build.reshape(sum as Node, [n, rows * sh, cols * sw, channels]);
  // The padding is cut off; rows beyond the last window are zero.
  const keepH = Math.min(size[0], rows * sh - padding[0]);
  const keepW = Math.min(size[1], cols * sw - padding[2]);
  const cut = build.slice(full, {
    start: [0, padding[0], padding[2], 0],
    step: [1, 1, 1, 1],
    count: [n, keepH, keepW, channels],
  });
  return build.pad(cut, [0, 0, 0, 0], [0, size[0] - keepH, size[1] - keepW, 0]);
}
