/** What is found in features, against scikit-learn; files read back; and what cannot be. */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lookAtFeatures } from '../../examples/features.ts';
import { errorOf } from '../../test/error-of.ts';
import { digits } from '../data/index.ts';
import { writeNpy } from '../io/index.ts';
import { MnistCnn } from '../models/index.ts';
import { manualSeed } from '../tensor/index.ts';
import {
  clusterScores,
  compareFeatures,
  type FeatureTable,
  features,
  kMeans,
  knnClassify,
  linearCka,
  linearProbe,
  project,
  readFeatures,
  rowsOf,
  similaritySearch,
  writeFeatures,
} from './index.ts';

const golden = JSON.parse(readFileSync(new URL('../../test/golden/parity/probes.json', import.meta.url), 'utf8'));
const tableOf = ({ vectors, labels }: { vectors: number[]; labels?: number[] }, width: number): FeatureTable => ({
  vectors: Float32Array.from(vectors),
  shape: [vectors.length / width, width],
  ids: Int32Array.from({ length: vectors.length / width }, (_, i) => 10 * i),
  ...(labels && { labels: Int32Array.from(labels) }),
});
const train = tableOf(golden.train, 6);
const test_ = tableOf(golden.test, 6);
const close = (found: ArrayLike<number>, wanted: readonly number[], tolerance: number): void => {
  expect(found.length).toBe(wanted.length);
  wanted.forEach((w, i) => {
    expect(Math.abs((found[i] as number) - w), `number ${i}`).toBeLessThan(tolerance * Math.max(1, Math.abs(w)));
  });
};
describe('against scikit-learn', () => {
  test('the linear probe is at the optimum of LogisticRegression', async () => {
    const probe = await linearProbe(train, test_);
    close(probe.weights, golden.linear.weights, 2e-3);
    // Only differences of biases count.
    const mean = (v: ArrayLike<number>): number => Array.from(v).reduce((a, b) => a + b, 0) / v.length;
    const shift = mean(golden.linear.bias) - mean(probe.bias);
    close(
      probe.bias.map((b) => b + shift),
      golden.linear.bias,
      2e-3,
    );
    expect([...probe.predictions]).toEqual(golden.linear.predictions);
    expect(probe.accuracy).toBeCloseTo(golden.linear.accuracy, 6);
    const tight = await linearProbe(train, test_, { l2: 1e4 });
    expect(Math.max(...tight.weights.map(Math.abs))).toBeLessThan(0.05);
  });

  test('k nearest neighbours', async () => {
    for (const metric of ['euclidean', 'cosine'] as const) {
      const { predictions } = await knnClassify(train, test_, { k: 3, metric });
      // Three different classes are a tie, which scikit-learn gives to the lowest, we to the nearest.
      const neighbours = await similaritySearch(train, test_, { k: 3, metric });
      const ties = neighbours.map((list) => new Set(list.map(({ label }) => label)).size === 3);
      golden.knn[metric].forEach((wanted: number, i: number) => {
        if (!ties[i]) expect(predictions[i]).toBe(wanted);
      });
      expect(ties.filter(Boolean).length).toBeLessThan(6);
    }
  });

  test('k-means from the same centres; NMI and ARI', async () => {
    const found = await kMeans(train, { k: 3, centres: train.vectors.slice(0, 18) });
    expect([...found.clusters]).toEqual(golden.kMeans.clusters);
    close([found.inertia], [golden.kMeans.inertia], 1e-5);
    close(found.centres, golden.kMeans.centres, 1e-4);
    const scores = clusterScores(found.clusters, train.labels as Int32Array);
    expect(scores.nmi).toBeCloseTo(golden.kMeans.nmi, 8);
    expect(scores.ari).toBeCloseTo(golden.kMeans.ari, 8);
    const own = await kMeans(train, { k: 3, seed: 4 });
    expect(own.inertia).toBeLessThan(1.05 * found.inertia);
    expect(await kMeans(train, { k: 3, seed: 4 })).toEqual(own);
    expect((await kMeans(train, { k: 60 })).inertia).toBeLessThan(1e-3);
    const labels = train.labels as Int32Array;
    expect(clusterScores(labels, labels)).toEqual({ purity: 1, nmi: 1, ari: 1 });
  });

  test('k-means of more rows than fit one block: every row goes to its nearest centre', async () => {
    const [rows, k] = [50_000, 100];
    const vectors = Float32Array.from({ length: rows }, (_, i) => ((i * 7919) % 10_007) / 10_007);
    const many = { vectors, shape: [rows, 1] as const, ids: new Int32Array(rows) };
    const centres = Float32Array.from({ length: k }, (_, c) => (c + 0.5) / k);
    const { clusters, inertia } = await kMeans(many, { k, centres, maxIterations: 1 });
    let wanted = 0;
    for (let i = 0; i < rows; i++) {
      const off = (c: number): number => ((vectors[i] as number) - (centres[c] as number)) ** 2;
      const nearest = Math.min(k - 1, Math.floor((vectors[i] as number) * k));
      expect(Math.abs(off(clusters[i] as number) - off(nearest))).toBeLessThan(1e-6);
      wanted += off(nearest);
    }
    expect(inertia).toBeCloseTo(wanted, 1);
  });

  test('clusters and labels that do not fit', async () => {
    await expect(kMeans(train, { k: 2, centres: train.vectors.slice(0, 18) })).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      details: { field: 'centres' },
    });
    const error = (clusters: number[], labels: number[]): unknown => {
      try {
        return clusterScores(Int32Array.from(clusters), Int32Array.from(labels));
      } catch (cause) {
        return (cause as { code: string }).code;
      }
    };
    expect([error([0, 1], [0, -1]), error([0], [0, 1])]).toEqual(['LABEL_OUTSIDE', 'LENGTHS_DIFFER']);
    const few = { vectors: train.vectors.slice(0, 18), shape: [3, 6] as const, ids: new Int32Array(3) };
    for (const method of ['umap', 'tsne', 'pacmap'] as const)
      await expect(project(few, { method })).rejects.toMatchObject({ code: 'FEATURES_TOO_FEW' });
  });

  test('principal components, with fewer and with more columns than samples', async () => {
    const { points, explained } = await project(train);
    close(points, golden.pca.points, 1e-4);
    close(explained as number[], golden.pca.explained, 1e-5);
    close((await project(tableOf(golden.wide, 9))).points, golden.wide.points, 1e-4);
  });
});

