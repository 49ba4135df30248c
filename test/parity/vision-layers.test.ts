/** The layers of generative and segmentation models against PyTorch, forward and backward. */
import { describe, expect, test } from 'vitest';
import * as nn from '../../src/nn/index.ts';
import { checkLayer, type LayerGolden } from './layer-case.ts';
import { golden, stream } from './streams.ts';

// The same table as LAYERS in test/golden/scripts/vision.py.
const layers: Record<string, [() => nn.Module, number[]]> = {
  convTranspose2d: [() => new nn.ConvTranspose2d(3, 4, 3), [2, 3, 5, 4]],
  convTranspose2dStrided: [() => new nn.ConvTranspose2d(4, 3, 4, { stride: 2, padding: 1, bias: false }), [2, 4, 4, 3]],
  convTranspose2dOutputPadding: [
    () => new nn.ConvTranspose2d(3, 2, 3, { stride: 2, padding: 1, outputPadding: 1 }),
    [2, 3, 4, 5],
  ],
  convTranspose2dGroups: [
    () => new nn.ConvTranspose2d(4, 6, [3, 2], { stride: [2, 3], padding: [1, 0], outputPadding: [0, 2], groups: 2 }),
    [2, 4, 4, 3],
  ],
  convTranspose2dDilated: [
    () => new nn.ConvTranspose2d(2, 3, 3, { stride: 1, padding: 1, dilation: 3, outputPadding: 2 }),
    [1, 2, 5, 4],
  ],
  convTranspose2dPoint: [() => new nn.ConvTranspose2d(5, 4, 4, { bias: false }), [3, 5, 1, 1]],
  upsampleNearest: [() => new nn.Upsample({ scaleFactor: 2 }), [2, 2, 3, 4]],
  upsampleNearestSize: [() => new nn.Upsample({ size: [5, 3] }), [2, 2, 3, 4]],
  upsampleNearestFactor: [() => new nn.Upsample({ scaleFactor: 1.7 }), [1, 2, 5, 4]],
  upsampleBilinear: [() => new nn.Upsample({ scaleFactor: 2, mode: 'bilinear' }), [2, 2, 3, 4]],
  upsampleBilinearSize: [() => new nn.Upsample({ size: [7, 3], mode: 'bilinear' }), [2, 2, 3, 4]],
  upsampleBilinearCorners: [
    () => new nn.Upsample({ size: [5, 8], mode: 'bilinear', alignCorners: true }),
    [1, 2, 3, 4],
  ],
  groupNorm: [() => new nn.GroupNorm(2, 6), [3, 6, 4, 3]],
  groupNorm2: [() => new nn.GroupNorm(3, 6, { eps: 1e-3 }), [4, 6, 2]],
  groupNormPlain: [() => new nn.GroupNorm(1, 4, { affine: false }), [2, 4, 3, 3]],
  instanceNorm1d: [() => new nn.InstanceNorm1d(3), [2, 3, 5]],
  instanceNorm2d: [() => new nn.InstanceNorm2d(3, { affine: true }), [2, 3, 4, 3]],
  leakyRelu: [() => new nn.LeakyReLU(0.2), [3, 7]],
  elu: [() => new nn.ELU(1.3), [3, 7]],
  softplus: [() => new nn.Softplus(2), [3, 7]],
  hardtanh: [() => new nn.Hardtanh(-0.7, 1.1), [3, 7]],
  relu6: [() => new nn.ReLU6(), [3, 7]],
  prelu: [() => new nn.PReLU(), [3, 7]],
  preluChannels: [() => new nn.PReLU(4), [2, 4, 3, 2]],
};

const goldens = golden<Record<string, LayerGolden>>('vision-layers');

describe('layers of vision models agree with PyTorch', () => {
  test('both tables name the same cases', () => {
    expect(Object.keys(layers)).toEqual(Object.keys(goldens));
  });

  test.each(Object.keys(layers))('%s', async (name) => {
    const [build, shape] = layers[name] as [() => nn.Module, number[]];
    await checkLayer(build(), stream(1, shape, -2, 2), goldens[name] as LayerGolden);
  });
});
