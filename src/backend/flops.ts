/** Floating-point operations of a node: multiply and add count one each; padding zeros count as work. */
import { sizeOf } from '../base/index.ts';
import { type Attrs, attentionSizes, type Node, ops } from '../graph/index.ts';

export function opFlops(node: Node): number {
  const elements = sizeOf(node.shape);
  switch (node.op) {
    case 'matmul': {
      const a = node.inputs[0] as Node;
      return 2 * elements * (a.shape.at((node.attrs as Attrs<'matmul'>).transA ? -2 : -1) as number);
    }
    case 'conv2d': {
      const w = node.inputs[1] as Node;
      return 2 * elements * sizeOf(w.shape.slice(1));
    }
    case 'conv2dInputGrad': {
      const [gy, w] = node.inputs as [Node, Node];
      return 2 * sizeOf(gy.shape) * sizeOf(w.shape.slice(1));
    }
    case 'conv2dWeightGrad': {
      const gy = node.inputs[1] as Node;
      return 2 * sizeOf(gy.shape) * sizeOf(node.shape.slice(1));
    }
    case 'recurrent':
    case 'recurrentGrad': {
      const w = node.inputs[1] as Node;
      return 2 * ((node.shape[0] as number) - 1) * (node.shape[1] as number) * sizeOf(w.shape);
    }
    case 'attention':
    case 'attentionGrad': {
      const { batch, heads, tq, tk, d, dv } = attentionSizes(node.inputs);
      const products = node.op === 'attention' ? d + dv : 3 * d + 2 * dv;
      // Under `causal` the products above the diagonal are not made.
      const hidden = Math.min(tq, tk);
      const pairs = (node.attrs as Attrs<'attention'>).causal
        ? (hidden * (hidden + 1)) / 2 + (tq - hidden) * tk
        : tq * tk;
      return 2 * batch * heads * pairs * products;
    }
    default:
      return ops[node.op].kind === 'elementwise' || ops[node.op].kind === 'reduce'
        ? Math.max(elements, ...node.inputs.map((x) => sizeOf(x.shape)))
        : 0;
  }
}

export const graphFlops = (nodes: Iterable<Node>): number => {
  let total = 0;
  for (const node of nodes) total += opFlops(node);
  return total;
};
