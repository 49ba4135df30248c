/** Every row again with its inputs seen through a view: transposed, flipped, every other element, cut out, repeated. */
import { describe, test } from 'vitest';
import { Philox, sizeOf } from '../../src/base/index.ts';
import { makeNode, type Node } from '../../src/graph/index.ts';
import { type Input, testBackends } from './backends.ts';
import { expectAgreement, type OpCase } from './op-case.ts';
import { rows } from './rows/index.ts';

/** A source of another shape, and how the input is seen in it. */
interface View {
  source: (input: Input) => Input;
  see: (source: Node, input: Input) => Node;
}
const cut = (x: Node, { shape }: Input, start: (d: number) => number, step: number): Node =>
  makeNode('slice', [x], { start: shape.map(start), step: shape.map(() => step), count: shape });

const views: Record<string, View> = {
  transposed: {
    source: (input) => ({ ...input, shape: [...input.shape].reverse() }),
    see: (x, { shape }) => makeNode('permute', [x], { axes: shape.map((_, i) => shape.length - 1 - i) }),
  },
  flipped: {
    source: (input) => input,
    see: (x, input) => cut(x, input, (d) => Math.max(0, d - 1), -1),
  },
  'every other': {
    source: (input) => ({ ...input, shape: input.shape.map((d) => 2 * d + 1) }),
    see: (x, input) => cut(x, input, () => 1, 2),
  },
  'cut out': {
    source: (input) => ({ ...input, shape: input.shape.map((d) => d + 3) }),
    see: (x, input) => cut(x, input, () => 1, 1),
  },
  'repeated along the last axis': {
    source: (input) => ({ ...input, shape: input.shape.map((d, i) => (i === input.shape.length - 1 ? 1 : d)) }),
    see: (x, { shape }) => makeNode('expand', [x], { shape }),
  },
  'repeated along the first axis': {
    source: (input) => ({ ...input, shape: input.shape.map((d, i) => (i === 0 ? 1 : d)) }),
    see: (x, { shape }) => makeNode('expand', [x], { shape }),
  },
  'one element': {
    source: (input) => ({ ...input, shape: [] }),
    see: (x, { shape }) => makeNode('expand', [makeNode('reshape', [x], { shape: shape.map(() => 1) })], { shape }),
  },
};

/** The row with input `which` (or all of them) seen through a view, and the result through a transposition. */
function through(view: View, row: OpCase, which?: number): OpCase {
  const seen = (i: number): boolean => which === undefined || which === i;
  const inputs = row.inputs.map((input, i) => (seen(i) ? view.source(input) : input));
  const make = (...nodes: Node[]): Node => {
    const y = row.make(...nodes.map((x, i) => (seen(i) ? view.see(x, row.inputs[i] as Input) : x)));
    return makeNode('permute', [y], { axes: y.shape.map((_, i) => y.shape.length - 1 - i) });
  };
  const repeats = inputs.some((input, i) => sizeOf(input.shape) < sizeOf((row.inputs[i] as Input).shape));
  return { ...row, inputs, make, bound: row.bound === 'sums' && repeats ? 'sums of equals' : row.bound };
}

const random = new Philox(12);
const small = rows.filter((row) => row.op !== 'random' && row.inputs.every((i) => sizeOf(i.shape) <= 5000));
const byOp = new Map<string, OpCase[]>();
for (const row of small) byOp.set(row.op, [...(byOp.get(row.op) ?? []), row]);

describe.each(testBackends())('%s', (_, backend) => {
  describe.each(Object.entries(views))('%s', (_name, view) => {
    test.each([...byOp])('%s', async (_op, list) => {
      for (const row of list) {
        await expectAgreement(through(view, row), backend, random);
        if (row.inputs.length > 1)
          await expectAgreement(through(view, row, random.integer(row.inputs.length)), backend, random);
      }
    });
  });
});
