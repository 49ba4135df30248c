/** Heads of every kind: their losses by hand, labels that are not there, units, answers, and what must be refused. */
import { describe, expect, test } from 'vitest';
import type { CambiumError } from '../base/index.ts';
import type { LabelledBatch, Schema } from '../data/index.ts';
import { Module } from '../nn/index.ts';
import { type Tensor, tensor, Variable } from '../tensor/index.ts';
import { type HeadOptions, headsOf, imageTask, supervised } from './index.ts';

/** Answers the same whatever it sees. */
class Fixed extends Module {
  readonly y: Variable;
  constructor(rows: number[][]) {
    super();
    this.y = new Variable(tensor(rows), { requiresGrad: true });
  }
  forward(): Tensor {
    return this.y;
  }
}
const fields = (values: Record<string, Int32Array | Float32Array>, size: number): LabelledBatch =>
  ({
    ...Object.fromEntries(
      Object.entries(values).map(([name, data]) => [
        name,
        {
          dtype: data instanceof Int32Array ? 'i32' : 'f32',
          shape: data.length === size ? [size] : [size, data.length / size],
          data,
        },
      ]),
    ),
    ids: Int32Array.from({ length: size }, (_, i) => 70 + i),
    epoch: 0,
    index: 0,
    size,
  }) as unknown as LabelledBatch;
const taskOf = (...heads: HeadOptions[]) =>
  supervised<object>({ name: 'test', heads, forward: (model) => model.forward(undefined as never) });
const errorOf = (body: () => unknown): CambiumError => {
  try {
    body();
  } catch (error) {
    return error as CambiumError;
  }
  return expect.fail('nothing was thrown');
};
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const bce = (x: number, y: number): number => -(y * Math.log(sigmoid(x)) + (1 - y) * Math.log(1 - sigmoid(x)));
const nll = (row: number[], label: number): number =>
  Math.log(row.reduce((sum, v) => sum + Math.exp(v), 0)) - (row[label] as number);
const NAN = Number.NaN;

const topics = { kind: 'classes', field: 'topics', names: ['a', 'b'] } as const;
const stars = { kind: 'number', field: 'stars', names: ['stars'], scale: { mean: [3], std: [2] } } as const;
const mood = { kind: 'class', field: 'mood', names: ['bad', 'good'] } as const;

describe('several labels', () => {
  const rows = [
    [2, -1],
    [0.5, 3],
  ];
  test('the mean of binary cross-entropies; labels above the threshold, likeliest first', async () => {
    const model = new Fixed(rows);
    const task = taskOf(topics);
    const batch = fields({ topics: Float32Array.of(1, 0, 0, 1) }, 2);
    const wanted = (bce(2, 1) + bce(-1, 0) + bce(0.5, 0) + bce(3, 1)) / 4;
    expect(await task.loss(model, batch).item()).toBeCloseTo(wanted, 6);
    const [measured] = task.evaluate(model, batch);
    expect(await measured?.loss.item()).toBeCloseTo(wanted, 6);
    const [first, second] = await task.answers(model, batch);
    expect(first?.topics).toMatchObject({ labels: ['a'] });
    expect(second?.topics).toMatchObject({ labels: ['b', 'a'] });
    const strict = taskOf({ ...topics, threshold: 0.9 });
    expect((await strict.answers(model, batch))[1]?.topics).toMatchObject({ labels: ['b'] });
  });

  test('rows without labels teach nothing; a batch of them has loss 0 and no gradient', async () => {
    const task = taskOf({ ...topics, optional: true });
    const model = new Fixed(rows);
    const half = fields({ topics: Float32Array.of(NAN, NAN, 0, 1) }, 2);
    expect(await task.loss(model, half).item()).toBeCloseTo((bce(0.5, 0) + bce(3, 1)) / 2, 6);
    const none = task.loss(model, fields({ topics: new Float32Array(4).fill(NAN) }, 2));
    none.backward();
    expect(await none.item()).toBe(0);
    expect(Array.from((await model.y.grad?.data()) ?? [])).toEqual([0, 0, 0, 0]);
  });

  test('weights of positives and of samples', async () => {
    const model = new Fixed(rows);
    const batch = fields({ topics: Float32Array.of(1, 0, 0, 1), weight: Float32Array.of(3, 1) }, 2);
    const task = taskOf({ ...topics, classWeights: [2, 5] });
    const wanted = (3 * (2 * bce(2, 1) + bce(-1, 0)) + (bce(0.5, 0) + 5 * bce(3, 1))) / 2 / 4;
    expect(await task.loss(model, batch).item()).toBeCloseTo(wanted, 5);
  });

  test('refusals', () => {
    const of = (values: Float32Array) => () => taskOf(topics).loss(new Fixed(rows), fields({ topics: values }, 2));
    expect(errorOf(of(Float32Array.of(1, 0, 0.5, 1)))).toMatchObject({
      code: 'LABEL_OUT_OF_RANGE',
      details: { sample: 71 },
    });
    expect(errorOf(of(Float32Array.of(NAN, NAN, 0, 1))).code).toBe('LABEL_OUT_OF_RANGE');
    expect(errorOf(of(Float32Array.of(1, 0))).code).toBe('LABEL_SHAPE');
    expect(errorOf(() => taskOf({ ...topics, threshold: 1 })).code).toBe('OPTION_INVALID');
    expect(errorOf(() => taskOf({ ...topics, classWeights: [1] })).code).toBe('CLASS_WEIGHTS_INVALID');
    expect(errorOf(() => taskOf({ ...topics, names: ['a', 'a'] })).code).toBe('CLASSES_INVALID');
  });
});

