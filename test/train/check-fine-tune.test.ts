/** The check before fine-tuning: each finding with its fix, nothing where nothing is wrong, and weights as they were. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { digits, phrases, subset, type Transform, trainWordPiece } from '../../src/data/index.ts';
import { createModel, MnistCnn, resnet20 } from '../../src/models/index.ts';
import { manualSeed } from '../../src/tensor/index.ts';
import { checkFineTune, findingsText, fineTune } from '../../src/training/index.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cambium-check-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const train = digits({ split: 'train', size: 200 });
const normal: Transform[] = [{ kind: 'normalize', mean: [0.13], std: [0.31] }];
const cnn = (): MnistCnn => {
  manualSeed(1);
  return new MnistCnn({ dropout: 0 });
};
const codes = async (options: object): Promise<string[]> => {
  const findings = await checkFineTune({ model: cnn(), data: { train }, transforms: normal, ...options });
  for (const { fix, message } of findings) expect(fix.length * message.length).toBeGreaterThan(100);
  return findings.map(({ code }) => code);
};

test('nothing where nothing is wrong; weights stay', async () => {
  const model = cnn();
  const before = await Promise.all([...model.stateDict().values()].map((v) => v.data()));
  expect(await codes({ model })).toEqual([]);
  expect(await Promise.all([...model.stateDict().values()].map((v) => v.data()))).toEqual(before);
  expect(findingsText([])).toContain('nothing');
});

test('rates', async () => {
  expect(await codes({ optimizer: { name: 'adamw', lr: 3 } })).toEqual(['RATE_HIGH']);
  expect(await codes({ optimizer: { name: 'adamw', lr: 1e-9 } })).toEqual(['RATE_LOW']);
  const [found] = await checkFineTune({
    model: cnn(),
    data: { train },
    transforms: normal,
    optimizer: { name: 'adamw', lr: 3 },
  });
  const lr = Number(/lr=(\S+)/.exec(found?.fix ?? '')?.[1]);
  expect(await codes({ optimizer: { name: 'adamw', lr } })).toEqual([]);
});

test('labels', async () => {
  const rows = (keep: (label: number) => boolean): number[] =>
    [...Array(200).keys()].filter((i) => keep(train.label(i)));
  expect(
    await codes({
      data: {
        train: subset(
          train,
          rows((l) => l === 3),
        ),
      },
    }),
  ).toContain('LABELS_ONE_CLASS');
  expect(
    await codes({
      data: {
        train: subset(
          train,
          rows((l) => l !== 3),
        ),
      },
      classWeights: 'balanced',
    }),
  ).toContain('CLASS_EMPTY');
  const few = [...rows((l) => l !== 3), ...rows((l) => l === 3).slice(0, 2)];
  expect(await codes({ data: { train: subset(train, few) } })).toEqual(['CLASSES_UNEQUAL']);
});

test('inputs: their scale, and what the weights know', async () => {
  const flat: Transform[] = [{ kind: 'normalize', mean: [0], std: [0.0001] }];
  expect(await codes({ transforms: flat })).toContain('INPUT_SCALE');
  const saveTo = join(dir, 'model');
  await fineTune({
    model: cnn(),
    data: { train },
    transforms: normal,
    saveTo,
    architecture: { name: 'mnist-cnn', dropout: 0 },
  });
  expect(await codes({ init: { weights: saveTo } })).toEqual([]);
  const other: Transform[] = [{ kind: 'normalize', mean: [0.5], std: [0.5] }];
  expect(await codes({ init: { weights: saveTo }, transforms: other })).toEqual(['INPUT_NORMALISATION']);
});

test('batch norm of single samples', async () => {
  manualSeed(1);
  expect(await codes({ model: resnet20({ inChannels: 1 }), batchSize: 1 })).toContain('BATCH_NORM_SINGLE');
});

test('texts a tokenizer does not know', async () => {
  const texts = phrases({ split: 'train', size: 60 });
  const tokenizer = await trainWordPiece(['0 1 2 3'], { vocabSize: 60 });
  manualSeed(1);
  const model = createModel('lstm-classifier', {
    vocabSize: tokenizer.vocabSize,
    numClasses: 2,
    embeddingDim: 8,
    hiddenSize: 8,
  });
  const findings = await checkFineTune({ model, data: { train: texts as never }, text: { tokenizer } });
  expect(findings.map(({ code }) => code)).toContain('TOKENS_UNKNOWN');
});
