/** Reverse-mode differentiation, graph to graph: walks from a scalar to the nodes asked for and builds their gradients. */
import { invariant, sameShape } from '../base/index.ts';
import { add, constantLike } from '../graph/build.ts';
import { inBackwardOf, type Node, type OpName, topologicalOrder } from '../graph/index.ts';
import { gradientRules, type RuleContext } from './gradient.ts';

type AnyRule = (context: RuleContext<OpName>) => readonly ((() => Node) | undefined)[];

/**
 * Gradients of `output` (seeded with `seed`, ones by default) with respect to each node of `wrt`;
 * undefined where `output` does not depend on it.
 */
export function gradients(output: Node, wrt: readonly Node[], seed?: Node): (Node | undefined)[] {
  const order = topologicalOrder([output]);
  const wanted = new Set(wrt);
  // Only nodes on a differentiable path to a wanted node get a gradient.
  const needed = new Set<Node>();
  for (const node of order)
    if (wanted.has(node) || (node.op !== 'detach' && node.inputs.some((x) => needed.has(x)))) needed.add(node);

  const grads = new Map<Node, Node>();
  if (seed) invariant(sameShape(seed.shape, output.shape), 'a gradient seed has the shape of the output');
  grads.set(output, seed ?? constantLike(output, 1));
  for (let i = order.length - 1; i >= 0; i--) {
    const node = order[i] as Node;
    const grad = grads.get(node);
    if (grad === undefined || !needed.has(node)) continue;
    const rule = gradientRules[node.op] as AnyRule;
    inBackwardOf(node, () => {
      const parts = rule({ grad, inputs: node.inputs, output: node, attrs: node.attrs });
      node.inputs.forEach((x, j) => {
        const part = parts[j];
        if (!needed.has(x) || part === undefined) return;
        const value = part();
        const sofar = grads.get(x);
        grads.set(x, sofar ? add(sofar, value) : value);
      });
    });
  }
  return wrt.map((node) => grads.get(node));
}