describe('numbers', () => {
  const model = new Fixed([[1], [-0.5], [0]]);
  test('losses count deviations, answers are in the units of the data', async () => {
    const batch = fields({ stars: Float32Array.of(5, 1, 4) }, 3);
    // 5, 1 and 4 are 1, -1 and 0.5 deviations from the mean.
    const errors = [0, 0.5, -0.5];
    const mean = (f: (e: number) => number): number => errors.reduce((sum, e) => sum + f(e), 0) / 3;
    expect(await taskOf(stars).loss(model, batch).item()).toBeCloseTo(
      mean((e) => e * e),
      6,
    );
    expect(
      await taskOf({ ...stars, loss: 'l1' })
        .loss(model, batch)
        .item(),
    ).toBeCloseTo(mean(Math.abs), 6);
    expect(
      await taskOf({ ...stars, loss: 'huber' })
        .loss(model, batch)
        .item(),
    ).toBeCloseTo(
      mean((e) => 0.5 * e * e),
      6,
    );
    const [measured] = taskOf(stars).evaluate(model, batch);
    expect(await measured?.predictions.toArray()).toEqual([[5], [2], [3]]);
    expect(await taskOf(stars).answers(model, batch)).toEqual([5, 2, 3].map((value) => ({ stars: { value } })));
  });

  test('several with names, some not there', async () => {
    const box = { kind: 'numbers', field: 'box', names: ['w', 'h'], optional: true } as const;
    const two = new Fixed([
      [1, 2],
      [3, 4],
    ]);
    const batch = fields({ box: Float32Array.of(1, 4, NAN, 3) }, 2);
    expect(await taskOf(box).loss(two, batch).item()).toBeCloseTo((0 + 4 + 1) / 3, 6);
    expect((await taskOf(box).answers(two, batch))[1]).toEqual({ box: { values: { w: 3, h: 4 } } });
  });

  test('refusals', () => {
    const loss = (options: HeadOptions, ...values: number[]) =>
      errorOf(() => taskOf(options).loss(model, fields({ stars: Float32Array.from(values) }, 3)));
    expect(loss(stars, 1, NAN, 2)).toMatchObject({ code: 'LABEL_OUT_OF_RANGE', details: { sample: 71 } });
    expect(loss({ ...stars, optional: true }, 1, Number.POSITIVE_INFINITY, 2).code).toBe('LABEL_OUT_OF_RANGE');
    expect(errorOf(() => taskOf({ ...stars, scale: { mean: [0], std: [0] } })).code).toBe('SCALE_INVALID');
    expect(errorOf(() => taskOf({ ...stars, loss: 'cube' as 'l1' })).code).toBe('OPTION_INVALID');
    expect(errorOf(() => taskOf({ ...stars, names: ['a', 'b'] })).code).toBe('NUMBERS_INVALID');
  });
});

describe('several heads', () => {
  const rows = [
    [1, 2, -1, 0.5, 1],
    [0, 3, 2, -2, -1],
  ];
  const heads = [{ ...mood, optional: true }, topics, { ...stars, weight: 0.5 }] satisfies HeadOptions[];
  const batch = fields(
    { mood: Int32Array.of(1, -1), topics: Float32Array.of(1, 0, 0, 0), stars: Float32Array.of(3, 3) },
    2,
  );
  test('each reads its own outputs; their losses add up by their weights', async () => {
    const task = taskOf(...heads);
    const model = new Fixed(rows);
    const own = [nll([1, 2], 1), (bce(-1, 1) + bce(0.5, 0) + bce(2, 0) + bce(-2, 0)) / 4, (1 + 1) / 2];
    expect(await task.loss(model, batch).item()).toBeCloseTo(
      (own[0] as number) + (own[1] as number) + 0.5 * (own[2] as number),
      5,
    );
    const measured = task.evaluate(model, batch);
    for (const [i, { loss }] of measured.entries()) expect(await loss.item()).toBeCloseTo(own[i] as number, 5);
    const [, second] = await task.answers(model, batch);
    expect(second).toMatchObject({ mood: { label: 'good' }, topics: { labels: ['a'] }, stars: { value: 1 } });
  });

  test('a model of other outputs, heads twice, none', () => {
    const small = new Fixed([[1, 2]]);
    expect(errorOf(() => taskOf(...heads).loss(small, batch))).toMatchObject({ code: 'CLASSES_MISMATCH' });
    expect(errorOf(() => taskOf(mood, mood)).code).toBe('HEADS_INVALID');
    expect(errorOf(() => imageTask({ heads: [] })).code).toBe('HEADS_INVALID');
    expect(errorOf(() => taskOf(stars).loss(new Fixed([[1]]), fields({}, 1))).code).toBe('LABEL_MISSING');
  });

  test("of a schema's labels, but for what samples count", () => {
    const schema: Schema = {
      features: { text: { kind: 'text' } },
      labels: {
        mood: { kind: 'class', names: ['bad', 'good'], optional: true },
        stars: { kind: 'number' },
        weight: { kind: 'number' },
      },
    };
    expect(headsOf(schema, { stars: { weight: 2 } })).toEqual([
      { kind: 'class', field: 'mood', names: ['bad', 'good'], optional: true },
      { kind: 'number', field: 'stars', names: ['stars'], weight: 2 },
    ]);
  });
});
