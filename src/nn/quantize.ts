/**
 * Weights in 8 bits, for inference: each output of a linear or convolutional layer has a scale s = max|w| / 127, and of its weights
 * round(w / s) is kept (symmetric, per channel; Jacob et al. 2018, https://arxiv.org/abs/1712.05877, and Krishnamoorthi 2018,
 * https://arxiv.org/abs/1806.08342, section 3). They take a quarter of the bytes; arithmetic stays f32, on w = s q, which is
 * computed where a layer is used and needs the memory of the largest layer. Tables of embeddings and recurrent weights stay f32.
 */
import { UnsupportedError } from '../base/index.ts';
import { tensor, type Variable } from '../tensor/index.ts';
import { adapterNames } from './adapters.ts';
import { hasWeight, outputAxis } from './matrix-layers.ts';
import type { Module } from './module.ts';
import { isQuantizedLayer, QuantizedWeight, ZERO } from './quantized-weight.ts';

const LARGEST = 127;

/**
 * Gives linear and convolutional layers room for weights in 8 bits, in the place of those they have: what a saved model is read
 * into. Returns the paths of the layers. @throws UnsupportedError QUANTIZE_NOTHING, QUANTIZE_ADAPTER.
 */
export function declareQuantized(model: Module): string[] {
  const placed = place(model);
  rest(model);
  return placed.map(({ path }) => path);
}

/**
 * Rounds the weights of linear and convolutional layers to 8 bits. The model answers a little differently and trains no more.
 * Applied again it changes nothing. Returns the paths of the layers.
 * @throws UnsupportedError QUANTIZE_NOTHING, QUANTIZE_ADAPTER.
 */
export async function quantizeWeights(model: Module): Promise<string[]> {
  const placed = place(model);
  for (const { weight, axis, quantized } of placed) {
    const { rounded, scales } = roundedOf((await weight.data()) as Float32Array, weight.shape, axis);
    quantized.values.assign(tensor(rounded, { shape: weight.shape, dtype: 'u8' }));
    quantized.scale.assign(tensor(scales, { shape: quantized.scale.shape }));
    await Promise.all([quantized.values.data(), quantized.scale.data()]);
  }
  rest(model);
  return placed.map(({ path }) => path);
}

function rest(model: Module): void {
  for (const variable of model.parameters()) variable.requiresGrad = false;
  model.eval();
}

interface Placed {
  readonly path: string;
  readonly weight: Variable;
  readonly axis: number;
  readonly quantized: QuantizedWeight;
}

function place(model: Module): Placed[] {
  const adapters = adapterNames(model);
  if (adapters.length > 0)
    throw new UnsupportedError('QUANTIZE_ADAPTER', `adapter "${adapters[0]}" needs the weights as they are`, {
      got: adapters,
      hint: 'quantize before it is put on; low-rank ones can be merged: mergeLora(model), removeAdapters(model)',
    });
  const layers = [...model.namedModules()].filter(([, layer]) => outputAxis(layer) !== undefined);
  if (layers.length === 0)
    throw new UnsupportedError('QUANTIZE_NOTHING', `${model.constructor.name} has no linear or convolutional layers`, {
      got: model.constructor.name,
      expected: 'Linear, Conv2d, ConvTranspose2d',
    });
  return layers.flatMap(([path, layer]) => {
    if (isQuantizedLayer(layer) || !hasWeight(layer)) return [];
    const { weight } = layer;
    const axis = outputAxis(layer) as number;
    const quantized = new QuantizedWeight(weight.shape, axis);
    delete (layer as { weight?: Variable }).weight;
    Object.defineProperty(layer, 'weight', { get: () => quantized.weight(), enumerable: false, configurable: true });
    Object.assign(layer, { quantized });
    return [{ path, weight, axis, quantized }];
  });
}

function roundedOf(weight: Float32Array, shape: readonly number[], axis: number) {
  const count = shape[axis] as number;
  // Weights of one output that follow each other.
  const run = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const outputOf = (i: number): number => Math.floor(i / run) % count;
  const scales = new Float32Array(count);
  for (const [i, w] of weight.entries()) scales[outputOf(i)] = Math.max(scales[outputOf(i)] as number, Math.abs(w));
  for (const [i, largest] of scales.entries()) scales[i] = largest / LARGEST;
  const rounded = Uint8Array.from(weight, (w, i) => {
    const scale = scales[outputOf(i)] as number;
    return ZERO + (scale > 0 ? toEven(w / scale) : 0);
  });
  return { rounded, scales };
}

/** The nearest whole number; of two, the even one, as PyTorch rounds. */
function toEven(x: number): number {
  const nearest = Math.round(x);
  return nearest - x === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
}
