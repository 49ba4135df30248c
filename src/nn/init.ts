/** Initial values of parameters, with PyTorch's formulas (torch.nn.init). */
import type { Shape } from '../base/index.ts';
import { normal, type Tensor, uniform } from '../tensor/index.ts';

/** Connections into and out of one unit: dimension 1 and 0, times the receptive field. */
export function fans(shape: Shape): { fanIn: number; fanOut: number } {
  const field = shape.slice(2).reduce((n, d) => n * d, 1);
  return { fanIn: ((shape[1] ?? shape[0]) as number) * field, fanOut: (shape[0] as number) * field };
}

const symmetric = (shape: Shape, bound: number): Tensor => uniform(shape, { low: -bound, high: bound });

/** He et al. 2015, uniform with the leak `a` that torch's Linear and Conv2d use by default (sqrt 5). */
export function kaimingUniform(shape: Shape, a = Math.sqrt(5)): Tensor {
  return symmetric(shape, Math.sqrt(6 / ((1 + a * a) * Math.max(1, fans(shape).fanIn))));
}
/** He et al. 2015, normal for ReLU, scaled by fan out as torchvision's VGG and ResNet do. */
export function kaimingNormal(shape: Shape, mode: 'fanIn' | 'fanOut' = 'fanOut'): Tensor {
  return normal(shape, { std: Math.sqrt(2 / fans(shape)[mode]) });
}
/** Glorot and Bengio 2010. */
export function xavierUniform(shape: Shape): Tensor {
  const { fanIn, fanOut } = fans(shape);
  return symmetric(shape, Math.sqrt(6 / (fanIn + fanOut)));
}
/** The bias of a layer with `fanIn` inputs. */
export function biasUniform(size: number, fanIn: number): Tensor {
  return symmetric([size], fanIn > 0 ? 1 / Math.sqrt(fanIn) : 0);
}
