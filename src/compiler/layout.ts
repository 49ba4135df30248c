/**
 * Images travel channels-last inside a program: convolution and pooling are rewritten to (N, H, W, C), and the
 * permutes this needs are pushed through elementwise ops and reductions until they meet and vanish.
 */
import * as build from '../graph/build.ts';
import { type Attrs, eachInItsLayer, makeNode, type Node, ops, topologicalOrder, withInputs } from '../graph/index.ts';

const TO_LAST = [0, 2, 3, 1] as const;
const TO_FIRST = [0, 3, 1, 2] as const;

/** Rewrites the graph under `roots`; their own values keep the layout they had. */
export function channelsLast(roots: readonly Node[]): Node[] {
  const order = topologicalOrder(roots);
  if (!order.some(isImageOp)) return [...roots];
  const first = new Map<Node, Node>(); // original -> rewritten value in its own layout
  const last = new Map<Node, Node>(); // original -> rewritten value as (N, H, W, C)
  const born = new Set<Node>(); // originals that are computed channels-last

  const asFirst = (node: Node): Node => {
    const known = first.get(node);
    if (known) return known;
    const value = build.permute(last.get(node) as Node, TO_FIRST);
    first.set(node, value);
    return value;
  };
  const asLast = (node: Node): Node => {
    const known = last.get(node);
    if (known) return known;
    const value = pushDown(node);
    last.set(node, value);
    return value;
  };
  // Broadcast operands are permuted where they are small, before they are repeated.
  const pushDown = (node: Node): Node => {
    if (node.op === 'expand') {
      const { shape } = (node as Node<'expand'>).attrs;
      return build.expand(
        asLast(node.inputs[0] as Node),
        TO_LAST.map((a) => shape[a] as number),
      );
    }
    return build.permute(asFirst(node), TO_LAST);
  };

  const setLast = (node: Node, value: Node): void => {
    last.set(node, value);
    born.add(node);
  };

  for (const node of eachInItsLayer(order)) {
    if (isImageOp(node)) {
      const attrs = { ...node.attrs, channelsLast: true } as never;
      // Weights (rank 4 as well) keep PyTorch's layout.
      const inputs = node.inputs.map((x, i) => (isWeight(node, i) ? asFirst(x) : asLast(x)));
      const value = makeNode(node.op, inputs, attrs);
      if (node.op === 'conv2dWeightGrad') first.set(node, value);
      else setLast(node, value);
    } else if (node.shape.length === 4 && ops[node.op].kind === 'elementwise' && node.inputs.some((x) => born.has(x))) {
      setLast(node, withShape(node, node.inputs.map(asLast)));
    } else if (node.shape.length === 4 && ops[node.op].kind === 'reduce' && last.has(node.inputs[0] as Node)) {
      const axes = (node as Node<'sum'>).attrs.axes.map((a) => TO_LAST.indexOf(a as never));
      setLast(node, makeNode(node.op as 'sum', [asLast(node.inputs[0] as Node)], { axes: axes.sort((a, b) => a - b) }));
    } else if (node.shape.length === 4 && node.op in moved && node.inputs.some((x) => born.has(x))) {
      setLast(node, moved[node.op as Moved](node.attrs as never, node.inputs.map(asLast)));
    } else first.set(node, withInputs(node, node.inputs.map(asFirst)));
  }
  return roots.map(asFirst);
}

type Moved = 'slice' | 'pad' | 'concat';
const lastOf = (perAxis: readonly number[]): number[] => TO_LAST.map((a) => perAxis[a] as number);

/** Movements of images: shortcuts that skip pixels and pad channels, and branches side by side. */
const moved: { readonly [K in Moved]: (attrs: Attrs<K>, inputs: readonly Node[]) => Node } = {
  slice: ({ start, step, count }, [x]) =>
    makeNode('slice', [x as Node], { start: lastOf(start), step: lastOf(step), count: lastOf(count) }),
  pad: ({ before, after, value }, [x]) =>
    makeNode('pad', [x as Node], { before: lastOf(before), after: lastOf(after), value }),
  concat: ({ axis }, inputs) => makeNode('concat', inputs, { axis: TO_LAST.indexOf(axis as never) }),
};

/** An image op that still has PyTorch's layout. */
const isImageOp = (node: Node): boolean => 'channelsLast' in node.attrs && !node.attrs.channelsLast;

const isWeight = (node: Node, i: number): boolean => i === 1 && (node.op === 'conv2d' || node.op === 'conv2dInputGrad');

// A random node's value depends on its linear index, so it is never re-made in another layout: it has no image input.
const withShape = (node: Node, inputs: readonly Node[]): Node =>
  makeNode(node.op as 'neg', inputs, node.attrs as never);
