/** Every layer forward and backward against PyTorch: outputs, gradients of input and parameters, buffers. */
import { describe, expect, test } from 'vitest';
import * as nn from '../../src/nn/index.ts';
import { tensor } from '../../src/tensor/index.ts';
import { expectClose, golden, integers, stream, uniformData } from './streams.ts';

interface LayerGolden {
  shape: number[];
  y: number[];
  dx: number[] | null;
  grads: Record<string, number[]>;
  buffers: Record<string, number[]>;
}

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

/** As `fill` in the script; through loadStateDict, so that keys and order are PyTorch's too. */
function fill(module: nn.Module): void {
  const entries = [...module.stateDict()].map(([name, variable], i): [string, nn.StoredTensor] => {
    const { shape, dtype, size } = variable;
    if (name.endsWith('num_batches_tracked')) return [name, { shape, dtype, data: new Int32Array(1) }];
    const [low, high] = name.endsWith('running_var') ? [0.5, 1.5] : [-0.8, 0.8];
    return [name, { shape, dtype, data: uniformData(100 + i, size, low, high) }];
  });
  module.loadStateDict(new Map(entries));
}

const goldens = golden<Record<string, LayerGolden>>('layers');
// f32 sums in another order than PyTorch's.
const TOLERANCE = 2e-6;

describe('layers agree with PyTorch', () => {
  test('both tables name the same cases', () => {
    expect(Object.keys(layers)).toEqual(Object.keys(goldens));
  });

  test.each(Object.keys(layers))('%s', async (name) => {
    const expected = goldens[name] as LayerGolden;
    const [build, shape] = layers[name] as [() => nn.Module, number[]];
    const module = build();
    fill(module);
    const x = name === 'embedding' ? integers(1, shape, 7) : stream(1, shape, -2, 2);
    if (expected.dx) x.requiresGrad = true;
    const y = module.forward(x);
    expect(y.shape).toEqual(expected.shape);
    y.backward(stream(2, y.shape, -1, 1));

    expectClose(await y.data(), expected.y, TOLERANCE, 'y');
    if (expected.dx) expectClose(await (x.grad ?? tensor([])).data(), expected.dx, TOLERANCE, 'dx');
    const parameters = module.namedParameters();
    expect(parameters.map((p) => p.name)).toEqual(Object.keys(expected.grads));
    for (const { name: key, variable } of parameters)
      expectClose(
        await (variable.grad ?? tensor([])).data(),
        expected.grads[key] as number[],
        TOLERANCE,
        `grad ${key}`,
      );
    const buffers = module.namedBuffers();
    expect(buffers.map((b) => b.name)).toEqual(Object.keys(expected.buffers));
    for (const { name: key, variable } of buffers)
      expectClose(await variable.data(), expected.buffers[key] as number[], TOLERANCE, key);
  });
});
