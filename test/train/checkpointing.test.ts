/** A checkpoint holds all that the next update depends on. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { crossEntropy, type Module } from '../../src/nn/index.ts';
import { Adam } from '../../src/optim/index.ts';
import { tensor, uniform } from '../../src/tensor/index.ts';
import { inStore, restoreCheckpoint } from '../../src/training/checkpointing.ts';
import { Checkpoints } from '../../src/training/run/index.ts';
import { newState, parseState } from '../../src/training/train-state.ts';
import { mlp, weightsOf } from './tiny.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cambium-checkpointing-'));
});
afterAll(() => rm(folder, { recursive: true }));

const images = uniform([8, 1, 28, 28]);
const labels = tensor(new Int32Array(8).map((_, i) => i));
async function steps(model: Module, optimizer: Adam, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    optimizer.zeroGrad();
    const loss = crossEntropy(model.forward(images), labels);
    loss.backward();
    optimizer.step();
    await loss.item();
  }
}

test('a layer unfrozen after some updates goes on as if nothing had stopped', async () => {
  const model = mlp();
  const optimizer = new Adam(model.namedParameters(), { lr: 1e-2 });
  model.freeze('layers.1');
  await steps(model, optimizer, 3);
  model.unfreeze('layers.1');
  await steps(model, optimizer, 2);
  const store = new Checkpoints(join(folder, 'checkpoints'));
  const warn = (text: string): never => expect.fail(text);
  await inStore({ run: folder, store, model, optimizer, warn }).save({ ...newState(), step: 5 }, 'signal');
  await steps(model, optimizer, 2);

  const again = mlp(2);
  const resumed = new Adam(again.namedParameters(), { lr: 1e-2 });
  const state = await restoreCheckpoint(await store.load(5), again, resumed);
  expect(state.step).toBe(5);
  expect(resumed.progress).toEqual({ stepCount: 5, missed: { 'layers.1.weight': 3, 'layers.1.bias': 3 } });
  await steps(again, resumed, 2);
  expect(await weightsOf(again)).toEqual(await weightsOf(model));
});

test.each([{}, { stepCount: -1 }, { stepCount: 3, missed: { a: 0.5 } }, { stepCount: 3, missed: 7 }])(
  'a checkpoint whose optimizer is %j is refused',
  (optimizer) => {
    expect(() => parseState({ ...newState(), optimizer }, 'state.json')).toThrow(/optimizer is/);
  },
);
