/**
 * Weights in 8 bits, for inference: each output of a linear or convolutional layer has a scale s = max|w| / 127, and of its weights
 * round(w / s) is kept (symmetric, per channel; Jacob et al. 2018, https://arxiv.org/abs/1712.05877, and Krishnamoorthi 2018,
 * https://arxiv.org/abs/1806.08342, section 3). They take a quarter of the memory, and of the file; arithmetic stays f32, on
 * w = s q computed where a layer is used.
 */
import { UnsupportedError } from '../base/index.ts';
import { type Tensor, tensor, type Variable, zeros } from '../tensor/index.ts';
import { adapterNames, type LinearLayer } from './adapters.ts';
import { Conv2d, ConvTranspose2d } from './conv.ts';
import { Linear } from './linear.ts';
import { Module } from './module.ts';

/** Where zero lies among the unsigned bytes that hold q. */
const ZERO = 128;
const LARGEST = 127;

class QuantizedWeight extends Module {
  readonly values: Variable; // u8, the weight's shape
  readonly scale: Variable; // one for each output, broadcast to the weight

  constructor(shape: readonly number[], outputs: number) {
    super();
    this.values = this.buffer(zeros(shape, 'u8'));
    this.scale = this.buffer(zeros(shape.map((size, axis) => (axis === outputs ? size : 1))));
  }
  weight(): Tensor {
    return this.values.cast('f32').sub(ZERO).mul(this.scale);
  }
  forward(x: Tensor): Tensor {
    return x.mul(this.weight());
  }
  override describe(): string {
    return '8 bits';
  }
}

type Quantizable = Module & { readonly weight: Variable; readonly quantized?: QuantizedWeight };

/** Axis of the outputs. */
function outputsOf(layer: Module): number | undefined {
  if (layer instanceof Linear || layer instanceof Conv2d) return 0;
  if (layer instanceof ConvTranspose2d || (layer as unknown as Partial<LinearLayer>).fanInFanOut === true) return 1;
  return undefined;
}

const isQuantizedLayer = (layer: Module): boolean =>
  (layer as unknown as Partial<Quantizable>).quantized instanceof QuantizedWeight;

/** Whether layers of `model` have their weights in 8 bits. */
export const isQuantized = (model: Module): boolean =>
  [...model.namedModules()].some(([, layer]) => isQuantizedLayer(layer));

/**
 * Gives linear and convolutional layers room for weights in 8 bits, in the place of those they have: what a saved model is read
 * into. Returns the paths of the layers. @throws UnsupportedError QUANTIZE_NOTHING, QUANTIZE_ADAPTER.
 */
export function declareQuantized(model: Module): string[] {
  return place(model).map(([path]) => path);
}

/**
 * Rounds the weights of linear and convolutional layers to 8 bits. The model answers a little differently, in a quarter of the
 * memory, and trains no more. Applied again it changes nothing. Returns the paths of the layers.
 * @throws UnsupportedError QUANTIZE_NOTHING, QUANTIZE_ADAPTER.
 */
export async function quantizeWeights(model: Module): Promise<string[]> {
  const placed = place(model);
  for (const [, layer, weight] of placed) {
    const { values, scale } = layer.quantized as QuantizedWeight;
    const outputs = outputsOf(layer) as number;
    const { rounded, scales } = roundedOf((await weight.data()) as Float32Array, weight.shape, outputs);
    values.assign(tensor(rounded, { shape: weight.shape, dtype: 'u8' }));
    scale.assign(tensor(scales, { shape: scale.shape }));
    await Promise.all([values.data(), scale.data()]);
  }
  for (const variable of model.parameters()) variable.requiresGrad = false;
  model.eval();
  return placed.map(([path]) => path);
}

function place(model: Module): [string, Quantizable, Variable][] {
  const adapters = adapterNames(model);
  if (adapters.length > 0)
    throw new UnsupportedError('QUANTIZE_ADAPTER', `adapter "${adapters[0]}" needs the weights as they are`, {
      got: adapters,
      hint: 'low-rank ones become part of the weights: mergeLora(model), removeAdapters(model)',
    });
  const layers = [...model.namedModules()].filter(([, layer]) => outputsOf(layer) !== undefined);
  if (layers.length === 0)
    throw new UnsupportedError(
      'QUANTIZE_NOTHING',
      `${model.constructor.name} has no linear or convolutional layers`,
      {},
    );
  const open = layers.filter(([, layer]) => !isQuantizedLayer(layer)) as [string, Quantizable][];
  return open.map(([path, layer]) => {
    const { weight } = layer;
    const quantized = new QuantizedWeight(weight.shape, outputsOf(layer) as number);
    delete (layer as { weight?: Variable }).weight;
    Object.defineProperty(layer, 'weight', { get: () => quantized.weight(), enumerable: false, configurable: true });
    return [path, Object.assign(layer, { quantized }), weight];
  });
}

function roundedOf(weight: Float32Array, shape: readonly number[], outputs: number) {
  const count = shape[outputs] as number;
  // Weights of one output that follow each other.
  const run = shape.slice(outputs + 1).reduce((a, b) => a * b, 1);
  const outputOf = (i: number): number => Math.floor(i / run) % count;
  const scales = new Float32Array(count);
  for (const [i, w] of weight.entries()) scales[outputOf(i)] = Math.max(scales[outputOf(i)] as number, Math.abs(w));
  for (const [i, largest] of scales.entries()) scales[i] = largest / LARGEST;
  const rounded = Uint8Array.from(weight, (w, i) => {
    const scale = scales[outputOf(i)] as number;
    return ZERO + (scale > 0 ? Math.round(w / scale) : 0);
  });
  return { rounded, scales };
}
