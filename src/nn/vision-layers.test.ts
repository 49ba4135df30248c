/** What the image layers refuse, and the properties that no golden shows. */
import { describe, expect, test } from 'vitest';
import { type CambiumError, sizeOf } from '../base/index.ts';
import { conv2d, convTranspose2d, manualSeed, normal, type Tensor, tensor, uniform, zeros } from '../tensor/index.ts';
import * as nn from './index.ts';

const codeOf = (body: () => unknown): string => {
  try {
    body();
  } catch (error) {
    return (error as CambiumError).code;
  }
  return expect.fail('nothing was thrown');
};

describe('transposed convolution', () => {
  test('is the adjoint of the convolution: <conv(x), y> = <x, convTranspose(y)>', async () => {
    manualSeed(3);
    const options = { stride: 2, padding: 1, groups: 2 } as const;
    const x = normal([2, 4, 7, 6]);
    const weight = normal([6, 2, 3, 3]);
    const y = normal([2, 6, 4, 3]);
    const outputPadding = [0, 1] as const; // 7 and 6 both go to their stride's floor
    const left = conv2d(x, weight, null, options).mul(y).sum();
    const right = x.mul(convTranspose2d(y, weight, null, { ...options, outputPadding })).sum();
    expect(await left.item()).toBeCloseTo(await right.item(), 3);
  });

  test('its gradient has a gradient', async () => {
    manualSeed(4);
    const x = normal([1, 2, 3, 3]);
    const weight = normal([2, 3, 3, 3]);
    x.requiresGrad = true;
    weight.requiresGrad = true;
    const y = convTranspose2d(x, weight, null, { stride: 2 });
    y.square().sum().backward();
    const penalty = (x.grad as Tensor).square().sum();
    weight.grad = null;
    penalty.backward();
    expect((await (weight.grad as unknown as Tensor).data()).some((v) => v !== 0)).toBe(true);
  });

  test.each([
    [() => new nn.ConvTranspose2d(3, 4, 3, { outputPadding: 1 }).forward(zeros([1, 3, 4, 4])), 'PADDING_TOO_LARGE'],
    [() => new nn.ConvTranspose2d(3, 4, 3).forward(zeros([1, 2, 4, 4])), 'CHANNELS_MISMATCH'],
    [() => new nn.ConvTranspose2d(3, 4, 3).forward(zeros([3, 4, 4])), 'SHAPE_RANK'],
    [() => new nn.ConvTranspose2d(3, 4, 3, { padding: 4 }).forward(zeros([1, 3, 2, 2])), 'INPUT_TOO_SMALL'],
    [() => new nn.ConvTranspose2d(3, 4, 3, { stride: 0 }).forward(zeros([1, 3, 2, 2])), 'WINDOW_INVALID'],
    [() => new nn.ConvTranspose2d(3, 4, 3, { groups: 2 }), 'GROUPS_INVALID'],
    [() => new nn.ConvTranspose2d(3, 0, 3), 'SIZE_INVALID'],
    [() => new nn.ConvTranspose2d(3, 4, 3).forward(zeros([1, 3, 2, 2], 'i32')), 'DTYPE_MISMATCH'],
  ])('%s', (body, code) => {
    expect(codeOf(body)).toBe(code);
  });
});

describe('refusals', () => {
  test.each([
    [() => new nn.Upsample({}), 'OPTION_INVALID'],
    [() => new nn.Upsample({ size: 4, scaleFactor: 2 }), 'OPTION_INVALID'],
    [() => new nn.Upsample({ size: 4, alignCorners: true }), 'OPTION_INVALID'],
    [() => new nn.Upsample({ size: 0 }), 'OPTION_INVALID'],
    [() => new nn.Upsample({ scaleFactor: -1 }), 'OPTION_INVALID'],
    [() => new nn.Upsample({ scaleFactor: 2 }).forward(zeros([3, 4, 4])), 'SHAPE_RANK'],
    [() => new nn.Upsample({ scaleFactor: 0.1 }).forward(zeros([1, 3, 4, 4])), 'SIZE_INVALID'],
    [() => new nn.GroupNorm(3, 4), 'GROUPS_INVALID'],
    [() => new nn.GroupNorm(2, 4).forward(zeros([1, 6, 2, 2])), 'CHANNELS_MISMATCH'],
    [() => new nn.InstanceNorm2d(4).forward(zeros([1, 4, 2])), 'SHAPE_RANK'],
    [() => new nn.InstanceNorm2d(4).forward(zeros([1, 4, 1, 1])), 'INPUT_TOO_SMALL'],
    [() => new nn.PReLU(3).forward(zeros([1, 4])), 'CHANNELS_MISMATCH'],
    [() => new nn.Hardtanh(1, 1), 'RANGE_INVALID'],
    [() => new nn.Softplus(0), 'OPTION_INVALID'],
  ])('%s', (body, code) => {
    expect(codeOf(body)).toBe(code);
  });
});

test('ELU has finite gradients where exp overflows', async () => {
  const x = tensor([200, -200, 0], { requiresGrad: true });
  new nn.ELU().forward(x).sum().backward();
  expect(await (x.grad as Tensor).toArray()).toEqual([1, 0, 1]);
});

test('nearest enlargement repeats pixels', async () => {
  const x = uniform([1, 1, 2, 2]);
  const y = new nn.Upsample({ scaleFactor: 3 }).forward(x);
  expect(y.shape).toEqual([1, 1, 6, 6]);
  const [small, large] = [await x.data(), await y.data()];
  expect(large.length).toBe(sizeOf(y.shape));
  large.forEach((v, i) => {
    expect(v).toBe(small[2 * Math.floor(i / 18) + Math.floor((i % 6) / 3)]);
  });
});
