/** Gradients of pictures and transposed convolutions to few channels: equal to the reference, with and without leftovers. */
import { afterAll, describe, expect, test } from 'vitest';
import { ReferenceBackend } from '../backend/reference/index.ts';
import { conv2d, convTranspose2d, currentBackend, normal, type Tensor, tensor, useBackend } from '../tensor/index.ts';

const native = currentBackend();
afterAll(() => useBackend(undefined));

async function gradientOfPicture(
  x: Float32Array,
  w: Float32Array,
  options: object,
  shapes: number[][],
): Promise<number[]> {
  const image = tensor(x, { shape: shapes[0] as number[], requiresGrad: true });
  const y = conv2d(image, tensor(w, { shape: shapes[1] as number[] }), null, options);
  y.square().sum().backward();
  return Array.from(await (image.grad as Tensor).data());
}

describe.skipIf(native.name === 'reference')('overlapping windows', () => {
  test.each([
    ['stride 2, nothing left over', [2, 3, 8, 8], [5, 3, 4, 4], { stride: 2, padding: 1 }],
    ['rows left over', [2, 3, 9, 11], [4, 3, 2, 4], { stride: 2, padding: 0 }],
    ['a stride that does not divide', [2, 3, 9, 8], [4, 3, 7, 3], { stride: 2, padding: [3, 1] }],
    ['stride above the kernel', [1, 2, 8, 7], [3, 2, 2, 1], { stride: 3 }],
    ['stride 1', [1, 2, 5, 6], [3, 2, 3, 3], { padding: 1 }],
    ['uneven strides', [2, 1, 7, 9], [6, 1, 3, 4], { stride: [3, 2], padding: [1, 2] }],
    ['one channel from one', [1, 1, 6, 4], [1, 1, 2, 2], { stride: 2 }],
  ])('%s', async (_, image, weight, options) => {
    const size = (shape: number[]): number => shape.reduce((a, b) => a * b, 1);
    const x = (await normal([size(image)]).data()) as Float32Array;
    const w = (await normal([size(weight)]).data()) as Float32Array;
    const got = await gradientOfPicture(x, w, options, [image, weight]);
    useBackend(new ReferenceBackend());
    const wanted = await gradientOfPicture(x, w, options, [image, weight]);
    useBackend(native);
    got.forEach((v, i) => {
      expect(Math.abs(v - (wanted[i] as number))).toBeLessThan(2e-4);
    });
  });

  test('an activation behind it, and images of both layouts', async () => {
    const z = normal([3, 20, 5, 4]);
    const w = normal([20, 2, 4, 4]);
    await z.realize();
    await w.realize();
    const picture = (): Tensor =>
      convTranspose2d(z, w, null, { stride: 2, padding: 1 }).tanh().mul(0.5).permute(0, 2, 3, 1);
    const got = await picture().data();
    useBackend(new ReferenceBackend());
    const wanted = await picture().data();
    useBackend(native);
    got.forEach((v, i) => {
      expect(Math.abs(v - (wanted[i] as number))).toBeLessThan(1e-4);
    });
  });
});
