/** Models and stacks against PyTorch: outputs, gradients, three steps of AdamW; BERT's pooler and the MAE's encoder alone. */
import { describe, expect, test } from 'vitest';
import { BertPooler, resolveBertOptions } from '../../src/models/bert-layers.ts';
import { LSTMClassifier, MaskedAutoencoder, patchify, ViT } from '../../src/models/index.ts';
import * as nn from '../../src/nn/index.ts';
import { AdamW } from '../../src/optim/index.ts';
import { maskedAutoencoder } from '../../src/tasks/index.ts';
import { flush, type Tensor, tensor } from '../../src/tensor/index.ts';
import { fill } from './layer-case.ts';
import { expectClose, golden, integers, stream, uniformData } from './streams.ts';

interface Steps {
  y: number[];
  grads: Record<string, number>;
  losses: number[];
}
const goldens = golden<
  Record<string, Steps> & {
    pooler: { y: number[]; dx: number[]; grads: Record<string, number[]> };
    maskedAutoencoder: {
      names: string[];
      kept: number[];
      mask: number[];
      y: number[];
      patches: number[];
      grads: Record<string, number>;
      loss: number;
    };
  }
>('steps');

// f32 sums in another order than PyTorch's; Adam divides by the root of small squares.
const TOLERANCE = { y: 1e-5, grad: 2e-5, loss: 2e-5 };

/** As `steps` in the script. */
async function checkSteps(
  model: nn.Module,
  call: () => Tensor,
  lossOf: (y: Tensor) => Tensor,
  expected: Steps,
): Promise<void> {
  const optimizer = new AdamW(model.parameters(), { lr: 1e-2, weightDecay: 0.05 });
  for (const [step, wanted] of expected.losses.entries()) {
    const y = call();
    const loss = lossOf(y);
    if (step < 3) {
      optimizer.zeroGrad();
      loss.backward();
    }
    if (step === 0) {
      const sums = model
        .namedParameters()
        .map(({ name, variable }) => [name, (variable.grad as Tensor).abs().sum()] as const);
      await flush([y.node, ...sums.map(([, sum]) => sum.node)]);
      expectClose(await y.data(), expected.y, TOLERANCE.y, 'y');
      const names = Object.keys(expected.grads);
      if (names.length > 0) expect(sums.map(([name]) => name)).toEqual(names);
      for (const [name, sum] of names.length > 0 ? sums : [])
        expectClose([await sum.item()], [expected.grads[name] as number], TOLERANCE.grad, `grad ${name}`);
    }
    if (step < 3) optimizer.step();
    expectClose([await loss.item()], [wanted], TOLERANCE.loss, `loss ${step}`);
  }
}

const squares = (y: Tensor): Tensor => nn.mseLoss(y, stream(2, y.shape, -1, 1));
const check = async (name: string, model: nn.Module, call: () => Tensor, lossOf = squares): Promise<void> => {
  fill(model);
  await checkSteps(model, call, lossOf, goldens[name] as Steps);
};

