/** What attention and transformer layers refuse, how they start, and that dropout is of training only. */
import { describe, expect, test } from 'vitest';
import { normal, type Tensor, tensor, zeros } from '../tensor/index.ts';
import * as nn from './index.ts';

const x = (): Tensor => normal([2, 4, 8]);
const refuse = (body: () => unknown, code: string) => expect(body).toThrow(expect.objectContaining({ code }));
const batchFirst = true;

describe('multi-head attention refuses', () => {
  test('sizes that do not fit', () => {
    refuse(() => new nn.MultiheadAttention(8, 3), 'HEADS_INVALID');
    refuse(() => new nn.MultiheadAttention(0, 1), 'SIZE_INVALID');
    refuse(() => new nn.MultiheadAttention(8, 2, { dropout: 2 }), 'PROBABILITY_INVALID');
    refuse(() => new nn.MultiheadAttention(8, 2).forward(normal([4, 8])), 'SHAPE_RANK');
    refuse(() => new nn.MultiheadAttention(8, 2).forward(normal([2, 4, 6])), 'FEATURES_MISMATCH');
    const attention = new nn.MultiheadAttention(8, 2, { batchFirst });
    refuse(() => attention.forward(x(), normal([3, 4, 8])), 'SHAPE_MISMATCH');
    refuse(() => attention.forward(x(), normal([2, 5, 8]), normal([2, 4, 8])), 'SHAPE_MISMATCH');
  });
  test('masks that do not fit', () => {
    const attention = new nn.MultiheadAttention(8, 2, { batchFirst });
    const masked = (masks: nn.AttentionMasks) => () => attention.forward(x(), undefined, undefined, masks);
    refuse(masked({ keyPaddingMask: zeros([2, 4], 'i32') }), 'DTYPE_MASK');
    refuse(masked({ keyPaddingMask: zeros([4, 2]) }), 'SHAPE_MISMATCH');
    refuse(masked({ attnMask: zeros([2, 4, 4]) }), 'SHAPE_MISMATCH');
  });
});

test('transformers refuse an unknown activation, no layers and too long sequences', () => {
  refuse(() => new nn.TransformerEncoderLayer(8, 2, { activation: 'swish' as 'relu' }), 'OPTION_INVALID');
  refuse(() => new nn.TransformerEncoder(() => new nn.TransformerEncoderLayer(8, 2), 0), 'SIZE_INVALID');
  refuse(() => new nn.LearnedPositions(8, { maxLength: 3 }).forward(x()), 'SHAPE_MISMATCH');
  refuse(() => new nn.SinusoidalPositions(6).forward(x()), 'SHAPE_MISMATCH');
});

test('a query that may look at nothing gives the output bias', async () => {
  const attention = new nn.MultiheadAttention(8, 2, { batchFirst });
  const keyPaddingMask = tensor([[true, true, true, true]], { dtype: 'bool' });
  const y = attention.forward(normal([1, 4, 8]), undefined, undefined, { keyPaddingMask });
  expect([...(await y.data())]).toEqual(new Array(32).fill(0));
});

test('dropout acts in training only', async () => {
  const layer = new nn.TransformerEncoderLayer(8, 2, { batchFirst, dropout: 0.5 });
  const input = x();
  const twice = async () => [[...(await layer.forward(input).data())], [...(await layer.forward(input).data())]];
  const [a, b] = await twice();
  expect(a).not.toEqual(b);
  layer.eval();
  const [c, d] = await twice();
  expect(c).toEqual(d);
});

test('biases of attention start at 0, matrices of Transformer within Xavier’s bound', async () => {
  const model = new nn.Transformer({ dModel: 8, nhead: 2, numEncoderLayers: 1, numDecoderLayers: 1 });
  const state = model.stateDict();
  const at = async (name: string) => [...((await state.get(`encoder.layers.0.${name}`)?.data()) ?? [])];
  expect(await at('self_attn.in_proj_bias')).toEqual(new Array(24).fill(0));
  expect(await at('self_attn.out_proj.bias')).toEqual(new Array(8).fill(0));
  const weights = await at('linear1.weight');
  expect(weights).toHaveLength(2048 * 8);
  expect(Math.max(...weights.map(Math.abs))).toBeLessThanOrEqual(Math.sqrt(6 / (2048 + 8)));
});

test('sinusoidal positions are sines and cosines of falling frequency', async () => {
  const y = await new nn.SinusoidalPositions(4).forward(zeros([1, 3, 4])).data();
  const row = (t: number) => [Math.sin(t), Math.cos(t), Math.sin(t / 100), Math.cos(t / 100)];
  for (const [i, value] of [...row(0), ...row(1), ...row(2)].entries()) expect(y[i]).toBeCloseTo(value, 6);
});
