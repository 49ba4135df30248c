/** Every registered model: built, trained one step, saved and loaded, refused wrong inputs. */
import { describe, expect, test } from 'vitest';
import { type CambiumError, ConfigError, ShapeError } from '../base/index.ts';
import { crossEntropy, type Module, summarize } from '../nn/index.ts';
import { AdamW } from '../optim/index.ts';
import { currentBackend, flush, manualSeed, type Tensor, tensor, uniform, zeros } from '../tensor/index.ts';
import { BertModel, createModel, listModels, type ModelEntry, vgg16, vgg16Bn } from './index.ts';

const errorOf = (body: () => unknown): CambiumError => {
  try {
    body();
  } catch (error) {
    return error as CambiumError;
  }
  return expect.fail('nothing was thrown');
};

/** As small as its options allow: VGG's large classifier alone would be 120 M weights. */
const smallest = ({ name, defaults }: ModelEntry): Module =>
  createModel(name, { numClasses: 3, ...('classifier' in defaults && { classifier: 'pooled' }) });

/** The input the entry says it takes. */
function inputFor({ name, defaults, minSize }: ModelEntry, batch: number): Tensor {
  if (name === 'mlp') return uniform([batch, 1, 28, 28]);
  const size = Math.max(minSize[0], Number(defaults.imageSize ?? 0));
  return uniform([batch, Number(defaults.inChannels), size, size]);
}

// Seconds a model on the reference backend: there, one of each kind.
const tested = listModels().filter(
  ({ name, input }) =>
    input !== 'text' && (currentBackend().name !== 'reference' || ['mlp', 'mnist-cnn', 'vgg11_bn'].includes(name)),
);

describe('every registered model', () => {
  test('names and descriptions are there', () => {
    expect(listModels().map((m) => m.name)).toEqual([
      'bert',
      'gpt2',
      'lstm-classifier',
      'mlp',
      'mnist-cnn',
      'resnet18',
      'resnet20',
      'resnet34',
      'resnet50',
      'resnet56',
      'squeezenet1_1',
      ...['vgg11', 'vgg13', 'vgg16', 'vgg19'].flatMap((name) => [name, `${name}_bn`]),
      'vit_small',
      'vit_tiny',
    ]);
    for (const { description } of listModels()) expect(description.length).toBeGreaterThan(10);
  });

  test.each(tested.map((entry) => [entry.name, entry] as const))(
    '%s trains a step, and its state goes round',
    async (_, entry) => {
      manualSeed(1);
      const model = smallest(entry);
      const optimizer = new AdamW(model.namedParameters(), { lr: 1e-3 });
      const x = await inputFor(entry, 2).realize();
      const logits = model.forward(x);
      expect(logits.shape).toEqual([2, 3]);
      const loss = crossEntropy(logits, tensor(Int32Array.of(0, 2)));
      loss.backward();
      expect(model.namedParameters().filter((p) => !p.variable.grad)).toEqual([]);
      optimizer.step();
      expect(await loss.item()).toBeGreaterThan(0);

      const copy = smallest(entry);
      const state = new Map<
        string,
        { shape: readonly number[]; dtype: string; data: Awaited<ReturnType<Tensor['data']>> }
      >();
      for (const [name, v] of model.stateDict())
        state.set(name, { shape: v.shape, dtype: v.dtype, data: await v.data() });
      copy.loadStateDict(state);
      const [mine, theirs] = [model.eval().forward(x), copy.eval().forward(x)];
      await flush([mine.node, theirs.node]);
      const values = await mine.data();
      expect(values.every(Number.isFinite)).toBe(true);
      expect(await theirs.data()).toEqual(values);
    },
    120_000,
  );

  const ofImages = listModels().filter(({ input }) => input !== 'text');
  test.each(ofImages.map((entry) => [entry.name, entry] as const))('%s names the layer that refuses', (_, entry) => {
    const model = createModel(entry.name);
    const [height, width] = entry.minSize;
    const channels = Number(entry.defaults.inChannels ?? 1);
    const wrong = entry.name === 'mlp' ? zeros([1, 1, 5, 5]) : zeros([1, channels + 1, height, width]);
    const error = errorOf(() => model.forward(wrong));
    expect(error).toBeInstanceOf(ShapeError);
    expect(error.details.layer).toMatch(/^(features\.0|conv1|layers\.1|.*projection)$/);
    expect(error.hint).toBeTruthy();
    if (entry.name === 'mlp') return;
    const small = errorOf(() => model.forward(zeros([1, channels, height - 1, width - 1])));
    expect(small).toBeInstanceOf(ShapeError);
    expect(small.details.layer).toBeTruthy();
    expect(small.hint).toBeTruthy();
  });
});

