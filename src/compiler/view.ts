/** Strided views of buffers, and the algebra that lets one loop nest walk several of them. */
import { type Shape, sizeOf, stridesOf } from '../base/index.ts';
import type { Attrs, Node } from '../graph/index.ts';

/** Where the elements of a value lie in the contiguous buffer of `base`; strides and offset in elements. */
export interface View {
  readonly base: Node;
  readonly shape: Shape;
  readonly strides: readonly number[];
  readonly offset: number;
}

export const wholeView = (base: Node): View => ({ base, shape: base.shape, strides: stridesOf(base.shape), offset: 0 });

/** Elements lie one after the other in row-major order. */
export function isContiguous({ shape, strides }: Pick<View, 'shape' | 'strides'>): boolean {
  let expected = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] === 1) continue;
    if (strides[i] !== expected) return false;
    expected *= shape[i] as number;
  }
  return true;
}

/** The view through one more movement op, or undefined where the elements would have to move. */
export function throughMovement(view: View, node: Node): View | undefined {
  const { base, strides, offset } = view;
  switch (node.op) {
    case 'permute': {
      const { axes } = node.attrs as Attrs<'permute'>;
      return { base, shape: node.shape, strides: axes.map((a) => strides[a] as number), offset };
    }
    case 'expand':
      return {
        base,
        shape: node.shape,
        strides: strides.map((s, i) => (view.shape[i] === node.shape[i] ? s : 0)),
        offset,
      };
    case 'slice': {
      const { start, step } = node.attrs as Attrs<'slice'>;
      return {
        base,
        shape: node.shape,
        strides: strides.map((s, i) => s * (step[i] as number)),
        offset: strides.reduce((o, s, i) => o + s * (start[i] as number), offset),
      };
    }
    case 'reshape': {
      const reshaped = restride(view.shape, strides, node.shape);
      return reshaped && { base, shape: node.shape, strides: reshaped, offset };
    }
    default:
      return undefined;
  }
}

/**
 * Strides of the same elements seen as `dims`, a shape of the same size; undefined if a dimension would join
 * elements that are not evenly spaced.
 */
export function restride(shape: Shape, strides: readonly number[], dims: Shape): number[] | undefined {
  if (sizeOf(dims) === 0) return dims.map(() => 0);
  // Runs of dimensions that are evenly spaced, innermost first: [size, stride].
  const runs: { size: number; stride: number }[] = [];
  for (let i = shape.length - 1; i >= 0; i--) {
    const size = shape[i] as number;
    const stride = strides[i] as number;
    if (size === 1) continue;
    const outer = runs.at(-1);
    if (outer && stride === outer.stride * outer.size) outer.size *= size;
    else runs.push({ size, stride });
  }
  const out = new Array<number>(dims.length).fill(0);
  let run = 0;
  let done = 1; // elements of the current run already given to dims
  for (let i = dims.length - 1; i >= 0; i--) {
    const size = dims[i] as number;
    if (size === 1) continue;
    const current = runs[run];
    if (!current || (current.size / done) % size !== 0) return undefined;
    out[i] = current.stride * done;
    done *= size;
    if (done === current.size) {
      run++;
      done = 1;
    }
  }
  return out;
}

/** Products of the trailing dimensions of the runs a strided shape cannot be merged over: where loops must break. */
export function breakpoints(shape: Shape, strides: readonly number[]): number[] {
  const points: number[] = [];
  let product = 1;
  let previous: { size: number; stride: number } | undefined;
  for (let i = shape.length - 1; i >= 0; i--) {
    const size = shape[i] as number;
    const stride = strides[i] as number;
    if (size === 1) continue;
    if (previous && stride !== previous.stride * previous.size) points.push(product);
    previous = { size, stride };
    product *= size;
  }
  return points;
}

/** Loop dimensions for `size` elements that break at each point; undefined if the points do not nest. */
export function dimsFrom(size: number, points: Iterable<number>): number[] | undefined {
  const sorted = [...new Set([...points, size])].filter((p) => p > 1).sort((a, b) => a - b);
  const dims: number[] = [];
  let inner = 1;
  for (const point of sorted) {
    if (point % inner !== 0) return undefined;
    dims.unshift(point / inner);
    inner = point;
  }
  return dims;
}

/** Views laid side by side along `axis` as one view of `shape`, where they are evenly spaced parts of one value. */
export function joinViews(parts: readonly View[], axis: number, shape: Shape): View | undefined {
  const first = parts[0] as View;
  if (parts.length === 1) return first;
  if (sizeOf(shape) === 0) return undefined;
  const next = parts[1] as View;
  const step = (next.offset - first.offset) / (first.shape[axis] as number);
  const strides = first.strides.map((s, i) => (i === axis ? step : s));
  let offset = first.offset;
  for (const part of parts) {
    if (part.base !== first.base || part.offset !== offset) return undefined;
    if (part.strides.some((s, i) => part.shape[i] !== 1 && s !== strides[i])) return undefined;
    offset += step * (part.shape[axis] as number);
  }
  return Number.isInteger(step) && step !== 0 ? { base: first.base, shape, strides, offset: first.offset } : undefined;
}
