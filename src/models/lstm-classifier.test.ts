/** The recurrent classifier learns what only memory can tell, and reads padded batches as the sequences alone. */
import { describe, expect, test } from 'vitest';
import { crossEntropy } from '../nn/index.ts';
import { AdamW } from '../optim/index.ts';
import { manualSeed, type Tensor, tensor } from '../tensor/index.ts';
import { LSTMClassifier } from './index.ts';

const tokens = (rows: readonly (readonly number[])[]): Tensor =>
  tensor(Int32Array.from(rows.flat()), { shape: [rows.length, rows[0]?.length ?? 0] });

test('the first token decides, eleven steps later', async () => {
  manualSeed(5);
  const model = new LSTMClassifier({ vocabSize: 8, embeddingDim: 8, hiddenSize: 16, bidirectional: false });
  const optimizer = new AdamW(model.namedParameters(), { lr: 0.03 });
  const rows = Array.from({ length: 32 }, (_, b) => [
    b % 2,
    ...Array.from({ length: 11 }, (_, t) => 2 + ((b * 7 + t * t * 3 + b * t) % 6)),
  ]);
  const [x, y] = [tokens(rows), tensor(Int32Array.from(rows, (row) => row[0] as number))];
  let loss = Infinity;
  for (let i = 0; i < 80; i++) {
    const value = crossEntropy(model.forward(x), y);
    optimizer.zeroGrad();
    value.backward();
    optimizer.step();
    loss = await value.item();
  }
  expect(loss).toBeLessThan(0.05);
});

describe.each(['last', 'mean'] as const)('pooling %s', (pooling) => {
  test('padding does not change a sequence', async () => {
    const model = new LSTMClassifier({ vocabSize: 9, embeddingDim: 5, hiddenSize: 7, numLayers: 2, pooling });
    const whole = await model
      .forward(
        tokens([
          [3, 1, 4, 8, 8],
          [2, 7, 1, 8, 2],
        ]),
        [3, 5],
      )
      .data();
    const alone = await model.forward(tokens([[3, 1, 4]])).data();
    for (const [i, v] of alone.entries()) expect(whole[i]).toBeCloseTo(v, 5);
    const lengths = tensor(Int32Array.from([3, 5]));
    expect(
      await model
        .forward(
          tokens([
            [3, 1, 4, 0, 0],
            [2, 7, 1, 8, 2],
          ]),
          lengths,
        )
        .data(),
    ).toEqual(whole);
  });
});

test('its parameters are called as PyTorch calls them', () => {
  const model = new LSTMClassifier({ vocabSize: 9, numLayers: 2 });
  expect([...model.stateDict().keys()]).toEqual([
    'embedding.weight',
    ...['l0', 'l0_reverse', 'l1', 'l1_reverse'].flatMap((l) =>
      ['weight_ih', 'weight_hh', 'bias_ih', 'bias_hh'].map((p) => `lstm.${p}_${l}`),
    ),
    'fc.weight',
    'fc.bias',
  ]);
});

test.each([
  ['SHAPE_RANK', () => new LSTMClassifier({ vocabSize: 9 }).forward(tensor(new Int32Array(3)))],
  ['LENGTH_INVALID', () => new LSTMClassifier({ vocabSize: 9 }).forward(tokens([[1, 2]]), [3])],
  ['OPTION_INVALID', () => new LSTMClassifier({ vocabSize: 9, pooling: 'max' as never })],
  ['SIZE_INVALID', () => new LSTMClassifier({ vocabSize: 9, numLayers: 0 })],
])('%s', (code, f) => {
  expect(f).toThrow(expect.objectContaining({ code }));
});