describe('LSTMClassifier agrees with packed sequences of PyTorch', () => {
  test.each(['last', 'mean'] as const)('%s', async (pooling) => {
    const options = { vocabSize: 20, numClasses: 3, embeddingDim: 6, hiddenSize: 5, numLayers: 2, pooling };
    const model = new LSTMClassifier(options);
    const attentionMask = tensor(
      [
        [1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
      ],
      { dtype: 'i32' },
    );
    await check(
      pooling === 'last' ? 'lstmClassifierLast' : 'lstmClassifierMean',
      model,
      () => model.forward({ inputIds: integers(1, [3, 7], 20), attentionMask }),
      (y) => nn.crossEntropy(y, integers(4, [3], 3)),
    );
  });
});

describe('stacks', () => {
  const both = { numLayers: 2, bidirectional: true };
  test.each([
    ['rnn', () => new nn.RNN(4, 5, { ...both, nonlinearity: 'relu' })],
    ['lstm', () => new nn.LSTM(4, 5, both)],
    ['gru', () => new nn.GRU(4, 5, { numLayers: 2 })],
  ] as const)('%s of sequences of several lengths', async (name, make) => {
    const model = make();
    await check(name, model, () => model.run(stream(200, [6, 3, 4], -1, 1), { lengths: [6, 2, 4] }).output);
  });

  const sizes = { dimFeedforward: 12, dropout: 0, batchFirst: true };
  test('encoder with padding', async () => {
    const norm = new nn.LayerNorm(8);
    const model = new nn.TransformerEncoder(() => new nn.TransformerEncoderLayer(8, 2, sizes), 2, norm);
    const keyPaddingMask = tensor(
      [
        [false, false, false, false],
        [false, false, true, true],
      ],
      { dtype: 'bool' },
    );
    await check('encoder', model, () => model.forward(stream(200, [2, 4, 8], -1, 1), { keyPaddingMask }));
  });
  test('causal decoder', async () => {
    const options = { ...sizes, normFirst: true, activation: 'gelu' } as const;
    const model = new nn.TransformerDecoder(() => new nn.TransformerDecoderLayer(8, 2, options), 2);
    await check('decoder', model, () =>
      model.forward(stream(200, [2, 5, 8], -1, 1), stream(201, [2, 4, 8], -1, 1), { causal: true }),
    );
  });
  test('sequence to sequence', async () => {
    const model = new nn.Transformer({ dModel: 8, nhead: 2, numEncoderLayers: 2, numDecoderLayers: 2, ...sizes });
    await check('seq2seq', model, () =>
      model.forward(stream(200, [2, 4, 8], -1, 1), stream(201, [2, 5, 8], -1, 1), { tgt: { causal: true } }),
    );
  });
});

const vit = () => {
  const sizes = { hiddenSize: 24, numLayers: 2, numHeads: 3, intermediateSize: 40 };
  return new ViT({ ...sizes, imageSize: 12, patchSize: 4, numClasses: 5 });
};
const load = (model: nn.Module, names: readonly string[]): void => {
  const shapes = model.stateDict();
  model.loadStateDict(
    new Map(names.map((name, i) => [name, stream(1000 + i, shapes.get(name)?.shape ?? [], -0.4, 0.4)])),
  );
};

test('ViT', async () => {
  const model = vit();
  load(model, [...model.stateDict().keys()].sort());
  const call = () => model.forward(stream(70, [3, 3, 12, 12], -1, 1));
  await checkSteps(model, call, (y) => nn.crossEntropy(y, integers(40, [3], 5)), goldens.vit as Steps);
});

test("BERT's pooler", async () => {
  const { y: wanted, dx, grads } = goldens.pooler;
  const model = new BertPooler(resolveBertOptions({ hiddenSize: 12, numAttentionHeads: 2 }));
  fill(model);
  const x = stream(200, [3, 4, 12], -1, 1);
  x.requiresGrad = true;
  const y = model.forward(x);
  y.backward(stream(2, y.shape, -1, 1));
  expectClose(await y.data(), wanted, 2e-6, 'y');
  expectClose(await (x.grad as Tensor).data(), dx, 2e-6, 'dx');
  for (const { name, variable } of model.namedParameters())
    expectClose(await (variable.grad as Tensor).data(), grads[name] as number[], 2e-6, name);
});

// The decoder is not compared: transformers' also reads the class token, ours the patches alone.
test("the masked autoencoder's encoder and patches", async () => {
  const { names, kept, mask, y: wanted, patches, grads, loss: wantedLoss } = goldens.maskedAutoencoder;
  const model = vit();
  load(model.vit, names);
  const x = stream(70, [3, 3, 12, 12], -1, 1);
  expectClose(await patchify(x, 4).flatten().slice(0, 0, 288).data(), patches, 1e-8, 'patches');
  const y = model.vit.visible(x, tensor(Int32Array.from(kept)));
  y.backward(stream(2, y.shape, -1, 1));
  expectClose(await y.data(), wanted, TOLERANCE.y, 'y');
  for (const { name, variable } of model.vit.namedParameters())
    if (grads[name] !== undefined)
      expectClose([await (variable.grad as Tensor).abs().sum().item()], [grads[name]], TOLERANCE.grad, `grad ${name}`);

  // The objective on a drawing that both sides know.
  class Drawing extends MaskedAutoencoder {
    override reconstruct(): Tensor {
      return stream(72, [3, 9, 48], -1, 1);
    }
  }
  const rows = (data: number[]) => ({ dtype: 'i32' as const, shape: [data.length], data: Int32Array.from(data) });
  const hidden = mask.flatMap((hides, row) => (hides ? [row] : []));
  const image = { dtype: 'f32' as const, shape: [3, 3, 12, 12], data: uniformData(70, 3 * 3 * 12 * 12, -1, 1) };
  const picture = { image, label: rows([0, 0, 0]), ids: new Int32Array(3), epoch: 0, index: 0, size: 3 };
  const batch = { ...picture, kept: rows(kept), restore: rows(mask), hidden: rows(hidden) };
  const loss = maskedAutoencoder([]).loss(new Drawing(vit(), [3, 12, 12]), batch);
  expectClose([await loss.item()], [wantedLoss], 1e-6, 'loss');
});
