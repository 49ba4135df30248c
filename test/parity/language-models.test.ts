/** BERT and GPT-2 against transformers: names, logits, gradients, three steps of AdamW, and greedy continuations. */
import { describe, expect, test } from 'vitest';
import { CambiumError, Philox } from '../../src/base/index.ts';
import {
  BertForMaskedLM,
  BertForSequenceClassification,
  BertForTokenClassification,
  type BertInput,
  type BertOptions,
  bertNames,
  createModel,
  GPT2,
  GPT2ForSequenceClassification,
  generate,
  sampleToken,
} from '../../src/models/index.ts';
import { crossEntropy, loadTensors, type Module } from '../../src/nn/index.ts';
import { AdamW } from '../../src/optim/index.ts';
import { flush, type Tensor, tensor, where } from '../../src/tensor/index.ts';
import { expectClose, golden, integers, uniformData } from './streams.ts';

interface Golden {
  logits: number[];
  names: string[];
  grads: Record<string, number>;
  dpositions?: number[];
  losses: number[];
  labels?: number[];
  text?: number[];
}
const goldens =
  golden<Record<'sequence' | 'plain' | 'token' | 'masked' | 'gpt2' | 'gpt2Classes', Golden>>('language-models');

const small: BertOptions = {
  vocabSize: 50,
  hiddenSize: 16,
  numHiddenLayers: 2,
  numAttentionHeads: 2,
  intermediateSize: 24,
  maxPositionEmbeddings: 12,
  hiddenDropoutProb: 0,
  attentionProbsDropoutProb: 0,
};
const tokens = () => integers(1, [3, 8], 50);
const given = (): BertInput => ({
  inputIds: tokens(),
  attentionMask: tensor(
    [
      [1, 1, 1, 1, 1, 1, 1, 1],
      [1, 1, 1, 1, 1, 0, 0, 0],
      [1, 1, 1, 0, 0, 0, 0, 0],
    ],
    { dtype: 'i32' },
  ),
  tokenTypeIds: tensor(
    [
      [0, 0, 0, 0, 1, 1, 1, 1],
      [0, 0, 0, 0, 0, 0, 0, 0],
      [0, 1, 1, 1, 0, 0, 0, 0],
    ],
    { dtype: 'i32' },
  ),
});

/** As `fill` in the script. */
function fill(module: Module): void {
  module.loadStateDict(
    new Map(
      module
        .namedParameters()
        .map(({ name, variable: { shape, dtype, size } }, i) => [
          name,
          { shape, dtype, data: uniformData(100 + i, size, -0.4, 0.4) },
        ]),
    ),
  );
}

async function check(model: Module, call: () => Tensor, lossOf: (logits: Tensor) => Tensor, expected: Golden) {
  fill(model);
  expect(model.namedParameters().map((p) => p.name)).toEqual(expected.names);
  const optimizer = new AdamW(model.parameters(), { lr: 1e-3 });
  for (const [step, wanted] of expected.losses.entries()) {
    const logits = call();
    const loss = lossOf(logits);
    optimizer.zeroGrad();
    loss.backward();
    const sums = model
      .namedParameters()
      .map(({ name, variable }) => [name, (variable.grad as Tensor).abs().sum()] as const);
    await flush([logits.node, loss.node, ...sums.map(([, sum]) => sum.node)]);
    optimizer.step();
    expect(Math.abs((await loss.item()) - wanted), `loss ${step}`).toBeLessThan(1e-5 * Math.max(1, wanted));
    if (step > 0) continue;
    expectClose(await logits.data(), expected.logits, 1e-5, 'logits');
    for (const [name, sum] of sums) {
      const want = expected.grads[name] as number;
      // A bias before softmax over keys has no gradient but rounding.
      expect(Math.abs((await sum.item()) - want), `grad ${name}`).toBeLessThan(1e-5 * Math.max(1, want));
    }
  }
}

