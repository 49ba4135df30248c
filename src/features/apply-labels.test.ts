import { describe, expect, test } from 'vitest';
import { errorOf } from '../../test/error-of.ts';
import { digits } from '../data/index.ts';
import { MLP, squeezenet11 } from '../models/index.ts';
import { manualSeed, tensor } from '../tensor/index.ts';
import { applyLabels, attachHead, type FeatureTable, features } from './index.ts';

/** Two clouds of points in the plane, around (0, 0) and (8, 0). */
const cloud = (size: number, shift = 0): FeatureTable => ({
  vectors: Float32Array.from({ length: 2 * size }, (_, i) => {
    const row = i >> 1;
    return i % 2 === 0 ? 8 * (row % 2) + Math.sin(row + shift) : Math.cos(3 * row + shift);
  }),
  shape: [size, 2],
  ids: Int32Array.from({ length: size }, (_, i) => 100 + i),
  labels: Int32Array.from({ length: size }, (_, i) => i % 2),
  classes: ['left', 'right'],
});

describe('applyLabels', () => {
  test.each(['linear', 'knn'] as const)('%s: names, confidence and ids of what was asked', async (method) => {
    const { labels: _, classes: __, ...asked } = cloud(6, 0.5);
    const found = await applyLabels(cloud(30), asked, { method, metric: 'euclidean' });
    expect(found.labels).toEqual(['left', 'right', 'left', 'right', 'left', 'right']);
    expect([...found.ids]).toEqual([100, 101, 102, 103, 104, 105]);
    expect(Math.min(...found.confidence)).toBeGreaterThan(0.6);
    expect(Math.max(...found.confidence)).toBeLessThanOrEqual(1);
    expect(found.accuracy).toBeUndefined();
    expect((await applyLabels(cloud(30), cloud(6, 0.5), { method, metric: 'euclidean' })).accuracy).toBe(1);
  });

  test('the head is the classifier on features as they are', async () => {
    const asked = cloud(20, 1);
    const { head, predictions, confidence } = await applyLabels(cloud(30), asked);
    if (!head) return expect.fail('no head');
    for (let row = 0; row < 20; row++) {
      const logits = [0, 1].map(
        (k) =>
          (head.bias[k] as number) +
          [0, 1].reduce(
            (sum, c) => sum + (head.weight[2 * k + c] as number) * (asked.vectors[2 * row + c] as number),
            0,
          ),
      );
      const p = 1 / (1 + Math.exp((logits[0] as number) - (logits[1] as number)));
      expect(predictions[row]).toBe(Number(p > 0.5));
      expect(confidence[row]).toBeCloseTo(Math.max(p, 1 - p), 4);
    }
  });

  test('refuses other classes and unknown methods', async () => {
    const other = { ...cloud(6), classes: ['left', 'up'] };
    expect(await errorOf(() => applyLabels(cloud(30), other))).toMatchObject({ code: 'CLASSES_MISMATCH' });
    const method = 'tree' as 'knn';
    expect(await errorOf(() => applyLabels(cloud(30), cloud(6), { method }))).toMatchObject({ code: 'OPTION_INVALID' });
    const { labels: _, ...unlabelled } = cloud(30);
    expect(await errorOf(() => applyLabels(unlabelled, cloud(6)))).toMatchObject({ code: 'LABEL_MISSING' });
  });
});

describe('attachHead', () => {
  test('the model answers as applyLabels did', async () => {
    manualSeed(3);
    const model = new MLP({ hidden: 24, numClasses: 7 });
    const [train, fresh] = [digits({ split: 'train', size: 80 }), digits({ split: 'test', size: 30 })];
    const { predictions, head } = await applyLabels(await features(model, train), await features(model, fresh));
    if (!head) return expect.fail('no head');
    attachHead(model, head);
    const pixels = (await Promise.all(Array.from({ length: 30 }, (_, i) => fresh.get(i)))).flatMap(({ image }) =>
      Array.from(image.data, (v) => v / 255),
    );
    const logits = model.eval().forward(tensor(Float32Array.from(pixels), { shape: [30, 1, 28, 28] }));
    expect(logits.shape).toEqual([30, 10]);
    expect([...(await logits.argmax(1).data())]).toEqual([...predictions]);
  });

  test('refuses a convolutional head and features of another width', async () => {
    const { head } = await applyLabels(cloud(30), cloud(6));
    if (!head) return expect.fail('no head');
    expect(await errorOf(() => attachHead(new MLP({ hidden: 24 }), head))).toMatchObject({ code: 'HEAD_UNKNOWN' });
    expect(await errorOf(() => attachHead(squeezenet11({ numClasses: 3 }), head))).toMatchObject({
      code: 'HEAD_UNKNOWN',
    });
  });
});
