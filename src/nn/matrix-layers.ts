/** Layers that multiply by a matrix or a kernel: what adapters, pruning and quantisation work on. */
import { Variable } from '../tensor/index.ts';
import { Conv2d, ConvTranspose2d } from './conv.ts';
import { Linear } from './linear.ts';
import type { Module } from './module.ts';

/** A layer y = x W^T + b, or x W + b where `fanInFanOut` says so. */
export type LinearLayer = Module & { readonly weight: Variable; readonly fanInFanOut?: boolean };

/** Axis of the weight that numbers the outputs; none for other layers. */
export function outputAxis(layer: Module): 0 | 1 | undefined {
  if (layer instanceof Linear || layer instanceof Conv2d) return 0;
  if (layer instanceof ConvTranspose2d || isTransposed(layer)) return 1;
  return undefined;
}

/** A linear layer whose weight is its own. */
export const isLinear = (layer: Module): layer is LinearLayer =>
  (layer instanceof Linear || isTransposed(layer)) && hasWeight(layer);

/** Whether the weight is a variable, not made from others. */
export const hasWeight = (layer: Module): layer is Module & { readonly weight: Variable } =>
  (layer as unknown as { weight?: unknown }).weight instanceof Variable;

const isTransposed = (layer: Module): boolean => (layer as unknown as { fanInFanOut?: unknown }).fanInFanOut === true;

/** Features that enter and leave a linear layer. */
export function widthsOf({ weight, fanInFanOut }: LinearLayer): { from: number; to: number } {
  const [a, b] = weight.shape as [number, number];
  return fanInFanOut ? { from: a, to: b } : { from: b, to: a };
}

/** Whether a path is one of `paths` or below it. */
export const isWithin = (path: string, paths: readonly string[]): boolean =>
  paths.some((other) => path === other || path.startsWith(`${other}.`));
