/** Every loss and its gradient against PyTorch, for every reduction. */
import { describe, expect, test } from 'vitest';
import * as nn from '../../src/nn/index.ts';
import { type Tensor, tensor } from '../../src/tensor/index.ts';
import { expectClose, golden, integers, stream, uniformData } from './streams.ts';

const goldens = golden<Record<string, { loss: number[]; dx: number[] }>>('losses');

// As in `losses` of the script.
const logits = stream(1, [6, 5], -4, 4);
const labels = integers(3, [6], 5);
const ignored = integers(3, [6], 5)
  .mul(tensor(Int32Array.of(1, 0, 1, 1, 0, 1)))
  .add(tensor(Int32Array.of(0, -100, 0, 0, -100, 0)));
const classWeights = stream(4, [5], 0.2, 2);
const maps = stream(5, [2, 4, 3, 2], -3, 3);
const mapLabels = integers(6, [2, 3, 2], 4);
const [x, y] = [stream(7, [4, 5], -3, 3), stream(8, [4, 5], -3, 3)];
const q = stream(10, [4, 5], 0, 1);
const hard = q.gt(0.5).cast('f32');
const probabilities = (): Tensor => {
  const data = uniformData(9, 20, 0.01, 0.99);
  data.set([0, 1]);
  return tensor(data, { shape: [4, 5] });
};

type Case = (x: Tensor, reduction: nn.Reduction) => Tensor;
const cases: Record<string, [Tensor, Case]> = {
  crossEntropy: [logits, (x, reduction) => nn.crossEntropy(x, labels, { reduction })],
  'crossEntropy/smooth': [logits, (x, reduction) => nn.crossEntropy(x, labels, { labelSmoothing: 0.1, reduction })],
  'crossEntropy/weights': [logits, (x, reduction) => nn.crossEntropy(x, labels, { classWeights, reduction })],
  'crossEntropy/ignored': [logits, (x, reduction) => nn.crossEntropy(x, ignored, { reduction })],
  'crossEntropy/all': [
    logits,
    (x, reduction) => nn.crossEntropy(x, ignored, { classWeights, labelSmoothing: 0.2, reduction }),
  ],
  'crossEntropy/maps': [maps, (x, reduction) => nn.crossEntropy(x, mapLabels, { labelSmoothing: 0.1, reduction })],
  'crossEntropy/large': [logits.mul(1000), (x, reduction) => nn.crossEntropy(x, labels, { reduction })],
  nllLoss: [logits, (x, reduction) => nn.nllLoss(x, ignored, { classWeights, reduction })],
  mseLoss: [x, (x, reduction) => nn.mseLoss(x, y, { reduction })],
  l1Loss: [x, (x, reduction) => nn.l1Loss(x, y, { reduction })],
  huberLoss: [x, (x, reduction) => nn.huberLoss(x, y, { delta: 0.7, reduction })],
  smoothL1Loss: [x, (x, reduction) => nn.smoothL1Loss(x, y, { beta: 0.7, reduction })],
  bceWithLogitsLoss: [x, (x, reduction) => nn.bceWithLogitsLoss(x, q, { reduction })],
  bceLoss: [probabilities(), (x, reduction) => nn.bceLoss(x, hard, { reduction })],
};

describe('losses agree with PyTorch', () => {
  test.each(Object.keys(goldens))('%s', async (name) => {
    const [input, loss] = cases[name.slice(0, name.lastIndexOf('/'))] as [Tensor, Case];
    const leaf = input.detach();
    leaf.requiresGrad = true;
    const value = loss(leaf, name.slice(name.lastIndexOf('/') + 1) as nn.Reduction);
    value.backward(value.rank === 0 ? undefined : stream(2, value.shape, -1, 1));
    const expected = goldens[name] as { loss: number[]; dx: number[] };
    expectClose(await value.data(), expected.loss, 1e-6, 'loss');
    expectClose(await (leaf.grad ?? tensor([])).data(), expected.dx, 1e-6, 'dx');
  });

  test('a label outside the classes is never trained on silently', async () => {
    const loss = nn.crossEntropy(logits, tensor(Int32Array.of(0, 1, 5, 2, 3, 4)));
    expect(await loss.item()).toBeNaN();
  });

  test('shapes, dtypes and options are checked when the loss is built', () => {
    expect(() => nn.crossEntropy(logits, logits)).toThrow(/targets \(N, \.\.\.\) without the class axis/);
    expect(() => nn.crossEntropy(logits, tensor([1, 2, 3, 4, 0, 1]))).toThrow(/class indices, got f32/);
    expect(() => nn.crossEntropy(logits, labels, { labelSmoothing: 2 })).toThrow(/labelSmoothing must be in \[0, 1\]/);
    expect(() => nn.crossEntropy(logits, labels, { classWeights: x })).toThrow(/5 classes need as many weights/);
    expect(() => nn.mseLoss(x, logits)).toThrow(/prediction \(4, 5\) and target \(6, 5\) differ/);
    expect(() => nn.huberLoss(x, y, { delta: 0 })).toThrow(/delta must be positive/);
  });
});
