/** A weight in 8 bits as a layer holds it: see quantize.ts. */
import { type Tensor, type Variable, zeros } from '../tensor/index.ts';
import { Module } from './module.ts';

/** Where zero lies among the unsigned bytes that hold whole numbers from -127 to 127. */
export const ZERO = 128;

export class QuantizedWeight extends Module {
  readonly values: Variable; // u8, the weight's shape
  readonly scale: Variable; // one for each output, broadcast to the weight

  constructor(shape: readonly number[], outputs: number) {
    super();
    this.values = this.buffer(zeros(shape, 'u8'));
    this.scale = this.buffer(zeros(shape.map((size, axis) => (axis === outputs ? size : 1))));
  }
  /** Of the weight's shape: scale * (values - ZERO). Not a layer's answer, which hooks would be shown. */
  weight(): Tensor {
    return this.values.cast('f32').sub(ZERO).mul(this.scale);
  }
  forward(): Tensor {
    return this.weight();
  }
  override describe(): string {
    return '8 bits';
  }
}

export const isQuantizedLayer = (layer: Module): layer is Module & { readonly quantized: QuantizedWeight } =>
  (layer as unknown as { quantized?: unknown }).quantized instanceof QuantizedWeight;

/** Whether layers of `model` have their weights in 8 bits. */
export const isQuantized = (model: Module): boolean =>
  [...model.namedModules()].some(([, layer]) => isQuantizedLayer(layer));
