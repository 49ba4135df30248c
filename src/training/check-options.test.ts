/** Options no type has checked: unknown names and wrong values are refused before anything is done. */
import { expect, test } from 'vitest';
import type { CambiumError } from '../base/index.ts';
import { digits } from '../data/index.ts';
import { MnistCnn } from '../models/index.ts';
import { fineTune, pretrain } from './index.ts';

const options = { model: new MnistCnn(), data: { train: digits({ split: 'train', size: 20 }) } };
const refusal = async (call: (options: never) => Promise<unknown>, more: object): Promise<unknown[]> => {
  const error = (await call({ ...options, ...more } as never).catch((e: unknown) => e)) as CambiumError;
  return [error.code, error.details?.field, error.hint];
};

test.each([
  [{ sampler: 'blanced' }, 'OPTION_INVALID', 'sampler', 'did you mean balanced?'],
  [{ precision: 'bf61' }, 'OPTION_INVALID', 'precision', 'did you mean bf16?'],
  [{ learningRate: 1 }, 'OPTION_UNKNOWN', 'learningRate', 'did you mean optimizer.lr?'],
  [{ batchsize: 8 }, 'OPTION_UNKNOWN', 'batchsize', 'did you mean batchSize?'],
  [{ clip: { nrom: 1 } }, 'OPTION_UNKNOWN', 'clip.nrom', undefined],
  [{ optimizer: { name: 'adamw', lr: 1e-3, wieghtDecay: 1 } }, 'OPTION_UNKNOWN', 'optimizer.wieghtDecay', undefined],
  [{ seed: -1 }, 'OPTION_INVALID', 'seed', undefined],
  [{ listeners: [1] }, 'OPTION_INVALID', 'listeners[0]', undefined],
])('fineTune refuses %o', async (more, ...expected) => {
  expect(await refusal(fineTune, more)).toEqual(expected);
});

test('pretrain refuses objectives there are not, and says where supervised learning is', async () => {
  expect(await refusal(pretrain, { objective: 'rotatoin' })).toEqual([
    'OPTION_INVALID',
    'objective',
    'did you mean rotation?',
  ]);
  expect((await refusal(pretrain, { objective: 'simclr' })).slice(0, 2)).toEqual(['OPTION_INVALID', 'objective']);
  const [code, field, hint] = await refusal(pretrain, { objective: 'supervised' });
  expect([code, field]).toEqual(['OPTION_INVALID', 'objective']);
  expect(hint).toContain('fineTune');
  expect((await refusal(pretrain, { objective: 'rotation', sampler: 'balanced' })).slice(0, 2)).toEqual([
    'OPTION_UNKNOWN',
    'sampler',
  ]);
});