describe('VGG', () => {
  test('the tutorial’s model: torchvision’s parameters and names', () => {
    const model = vgg16({ numClasses: 10 });
    expect(summarize(model, [1, 3, 32, 32]).parameters).toBe(134_301_514);
    const keys = [...model.stateDict().keys()];
    expect(keys.slice(0, 4)).toEqual(['features.0.weight', 'features.0.bias', 'features.2.weight', 'features.2.bias']);
    expect(keys.slice(-6)).toEqual([0, 3, 6].flatMap((i) => [`classifier.${i}.weight`, `classifier.${i}.bias`]));
    // torchvision publishes these with 1000 classes.
    expect(
      vgg16({ numClasses: 1000 })
        .parameters()
        .reduce((n, p) => n + p.size, 0),
    ).toBe(138_357_544);
    expect(
      vgg16Bn({ numClasses: 1000 })
        .parameters()
        .reduce((n, p) => n + p.size, 0),
    ).toBe(138_365_992);
  });

  test('28 x 28 vanishes in the fifth pooling: the error names it and proposes padding or resizing to 32', () => {
    const error = errorOf(() => vgg16().forward(zeros([1, 3, 28, 28])));
    expect(error.code).toBe('INPUT_TOO_SMALL');
    expect(error.details).toMatchObject({ layer: 'features.30', got: '28 x 28' });
    expect(error.message).toContain('vanishes in pooling 5 (features.30); it needs at least 32 x 32');
    expect(error.hint).toMatch(/pad or resize.*32/);
  });

  test('grey images in a colour model', () => {
    const error = errorOf(() => vgg16().forward(zeros([1, 1, 32, 32])));
    expect(error.code).toBe('CHANNELS_MISMATCH');
    expect(error.details.layer).toBe('features.0');
    expect(error.hint).toContain('inChannels');
  });

  test('a head of 1000 classes on a model of 10', () => {
    const error = errorOf(() => vgg16().loadStateDict(vgg16({ numClasses: 1000 }).stateDict()));
    expect(error.details).toMatchObject({ tensor: 'classifier.6.weight', layer: 'classifier.6' });
    expect(error.hint).toContain('numClasses');
  });

  test('starts as torchvision does: He normal over fan out, zero biases', async () => {
    manualSeed(2);
    const weight = await (
      createModel('vgg11', { classifier: 'pooled' }).stateDict().get('features.3.weight') as Tensor
    ).data();
    const std = Math.sqrt(Array.from(weight).reduce((a, b) => a + b * b, 0) / weight.length);
    expect(std / Math.sqrt(2 / (128 * 9))).toBeCloseTo(1, 1.9);
  });
});

describe('registry', () => {
  test.each([
    ['vvg16', {}, 'MODEL_UNKNOWN', 'did you mean "vgg16"?'],
    ['vgg16', { numClases: 3 }, 'MODEL_OPTION_UNKNOWN', 'did you mean "numClasses"?'],
    ['vgg16', { numClasses: 0 }, 'MODEL_OPTION_INVALID', undefined],
    ['vgg16', { classifier: 'large' }, 'MODEL_OPTION_INVALID', undefined],
    ['mnist-cnn', { dropout: 1 }, 'MODEL_OPTION_INVALID', undefined],
    ['mnist-cnn', { imageSize: 5 }, 'MODEL_OPTION_INVALID', undefined],
  ])('%s %o', (name, options, code, hint) => {
    const error = errorOf(() => createModel(name, options));
    expect(error).toBeInstanceOf(ConfigError);
    expect(error.code).toBe(code);
    if (hint) expect(error.hint).toBe(hint);
  });
});

test('BERT may start with sines for positions, of the deviation of its other tables', async () => {
  manualSeed(1);
  const options = { vocabSize: 20, hiddenSize: 16, numHiddenLayers: 1, numAttentionHeads: 2, intermediateSize: 16 };
  const table = async (positionInit: 'normal' | 'sinusoidal'): Promise<number[]> => {
    const { positionEmbeddings } = new BertModel({ ...options, maxPositionEmbeddings: 64, positionInit }).embeddings;
    return [...(await positionEmbeddings.weight.data())];
  };
  const [normal, sines] = [await table('normal'), await table('sinusoidal')];
  const deviation = (values: number[]): number => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);
  expect(deviation(sines)).toBeCloseTo(0.02, 3);
  expect(deviation(normal)).toBeCloseTo(0.02, 2);
  // Position 0 is sin 0 and cos 0 in turn.
  expect(sines.slice(0, 2)).toEqual([0, Math.fround(Math.SQRT2 * 0.02)]);
});
