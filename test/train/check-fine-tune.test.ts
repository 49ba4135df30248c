/** The check before fine-tuning: each finding with its fix, nothing where nothing is wrong, and weights as they were. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digits, phrases, subset, type Transform, trainWordPiece } from '../../src/data/index.ts';
import { createModel, MnistCnn, resnet20 } from '../../src/models/index.ts';
import { manualSeed } from '../../src/tensor/index.ts';
import {
  checkFineTune,
  type FineTuneOptions,
  findingsText,
  fineTune,
  on,
  parseRecipe,
  resumeRun,
  runRecipe,
} from '../../src/training/index.ts';

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

describe('at the start of a run', () => {
  const notices = async (options: Partial<FineTuneOptions>) => {
    const texts: string[] = [];
    manualSeed(2);
    const model = resnet20({ inChannels: 1 });
    const { history } = await fineTune({
      model,
      data: { train, validation: subset(train, [...Array(40).keys()]) },
      transforms: [{ kind: 'randomAffine', degrees: 5 }, ...normal],
      init: { weights: join(dir, 'resnet') },
      optimizer: { name: 'adamw', lr: 1e-3 },
      batchSize: 50,
      epochs: 2,
      seed: 5,
      listeners: [on({ notice: ({ text }) => void texts.push(text) })],
      ...options,
    });
    const weights = await Promise.all([...model.stateDict().values()].map((v) => v.data()));
    return { found: texts.flatMap((text) => /^check, \w+ (\w+)/.exec(text)?.[1] ?? []), history, weights };
  };
  beforeAll(async () => {
    manualSeed(9);
    await fineTune({
      model: resnet20({ inChannels: 1 }),
      data: { train },
      transforms: normal,
      saveTo: join(dir, 'resnet'),
      architecture: { name: 'resnet20', inChannels: 1 },
    });
  });

  test('says what is wrong with its fix, and training is the same to the bit without', async () => {
    const wrong = {
      transforms: [{ kind: 'normalize', mean: [0.5], std: [0.5] }] as Transform[],
      optimizer: { name: 'adamw', lr: 3 } as const,
    };
    const [told, silent] = [await notices(wrong), await notices({ ...wrong, check: 'off' })];
    expect([told.found, silent.found]).toEqual([['INPUT_NORMALISATION', 'RATE_HIGH'], []]);
    expect(told.history).toEqual(silent.history);
    expect(told.weights).toEqual(silent.weights);
  });

  test('nothing where nothing is wrong, under a warm-up, or where a new head alone trains', async () => {
    expect((await notices({ schedule: { name: 'linear', warmup: 0.5 } })).found).toEqual([]);
    expect(
      (
        await notices({
          freeze: { belowDepth: 'head' },
          freezeBatchNorm: true,
          init: { weights: join(dir, 'resnet'), head: 'new' },
          optimizer: { name: 'adamw', lr: 0.05 },
        })
      ).found,
    ).toEqual([]);
    const recipe = parseRecipe({
      name: 'check',
      data: { name: 'digits', digits: { train: 100, test: 20 }, validation: 20 },
      transforms: [{ kind: 'normalize', mean: [0.5], std: [0.5] }],
      model: { name: 'resnet20', inChannels: 1 },
      init: { weights: join(dir, 'resnet') },
      optimizer: { name: 'adamw', lr: 1e-3 },
      batchSize: 20,
      epochs: 2,
    });
    const out = join(dir, 'run');
    const texts: string[] = [];
    const keep = on({ notice: ({ text }) => void texts.push(text) });
    const stop = on({
      step: ({ step }) => {
        if (step === 6) throw new Error('cut');
      },
    });
    await expect(runRecipe(recipe, { out, listeners: [keep, stop] })).rejects.toThrow('cut');
    expect(texts.filter((text) => text.includes('INPUT_NORMALISATION'))).toHaveLength(1);
    await resumeRun(out, { listeners: [keep] });
    expect(texts.filter((text) => text.includes('INPUT_NORMALISATION'))).toHaveLength(1);
  });
});
