/** Unequal classes and mixed pictures: what the losses and samplers are, through to runs that are resumed bit for bit. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Batch, bucketedOrder, DataLoader, digits, subset, weightedOrder } from '../../src/data/index.ts';
import { MnistCnn } from '../../src/models/index.ts';
import { Module } from '../../src/nn/index.ts';
import { imageClassification, Mixing } from '../../src/tasks/index.ts';
import { arange, manualSeed, type Tensor, tensor } from '../../src/tensor/index.ts';
import {
  balanceOf,
  fineTune,
  type Listener,
  parseRecipe,
  type RecipeInput,
  resumeRun,
  runRecipe,
} from '../../src/training/index.ts';
import { errorOf } from '../error-of.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cambium-balance-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

/** 90 of one class and 10 of another, of the digits 0 and 1. */
const all = digits({ split: 'train', size: 1000 });
const rows = (digit: number, count: number): number[] =>
  Array.from({ length: all.length }, (_, i) => i)
    .filter((i) => all.label(i) === digit)
    .slice(0, count);
const unequal = subset(all, [...rows(0, 90), ...rows(1, 10), ...[2, 3, 4, 5, 6, 7, 8, 9].flatMap((d) => rows(d, 1))]);

describe('weights', () => {
  test('balanced is n / (classes count); names and lists are taken as they are', async () => {
    const { classWeights } = await balanceOf(unequal, { classWeights: 'balanced' });
    expect(classWeights?.[0]).toBeCloseTo(108 / (10 * 90), 12);
    expect(classWeights?.[1]).toBeCloseTo(108 / (10 * 10), 12);
    expect((await balanceOf(unequal, { classWeights: { 1: 5 } })).classWeights).toEqual([1, 5, 1, 1, 1, 1, 1, 1, 1, 1]);
    expect(await balanceOf(unequal, {})).toEqual({});
  });

  test('what cannot be is refused', async () => {
    const code = async (classWeights: never, data = unequal) => {
      const { code: found, details } = await errorOf(() => balanceOf(data, { classWeights }));
      return [found, details.field];
    };
    expect(await code({ cat: 2 } as never)).toEqual(['CLASS_WEIGHTS_INVALID', 'classWeights']);
    expect(await code([1, 2] as never)).toEqual(['CLASS_WEIGHTS_INVALID', 'classWeights']);
    expect(await code([0, 1, 1, 1, 1, 1, 1, 1, 1, 1] as never)).toEqual(['CLASS_WEIGHTS_INVALID', 'classWeights']);
    expect(await code({ 1: Number.NaN } as never)).toEqual(['CLASS_WEIGHTS_INVALID', 'classWeights']);
    const one = subset(all, rows(0, 20));
    expect(await code('balanced' as never, one)).toEqual(['CLASS_EMPTY', 'classWeights']);
    expect((await errorOf(() => balanceOf(one, { sampler: 'balanced' }))).details.field).toBe('sampler');
    expect((await errorOf(() => imageClassification({ classes: ['a', 'b'], classWeights: [1, -1] }))).code).toBe(
      'CLASS_WEIGHTS_INVALID',
    );
    expect((await errorOf(() => weightedOrder([1, Number.NaN], 0, 0))).code).toBe('WEIGHTS_INVALID');
    expect((await errorOf(() => weightedOrder([0, 0], 0, 0))).code).toBe('WEIGHTS_INVALID');
    expect((await errorOf(() => new DataLoader(unequal, { batchSize: 4, weights: [1] }))).details.field).toBe(
      'weights',
    );
  });

  test('draws follow the weights, the same for the same seed and epoch', async () => {
    const { weights } = await balanceOf(unequal, { sampler: 'balanced' });
    const counts = new Array(10).fill(0);
    for (let epoch = 0; epoch < 40; epoch++)
      for (const i of weightedOrder(weights as Float64Array, 3, epoch)) counts[unequal.label?.(i) as number]++;
    for (const count of counts) expect(Math.abs(count / (40 * 108) - 0.1)).toBeLessThan(0.02);
    expect(weightedOrder(weights as Float64Array, 3, 1)).toEqual(weightedOrder(weights as Float64Array, 3, 1));
    expect(weightedOrder([0, 0, 5], 1, 1)).toEqual(Int32Array.of(2, 2, 2));
    const lengths = Int32Array.from({ length: 108 }, (_, i) => i);
    const bucketed = bucketedOrder(lengths, 9, { seed: 3, epoch: 1, weights: weights as Float64Array });
    expect([...bucketed].sort()).toEqual([...weightedOrder(weights as Float64Array, 3, 1)].sort());
    const ids: number[] = [];
    const loader = new DataLoader(unequal, { batchSize: 9, shuffle: true, seed: 3, weights: weights as Float64Array });
    for await (const batch of loader.epoch(1)) ids.push(...batch.label.data);
    expect(ids).toEqual([...weightedOrder(weights as Float64Array, 3, 1)].map((i) => unequal.label?.(i)));
  });
});

