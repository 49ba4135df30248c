/** One layer against its golden: output, gradients of input and parameters, buffers. */
import { expect } from 'vitest';
import type * as nn from '../../src/nn/index.ts';
import { type Tensor, tensor } from '../../src/tensor/index.ts';
import { expectClose, stream, uniformData } from './streams.ts';

export interface LayerGolden {
  shape: number[];
  y: number[];
  dx: number[] | null;
  grads: Record<string, number[]>;
  buffers: Record<string, number[]>;
}

// f32 sums in another order than PyTorch's.
const TOLERANCE = 2e-6;

/** As `fill` in the script; through loadStateDict, so that keys and order are PyTorch's too. */
export function fill(module: nn.Module): void {
  const entries = [...module.stateDict()].map(([name, variable], i): [string, nn.StoredTensor] => {
    const { shape, dtype, size } = variable;
    if (name.endsWith('num_batches_tracked')) return [name, { shape, dtype, data: new Int32Array(1) }];
    const [low, high] = name.endsWith('running_var') ? [0.5, 1.5] : [-0.8, 0.8];
    return [name, { shape, dtype, data: uniformData(100 + i, size, low, high) }];
  });
  module.loadStateDict(new Map(entries));
}

/** Fills `module` as the script did, runs it forward and backward on `x`, and compares everything. */
export async function checkLayer(module: nn.Module, x: Tensor, expected: LayerGolden): Promise<void> {
  fill(module);
  if (expected.dx) x.requiresGrad = true;
  const y = module.forward(x);
  expect(y.shape).toEqual(expected.shape);
  y.backward(stream(2, y.shape, -1, 1));

  expectClose(await y.data(), expected.y, TOLERANCE, 'y');
  if (expected.dx) expectClose(await (x.grad ?? tensor([])).data(), expected.dx, TOLERANCE, 'dx');
  const parameters = module.namedParameters();
  expect(parameters.map((p) => p.name)).toEqual(Object.keys(expected.grads));
  for (const { name: key, variable } of parameters)
    expectClose(await (variable.grad ?? tensor([])).data(), expected.grads[key] as number[], TOLERANCE, `grad ${key}`);
  const buffers = module.namedBuffers();
  expect(buffers.map((b) => b.name)).toEqual(Object.keys(expected.buffers));
  for (const { name: key, variable } of buffers)
    expectClose(await variable.data(), expected.buffers[key] as number[], TOLERANCE, key);
}
