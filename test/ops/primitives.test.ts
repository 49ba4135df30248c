/**
 * Every primitive, by table (test/ops/rows/): each backend against the float64 reference, and each gradient rule against
 * central differences. A primitive without a row fails the last test.
 */
import { describe, expect, test } from 'vitest';
import { gradients } from '../../src/autograd/backward.ts';
import { isFloat, Philox, sizeOf, type TypedArray } from '../../src/base/index.ts';
import { type Node, ops } from '../../src/graph/index.ts';
import { fill, oracle, run, source, testBackends } from './backends.ts';
import { describeRow, expectAgreement, type OpCase } from './op-case.ts';
import { rows } from './rows/index.ts';

const named = (list: readonly OpCase[]): [string, OpCase][] => list.map((row) => [describeRow(row), row]);
const backends = testBackends();
const random = new Philox(11);

describe.each(backends)('%s agrees with the float64 reference', (_, backend) => {
  test.each(named(rows))('%s', (_name, row) => expectAgreement(row, backend, random));
});

/** A row's gradients: of its output times a random direction, with respect to every float input. */
function directional(row: OpCase) {
  const nodes = row.inputs.map(source);
  const y = row.make(...nodes);
  const seed = source({ shape: y.shape });
  const floats = nodes.filter((n) => isFloat(n.dtype));
  const grads = gradients(y, floats, seed) as Node[];
  const direction = fill({ shape: y.shape }, random);
  return {
    nodes: [...nodes, seed],
    floats,
    y,
    grads,
    direction,
    data: [...row.inputs.map((i) => fill(i, random)), direction],
  };
}

// Past this an input is sampled.
const WHOLE = 64;

describe('gradients', () => {
  const wanted = rows.filter((row) => row.gradient && row.inputs.every((i) => sizeOf(i.shape) <= 1200));
  test.each(named(wanted))('%s', async (_name, row) => {
    const { nodes, floats, y, grads, direction, data } = directional(row);
    const double = data.map((d, i) => (isFloat((nodes[i] as Node).dtype) ? Float64Array.from(d) : d));
    const exact = await run(oracle, nodes, double, grads);
    for (const [k, node] of floats.entries()) {
      const array = double[nodes.indexOf(node)] as Float64Array;
      const samples = Math.min(array.length, array.length <= WHOLE ? WHOLE : 8);
      for (let t = 0; t < samples; t++) {
        const i = array.length <= WHOLE ? t : (t * 7919) % array.length;
        const keep = array[i] as number;
        const h = 1e-5 * Math.max(1, Math.abs(keep));
        const sides: TypedArray[] = [];
        for (const side of [keep + h, keep - h]) {
          array[i] = side;
          sides.push(...(await run(oracle, nodes, double, [y])));
        }
        array[i] = keep;
        const [above, below] = sides as [TypedArray, TypedArray];
        let expected = 0;
        for (let j = 0; j < direction.length; j++)
          expected += (((above[j] as number) - (below[j] as number)) / (2 * h)) * (direction[j] as number);
        const got = (exact[k] as TypedArray)[i] as number;
        if (!(Math.abs(got - expected) <= 1e-7 + 1e-6 * Math.abs(expected)))
          expect.fail(`input ${nodes.indexOf(node)} element ${i}: ${got} against ${expected}`);
      }
    }
    for (const [name, backend] of backends) {
      const single = await run(backend, nodes, data, grads);
      for (const [k, grad] of exact.entries()) {
        const scale = Math.max(1, ...Array.from(grad, Math.abs));
        grad.forEach((want, i) => {
          const got = (single[k] as TypedArray)[i] as number;
          if (!(Math.abs(got - want) <= 4e-6 * scale))
            expect.fail(`${name}: gradient ${k}[${i}] ${got} against ${want}`);
        });
      }
    }
  });
});

test('every primitive has a row', () => {
  const covered = new Set<string>(rows.map((row) => row.op));
  expect(Object.keys(ops).filter((op) => !covered.has(op))).toEqual([]);
});
