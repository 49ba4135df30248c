/** The check before fine-tuning: each finding with its fix, nothing where nothing is wrong, and weights as they were. */
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digits, phrases, subset, type Transform, trainWordPiece } from '../../src/data/index.ts';
import { createModel, MnistCnn, resnet20 } from '../../src/models/index.ts';
import { manualSeed, type Variable } from '../../src/tensor/index.ts';
import { agrees } from '../../src/training/check-inputs.ts';
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
import { caffe, imageNet } from '../../src/training/known-inputs.ts';

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

test('no rate is named with which the loss of the batch falls less than with the own', async () => {
  // Small weights move far, relative to their size, at a rate that suits the loss.
  const model = cnn();
  for (const variable of model.parameters()) variable.assign(variable.mul(0.3));
  const check = async (lr: number) => {
    const all = await checkFineTune({ model, data: { train }, transforms: normal, optimizer: { name: 'adamw', lr } });
    return all.filter(({ code }) => code === 'RATE_HIGH');
  };
  const [found, ...others] = await check(6e-3);
  expect([found?.code, others]).toEqual(['RATE_HIGH', []]);
  expect(found?.fix).not.toContain('lr=');
  expect(found?.fix).toContain('fall further');
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

test('inputs: an image processor of transformers beside the weights', async () => {
  const folder = join(dir, 'processor');
  await mkdir(folder);
  await copyFile(join(dir, 'model', 'model.safetensors'), join(folder, 'model.safetensors'));
  const found = async (processor: object): Promise<string[]> => {
    await writeFile(join(folder, 'preprocessor_config.json'), JSON.stringify(processor));
    return (await codes({ init: { weights: folder } })).filter((code) => code !== 'HEAD_KEPT');
  };
  expect(await found({ image_mean: [0.13], image_std: [0.31] })).toEqual([]);
  expect(await found({ do_rescale: false, image_mean: [33, 33, 33], image_std: [79, 79, 79] })).toEqual([]);
  expect(await found({ image_mean: [0.5], image_std: [0.5] })).toEqual(['INPUT_NORMALISATION']);
  expect(await found({ do_normalize: false, do_rescale: true })).toEqual(['INPUT_NORMALISATION']);
  for (const broken of [
    { image_mean: 'x', image_std: [1] },
    { image_mean: [0.5], image_std: [0] },
    { image_mean: [1], image_std: [1], rescale_factor: -1 },
  ])
    await expect(found(broken)).rejects.toMatchObject({ code: 'MODEL_CONFIG' });
});

test('pixels: order and scale of channels, grey and colour', () => {
  const known = { transforms: caffe, channels: 3, source: 'test' };
  const normalize = (mean: number[], std: number[]): Transform => ({ kind: 'normalize', mean, std });
  const bytes = [1 / 255, 1 / 255, 1 / 255];
  expect(agrees(known, [{ kind: 'bgr' }, normalize([104 / 255, 117 / 255, 123 / 255], bytes)], 3)).toBe(true);
  expect(agrees(known, [normalize([0.4076, 0.4588, 0.4843], bytes)], 3)).toBe(false);
  expect(agrees(known, [{ kind: 'bgr' }, ...imageNet], 3)).toBe(false);
  expect(agrees(known, [{ kind: 'resize', height: 8, width: 8 }, normalize([0.45], [1 / 255])], 1)).toBe(true);
  expect(agrees(known, [{ kind: 'channels', channels: 3 }, normalize([0.45, 0.45, 0.45], bytes)], 1)).toBe(true);
  const net = { ...known, transforms: imageNet };
  expect(agrees(net, [normalize([0.4914, 0.4822, 0.4465], [0.247, 0.2435, 0.2616])], 3)).toBe(true);
  expect(agrees(net, [normalize([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])], 3)).toBe(false);
  expect(agrees(net, [], 3)).toBe(false);
});

describe('a head or an adapter alone', () => {
  test('a rate at which the loss of a batch grows, and one at which it falls', async () => {
    const init = { weights: join(dir, 'model'), head: 'new' } as const;
    const options = {
      model: cnn(),
      data: { train },
      transforms: normal,
      freeze: { belowDepth: 'head' },
      init,
    } as const;
    const check = (lr: number) => checkFineTune({ ...options, optimizer: { name: 'adamw', lr } });
    const [found, ...others] = await check(100);
    expect([found?.code, others]).toEqual(['RATE_HIGH', []]);
    expect(found?.message).toContain('the loss of a batch goes from');
    const lr = Number(/lr=(\S+)/.exec(found?.fix ?? '')?.[1]);
    expect(lr).toBeLessThan(1);
    expect(await check(lr)).toEqual([]);
    expect((await check(1e-12)).map(({ code }) => code)).toEqual(['RATE_LOW']);
  });

  test('a kept head of small weights: judged by its losses, not by how far it moves', async () => {
    const model = cnn();
    const { structure } = model as unknown as { structure(): { head: string } };
    const weight = model.stateDict().get(`${structure.call(model).head}.weight`) as Variable;
    weight.assign(weight.mul(1e-3));
    const check = (lr: number, more: object = {}) =>
      checkFineTune({ model, data: { train }, transforms: normal, optimizer: { name: 'adamw', lr }, ...more });
    const alone = { freeze: { belowDepth: 'head' } };
    expect(await check(1e-2, alone)).toEqual([]);
    expect((await check(1e-12, alone)).map(({ code }) => code)).toEqual(['RATE_LOW']);
    expect((await check(100, alone)).map(({ code }) => code)).toEqual(['RATE_HIGH']);
  });

  test('adapters of a text model', async () => {
    const tokenizer = await trainWordPiece(['good bad food hotel 好 坏 吃 店'], { vocabSize: 80 });
    const check = (lr: number) => {
      manualSeed(1);
      const sizes = { hiddenSize: 16, numHiddenLayers: 1, numAttentionHeads: 2, intermediateSize: 16 };
      const model = createModel('bert', { vocabSize: tokenizer.vocabSize, numClasses: 2, dropout: 0, ...sizes });
      return checkFineTune({
        model,
        data: { train: phrases({ split: 'train', size: 48 }) as never },
        text: { tokenizer, maxLength: 16 },
        adapter: { name: 'lora', rank: 4 },
        freeze: ['classifier.*'],
        optimizer: { name: 'adamw', lr },
      });
    };
    expect((await check(10)).map(({ code }) => code)).toContain('RATE_HIGH');
    expect((await check(1e-3)).map(({ code }) => code)).not.toContain('RATE_HIGH');
  });
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
  const some = subset(train, [...Array(60).keys()]);
  const notices = async (options: Partial<FineTuneOptions>) => {
    const texts: string[] = [];
    manualSeed(2);
    const model = resnet20({ inChannels: 1 });
    const { history } = await fineTune({
      model,
      data: { train: some, validation: subset(train, [...Array(10).keys()]) },
      transforms: [{ kind: 'randomAffine', degrees: 5 }, ...normal],
      init: { weights: join(dir, 'resnet') },
      optimizer: { name: 'adamw', lr: 1e-3 },
      batchSize: 30,
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
      data: { train: some },
      transforms: normal,
      batchSize: 20,
      saveTo: join(dir, 'resnet'),
      architecture: { name: 'resnet20', inChannels: 1 },
    });
  });

  test('weights without a word on their inputs: their first batch norm remembers them; heads are told of', async () => {
    const weights = join(dir, 'bare.safetensors');
    await copyFile(join(dir, 'resnet', 'model.safetensors'), weights);
    const check = (transforms: Transform[]) =>
      checkFineTune({ model: resnet20({ inChannels: 1 }), data: { train: some }, transforms, init: { weights } });
    const [kept, ...others] = await check(normal);
    expect([kept?.code, kept?.severity, others]).toEqual(['HEAD_KEPT', 'note', []]);
    const found = await check([{ kind: 'normalize', mean: [0], std: [0.03] }]);
    expect(found.map(({ code, severity }) => [code, severity])).toContainEqual(['INPUT_STATISTICS', 'problem']);
    expect(found.find(({ code }) => code === 'INPUT_STATISTICS')?.message).toMatch(/reach bn1 .* running statistics/);
    const two = digits({ split: 'train', size: 60, seed: 4 });
    const classes = { ...two.schema, labels: { label: { kind: 'class', names: ['a', 'b', 'c'] } } } as const;
    const low = subset(
      two,
      [...Array(60).keys()].filter((i) => two.label(i) < 3),
    );
    const few = { name: 'few', length: low.length, schema: classes, get: (i: number) => low.get(i) };
    const [fresh] = await checkFineTune({
      model: resnet20({ inChannels: 1, numClasses: 3 }),
      data: { train: few as never },
      transforms: normal,
      init: { weights },
    });
    expect(fresh).toMatchObject({ code: 'HEAD_NEW', severity: 'note' });
    expect(fresh?.message).toContain('has 10 outputs, the data need 3');
    expect(fresh?.fix).toContain('{params: fc, lrScale: 10}');
    expect(findingsText(fresh ? [fresh] : [])).toContain('nothing found');
  });

  test('says what is wrong with its fix, and training is the same to the bit without', async () => {
    const wrong = {
      transforms: [{ kind: 'normalize', mean: [0.5], std: [0.5] }] as Transform[],
      optimizer: { name: 'adamw', lr: 3 } as const,
      ema: { decay: 0.9 },
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
      data: { name: 'digits', digits: { train: 80, test: 10 }, validation: 10 },
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
