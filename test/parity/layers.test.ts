/** Every layer forward and backward against PyTorch: outputs, gradients of input and parameters, buffers. */
import { describe, expect, test } from 'vitest';
import * as nn from '../../src/nn/index.ts';
import { checkLayer, type LayerGolden } from './layer-case.ts';
import { golden, integers, stream } from './streams.ts';

// The same table as LAYERS in the script: how the layer is made, and the shape of its input.
const layers: Record<string, [() => nn.Module, number[]]> = {
  linear: [() => new nn.Linear(5, 4), [3, 5]],
  linear3d: [() => new nn.Linear(5, 4, { bias: false }), [2, 3, 5]],
  conv2d: [() => new nn.Conv2d(3, 4, 3, { padding: 1 }), [2, 3, 6, 5]],
  conv2dStrided: [() => new nn.Conv2d(4, 6, [3, 2], { stride: 2, padding: [1, 0], groups: 2 }), [2, 4, 7, 6]],
  conv2dDilated: [() => new nn.Conv2d(2, 3, 3, { dilation: 2, bias: false }), [1, 2, 7, 8]],
  batchNorm1d: [() => new nn.BatchNorm1d(4), [6, 4]],
  batchNorm1dLength: [() => new nn.BatchNorm1d(3, { momentum: 0.3 }), [4, 3, 5]],
  batchNorm2d: [() => new nn.BatchNorm2d(3), [4, 3, 3, 2]],
  batchNorm2dEval: [() => new nn.BatchNorm2d(3).eval(), [2, 3, 3, 2]],
  layerNorm: [() => new nn.LayerNorm(6), [4, 6]],
  layerNorm2: [() => new nn.LayerNorm([3, 4], { eps: 1e-3 }), [2, 3, 4]],
  relu: [() => new nn.ReLU(), [3, 7]],
  gelu: [() => new nn.GELU(), [3, 7]],
  geluTanh: [() => new nn.GELU({ approximate: 'tanh' }), [3, 7]],
  silu: [() => new nn.SiLU(), [3, 7]],
  tanh: [() => new nn.Tanh(), [3, 7]],
  sigmoid: [() => new nn.Sigmoid(), [3, 7]],
  softmax: [() => new nn.Softmax(), [3, 7]],
  softmaxChannels: [() => new nn.Softmax(1), [2, 3, 4]],
  logSoftmax: [() => new nn.LogSoftmax(), [3, 7]],
  maxPool2d: [() => new nn.MaxPool2d(2), [2, 3, 6, 5]],
  maxPool2dPadded: [() => new nn.MaxPool2d(3, { stride: 2, padding: 1 }), [2, 2, 6, 7]],
  maxPool2dCeil: [() => new nn.MaxPool2d(3, { stride: 2, ceilMode: true }), [1, 2, 6, 7]],
  avgPool2d: [() => new nn.AvgPool2d(3, { stride: 2, padding: 1 }), [2, 2, 6, 7]],
  avgPool2dNoPad: [() => new nn.AvgPool2d(3, { stride: 2, padding: 1, countIncludePad: false }), [2, 2, 6, 7]],
  adaptiveAvgPool2d: [() => new nn.AdaptiveAvgPool2d([2, 3]), [2, 2, 5, 7]],
  adaptiveAvgPool2dGrow: [() => new nn.AdaptiveAvgPool2d(7), [1, 2, 1, 3]],
  flatten: [() => new nn.Flatten(), [2, 3, 4]],
  embedding: [() => new nn.Embedding(7, 3), [2, 5]],
  sequential: [
    () =>
      new nn.Sequential(
        new nn.Conv2d(1, 3, 3),
        new nn.BatchNorm2d(3),
        new nn.ReLU(),
        new nn.Flatten(),
        new nn.Linear(27, 2),
      ),
    [3, 1, 5, 5],
  ],
};

const goldens = golden<Record<string, LayerGolden>>('layers');
describe('layers agree with PyTorch', () => {
  test('both tables name the same cases', () => {
    expect(Object.keys(layers)).toEqual(Object.keys(goldens));
  });

  test.each(Object.keys(layers))('%s', async (name) => {
    const [build, shape] = layers[name] as [() => nn.Module, number[]];
    const x = name === 'embedding' ? integers(1, shape, 7) : stream(1, shape, -2, 2);
    await checkLayer(build(), x, goldens[name] as LayerGolden);
  });
});
