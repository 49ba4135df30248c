/** Rows of attention: odd sizes, sizes around blocks, causal with Tq != Tk, masks seen through broadcasts, dropout. */
import type { AttentionAttrs } from '../../../src/graph/index.ts';
import { opCase } from '../op-case.ts';

const sizes: [batch: number, tq: number, tk: number, heads: number, d: number, dv: number][] = [
  [1, 1, 1, 1, 1, 1],
  [2, 5, 5, 3, 4, 4],
  [1, 7, 13, 2, 5, 3],
  [1, 13, 6, 1, 17, 9],
  [2, 33, 33, 1, 8, 8],
  [1, 1, 40, 2, 16, 16],
  [1, 2, 37, 2, 20, 16],
  [2, 1, 300, 1, 7, 5],
  [0, 3, 3, 2, 4, 4],
  [2, 0, 3, 2, 4, 4],
  [2, 3, 0, 2, 4, 4],
  [1, 3, 3, 2, 4, 0],
];
const key = { shape: [4], dtype: 'i32', low: 0, high: 1000 } as const;

for (const [batch, tq, tk, heads, d, dv] of sizes)
  for (const masked of [false, true])
    for (const causal of [false, true])
      for (const dropout of [0, 0.3]) {
        const operands = [
          { shape: [batch, tq, heads, d] },
          { shape: [batch, tk, heads, d] },
          { shape: [batch, tk, heads, dv] },
        ];
        const rest = [...(masked ? [{ shape: [batch, heads, tq, tk] }] : []), ...(dropout > 0 ? [key] : [])];
        const attrs: AttentionAttrs = { scale: 1 / Math.sqrt(d), causal, masked, dropout };
        // A score up to 16 as a sum of 17 equal terms is off by 17 roundings of it, and its exponential with it.
        opCase('attention', { inputs: [...operands, ...rest], attrs, bound: { absolute: 1e-5 } });
        const results = [{ shape: [batch, tq, heads, dv] }, { shape: [batch, tq, heads, dv] }];
        opCase('attentionGrad', {
          inputs: [...operands, ...results, ...rest],
          attrs,
          bound: { absolute: 4e-5 },
          gradient: false,
        });
      }
