/** Whether a learning rate fits the weights: how far one update moves them. */
import { isLora, type Module } from '../nn/index.ts';
import type { Finding } from './check-data.ts';
import { arraysOf } from './model-weights.ts';

/** Ratios of update to weight, by their norms: above it a step wrecks what was learned, below it nothing moves in a run. */
const [HIGH, LOW, USUAL] = [0.1, 1e-6, 1e-3];

/** Elements looked at of one parameter: enough for a norm, and no second copy of a large model. */
const SAMPLED = 4096;

/** By name, some elements of each parameter that trains. */
export type WeightSample = ReadonlyMap<string, Float32Array>;

/**
 * Those whose ratio says something: not `fresh` ones, of random values, nor adapters, which begin at nothing; not biases, of which
 * anything is much.
 */
export async function sampleWeights(model: Module, fresh: readonly string[] = []): Promise<WeightSample> {
  const chosen = model
    .namedParameters()
    .filter(({ name, variable }) => variable.requiresGrad && variable.size > 1 && !/bias$/.test(name) && !isLora(name))
    .filter(({ name }) => !fresh.includes(name));
  const arrays = await arraysOf(new Map(chosen.map(({ name, variable }) => [name, variable])));
  return new Map(
    [...arrays].map(([name, { data }]) => {
      const every = Math.max(1, Math.floor(data.length / SAMPLED));
      const count = Math.min(data.length, SAMPLED);
      return [name, Float32Array.from({ length: count }, (_, i) => data[i * every] as number)];
    }),
  );
}

/** What one update at rate `stepLr` did, were it at `lr`: where a schedule warms up, the first is small on purpose. */
export function checkRate(before: WeightSample, after: WeightSample, lr: number, stepLr = lr): Finding[] {
  const ratios = [...before].flatMap(([name, old]) => {
    const now = after.get(name) as Float32Array;
    let [change, size] = [0, 0];
    for (let i = 0; i < old.length; i++) {
      change += ((now[i] as number) - (old[i] as number)) ** 2;
      size += (old[i] as number) ** 2;
    }
    return size > 1e-12 ? [{ name, ratio: (Math.sqrt(change / size) * lr) / stepLr }] : [];
  });
  ratios.sort((a, b) => a.ratio - b.ratio);
  const middle = ratios[Math.floor(ratios.length / 2)];
  if (!middle || (middle.ratio <= HIGH && middle.ratio >= LOW)) return [];
  const rate = Number((lr * (USUAL / Math.max(middle.ratio, 1e-12))).toPrecision(1));
  const high = middle.ratio > HIGH;
  return [
    {
      code: high ? 'RATE_HIGH' : 'RATE_LOW',
      severity: 'problem',
      message: `a step at rate ${lr} moves half of the weights by ${middle.ratio.toExponential(1)} of their size or ${high ? 'more' : 'less'} (${middle.name}); ${LOW} to ${HIGH} is usual`,
      fix:
        middle.ratio === 0
          ? 'no gradient reaches the weights: check freeze and the labels'
          : `--set optimizer.lr=${rate}`,
    },
  ];
}
