/** Features of models from elsewhere over data of any kind: labels are kept where there are some, and never asked for. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CambiumError } from '../../src/base/errors.ts';
import { hintOf } from '../../src/cli/hints.ts';
import { parseTransforms, trainWordPiece } from '../../src/data/index.ts';
import { featureFormat, features, readFeatures, writeFeatures } from '../../src/features/index.ts';
import { writeSafetensors } from '../../src/io/index.ts';
import { BertForSequenceClassification, createModel, ViT } from '../../src/models/index.ts';
import { manualSeed, tensor } from '../../src/tensor/index.ts';
import { openFeatureData } from '../../src/training/feature-data.ts';
import { openFeatureModel } from '../../src/training/feature-model.ts';
import { processorTransforms } from '../../src/training/image-processor.ts';
import { arraysOf } from '../../src/training/model-weights.ts';
import { savePretrained } from '../../src/training/pretrained.ts';

let dir: string;
const at = (name: string): string => join(dir, name);
const texts = ['the film was good', 'a bad film', 'not good at all'];
const transforms = parseTransforms([{ kind: 'resize', height: 32, width: 32 }]);
const request = { split: 'test' } as const;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'cambium-any-model-'));
  manualSeed(5);
  const tokenizer = await trainWordPiece(texts, { vocabSize: 60 });
  const size = { hiddenSize: 16, numHiddenLayers: 2, numAttentionHeads: 2, intermediateSize: 32 };
  const bert = new BertForSequenceClassification({ vocabSize: tokenizer.vocabSize, numClasses: 2, ...size });
  await savePretrained(at('bert'), bert, { tokenizer, labels: ['neg', 'pos'] });

  mkdirSync(at('vit'));
  const vit = new ViT({ numClasses: 3, imageSize: 32, patchSize: 8, hiddenSize: 16, numLayers: 2, numHeads: 2 });
  await writeSafetensors(at('vit/model.safetensors'), await arraysOf(vit.stateDict()), { format: 'pt' });
  writeFileSync(
    at('vit/config.json'),
    JSON.stringify({
      model_type: 'vit',
      architectures: ['ViTForImageClassification'],
      hidden_size: 16,
      num_hidden_layers: 2,
      num_attention_heads: 2,
      intermediate_size: 64,
      image_size: 32,
      patch_size: 8,
      num_labels: 3,
    }),
  );
  const processor = { size: { height: 32, width: 32 }, image_mean: [0.5, 0.5, 0.5], image_std: [0.5, 0.5, 0.5] };
  writeFileSync(at('vit/preprocessor_config.json'), JSON.stringify(processor));

  const resnet = createModel('resnet20', { numClasses: 7 });
  await writeSafetensors(at('resnet.safetensors'), await arraysOf(resnet.stateDict()), { format: 'pt' });

  for (const folder of ['classes/test/cat', 'classes/test/dog', 'classes/train/cat', 'flat'])
    mkdirSync(at(folder), { recursive: true });
  const png = (red: number): Promise<Buffer> =>
    sharp({ create: { width: 32, height: 32, channels: 3, background: { r: red, g: 90, b: 30 } } })
      .png()
      .toBuffer();
  const pictures = [
    'classes/test/cat/1.png',
    'classes/test/dog/2.png',
    'classes/train/cat/3.png',
    'flat/b.png',
    'flat/a.png',
  ];
  for (const [i, name] of pictures.entries()) writeFileSync(at(name), await png(40 * i));
  writeFileSync(at('pictures.csv'), 'file,label\nflat/b.png,x\nflat/a.png,y\n');
  writeFileSync(at('files.csv'), 'file\nflat/b.png\nflat/a.png\n');
  writeFileSync(
    at('labelled.csv'),
    `text,label\n${texts.map((text, i) => `${text},${['pos', 'neg', 'pos'][i]}\n`).join('')}`,
  );
  writeFileSync(at('own.csv'), `text,label\n${texts.map((text, i) => `${text},${i}-stars\n`).join('')}`);
  writeFileSync(at('plain.csv'), `text\n${texts.join('\n')}\n`);
  writeFileSync(at('partly.csv'), `text,label\n${texts[0]},pos\n${texts[1]},\n`);
  writeFileSync(at('lines.txt'), `${texts.join('\n')}\n`);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe('models', () => {
  test("transformers' BERT: what enters its classifier, for texts with and without labels", async () => {
    const model = await openFeatureModel(at('bert'));
    expect(model).toMatchObject({ model: { name: 'BertForSequenceClassification' }, classes: ['neg', 'pos'] });
    const open = async (name: string) => (await openFeatureData(model, at(name), request)).part;
    const labelled = await features(model, await open('labelled.csv'));
    expect([labelled.shape, [...(labelled.labels ?? [])], labelled.classes]).toEqual([
      [3, 16],
      [1, 0, 1],
      ['neg', 'pos'],
    ]);
    for (const name of ['plain.csv', 'lines.txt']) {
      const plain = await features(model, await open(name));
      expect([plain.labels, plain.vectors]).toEqual([undefined, labelled.vectors]);
    }
    expect((await features(model, await open('own.csv'))).classes).toEqual(['0-stars', '1-stars', '2-stars']);
    // A label that only some rows have is none; asked for by name it must be everywhere.
    expect((await features(model, await open('partly.csv'))).labels).toBeUndefined();
    await expect(openFeatureData(model, at('partly.csv'), { ...request, labelColumn: 'label' })).rejects.toMatchObject({
      code: 'LABEL_MISSING',
      details: { line: 3 },
    });
  });

  test("transformers' ViT with its own preprocessing: what its blocks make of the class token", async () => {
    const model = await openFeatureModel(at('vit'));
    expect(model.preprocessing).toMatch(/preprocessor_config/);
    const { part, nameOf, transforms: own } = await openFeatureData(model, at('flat'), request);
    expect([part.length, nameOf?.(0), part.schema.labels]).toEqual([2, 'a.png', {}]);
    const { vectors } = await features({ ...model, transforms: own ?? [] }, part);
    const pixel = [160, 90, 30].map((v) => (v / 255 - 0.5) / 0.5);
    const plane = Float32Array.from({ length: 3 * 1024 }, (_, i) => pixel[Math.floor(i / 1024)] as number);
    const tokens = (model.module as ViT).vit.forward(tensor(plane, { shape: [1, 3, 32, 32] }));
    const direct = await tokens.slice(1, 0, 1).flatten().data();
    for (let j = 0; j < 16; j++) expect(vectors[j]).toBeCloseTo(direct[j] as number, 4);
  });

  test('bare weights: of a named model, with as many classes as they have, and transforms that must be told', async () => {
    const path = at('resnet.safetensors');
    await expect(openFeatureModel(path)).rejects.toMatchObject({ code: 'MODEL_UNNAMED', exitCode: 2 });
    await expect(openFeatureModel(path, { model: 'resnet20' })).rejects.toMatchObject({ code: 'TRANSFORMS_MISSING' });
    await expect(openFeatureModel(path, { model: 'vgg16', transforms })).rejects.toMatchObject({
      code: 'WEIGHTS_KEYS',
    });
    const padded = at('padded.safetensors');
    const other = createModel('resnet20', { numClasses: 7, shortcut: 'pad' });
    await writeSafetensors(padded, await arraysOf(other.stateDict()), { format: 'pt' });
    const error = await openFeatureModel(padded, { model: 'resnet20', transforms }).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'WEIGHTS_KEYS', hint: expect.stringMatching(/shortcut="projection".*--set/) });
    expect(hintOf(error as CambiumError, 'features')).toBe((error as CambiumError).hint);
    const options = { shortcut: 'pad' };
    expect((await openFeatureModel(padded, { model: 'resnet20', transforms, options })).channels).toBe(3);
    await expect(openFeatureModel(path, { model: 'bert' })).rejects.toMatchObject({ code: 'TOKENIZER_MISSING' });
    const model = await openFeatureModel(path, { model: 'resnet20', transforms });
    const { part, nameOf } = await openFeatureData(model, at('classes'), request);
    const out = at('v.parquet');
    const { origin } = await writeFeatures(out, model, part, { nameOf });
    expect(origin).toMatchObject({ model: 'resnet20', weights: model.weightsHash });
    const found = await readFeatures(out);
    expect(found).toMatchObject({ shape: [2, 64], classes: ['cat', 'dog'], origin });
    expect(found.names).toEqual(['test/cat/1.png', 'test/dog/2.png']);
    expect([...(found.labels ?? [])]).toEqual([0, 1]);
  });
});

describe('data', () => {
  const resnet = () => openFeatureModel(at('resnet.safetensors'), { model: 'resnet20', transforms });

  test('tables of pictures, and grey digits for a model of colours', async () => {
    const model = await resnet();
    const table = await openFeatureData(model, at('pictures.csv'), request);
    expect([table.part.schema.labels, table.nameOf?.(1)]).toEqual([
      { label: { kind: 'class', names: ['x', 'y'] } },
      'flat/a.png',
    ]);
    expect((await openFeatureData(model, at('files.csv'), request)).part.schema.labels).toEqual({});
    const digits = await openFeatureData(model, 'digits', { ...request, limit: 4 });
    expect(digits.transforms?.[0]).toEqual({ kind: 'channels', channels: 3 });
    const { shape } = await features({ ...model, transforms: digits.transforms ?? [] }, digits.part);
    expect(shape).toEqual([4, 64]);
  });

  test('options that would do nothing are refused, with what to do', async () => {
    const refused = { code: 'OPTION_INVALID', exitCode: 2, hint: expect.stringContaining('leave it out') };
    const bare = { model: 'resnet20', transforms };
    for (const [path, options] of [
      [at('bert'), { options: { shortcut: 'pad' } }],
      [at('bert'), { transforms }],
      [at('vit'), { tokenizer: at('bert') }],
      [at('resnet.safetensors'), { ...bare, tokenizer: at('bert') }],
    ] as const)
      await expect(openFeatureModel(path, options)).rejects.toMatchObject(refused);
    // Another tokenizer than the one in the folder is used.
    const told = await openFeatureModel(at('bert'), { tokenizer: at('bert') });
    expect(told.preprocessing).toBe(`the tokenizer of ${at('bert')}`);
    const [pictures, words] = [await resnet(), told];
    for (const [model, name] of [
      [pictures, at('flat')],
      [pictures, 'digits'],
      [words, at('labelled.csv')],
    ] as const)
      for (const more of [{ imageColumn: 'file' }, { imageDir: dir }])
        await expect(openFeatureData(model, name, { ...request, ...more })).rejects.toMatchObject(refused);
    const table = await openFeatureData(pictures, at('files.csv'), { ...request, imageColumn: 'file', imageDir: dir });
    expect(table.part.length).toBe(2);
  });

  test('mnist is MNIST: no other digits stand in for it', async () => {
    const model = await resnet();
    const before = { CAMBIUM_OFFLINE: process.env.CAMBIUM_OFFLINE, CAMBIUM_CACHE: process.env.CAMBIUM_CACHE };
    Object.assign(process.env, { CAMBIUM_OFFLINE: '1', CAMBIUM_CACHE: at('no-cache') });
    try {
      await expect(openFeatureData(model, 'mnist', request)).rejects.toMatchObject({
        exitCode: 7,
        hint: expect.stringContaining('--data-dir'),
      });
    } finally {
      for (const [name, value] of Object.entries(before))
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
    }
  });

  test('of the other kind, unknown or without the part are errors that say what would do', async () => {
    const [pictures, words] = [await resnet(), await openFeatureModel(at('bert'))];
    const wrong = { code: 'DATA_KIND', exitCode: 2, hint: expect.stringContaining('.csv') };
    await expect(openFeatureData(words, at('flat'), request)).rejects.toMatchObject(wrong);
    await expect(openFeatureData(words, 'digits', request)).rejects.toMatchObject(wrong);
    await expect(openFeatureData(pictures, at('lines.txt'), request)).rejects.toThrow(/reads pictures/);
    await expect(openFeatureData(pictures, 'phrases', request)).rejects.toThrow(/reads pictures/);
    await expect(openFeatureData(pictures, 'digts', request)).rejects.toMatchObject({ hint: 'did you mean digits?' });
    await expect(openFeatureData(pictures, undefined, request)).rejects.toMatchObject({ code: 'DATA_UNKNOWN' });
    await expect(openFeatureData(pictures, at('classes'), { split: 'validation' })).rejects.toMatchObject({
      code: 'SPLIT_MISSING',
      hint: 'there are: test, train',
    });
    await expect(openFeatureData(pictures, at('bert'), request)).rejects.toMatchObject({ code: 'FOLDER_NO_IMAGES' });
  });
});

test('a name that ends otherwise is told what features are written to', () => {
  const error = (() => {
    try {
      return featureFormat('y.foo');
    } catch (caught) {
      return caught as CambiumError;
    }
  })() as CambiumError;
  expect(hintOf(error, 'features')).toBe('end the name in .npy, .safetensors or .parquet');
});

test("a processor's fields become transforms; what is not computed is refused", () => {
  expect(
    processorTransforms({ size: { shortest_edge: 36 }, do_center_crop: true, crop_size: 32, do_normalize: false }, 'x'),
  ).toEqual([
    { kind: 'resizeShorter', size: 36 },
    { kind: 'centerCrop', height: 32, width: 32 },
  ]);
  const refused = (json: object) => () => processorTransforms(json as never, 'x');
  expect(refused({ resample: 3 })).toThrow(/resample/);
  expect(refused({ do_rescale: false })).toThrow(/do_rescale/);
  expect(refused({ size: { longest_edge: 9 } })).toThrow(/longest_edge/);
  expect(refused({ size: { height: '9', width: 9 } })).toThrow(/size.height/);
  expect(refused({ image_mean: 'no' })).toThrow(/image_mean/);
  expect(refused([])).toThrow(/an object/);
});