/** Answers the same whatever it sees, and keeps what that was. */
class Fixed extends Module {
  seen: Tensor | undefined;
  readonly logits: number[][];
  constructor(logits: number[][]) {
    super();
    this.logits = logits;
  }
  forward(x: Tensor): Tensor {
    this.seen = x;
    return tensor(this.logits);
  }
}

describe('losses', () => {
  const logits = [
    [1, 2, -1],
    [0, 0.5, 2],
    [3, -2, 0.25],
  ];
  const nll = (i: number, label: number): number => {
    const row = logits[i] as number[];
    return Math.log(row.reduce((sum, v) => sum + Math.exp(v), 0)) - (row[label] as number);
  };
  const batch = (changes: object = {}): Batch =>
    ({
      image: { dtype: 'f32', shape: [3, 1, 2, 2], data: Float32Array.from({ length: 12 }, (_, i) => i) },
      label: { dtype: 'i32', shape: [3], data: Int32Array.of(0, 2, 1) },
      ids: Int32Array.of(4, 5, 6),
      epoch: 2,
      index: 3,
      size: 3,
      ...changes,
    }) as Batch;
  const labels = [0, 2, 1];
  const classes = ['a', 'b', 'c'];

  test('weights of classes and of samples multiply; the mean is weighted', async () => {
    const cw = [1, 2, 0.5];
    const weight = { dtype: 'f32', shape: [3], data: Float32Array.of(1, 0, 3) };
    const mean = (w: number[]): number =>
      labels.reduce((sum, label, i) => sum + (w[i] as number) * nll(i, label), 0) / w.reduce((a, b) => a + b, 0);
    const loss = (options: object, b: Batch): Promise<number> =>
      imageClassification({ classes, ...options })
        .loss(new Fixed(logits), b)
        .item();
    expect(await loss({}, batch())).toBeCloseTo(mean([1, 1, 1]), 5);
    expect(await loss({ classWeights: cw }, batch())).toBeCloseTo(mean([1, 0.5, 2]), 5);
    expect(await loss({}, batch({ weight }))).toBeCloseTo(mean([1, 0, 3]), 5);
    expect(await loss({ classWeights: cw }, batch({ weight }))).toBeCloseTo(mean([1, 0, 6]), 5);
    expect(await loss({}, batch({ weight: { ...weight, data: new Float32Array(3) } }))).toBe(0);
    const bad = { ...weight, data: Float32Array.of(1, Number.NaN, 1) };
    expect((await errorOf(() => loss({}, batch({ weight: bad })))).details.sample).toBe(5);
  });

  test('mixup mixes pictures and losses by one lambda', async () => {
    const mixing = new Mixing({ mixup: { alpha: 1 }, seed: 5 });
    const model = new Fixed(logits);
    const task = imageClassification({ classes, mixing });
    const loss = await task.loss(model, batch()).item();
    const { lambda } = mixing.mix(arange(0, 3).cast('f32').reshape(3, 1, 1, 1), batch());
    expect(lambda).toBeGreaterThan(0);
    expect(lambda).toBeLessThan(1);
    const mixed = await (model.seen as Tensor).data();
    for (let i = 0; i < 12; i++) {
      const other = (2 - Math.floor(i / 4)) * 4 + (i % 4);
      expect(mixed[i]).toBeCloseTo(lambda * i + (1 - lambda) * other, 4);
    }
    const of = (order: number[]): number => order.reduce((sum, label, i) => sum + nll(i, label), 0) / 3;
    expect(loss).toBeCloseTo(lambda * of(labels) + (1 - lambda) * of([1, 2, 0]), 5);
    // Evaluation takes pictures as they are.
    await task.evaluate(model, batch())[0].loss.item();
    expect([...(await (model.seen as Tensor).data())]).toEqual([...Array(12).keys()]);
  });

  test('cutmix exchanges a rectangle; lambda is the share that stays', async () => {
    const mixing = new Mixing({ cutmix: { alpha: 1 }, seed: 1 });
    const x = tensor([0, 1], { shape: [2, 1, 1, 1] })
      .expand([2, 1, 8, 8])
      .cast('f32');
    const shares = new Set<number>();
    for (let index = 0; index < 20; index++) {
      const { x: mixed, lambda } = mixing.mix(x, { epoch: 0, index });
      const data = [...((await mixed.data()) as Float32Array)];
      const moved = data.slice(0, 64).reduce((sum, v) => sum + v, 0);
      expect(moved / 64).toBeCloseTo(1 - lambda, 6);
      expect(data.slice(64).reduce((sum, v) => sum + 1 - v, 0)).toBe(moved);
      shares.add(lambda);
    }
    expect(shares.size).toBeGreaterThan(10);
  });

  test('lambda is of Beta(alpha, alpha)', async () => {
    for (const alpha of [0.2, 1, 4]) {
      const mixing = new Mixing({ mixup: { alpha }, seed: 2 });
      const x = tensor([0, 1], { shape: [2, 1, 1, 1] });
      const draws = Array.from({ length: 3000 }, (_, index) => mixing.mix(x, { epoch: 1, index }).lambda);
      const mean = draws.reduce((a, b) => a + b) / 3000;
      const variance = draws.reduce((a, b) => a + (b - mean) ** 2, 0) / 3000;
      expect(mean).toBeCloseTo(0.5, 1);
      expect(variance / (1 / (4 * (2 * alpha + 1)))).toBeCloseTo(1, 0.5);
    }
    for (const options of [{}, { mixup: { alpha: 0 } }, { cutmix: { alpha: Number.NaN } }])
      expect((await errorOf(() => new Mixing(options))).code).toBe('OPTION_INVALID');
  });
});

