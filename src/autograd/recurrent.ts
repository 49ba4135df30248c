/** Gradients of a recurrent sequence: one node back through time, and products over all steps for the weights. */

import * as build from '../graph/build.ts';
import { narrow, reshape, sum } from '../graph/build.ts';
import { inherited, makeNode, type Node, type RecurrentAttrs, recurrentLayout } from '../graph/index.ts';

/** Thunks for the gradients of recurrent's inputs. */
export function recurrentGradients(
  grad: Node,
  inputs: readonly Node[],
  output: Node,
  attrs: RecurrentAttrs,
): ((() => Node) | undefined)[] {
  const { cell, reverse, masked } = attrs;
  const [x, w, h0] = inputs as [Node, Node, Node];
  const [steps, batch] = x.shape as [number, number];
  const hidden = h0.shape[1] as number;
  const lengths = masked ? [inputs.at(-1) as Node] : [];
  let all: Node | undefined;
  /** Rows and slots of what went back through time. */
  const part = (row: number, rows: number, slot: number, slots: number): Node => {
    all ??= makeNode(
      'recurrentGrad',
      [
        output,
        w,
        cut(grad, reverse ? 0 : 1, steps, 0, 1, hidden),
        ...(cell === 'lstm' ? [reshape(cut(grad, reverse ? 0 : steps, 1, 1, 1, hidden), h0.shape)] : []),
        ...lengths,
      ],
      attrs,
    );
    return cut(all, row, rows, slot, slots, hidden);
  };
  const flat = (v: Node): Node => reshape(v, [steps * batch, v.shape[2] as number]);
  const { gates } = recurrentLayout[cell];
  const gru = cell === 'gru';

  const weight = (): Node => {
    const before = flat(cut(output, reverse ? 1 : 0, steps, 0, 1, hidden));
    const product = makeNode('matmul', [flat(part(0, steps, 0, gates)), before], {
      transA: true,
      transB: false,
      ...inherited(attrs),
    });
    if (!gru) return product;
    // hn r z to r z n.
    return makeNode('concat', [narrow(product, 0, hidden, 2 * hidden), narrow(product, 0, 0, hidden)], { axis: 0 });
  };
  return [
    () => part(0, steps, gru ? 1 : 0, gates),
    weight,
    () => reshape(part(steps, 1, 0, 1), h0.shape),
    ...(cell === 'lstm' ? [() => reshape(part(steps, 1, 1, 1), h0.shape)] : []),
    ...(gru ? [() => reshape(sum(flat(part(0, steps, 0, 1)), [0]), [hidden])] : []),
    ...lengths.map(() => undefined),
  ];
}

/** Rows [row, row + rows) of a [T + 1, B, slots x H] value, and some of its slots. */
function cut(x: Node, row: number, rows: number, slot: number, slots: number, hidden: number): Node {
  return build.slice(x, {
    start: [row, 0, slot * hidden],
    step: [1, 1, 1],
    count: [rows, x.shape[1] as number, slots * hidden],
  });
}