test('search: exact, in order, without oneself where asked', async () => {
  const [first] = await similaritySearch(train, rowsOf(train, [7]), { k: 60, metric: 'euclidean' });
  const at = (i: number) => train.vectors.subarray(6 * i, 6 * i + 6);
  const distances = Array.from({ length: 60 }, (_, i) => Math.hypot(...at(i).map((v, c) => v - (at(7)[c] as number))));
  const order = distances.map((_, i) => i).sort((a, b) => (distances[a] as number) - (distances[b] as number));
  expect(first?.map(({ row }) => row)).toEqual(order);
  expect(first?.[0]).toMatchObject({ id: 70, score: 0 });
  const [others] = await similaritySearch(train, rowsOf(train, [7]), { k: 3, excludeSelf: true });
  expect(others?.map(({ id }) => id)).not.toContain(70);
});

test.each(['umap', 'tsne', 'pacmap'] as const)(
  '%s keeps neighbours together, the same for the same seed',
  async (method) => {
    const far: FeatureTable = {
      vectors: Float32Array.from(
        { length: 90 * 4 },
        (_, i) => (Math.floor(i / 4) % 3) * 20 * ((i % 4) + 1) + Math.sin(i),
      ),
      shape: [90, 4],
      ids: Int32Array.from({ length: 90 }, (_, i) => i),
      labels: Int32Array.from({ length: 90 }, (_, i) => i % 3),
    };
    const { points } = await project(far, { method, seed: 3, neighbours: 8 });
    expect((await project(far, { method, seed: 3, neighbours: 8 })).points).toEqual(points);
    const plane: FeatureTable = { ...far, vectors: Float32Array.from(points), shape: [90, 2] };
    expect((await knnClassify(plane, plane, { k: 3, metric: 'euclidean' })).accuracy).toBeGreaterThan(0.9);
  },
);

describe('compareFeatures', () => {
  test('a rotation changes nothing, noise does', async () => {
    const turned: FeatureTable = {
      ...train,
      vectors: train.vectors.map((_, i) => 3 * (train.vectors[i - (i % 6) + ((i + 1) % 6)] as number)),
    };
    expect(await linearCka(train, turned)).toBeCloseTo(1, 5);
    const noise: FeatureTable = { ...train, vectors: train.vectors.map((_, i) => Math.sin(i * i)) };
    const { cka, before, after, shift, text } = await compareFeatures(train, noise);
    expect(cka).toBeLessThan(0.6);
    expect(after.linear).toBeLessThan(before.linear);
    expect(after.separation).toBeLessThan(before.separation);
    expect(Object.keys(shift ?? {})).toEqual(['0', '1', '2']);
    expect(text).toContain('linear CKA');
  });
  test('other samples are refused', async () => {
    const relabelled = { ...train, labels: train.labels?.map((l) => (l + 1) % 3) as Int32Array };
    expect((await errorOf(() => compareFeatures(train, relabelled))).code).toBe('SAMPLES_MISMATCH');
    expect((await errorOf(() => compareFeatures(train, rowsOf(train, [1, 2])))).code).toBe('SAMPLES_MISMATCH');
  });
});

