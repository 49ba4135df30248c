/** The joint between batch and model: pixels in, loss and named answers out, typed errors for what is missing. */
import { describe, expect, test } from 'vitest';
import { type CambiumError, DataError } from '../base/index.ts';
import type { Batch } from '../data/index.ts';
import { Flatten, Linear, Module, Sequential } from '../nn/index.ts';
import { SGD } from '../optim/index.ts';
import { manualSeed, type Tensor, tensor } from '../tensor/index.ts';
import { imageClassification } from './index.ts';

const classes = ['cat', 'dog', 'eel'];
const batch = (labels = [0, 1], changes: Partial<Batch> = {}): Batch => ({
  image: { dtype: 'u8', shape: [2, 1, 2, 2], data: Uint8Array.of(0, 51, 102, 153, 204, 255, 0, 255) },
  label: { dtype: 'i32', shape: [2], data: Int32Array.from(labels) },
  ids: Int32Array.of(70, 71),
  epoch: 0,
  index: 0,
  size: 2,
  ...changes,
});
const model = (): Sequential => new Sequential(new Flatten(), new Linear(4, 3));

/** Answers the same whatever it sees. */
class Fixed extends Module {
  readonly logits: Tensor;
  constructor(logits: number[][]) {
    super();
    this.logits = tensor(logits);
  }
  forward(): Tensor {
    return this.logits;
  }
}
const errorOf = (body: () => unknown): CambiumError => {
  try {
    body();
  } catch (error) {
    return error as CambiumError;
  }
  return expect.fail('nothing was thrown');
};

describe('input', () => {
  test('u8 becomes f32 in [0, 1], is repeated over channels and normalised in the graph', async () => {
    const task = imageClassification({
      classes,
      transforms: [
        { kind: 'channels', channels: 3 },
        { kind: 'normalize', mean: [0.5, 0, 0.2], std: [0.5, 1, 0.1] },
      ],
    });
    const x = task.input(batch());
    expect(x.shape).toEqual([2, 3, 2, 2]);
    const data = Array.from((await x.data()).slice(0, 12));
    const wanted = [-1, -0.6, -0.2, 0.2, 0, 0.2, 0.4, 0.6, -2, 0, 2, 4];
    data.forEach((v, i) => {
      expect(v).toBeCloseTo(wanted[i] as number, 5);
    });
  });

  test('one channel stays one channel', () => {
    const task = imageClassification({ classes, transforms: [{ kind: 'channels', channels: 1 }] });
    expect(task.input(batch()).shape).toEqual([2, 1, 2, 2]);
  });
});

describe('loss and evaluation', () => {
  test('training learns the batch; modes follow the call', async () => {
    manualSeed(1);
    const task = imageClassification({ classes, labelSmoothing: 0.1 });
    const net = model();
    const optimizer = new SGD(net.parameters(), { lr: 0.5 });
    const losses: number[] = [];
    for (let i = 0; i < 30; i++) {
      const loss = task.loss(net, batch());
      expect(net.training).toBe(true);
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      losses.push(await loss.item());
    }
    expect(losses.at(-1)).toBeLessThan(losses[0] as number);
    const [{ predictions }] = task.evaluate(net, batch());
    expect(net.training).toBe(false);
    expect(await predictions.toArray()).toEqual([0, 1]);
  });

  test('evaluation measures without label smoothing', async () => {
    const net = new Fixed([
      [5, 0, 0],
      [0, 5, 0],
    ]);
    const task = imageClassification({ classes, labelSmoothing: 0.5 });
    const plain = Math.log(1 + 2 * Math.exp(-5));
    expect(await task.evaluate(net, batch())[0].loss.item()).toBeCloseTo(plain, 5);
    expect(await task.loss(net, batch()).item()).toBeGreaterThan(1);
  });

  test('u8 labels are labels too', async () => {
    const task = imageClassification({ classes });
    const u8 = batch([], { label: { dtype: 'u8', shape: [2], data: Uint8Array.of(2, 0) } });
    expect(await task.loss(model(), u8).item()).toBeGreaterThan(0);
  });
});

describe('prediction', () => {
  test('names, probabilities and the likeliest classes', async () => {
    const net = new Fixed([
      [0, Math.log(3), 0],
      [2, 2, -50],
    ]);
    const [a, b] = await imageClassification({ classes }).predict(net, batch(), { topK: 2 });
    expect(a).toMatchObject({ label: 'dog', index: 1 });
    expect(a?.probabilities.dog).toBeCloseTo(0.6, 6);
    expect(Object.values(a?.probabilities ?? {}).reduce((x, y) => x + y)).toBeCloseTo(1, 6);
    expect(a?.top.map((t) => t.label)).toEqual(['dog', 'cat']);
    // A tie goes to the first, as argmax does.
    expect(b).toMatchObject({ label: 'cat', index: 0 });
  });

  test('a model that answers NaN is an error, not a class', async () => {
    const net = new Fixed([
      [Number.NaN, 0, 0],
      [0, 0, 0],
    ]);
    await expect(imageClassification({ classes }).predict(net, batch())).rejects.toMatchObject({ code: 'NON_FINITE' });
  });
});

describe('refusals', () => {
  const task = imageClassification({ classes });

  test('a batch without labels has no loss', () => {
    const { label, ...unlabelled } = batch();
    const error = errorOf(() => task.loss(model(), unlabelled as Batch));
    expect(error).toBeInstanceOf(DataError);
    expect(error.code).toBe('LABEL_MISSING');
    expect(error.hint).toContain('class label');
  });

  test.each([[[0, 3]], [[0, -1]]])('labels %o: the sample is named', (labels) => {
    const error = errorOf(() => task.loss(model(), batch(labels)));
    expect(error.code).toBe('LABEL_OUT_OF_RANGE');
    expect(error.details).toMatchObject({ sample: 71, expected: '0 .. 2', got: labels[1] });
  });

  test('a model of another number of classes', () => {
    const error = errorOf(() => task.loss(new Fixed([[1, 2]]), batch()));
    expect(error.code).toBe('CLASSES_MISMATCH');
    expect(error.hint).toBe('build the model with numClasses: 3');
  });

  test('classes that are not distinct, transforms of the host', () => {
    expect(errorOf(() => imageClassification({ classes: ['a', 'a'] })).code).toBe('CLASSES_INVALID');
    const host = imageClassification({ classes, transforms: [{ kind: 'pad', height: 4, width: 4 }] });
    expect(errorOf(() => host.input(batch())).code).toBe('TRANSFORM_STAGE');
  });
});
