/** Rows of recurrent sequences: one step, odd sizes, sizes around tiles and vectors, both directions, with and without lengths. */
import * as build from '../../../src/graph/build.ts';
import { makeNode, type Node, type RecurrentAttrs, recurrentLayout } from '../../../src/graph/index.ts';
import type { Input } from '../backends.ts';
import { opCase } from '../op-case.ts';

const sizes: [steps: number, batch: number, hidden: number][] = [
  [1, 1, 1],
  [3, 2, 5],
  [4, 7, 17],
  [2, 13, 16],
  [5, 1, 33],
  [2, 5, 67],
  [3, 0, 4],
  [3, 7, 34],
];

/** What gradients flow into: h after each step, and c after the last. */
function results(states: Node, { cell, reverse }: RecurrentAttrs, hidden: number): Node {
  const [rows, batch] = states.shape as [number, number, number];
  const cut = (row: number, count: number, slot: number): Node =>
    build.slice(states, { start: [row, 0, slot * hidden], step: [1, 1, 1], count: [count, batch, hidden] });
  const h = cut(reverse ? 0 : 1, rows - 1, 0);
  return cell === 'lstm' ? makeNode('concat', [h, cut(reverse ? 0 : rows - 1, 1, 1)], { axis: 0 }) : h;
}

for (const [steps, batch, hidden] of sizes)
  for (const cell of ['lstm', 'gru', 'tanh', 'relu'] as const)
    for (const reverse of [false, true])
      for (const [masked, precision] of [[false], [true], [false, 'bf16'], [true, 'bf16']] as const) {
        if (precision && hidden % 2 !== 0) continue;
        const attrs: RecurrentAttrs = { cell, reverse, masked, precision };
        const { gates, slots } = recurrentLayout[cell];
        const scale = 1 / Math.sqrt(hidden);
        const inside = { low: -scale, high: scale };
        const state: Input = { shape: [batch, hidden], low: -1, high: 1 };
        const weight: Input = { shape: [gates * hidden, hidden], ...inside };
        const extra: Input[] = cell === 'lstm' ? [state] : cell === 'gru' ? [{ shape: [hidden], ...inside }] : [];
        const lengths: Input[] = masked ? [{ shape: [batch], dtype: 'i32', low: 1, high: steps + 1 }] : [];
        const inputs = [{ shape: [steps, batch, gates * hidden] }, weight, state, ...extra, ...lengths];
        // The slope of relu jumps.
        opCase('recurrent', {
          inputs,
          make: (...nodes) => results(makeNode('recurrent', nodes, attrs), attrs, hidden),
          // A state that is off by an ulp may round to the next bf16 value, 2^-8 of itself away.
          bound: { absolute: precision ? 4e-3 : 6e-6 },
          gradient: cell !== 'relu' && !precision,
        });
        opCase('recurrentGrad', {
          inputs: [
            { shape: [steps + 1, batch, slots * hidden], low: -1, high: 1 },
            weight,
            { shape: [steps, batch, hidden] },
            ...(cell === 'lstm' ? [state] : []),
            ...lengths,
          ],
          attrs,
          bound: { absolute: precision ? 1e-2 : 4e-5 },
          gradient: false,
        });
      }