describe('files', () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cambium-tables-'));
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  test.each(['x.npy', 'x.safetensors', 'x.parquet'])('%s comes back as it was', async (name) => {
    manualSeed(1);
    const [model, data] = [new MnistCnn(), digits({ split: 'test', size: 30 })];
    const path = join(dir, name);
    await writeFeatures(path, model, data);
    const read = await readFeatures(path);
    const made = await features(model, data);
    expect(read.vectors).toEqual(made.vectors);
    expect([read.shape, read.ids, read.labels]).toEqual([made.shape, made.ids, made.labels]);
    if (name !== 'x.npy') expect(read.classes).toEqual(made.classes);
  });

  test('what is no table of features is refused', async () => {
    const flat = join(dir, 'flat.npy');
    await writeNpy(flat, { dtype: 'f32', shape: [4], data: new Float32Array(4) });
    expect((await errorOf(() => readFeatures(flat))).code).toBe('FEATURES_INVALID');
    const nan = join(dir, 'nan.npy');
    await writeNpy(nan, { dtype: 'f32', shape: [2, 2], data: Float32Array.of(1, 2, Number.NaN, 4) });
    expect(await errorOf(() => readFeatures(nan))).toMatchObject({
      code: 'FEATURES_NOT_FINITE',
      details: { sample: 1 },
    });
    await writeNpy(join(dir, 'half.npy'), { dtype: 'f32', shape: [2, 2], data: new Float32Array(4) });
    await writeNpy(join(dir, 'half.labels.npy'), { dtype: 'f32', shape: [2], data: Float32Array.of(0, 1.5) });
    expect((await errorOf(() => readFeatures(join(dir, 'half.npy')))).details.field).toBe('labels');
    await writeFile(join(dir, 'bad.parquet'), 'PAR1 nothing');
    expect((await errorOf(() => readFeatures(join(dir, 'bad.parquet')))).code).toMatch(/PARQUET/);
    expect((await errorOf(() => readFeatures(join(dir, 'x.csv')))).code).toBe('FORMAT_UNKNOWN');
  });
});

test('the example finds the digits', async () => {
  expect(await lookAtFeatures({ samples: 1500 })).toBeGreaterThan(0.9);
});

test('a column that is constant but for rounding decides nothing', async () => {
  const with_ = (value: number): FeatureTable => ({
    ...train,
    vectors: Float32Array.from({ length: 60 * 7 }, (_, i) =>
      i % 7 === 6 ? value : (train.vectors[Math.floor(i / 7) * 6 + (i % 7)] as number),
    ),
    shape: [60, 7],
  });
  const wanted = await linearProbe(train, train);
  const found = await linearProbe(with_(0.1), with_(0.1001));
  expect(found.predictions).toEqual(wanted.predictions);
});

test('bad input', async () => {
  const { labels, ...unlabelled } = train;
  const one = { ...train, labels: new Int32Array(60) };
  const code = async (body: () => unknown) => {
    const { code: found, details } = await errorOf(body);
    return details.field === undefined ? found : `${found} ${details.field}`;
  };
  expect(await code(() => linearProbe(unlabelled, test_))).toBe('LABEL_MISSING');
  expect(await code(() => linearProbe(one, test_))).toBe('CLASSES_TOO_FEW');
  const masked = { ...train, labels: train.labels?.map((v, i) => (i < 40 ? -1 : v)) as Int32Array };
  expect(await code(() => linearProbe(masked, test_))).toBe('LABEL_OUTSIDE');
  expect(await code(() => knnClassify(masked, masked, { k: 3 }))).toBe('LABEL_OUTSIDE');
  expect(await code(() => knnClassify({ ...train, classes: ['a', 'b'] }, test_))).toBe('LABEL_OUTSIDE');
  expect(await code(() => linearProbe(train, tableOf(golden.wide, 9)))).toBe('WIDTH_MISMATCH');
  expect(await code(() => linearProbe(train, test_, { l2: -1 }))).toBe('OPTION_INVALID l2');
  expect(await code(() => knnClassify(train, test_, { k: 61 }))).toBe('OPTION_INVALID k');
  expect(await code(() => knnClassify(train, train, { k: 60 }))).toBe('OPTION_INVALID k');
  expect(await code(() => similaritySearch(train, test_, { metric: 'l1' as 'cosine' }))).toBe('OPTION_INVALID metric');
  expect(await code(() => kMeans(train, { k: 0 }))).toBe('OPTION_INVALID k');
  expect(await code(() => project(train, { method: 'som' as 'pca' }))).toBe('OPTION_INVALID method');
  expect(await code(() => project(train, { dimensions: 7 }))).toBe('OPTION_INVALID dimensions');
  expect(await code(() => project(train, { method: 'umap', neighbours: 60 }))).toBe('OPTION_INVALID neighbours');
});
