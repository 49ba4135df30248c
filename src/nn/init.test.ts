/** Initial values have the range, mean and deviation of torch.nn.init's formulas. */
import { describe, expect, test } from 'vitest';
import { manualSeed, type Tensor } from '../tensor/index.ts';
import { Conv2d, Embedding, init, LayerNorm, Linear } from './index.ts';

interface Moments {
  mean: number;
  std: number;
  max: number;
}
async function momentsOf(x: Tensor): Promise<Moments> {
  const data = Array.from(await x.data());
  const mean = data.reduce((a, b) => a + b, 0) / data.length;
  const variance = data.reduce((a, b) => a + (b - mean) ** 2, 0) / data.length;
  return { mean, std: Math.sqrt(variance), max: Math.max(...data.map(Math.abs)) };
}

// fan in 50 * 9, fan out 80 * 9.
const shape = [80, 50, 3, 3];
const [fanIn, fanOut] = [450, 720];
const uniforms: [string, () => Tensor, number][] = [
  ['kaimingUniform', () => init.kaimingUniform(shape), Math.sqrt(6 / fanIn)],
  ['kaimingUniform, a = sqrt 5', () => init.kaimingUniform(shape, { a: Math.sqrt(5) }), 1 / Math.sqrt(fanIn)],
  ['xavierUniform', () => init.xavierUniform(shape, { gain: 2 }), 2 * Math.sqrt(6 / (fanIn + fanOut))],
  ['Conv2d', () => new Conv2d(50, 80, 3).weight, 1 / Math.sqrt(fanIn)],
  ['Linear', () => new Linear(200, 300).weight, 1 / Math.sqrt(200)],
  ['the bias of Linear', () => new Linear(100, 20000).bias as Tensor, 0.1],
];
const normals: [string, () => Tensor, number][] = [
  [
    'kaimingNormal, fan out',
    () => init.kaimingNormal(shape, { mode: 'fanOut', nonlinearity: 'relu' }),
    Math.sqrt(2 / fanOut),
  ],
  ['kaimingNormal, tanh', () => init.kaimingNormal(shape, { nonlinearity: 'tanh' }), 5 / 3 / Math.sqrt(fanIn)],
  ['xavierNormal', () => init.xavierNormal(shape), Math.sqrt(2 / (fanIn + fanOut))],
  ['Embedding', () => new Embedding(300, 100).weight, 1],
];

describe('distributions', () => {
  test.each(uniforms)('%s is uniform', async (_, make, bound) => {
    manualSeed(3);
    const { mean, std, max } = await momentsOf(make());
    expect(Math.abs(mean)).toBeLessThan(0.02 * bound);
    expect(std / (bound / Math.sqrt(3))).toBeCloseTo(1, 1.9);
    expect(max).toBeLessThanOrEqual(bound * (1 + 1e-6));
    expect(max).toBeGreaterThan(0.999 * bound);
  });

  test.each(normals)('%s is normal', async (_, make, sigma) => {
    manualSeed(4);
    const { mean, std, max } = await momentsOf(make());
    expect(Math.abs(mean)).toBeLessThan(0.02 * sigma);
    expect(std / sigma).toBeCloseTo(1, 1.9);
    expect(max).toBeGreaterThan(3.5 * sigma);
  });

  test('truncNormal stays inside, with the deviation of a cut normal', async () => {
    manualSeed(5);
    const { std, max } = await momentsOf(init.truncNormal([200, 200]));
    expect(max).toBeLessThanOrEqual(2);
    expect(std).toBeCloseTo(0.8796, 2);
    expect(() => init.truncNormal([2], { low: 1, high: 2 })).toThrow(/low <= mean <= high/);
  });

  test('norms start as the identity', async () => {
    const norm = new LayerNorm(3);
    expect(await norm.weight?.toArray()).toEqual([1, 1, 1]);
    expect(await norm.bias?.toArray()).toEqual([0, 0, 0]);
  });

  test('a seed names the weights', async () => {
    const draw = async (seed: number): Promise<unknown> => {
      manualSeed(seed);
      return new Linear(4, 4).weight.toArray();
    };
    expect(await draw(7)).toEqual(await draw(7));
    expect(await draw(7)).not.toEqual(await draw(8));
  });
});
