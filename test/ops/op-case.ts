/** The table of primitives: `opCase` adds a row, test/ops/rows/ holds them by family, `expectAgreement` reads one. */
import { expect } from 'vitest';
import type { Backend } from '../../src/backend/index.ts';
import { isFloat, type Philox, sizeOf, type TypedArray } from '../../src/base/index.ts';
import { type Attrs, makeNode, type Node, type OpName } from '../../src/graph/index.ts';
import { fill, type Input, oracle, run, source } from './backends.ts';

/**
 * How near a backend must come to float64.
 * - 'exact': the float64 result, rounded once.
 * - a number: that many units in the last place of each result.
 * - 'sums': for ops that are linear in each input of `linear`. The error of a sum of K terms is at most
 *   max(4, 2 sqrt(K)) roundings of the sum of the terms' magnitudes; both come from running the op on ones and on
 *   absolute values.
 * - 'sums of equals': terms repeat, so that their roundings all point one way: max(16, K) of them (an average of
 *   ones does not tell its K).
 * - 'sums in bf16': convolutions that may round what Winograd's algorithm transformed: its errors follow the largest sum
 *   of magnitudes, and few terms do not average them.
 * - { absolute }: that far (times the largest result past 1), for ops that are not linear and cancel.
 */
export type Bound = 'exact' | 'sums' | 'sums of equals' | 'sums in bf16' | number | { absolute: number };

export interface OpCase {
  readonly op: OpName;
  readonly inputs: readonly Input[];
  readonly make: (...nodes: Node[]) => Node;
  readonly bound: Bound;
  /** The inputs the op is linear in, for bounds of sums; default all. */
  readonly linear?: readonly number[] | undefined;
  /** false: integers, or slopes that jump where differences would be taken. */
  readonly gradient: boolean;
}

export const rows: OpCase[] = [];

/** One row. `attrs` or `make` builds the node; the bound is 'exact' and the gradient checked unless told otherwise. */
export function opCase<K extends OpName>(
  op: K,
  row: Pick<OpCase, 'inputs'> & Partial<OpCase> & { attrs?: Attrs<K> },
): void {
  const { inputs, attrs, bound = 'exact', linear, gradient = true } = row;
  rows.push({ op, inputs, make: row.make ?? ((...nodes) => makeNode(op, nodes, attrs)), bound, linear, gradient });
}

/** Empty, one element, primes, and sizes around the widths of registers and tiles. */
export const shapes: readonly (readonly number[])[] = [
  ...[[], [0], [1], [0, 3], [7], [2, 3, 5], [3, 0, 2], [13, 11], [1, 1, 2, 1, 3, 2], [1030]],
  ...[15, 16, 17, 31, 32, 33].map((n) => [n]),
  ...[[63], [65, 64], [33, 17], [5, 257]],
];

export function describeRow({ op, inputs, make }: OpCase): string {
  const attrs = JSON.stringify(make(...inputs.map(source)).attrs);
  return `${op} ${inputs.map((i) => `${i.dtype ?? 'f32'}[${i.shape}]`).join(' ')} ${attrs === '{}' ? '' : attrs}`;
}

const f32 = 2 ** -24;
/** The distance from `x` to the next f32, from the smallest subnormal up. */
const ulp = (x: number): number => 2 ** (Math.max(-126, Math.floor(Math.log2(Math.abs(x)))) - 23);

/** How far each element may be off. */
async function tolerances(row: OpCase, data: readonly TypedArray[], exact: TypedArray): Promise<(i: number) => number> {
  const { bound } = row;
  if (bound === 'exact') return () => 0;
  if (typeof bound === 'object') {
    const scale = Math.max(1, ...Array.from(exact, Math.abs));
    return () => bound.absolute * scale;
  }
  if (typeof bound === 'number') return (i) => bound * ulp(Math.fround(exact[i] as number));
  const nodes = row.inputs.map(source);
  const node = row.make(...nodes);
  const terms = (f: (x: number) => number): readonly TypedArray[] =>
    data.map((d, i) =>
      isFloat(row.inputs[i]?.dtype ?? 'f32') && (row.linear?.includes(i) ?? true) ? Float64Array.from(d, f) : d,
    );
  const [count] = (await run(
    oracle,
    nodes,
    terms(() => 1),
    [node],
  )) as [TypedArray];
  const [magnitude] = (await run(oracle, nodes, terms(Math.abs), [node])) as [TypedArray];
  const roundings = (k: number): number =>
    bound === 'sums of equals' ? Math.max(16, k) : Math.max(4, 2 * Math.sqrt(k));
  const everywhere = bound === 'sums in bf16' ? 5e-2 * Math.max(0, ...magnitude) : 0;
  return (i) => roundings(count[i] as number) * f32 * (magnitude[i] as number) + everywhere;
}

/** Runs a row on `backend` and on the oracle; fails on the first element past the row's bound. */
export async function expectAgreement(row: OpCase, backend: Backend, random: Philox): Promise<void> {
  const nodes = row.inputs.map(source);
  const data = row.inputs.map((input) => fill(input, random));
  const node = row.make(...nodes);
  const [exact] = (await run(oracle, nodes, data, [node])) as [TypedArray];
  const [got] = (await run(backend, nodes, data, [node])) as [TypedArray];
  const allowed = await tolerances(row, data, exact);
  expect(got.length).toBe(sizeOf(node.shape));
  const float = isFloat(node.dtype);
  got.forEach((v, i) => {
    const want = exact[i] as number;
    if (v === (float ? Math.fround(want) : want) || Math.abs(v - want) <= allowed(i)) return;
    expect.fail(`${describeRow(row)}: element ${i} is ${v}, expected ${want} within ${allowed(i)}`);
  });
}
