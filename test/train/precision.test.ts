/** Training in bf16 against fp32: the same data, seeds and steps; only the products differ. */
import { describe, expect, test } from 'vitest';
import { digits } from '../../src/data/index.ts';
import { MnistCnn } from '../../src/models/index.ts';
import { manualSeed, type Precision } from '../../src/tensor/index.ts';
import { fineTune } from '../../src/training/index.ts';
import { options } from './tiny.ts';

const train = digits({ split: 'train', size: 480 });
const validation = digits({ split: 'test', size: 120 });

async function trained(precision: Precision) {
  manualSeed(1);
  const { history } = await fineTune(
    options({ model: new MnistCnn(), data: { train, validation }, batchSize: 32, epochs: 2, precision }),
  );
  return history;
}

describe('bf16 training', () => {
  test('learns digits as fp32 does, by other roundings', { timeout: 120_000 }, async () => {
    const [fp32, bf16] = [await trained('fp32'), await trained('bf16')];
    const [a, b] = [fp32.at(-1), bf16.at(-1)];
    expect(b?.trainLoss).not.toBe(a?.trainLoss);
    expect(Math.abs((b?.trainLoss as number) - (a?.trainLoss as number))).toBeLessThan(0.05);
    expect(Math.abs((b?.validation?.accuracy as number) - (a?.validation?.accuracy as number))).toBeLessThan(0.05);
  });

  test('refuses an unknown precision', async () => {
    await expect(fineTune(options({ precision: 'fp16' as Precision }))).rejects.toMatchObject({
      code: 'BAD_PRECISION',
    });
  });
});