describe('runs', () => {
  const recipe = (changes: Partial<RecipeInput>): RecipeInput => ({
    name: 'mixed',
    seed: 2,
    data: { name: 'digits', validation: 60, digits: { train: 300, test: 50 } },
    model: { name: 'mnist-cnn' },
    optimizer: { name: 'adamw', lr: 2e-3 },
    batchSize: 20,
    epochs: 2,
    ...changes,
  });

  test('mixup, cutmix, weights and the balanced sampler: an interrupted run goes on bit for bit', async () => {
    const changes = { mixup: {}, cutmix: {}, classWeights: 'balanced', sampler: 'balanced' } as const;
    const whole = await runRecipe(parseRecipe(recipe(changes)), { out: join(dir, 'whole') });
    const stop: Listener = (event) => {
      if (event.type === 'checkpoint' && event.step === 8) throw new Error('pulled the plug');
    };
    const cut = parseRecipe(recipe({ ...changes, checkpoint: { everySteps: 4 } }));
    const out = join(dir, 'cut');
    expect(String(await errorOf(() => runRecipe(cut, { out, listeners: [stop] })))).toContain('plug');
    expect((await resumeRun(out)).result.weightsHash).toBe(whole.result.weightsHash);
    const plain = await runRecipe(parseRecipe(recipe({})), { out: join(dir, 'plain') });
    expect(plain.result.weightsHash).not.toBe(whole.result.weightsHash);
  });

  test('the rare class is found more often where it counts more', async () => {
    const part = subset(all, [...rows(3, 90), ...rows(8, 8)]);
    const test = subset(all, [...rows(8, 100).slice(50), ...rows(3, 100).slice(90)]);
    const recall = async (options: object): Promise<number> => {
      manualSeed(1);
      const data = { train: part, test };
      const result = await fineTune({
        model: new MnistCnn({ dropout: 0 }),
        data,
        epochs: 2,
        batchSize: 14,
        seed: 1,
        ...options,
      });
      return (result.test?.confusion?.counts[88] ?? 0) / 50;
    };
    const plain = await recall({});
    expect(await recall({ classWeights: { 8: 12 } })).toBeGreaterThan(plain);
    expect(await recall({ sampler: 'shuffled' })).toBe(plain);
  });

  test('texts are not mixed', async () => {
    const text = parseRecipe({
      ...recipe({ mixup: {} }),
      data: { name: 'phrases', phrases: { train: 60, test: 20 } },
      model: { name: 'lstm-classifier', embeddingDim: 8, hiddenSize: 8 },
    });
    expect((await errorOf(() => runRecipe(text, { out: join(dir, 'text') }))).code).toBe('MIXING_TEXT');
  });
});