describe('BERT agrees with transformers', () => {
  const labels = (shape: number[]) => integers(4, shape, 3);

  test('sequence classification with mask and token types', async () => {
    const model = new BertForSequenceClassification({ ...small, numClasses: 3 });
    await check(
      model,
      () => model.forward(given()),
      (y) => crossEntropy(y, labels([3])),
      goldens.sequence,
    );
  });
  test('tokens alone, tanh GELU', async () => {
    const model = new BertForSequenceClassification({ ...small, numClasses: 3, hiddenAct: 'gelu_new' });
    await check(
      model,
      () => model.forward(tokens()),
      (y) => crossEntropy(y, labels([3])),
      goldens.plain,
    );
  });
  test('token classification', async () => {
    const model = new BertForTokenClassification({ ...small, numClasses: 3 });
    await check(
      model,
      () => model.forward(given()),
      (y) => crossEntropy(y.reshape(24, 3), labels([3, 8]).reshape(24)),
      goldens.token,
    );
  });
  test('masked language modelling', async () => {
    const model = new BertForMaskedLM(small);
    const wanted = tensor(Int32Array.from(goldens.masked.labels as number[]));
    await check(
      model,
      () => model.forward(given()),
      (y) => crossEntropy(y.reshape(24, 50), wanted, { ignoreIndex: -100 }),
      goldens.masked,
    );
  });

  test('reads what transformers writes: tied decoder, gamma and beta, no prefix', async () => {
    const model = new BertForMaskedLM(small);
    fill(model);
    const stored = new Map<string, { dtype: 'f32'; shape: readonly number[]; data: Float32Array }>();
    for (const [name, variable] of model.stateDict())
      stored.set(name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta'), {
        dtype: 'f32',
        shape: variable.shape,
        data: (await variable.data()) as Float32Array,
      });
    const words = stored.get('bert.embeddings.word_embeddings.weight');
    if (words) stored.set('cls.predictions.decoder.weight', words);
    const fresh = new BertForMaskedLM(small);
    const report = loadTensors(fresh, stored, { rename: bertNames });
    expect(report.missing).toEqual([]);
    expectClose(await fresh.forward(given()).data(), goldens.masked.logits, 1e-5, 'logits');
  });

  test('by name it trains with dropout', async () => {
    const model = createModel('bert', { vocabSize: 50, numClasses: 3, hiddenSize: 16, numAttentionHeads: 2 });
    const optimizer = new AdamW(model.namedParameters(), { lr: 1e-2 });
    const losses: number[] = [];
    for (let step = 0; step < 30; step++) {
      const loss = crossEntropy((model as BertForSequenceClassification).forward(given()), labels([3]));
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      losses.push(await loss.item());
    }
    expect(losses.at(-1)).toBeLessThan(0.2 * (losses[0] as number));
  });

  test('sizes that do not fit are typed errors', () => {
    const model = new BertForSequenceClassification({ ...small, numClasses: 3 });
    expect(() => model.forward(integers(1, [1, 13], 50))).toThrow(
      expect.objectContaining({ code: 'SEQUENCE_TOO_LONG' }),
    );
    expect(() => new BertForMaskedLM({ ...small, numAttentionHeads: 3 })).toThrow(CambiumError);
  });
});

describe('GPT-2 agrees with transformers', () => {
  const options = {
    vocabSize: 40,
    nPositions: 24,
    nEmbd: 16,
    nLayer: 2,
    nHead: 2,
    residPdrop: 0,
    embdPdrop: 0,
    attnPdrop: 0,
  };
  const prompt = async (): Promise<number[]> => [...((await integers(3, [1, 4], 40).data()) as Int32Array)];

  test('causal language modelling', async () => {
    const model = new GPT2(options);
    const text = integers(2, [2, 10], 40);
    await check(
      model,
      () => model.forward(text),
      (y) => crossEntropy(y.slice(1, 0, -1).reshape(18, 40), text.slice(1, 1).reshape(18)),
      goldens.gpt2,
    );
  });

  test('sequence classification: the last token before the padding', async () => {
    const model = new GPT2ForSequenceClassification({ ...options, numClasses: 3 });
    const { attentionMask } = given();
    const words = where(attentionMask?.ne(0) as Tensor, integers(7, [3, 8], 39), 39);
    await check(
      model,
      () => model.forward({ inputIds: words, attentionMask }),
      (y) => crossEntropy(y, integers(4, [3], 3)),
      goldens.gpt2Classes,
    );
    const whole = integers(2, [2, 10], 40);
    const mask = tensor(new Int32Array(20).fill(1), { shape: [2, 10] });
    const logits = await model.forward(whole).data();
    expectClose(
      await model.forward({ inputIds: whole, attentionMask: mask }).data(),
      [...(logits as Float32Array)],
      1e-6,
      'full',
    );
  });

  test.each([true, false])('greedy continuation, cache %s', async (useCache) => {
    const model = new GPT2(options);
    fill(model);
    const text = await generate(model, await prompt(), { maxNewTokens: 16, temperature: 0, useCache });
    expect(text).toEqual(goldens.gpt2.text);
    expect(model.training).toBe(true);
  });

  test('drawn texts are a function of the seed, with cache or without', async () => {
    const model = new GPT2(options);
    fill(model);
    const draw = async (seed: number, useCache: boolean) =>
      generate(model, await prompt(), { maxNewTokens: 12, temperature: 1.5, topK: 20, topP: 0.95, seed, useCache });
    const first = await draw(1, true);
    expect(await draw(1, false)).toEqual(first);
    expect(await draw(2, true)).not.toEqual(first);
  });

  test('an option that is undefined keeps its default', () => {
    expect(new GPT2({ ...options, layerNormEpsilon: undefined } as object).options.layerNormEpsilon).toBe(1e-5);
  });

  test('refuses more tokens than positions, empty prompts and strange options', async () => {
    const model = new GPT2(options);
    await expect(generate(model, [1], { maxNewTokens: 24 })).rejects.toThrow(
      expect.objectContaining({ code: 'SEQUENCE_TOO_LONG' }),
    );
    for (const wrong of [{ temperature: -1 }, { topK: 0 }, { topP: 0 }, { maxNewTokens: 0 }])
      await expect(generate(model, [1], wrong)).rejects.toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }));
    await expect(generate(model, [], {})).rejects.toThrow(CambiumError);
    await expect(generate(model, [40], {})).rejects.toThrow(CambiumError);
  });
});

test('sampling keeps to the likeliest', () => {
  const logits = Float32Array.from([1, 3, 2, -1]);
  const drawn = (options: object) =>
    new Set(Array.from({ length: 200 }, (_, i) => sampleToken(logits, new Philox(i), options)));
  expect([...drawn({})].sort()).toEqual([0, 1, 2, 3]);
  expect([...drawn({ topK: 2 })].sort()).toEqual([1, 2]);
  expect([...drawn({ topP: 0.6 })]).toEqual([1]); // 0.66 of the weight
  expect([...drawn({ temperature: 0 })]).toEqual([1]);
});
