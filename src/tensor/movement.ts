/** Arguments of the movement methods checked and brought to what the graph's primitives take. */
import {
  ArgumentError,
  broadcastShapes,
  formatShape,
  normalizeAxis,
  type Shape,
  ShapeError,
  sizeOf,
} from '../base/index.ts';
import * as build from '../graph/build.ts';
import type { Node } from '../graph/index.ts';

/** One dimension may be -1. Throws ShapeError SHAPE_MISMATCH or SHAPE_INVALID. */
export function reshape(x: Node, dims: Shape): Node {
  const shape = [...dims];
  const free = shape.indexOf(-1);
  if (free >= 0) {
    const rest = shape.reduce((n, d, i) => (i === free ? n : n * d), 1);
    shape[free] = rest === 0 ? 0 : sizeOf(x.shape) / rest;
    if (!Number.isInteger(shape[free]))
      throw new ShapeError('SHAPE_MISMATCH', `[reshape] ${formatShape(x.shape)} does not divide into ${dims}`, {
        op: 'reshape',
        got: dims,
      });
  }
  if (shape.some((d) => !Number.isInteger(d) || d < 0))
    throw new ShapeError('SHAPE_INVALID', `[reshape] dimensions must be non-negative integers, got ${dims}`, {
      op: 'reshape',
      got: dims,
    });
  return build.reshape(x, shape);
}

export function flatten(x: Node, startAxis: number, endAxis: number): Node {
  if (x.shape.length === 0) return build.reshape(x, [1]);
  const a = normalizeAxis(startAxis, x.shape.length, 'flatten');
  const b = normalizeAxis(endAxis, x.shape.length, 'flatten');
  const merged = x.shape.slice(a, b + 1).reduce((n, d) => n * d, 1);
  return reshape(x, [...x.shape.slice(0, a), merged, ...x.shape.slice(b + 1)]);
}

/** Throws ArgumentError AXES_INVALID unless every axis is named once. */
export function permute(x: Node, axes: readonly number[]): Node {
  const rank = x.shape.length;
  const list = axes.map((a) => normalizeAxis(a, rank, 'permute'));
  if (list.length !== rank || new Set(list).size !== rank)
    throw new ArgumentError('AXES_INVALID', `[permute] needs each axis of ${formatShape(x.shape)} once, got ${axes}`, {
      op: 'permute',
      got: axes,
    });
  return build.permute(x, list);
}

/** Throws ShapeError SHAPE_BROADCAST. */
export function expand(x: Node, shape: Shape): Node {
  if (broadcastShapes(x.shape, shape, 'expand').join() !== shape.join())
    throw new ShapeError(
      'SHAPE_BROADCAST',
      `[expand] ${formatShape(x.shape)} does not broadcast to ${formatShape(shape)}`,
      { op: 'expand', expected: shape, got: x.shape },
    );
  return build.broadcastTo(x, shape);
}

/** Python's x[start:stop:step] on one axis. Throws ArgumentError STEP_INVALID. */
export function slice(x: Node, axis: number, start: number | undefined, stop: number | undefined, step: number): Node {
  const a = normalizeAxis(axis, x.shape.length, 'slice');
  if (!Number.isInteger(step) || step === 0)
    throw new ArgumentError('STEP_INVALID', `[slice] step must be a non-zero integer, got ${step}`, {
      op: 'slice',
      got: step,
    });
  const size = x.shape[a] as number;
  const low = step > 0 ? 0 : -1;
  const high = step > 0 ? size : size - 1;
  const clip = (v: number): number => Math.min(high, Math.max(low, v < 0 ? v + size : v));
  const first = start === undefined ? (step > 0 ? 0 : size - 1) : clip(start);
  const last = stop === undefined ? (step > 0 ? size : -1) : clip(stop);
  const count = Math.max(0, Math.ceil((last - first) / step));
  const at = (v: number, others: readonly number[]): number[] => others.map((o, i) => (i === a ? v : o));
  const zeros = x.shape.map(() => 0);
  const ones = x.shape.map(() => 1);
  return build.slice(x, { start: at(count === 0 ? 0 : first, zeros), step: at(step, ones), count: at(count, x.shape) });
}

/** Throws ArgumentError PADDING_INVALID. */
export function pad(x: Node, widths: readonly (readonly [number, number])[], value: number): Node {
  if (widths.length > x.shape.length || widths.flat().some((w) => !Number.isInteger(w) || w < 0))
    throw new ArgumentError('PADDING_INVALID', `[pad] ${JSON.stringify(widths)} does not fit ${formatShape(x.shape)}`, {
      op: 'pad',
      got: widths,
    });
  const lead = new Array<number>(x.shape.length - widths.length).fill(0);
  return build.pad(x, [...lead, ...widths.map((w) => w[0])], [...lead, ...widths.map((w) => w[1])], value);
}