describe('a column of weights', () => {
  const rows = Array.from(
    { length: 40 },
    (_, i) => `${i % 2 ? 'good' : 'bad'},${i % 2 ? 'fine food' : 'cold soup'} ${i},${i % 2 ? 1 : 0}`,
  );
  const recipe = (weightColumn?: string): RecipeInput => ({
    name: 'weighed',
    seed: 1,
    data: { name: 'table', file: 'rows.csv', validation: 8, test: 8, ...(weightColumn && { weightColumn }) },
    tokenizer: { train: 'wordpiece', vocabSize: 60 },
    model: { name: 'lstm-classifier', embeddingDim: 8, hiddenSize: 8 },
    optimizer: { name: 'adamw', lr: 2e-2 },
    batchSize: 8,
    epochs: 3,
  });
  test('samples that weigh nothing are not learned from', async () => {
    await writeFile(join(dir, 'rows.csv'), `label,text,sure\n${rows.join('\n')}\n`);
    const weighed = await runRecipe(parseRecipe(recipe('sure')), { dataDir: dir, out: join(dir, 'weighed') });
    // Nobody said that there is anything but good.
    expect(weighed.report?.confusion?.counts.map((row) => row[0])).toEqual([0, 0]);
    const plain = await runRecipe(parseRecipe(recipe()), { dataDir: dir, out: join(dir, 'even') });
    expect(plain.report?.accuracy).toBeGreaterThan(0.9);
  });
  test('a weight that is none is refused with its line', async () => {
    await writeFile(join(dir, 'rows.csv'), `label,text,sure\n${rows.slice(0, 20).join('\n')}\nbad,late,-1\n`);
    const error = await errorOf(() => runRecipe(parseRecipe(recipe('sure')), { dataDir: dir, out: join(dir, 'no') }));
    expect([error.code, error.details.line, error.details.field]).toEqual(['WEIGHT_INVALID', 22, 'sure']);
    const missing = await errorOf(() =>
      runRecipe(parseRecipe(recipe('unsure')), { dataDir: dir, out: join(dir, 'no') }),
    );
    expect(missing.code).toBe('COLUMN_MISSING');
  });
});
