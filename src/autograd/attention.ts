/** Gradients of attention: one node for q, k and v, and a composition for a mask that learns. */
import { type Shape, sizeOf } from '../base/index.ts';
import {
  add,
  binary,
  constantLike,
  div,
  expand,
  mul,
  narrow,
  permute,
  reshape,
  scale,
  sub,
  sum,
  unary,
  where,
} from '../graph/build.ts';
import {
  type AttentionAttrs,
  attentionSizes,
  iotaNode,
  isJoint,
  makeNode,
  type Node,
  randomNode,
} from '../graph/index.ts';

/** Thunks for the gradients of attention's inputs. */
export function attentionGradients(
  grad: Node,
  inputs: readonly Node[],
  output: Node,
  attrs: AttentionAttrs,
): ((() => Node) | undefined)[] {
  const operands = inputs.slice(0, 3);
  let all: Node | undefined;
  const part = (i: number) => (): Node => {
    all ??= makeNode('attentionGrad', [...operands, output, grad, ...inputs.slice(3)], attrs);
    const { shape } = operands[i] as Node;
    if (isJoint(operands)) return reshape(narrow(all, 2, i, 1), shape);
    const start = operands.slice(0, i).reduce((n, x) => n + sizeOf(x.shape), 0);
    return reshape(narrow(all, 0, start, sizeOf(shape)), shape);
  };
  const rest = inputs
    .slice(3)
    .map((_, i) => (attrs.masked && i === 0 ? () => maskGradient(grad, inputs, attrs) : undefined));
  return [part(0), part(1), part(2), ...rest];
}

/** dS of S = scale q k' + mask: the whole matrix of scores, so only built for masks that require a gradient. */
function maskGradient(grad: Node, inputs: readonly Node[], attrs: AttentionAttrs): Node {
  const { batch, heads, tq, tk } = attentionSizes(inputs);
  const shape: Shape = [batch, heads, tq, tk];
  const [q, k, v] = inputs.slice(0, 3).map(headsFirst) as [Node, Node, Node];
  const scores = makeNode('matmul', [q, k], { transA: false, transB: true });
  const masked = add(scale(scores, attrs.scale), inputs[3] as Node);
  const never = constantLike(masked, -Infinity);
  const seen = attrs.causal ? where(binary('le', iotaNode(shape, 3), iotaNode(shape, 2)), masked, never) : masked;
  const top = makeNode('max', [seen], { axes: [3] });
  const finite = where(binary('eq', top, constantLike(top, -Infinity)), constantLike(top, 0), top);
  const e = unary('exp', sub(seen, expand(finite, shape)));
  const total = sum(e, [3]);
  const nonzero = where(binary('eq', total, constantLike(total, 0)), constantLike(total, 1), total);
  const weights = div(e, expand(nonzero, shape));
  let slope = makeNode('matmul', [headsFirst(grad), v], { transA: false, transB: true }) as Node;
  if (attrs.dropout > 0) {
    const drawn = randomNode(inputs.at(-1) as Node, shape);
    const keep = binary('le', constantLike(drawn, attrs.dropout), drawn);
    slope = where(keep, scale(slope, 1 / (1 - attrs.dropout)), constantLike(slope, 0));
  }
  return mul(weights, sub(slope, expand(sum(mul(weights, slope), [3]), shape)));
}

const headsFirst = (x: Node): Node => permute(x, [0, 2, 1, 3]);
