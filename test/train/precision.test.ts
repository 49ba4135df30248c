/** Training in bf16 against fp32: the same data, seeds and steps; only the products differ. */
import { describe, expect, test } from 'vitest';
import { digits } from '../../src/data/index.ts';
import { GPT2, MnistCnn } from '../../src/models/index.ts';
import { crossEntropy } from '../../src/nn/index.ts';
import { AdamW } from '../../src/optim/index.ts';
import { autocast, manualSeed, type Precision, tensor } from '../../src/tensor/index.ts';
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

/** Losses of a small GPT that learns the next letter of a text. */
async function written(precision: Precision): Promise<number[]> {
  manualSeed(1);
  const text = 'the quick brown fox jumps over the lazy dog, and the lazy dog sleeps under the brown tree. '.repeat(8);
  const letters = [...new Set(text)].sort();
  const ids = Int32Array.from(text, (letter) => letters.indexOf(letter));
  const [batch, steps] = [8, 32];
  const quiet = { residPdrop: 0, embdPdrop: 0, attnPdrop: 0 };
  const model = new GPT2({ vocabSize: letters.length, nPositions: steps, nEmbd: 64, nLayer: 2, nHead: 2, ...quiet });
  const optimizer = new AdamW(model.namedParameters(), { lr: 3e-3 });
  const losses: number[] = [];
  for (let step = 0; step < 80; step++) {
    const cut = (shift: number): Int32Array =>
      Int32Array.from({ length: batch * steps }, (_, i) => {
        const from = (step * 37 + Math.floor(i / steps) * 83) % (ids.length - steps - 1);
        return ids[from + (i % steps) + shift] as number;
      });
    const loss = autocast(precision, () => {
      const logits = model.forward(tensor(cut(0), { shape: [batch, steps] }));
      return crossEntropy(logits.reshape([-1, letters.length]), tensor(cut(1)));
    });
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    losses.push(await loss.item());
  }
  return losses;
}

describe('bf16 training', () => {
  test('a GPT learns as in fp32, by other roundings', { timeout: 120_000 }, async () => {
    const [fp32, bf16] = [await written('fp32'), await written('bf16')];
    const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
    expect(bf16).not.toEqual(fp32);
    expect(mean(fp32.slice(-20))).toBeLessThan(mean(fp32.slice(0, 20)) - 1);
    for (let from = 0; from < 80; from += 20)
      expect(Math.abs(mean(bf16.slice(from, from + 20)) - mean(fp32.slice(from, from + 20)))).toBeLessThan(0.03);
  });

  test('learns digits as fp32 does, by other roundings', { timeout: 120_000 }, async () => {
    const [fp32, bf16] = [await trained('fp32'), await trained('bf16')];
    const [a, b] = [fp32.at(-1), bf16.at(-1)];
    expect(b?.trainLoss).not.toBe(a?.trainLoss);
    expect(Math.abs((b?.trainLoss as number) - (a?.trainLoss as number))).toBeLessThan(0.05);
    expect(Math.abs((b?.validation?.accuracy as number) - (a?.validation?.accuracy as number))).toBeLessThan(0.05);
  });

  test('refuses an unknown precision', async () => {
    await expect(fineTune(options({ precision: 'fp16' as Precision }))).rejects.toMatchObject({
      code: 'OPTION_INVALID',
    });
  });
});
