/** Attention and transformer layers against PyTorch: outputs, gradients of every input and parameter. */
import { describe, expect, test } from 'vitest';
import * as nn from '../../src/nn/index.ts';
import { type Tensor, tensor } from '../../src/tensor/index.ts';
import { fill } from './layer-case.ts';
import { expectClose, golden, stream } from './streams.ts';

interface Golden {
  inputs: number[][];
  shape: number[];
  y: number[];
  dx: number[][];
  grads: Record<string, number[]>;
}

const flags = (rows: string[]): Tensor =>
  tensor(
    rows.map((row) => [...row].map((c) => c === '1')),
    { dtype: 'bool' },
  );
const masks = () => ({
  padding: flags(['0000', '0011']),
  padding5: flags(['00000', '00001']),
  band: flags(['0110', '0011', '1001', '0100', '0000']),
});

const sizes = { dimFeedforward: 12, dropout: 0 };
const attentionOf = (options: nn.MultiheadAttentionOptions = {}) =>
  new nn.MultiheadAttention(8, 2, { batchFirst: true, ...options });
const encoderLayer = (options: nn.TransformerLayerOptions = {}) =>
  new nn.TransformerEncoderLayer(8, 2, { ...sizes, ...options });
const decoderLayer = (options: nn.TransformerLayerOptions = {}) =>
  new nn.TransformerDecoderLayer(8, 2, { ...sizes, ...options });
const transformer = (options: nn.TransformerOptions = {}) =>
  new nn.Transformer({ dModel: 8, nhead: 2, numEncoderLayers: 2, numDecoderLayers: 2, ...sizes, ...options });

/** A module and its call on the inputs. */
function made<M extends nn.Module>(module: M, call: (m: M, ...x: Tensor[]) => Tensor) {
  return { module, run: (x: Tensor[]) => call(module, ...x) };
}
const preNorm = { activation: 'gelu', batchFirst: true, normFirst: true } as const;

// The same table as CASES in test/golden/scripts/transformer.py.
const cases: Record<string, () => { module: nn.Module; run(x: Tensor[]): Tensor }> = {
  attentionSelf: () => made(attentionOf(), (m, x) => m.forward(x as Tensor)),
  attentionStepsFirst: () => made(attentionOf({ batchFirst: false }), (m, x) => m.forward(x as Tensor)),
  attentionCross: () => made(attentionOf({ bias: false }), (m, q, k, v) => m.forward(q as Tensor, k, v)),
  attentionWidths: () => made(attentionOf({ kdim: 6, vdim: 3 }), (m, q, k, v) => m.forward(q as Tensor, k, v)),
  attentionPadding: () =>
    made(attentionOf(), (m, x) => m.forward(x as Tensor, x, x, { keyPaddingMask: masks().padding })),
  attentionMasks: () =>
    made(attentionOf({ batchFirst: false }), (m, q, k) =>
      m.forward(q as Tensor, k, k, { keyPaddingMask: masks().padding, attnMask: masks().band }),
    ),
  attentionAdded: () => made(attentionOf(), (m, x, mask) => m.forward(x as Tensor, x, x, { attnMask: mask as Tensor })),
  attentionCausal: () => made(attentionOf(), (m, x) => m.forward(x as Tensor, x, x, { causal: true })),
  encoderLayer: () => made(encoderLayer(), (m, x) => m.forward(x as Tensor)),
  encoderLayerGelu: () =>
    made(encoderLayer({ ...preNorm, layerNormEps: 1e-3 }), (m, x) =>
      m.forward(x as Tensor, { causal: true, keyPaddingMask: masks().padding }),
    ),
  decoderLayer: () => made(decoderLayer(), (m, x, memory) => m.forward(x as Tensor, memory)),
  decoderLayerMasks: () =>
    made(decoderLayer(preNorm), (m, x, memory) =>
      m.forward(x as Tensor, memory, {
        causal: true,
        keyPaddingMask: masks().padding5,
        memoryMask: masks().band,
        memoryKeyPaddingMask: masks().padding,
      }),
    ),
  transformer: () =>
    made(transformer({ batchFirst: true }), (m, src, tgt) =>
      m.forward(src as Tensor, tgt, {
        src: { keyPaddingMask: masks().padding },
        tgt: { causal: true, memoryKeyPaddingMask: masks().padding },
      }),
    ),
  transformerNormFirst: () =>
    made(transformer({ normFirst: true, activation: 'gelu' }), (m, src, tgt) => m.forward(src as Tensor, tgt)),
};

const goldens = golden<Record<string, Golden>>('transformer');
// f32 sums in another order than PyTorch's, through up to four layers.
const TOLERANCE = 1e-5;

describe('attention and transformer layers agree with PyTorch', () => {
  test('both tables name the same cases', () => {
    expect(Object.keys(cases)).toEqual(Object.keys(goldens));
  });

  test.each(Object.keys(cases))('%s', async (name) => {
    const expected = goldens[name] as Golden;
    const { module, run } = (cases[name] as (typeof cases)[string])();
    fill(module);
    const inputs = expected.inputs.map((shape, i) => stream(200 + i, shape, -1, 1));
    for (const x of inputs) x.requiresGrad = true;
    const y = run(inputs);
    expect(y.shape).toEqual(expected.shape);
    y.backward(stream(2, y.shape, -1, 1));
    expectClose(await y.data(), expected.y, TOLERANCE, 'y');
    for (const [i, x] of inputs.entries())
      expectClose(await (x.grad as Tensor).data(), expected.dx[i] as number[], TOLERANCE, `dx${i}`);
    const parameters = module.namedParameters();
    expect(parameters.map((p) => p.name)).toEqual(Object.keys(expected.grads));
    for (const { name: key, variable } of parameters)
      expectClose(await (variable.grad as Tensor).data(), expected.grads[key] as number[], TOLERANCE, `grad ${key}`);
  });
});
