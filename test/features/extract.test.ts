/** Vectors of named layers: equal to what the model computes there, in order, for pictures and texts; and as files. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet';
import { afterAll, describe, expect, test } from 'vitest';
import type { CambiumError } from '../../src/base/index.ts';
import { digits, phrases, plainTexts, subset, trainWordPiece } from '../../src/data/index.ts';
import {
  type FeatureOptions,
  featureBatches,
  features,
  layerShapes,
  pool,
  writeFeatures,
} from '../../src/features/index.ts';
import { readNpy, readSafetensors } from '../../src/io/index.ts';
import { createModel, MnistCnn } from '../../src/models/index.ts';
import type { Linear, Module } from '../../src/nn/index.ts';
import { tokenInputs } from '../../src/tasks/index.ts';
import { manualSeed, tensor } from '../../src/tensor/index.ts';

const dir = mkdtempSync(join(tmpdir(), 'cambium-features-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const cnn = (): MnistCnn => {
  manualSeed(3);
  return new MnistCnn({ dropout: 0.5 });
};
const data = digits({ split: 'test', size: 30 });
const failure = async (body: () => Promise<unknown>): Promise<CambiumError> =>
  body().then(
    () => expect.fail('nothing was thrown'),
    (error: unknown) => error as CambiumError,
  );
const row = (values: ArrayLike<number>, i: number, width: number): number[] =>
  Array.from({ length: width }, (_, j) => values[i * width + j] as number);

describe('features', () => {
  test('are what enters the head by default: the head makes the logits of them', async () => {
    const model = cnn();
    const found = await features(model, data, { batchSize: 7 });
    expect(found).toMatchObject({ shape: [30, 128], layer: 'input of fc2', pooling: 'auto', layerShape: [128] });
    expect([...found.ids]).toEqual(Array.from({ length: 30 }, (_, i) => i));
    expect([...(found.labels ?? [])]).toEqual([...Array(30)].map((_, i) => data.get(i).label));
    expect(found.classes).toHaveLength(10);
    const logits = await features(model, data, { layer: 'head', batchSize: 30 });
    const again = await (model.fc2 as Linear).forward(tensor(found.vectors, { shape: [30, 128] })).data();
    for (let i = 0; i < again.length; i++) expect(again[i]).toBeCloseTo(logits.vectors[i] as number, 4);
  });

  test('do not depend on the batch, on the mode before, nor change it', async () => {
    const model = cnn().train();
    const [a, b] = [await features(model, data, { batchSize: 4 }), await features(model, data, { batchSize: 64 })];
    expect(Math.max(...a.vectors.map((v, i) => Math.abs(v - (b.vectors[i] as number))))).toBeLessThan(1e-5);
    expect(model.dropout1.training).toBe(true);
  });

  test('of maps: average, maximum, everything; ids stay those of the set a view is of', async () => {
    const part = subset(data, [9, 4]);
    const of = (options: FeatureOptions) => features(cnn(), part, { layer: 'conv1', ...options });
    const [flat, mean, max] = [await of({ pooling: 'flatten' }), await of({}), await of({ pooling: 'max' })];
    expect([flat.shape, mean.shape, max.shape]).toEqual([
      [2, 32 * 26 * 26],
      [2, 32],
      [2, 32],
    ]);
    const map = row(flat.vectors, 1, 32 * 676).slice(676, 2 * 676);
    expect(mean.vectors[32 + 1]).toBeCloseTo(map.reduce((s, v) => s + v, 0) / 676, 5);
    expect(max.vectors[32 + 1]).toBeCloseTo(Math.max(...map), 5);
    expect([...flat.ids]).toEqual([9, 4]);
  });

  test('as a stream hold one batch at a time, and may be left', async () => {
    const model = cnn().train();
    for await (const batch of featureBatches(model, data, { batchSize: 8 })) {
      expect(batch.vectors).toHaveLength(8 * 128);
      break;
    }
    expect(model.training).toBe(true);
  });

  test('of a layer there is not: the nearest name; of one that is not run, or gives no rows', async () => {
    expect(await failure(() => features(cnn(), data, { layer: 'conv3' }))).toMatchObject({
      code: 'NO_SUCH_MODULE',
      hint: 'did you mean "conv1"?',
    });
    expect(await failure(() => features(cnn(), data, { layer: 'input of fc3' }))).toMatchObject({
      hint: 'did you mean "input of fc1"?',
    });
    expect((await failure(() => features(cnn(), data, { layer: 'transformer' }))).hint).toMatch(/it has conv1, conv2/);
    expect((await layerShapes(cnn(), data)).slice(0, 2)).toEqual([
      { path: 'conv1', type: 'Conv2d', shape: [32, 26, 26] },
      { path: 'conv2', type: 'Conv2d', shape: [64, 24, 24] },
    ]);
    const pooled = await failure(() => features(cnn(), data, { layer: 'fc1', pooling: 'cls' }));
    expect(pooled).toMatchObject({ code: 'POOLING_INVALID', details: { field: 'pooling' } });
    expect((await failure(() => features(cnn(), data, { batchSize: 0 }))).code).toBe('OPTION_INVALID');
  });

  test('that are not finite name the sample', async () => {
    const model = cnn();
    model.fc1.weight.assign(model.fc1.weight.mul(Number.NaN));
    expect(await failure(() => features(model, data))).toMatchObject({ code: 'NON_FINITE', details: { sample: 0 } });
  });
});

describe('of texts', () => {
  const set = phrases({ split: 'test', size: 12 });
  const tokens = async () => ({ tokenizer: await trainWordPiece(set.texts, { vocabSize: 300 }), maxLength: 24 });
  const bert = (vocabSize: number): Module => {
    manualSeed(1);
    const size = { hiddenSize: 16, numHiddenLayers: 2, numAttentionHeads: 2, intermediateSize: 32 };
    return createModel('bert', { vocabSize, numClasses: 2, ...size });
  };

  test('first token, and mean and maximum of tokens without padding', async () => {
    const text = await tokens();
    const model = bert(text.tokenizer.vocabSize);
    const layer = 'bert.encoder';
    const of = (pooling: FeatureOptions['pooling'], batchSize: number) =>
      features(model, set, { text, layer, pooling, batchSize });
    for (const pooling of ['cls', 'mean', 'max', 'auto'] as const) {
      // Alone a text has next to no padding.
      const [together, alone] = [await of(pooling, 12), await of(pooling, 1)];
      expect(together.shape).toEqual([12, 16]);
      for (let i = 0; i < together.vectors.length; i++)
        expect(together.vectors[i]).toBeCloseTo(alone.vectors[i] as number, 4);
    }
    const batch = text.tokenizer.encodeBatch([set.texts[0] as string], { maxLength: 24 });
    const direct = await (model.eval() as unknown as { bert: Module }).bert.forward(tokenInputs(batch) as never).data();
    const cls = await of('cls', 12);
    for (let j = 0; j < 16; j++) expect(cls.vectors[j]).toBeCloseTo(direct[j] as number, 4);
  });

  test('of an LSTM classifier: what enters its head; texts without labels', async () => {
    const text = await tokens();
    manualSeed(1);
    const size = { vocabSize: text.tokenizer.vocabSize, embeddingDim: 8, hiddenSize: 6 };
    const model = createModel('lstm-classifier', size);
    const found = await features({ module: model, text }, plainTexts(set.texts.slice(0, 5)));
    expect(found.shape).toEqual([5, 12]);
    expect(found.labels).toBeUndefined();
    expect((await failure(() => features(model, set))).code).toBe('TOKENIZER_MISSING');
    const ragged = await failure(() =>
      features(bert(text.tokenizer.vocabSize), set, { text, layer: 'bert', pooling: 'flatten', batchSize: 1 }),
    );
    expect(ragged).toMatchObject({ code: 'FEATURES_RAGGED', details: { field: 'pooling' } });
  });

  test('of a recurrent layer: its steps are pooled, padding not', async () => {
    const text = await tokens();
    manualSeed(1);
    const size = { vocabSize: text.tokenizer.vocabSize, embeddingDim: 8, hiddenSize: 6 };
    const [last, mean] = ['last', 'mean'].map((pooling) => createModel('lstm-classifier', { ...size, pooling })) as [
      Module,
      Module,
    ];
    last.loadStateDict(mean.stateDict());
    // The classifier that averages its steps knows the answer.
    const wanted = await features({ module: mean, text }, set);
    for (const batchSize of [set.length, 5, 1]) {
      const found = await features({ module: last, text }, set, { layer: 'lstm', pooling: 'mean', batchSize });
      expect(found.shape).toEqual([12, 12]);
      for (let i = 0; i < wanted.vectors.length; i++)
        expect(found.vectors[i]).toBeCloseTo(wanted.vectors[i] as number, 4);
    }
    for (const layer of ['embedding', 'input of lstm'])
      expect((await features({ module: last, text }, set, { layer, pooling: 'max' })).shape).toEqual([12, 8]);
    const shapes = await layerShapes({ module: last, text }, set);
    expect(shapes.map(({ path, shape }) => [path, shape?.length])).toEqual([
      ['embedding', 2],
      ['lstm', 2],
      ['dropout', 1],
      ['fc', 1],
    ]);
  });

  test('a text without tokens pools to zeros', async () => {
    const x = tensor(Float32Array.of(1, 2, 3, 4), { shape: [2, 2, 1] });
    const mask = tensor(Int32Array.of(1, 0, 0, 0), { shape: [2, 2] });
    expect([...(await pool(x, 'mean', mask).data())]).toEqual([1, 0]);
  });
});

describe('files', () => {
  test.each(['npy', 'safetensors', 'parquet'])('.%s holds vectors, ids and labels', async (kind) => {
    const path = join(dir, `digits.${kind}`);
    const wanted = await features(cnn(), data);
    const written = await writeFeatures(path, cnn(), data, { batchSize: 7 });
    expect(written).toMatchObject({ shape: [30, 128], layer: 'input of fc2', labelled: true });
    let found: { vectors: ArrayLike<number>; ids: ArrayLike<number>; labels: ArrayLike<number> };
    if (kind === 'npy') {
      const vectors = await readNpy(path);
      expect(vectors.shape).toEqual([30, 128]);
      const [ids, labels] = [await readNpy(join(dir, 'digits.ids.npy')), await readNpy(join(dir, 'digits.labels.npy'))];
      found = { vectors: vectors.data, ids: ids.data, labels: labels.data };
    } else if (kind === 'safetensors') {
      const { tensors, metadata } = await readSafetensors(path);
      const of = (name: string) => tensors.get(name)?.data ?? [];
      found = { vectors: of('features'), ids: of('ids'), labels: of('labels') };
      expect(metadata.get('layer')).toBe('input of fc2');
    } else {
      const rows = await parquetReadObjects({ file: await asyncBufferFromFile(path) });
      expect(rows[3]?.class).toBe(wanted.classes?.[wanted.labels?.[3] as number]);
      found = {
        vectors: rows.flatMap((r) => r.features),
        ids: rows.map((r) => r.id),
        labels: rows.map((r) => r.label),
      };
    }
    expect(Array.from(found.ids)).toEqual([...wanted.ids]);
    expect(Array.from(found.labels)).toEqual([...(wanted.labels ?? [])]);
    expect(found.vectors).toHaveLength(30 * 128);
    for (let i = 0; i < wanted.vectors.length; i++)
      expect(Math.abs((found.vectors[i] as number) - (wanted.vectors[i] as number))).toBeLessThan(1e-5);
  });

  test('are not begun for a layer there is not, nor left half-written', async () => {
    const before = readdirSync(dir);
    expect((await failure(() => writeFeatures(join(dir, 'x.csv'), cnn(), data))).code).toBe('FORMAT_UNKNOWN');
    expect((await failure(() => writeFeatures(join(dir, 'x.npy'), cnn(), data, { layer: 'fc' }))).code).toBe(
      'NO_SUCH_MODULE',
    );
    const model = cnn();
    // The second batch fails: nothing may be left of the first.
    const broken = { ...data, get: (i: number) => (i < 20 ? data.get(i) : ({ ...data.get(i), label: 99 } as never)) };
    const partly = Object.assign(Object.create(data), broken) as typeof data;
    await failure(() => writeFeatures(join(dir, 'x.npy'), model, partly, { batchSize: 16 }));
    await failure(() => writeFeatures(join(dir, 'x.parquet'), model, partly, { batchSize: 16 }));
    expect(readdirSync(dir)).toEqual(before);
  });
});
