/** Shape rules of the ops that move elements and compute nothing. */
import { ArgumentError, formatShape, ShapeError, sizeOf } from '../../base/index.ts';
import type { OpInfo } from '../attrs.ts';
import { input } from './checks.ts';

export const reshape: OpInfo<'reshape'> = {
  kind: 'movement',
  arity: 1,
  infer: (inputs, { shape }) => {
    const x = input(inputs, 0);
    if (sizeOf(shape) !== sizeOf(x.shape))
      throw new ShapeError(
        'SHAPE_MISMATCH',
        `[reshape] ${formatShape(x.shape)} has ${sizeOf(x.shape)} elements, ${formatShape(shape)} has ${sizeOf(shape)}`,
        { op: 'reshape', expected: sizeOf(x.shape), got: shape },
      );
    return { shape, dtype: x.dtype };
  },
};

export const permute: OpInfo<'permute'> = {
  kind: 'movement',
  arity: 1,
  infer: (inputs, { axes }) => {
    const x = input(inputs, 0);
    return { shape: axes.map((a) => x.shape[a] as number), dtype: x.dtype };
  },
};

export const expand: OpInfo<'expand'> = {
  kind: 'movement',
  arity: 1,
  infer: (inputs, { shape }) => {
    const x = input(inputs, 0);
    if (x.shape.length !== shape.length || x.shape.some((d, i) => d !== 1 && d !== shape[i]))
      throw new ShapeError(
        'SHAPE_BROADCAST',
        `[expand] ${formatShape(x.shape)} cannot be repeated to ${formatShape(shape)}`,
        {
          op: 'expand',
          expected: shape,
          got: x.shape,
        },
      );
    return { shape, dtype: x.dtype };
  },
};

export const slice: OpInfo<'slice'> = {
  kind: 'movement',
  arity: 1,
  infer: (inputs, { start, step, count }) => {
    const x = input(inputs, 0);
    x.shape.forEach((d, i) => {
      const first = start[i] as number;
      const last = first + ((count[i] as number) - 1) * (step[i] as number);
      if ((count[i] as number) > 0 && (first < 0 || first >= d || last < 0 || last >= d))
        throw new ArgumentError(
          'SLICE_OUT_OF_RANGE',
          `[slice] ${first}..${last} is outside axis ${i} of ${formatShape(x.shape)}`,
          {
            op: 'slice',
          },
        );
    });
    return { shape: count, dtype: x.dtype };
  },
};

export const pad: OpInfo<'pad'> = {
  kind: 'movement',
  arity: 1,
  infer: (inputs, { before, after }) => {
    const x = input(inputs, 0);
    return { shape: x.shape.map((d, i) => d + (before[i] as number) + (after[i] as number)), dtype: x.dtype };
  },
};

export const concat: OpInfo<'concat'> = {
  kind: 'movement',
  arity: -1,
  infer: (inputs, { axis }) => {
    const first = input(inputs, 0);
    let total = 0;
    for (const x of inputs) {
      if (
        x.dtype !== first.dtype ||
        x.shape.length !== first.shape.length ||
        x.shape.some((d, i) => i !== axis && d !== first.shape[i])
      )
        throw new ShapeError(
          'SHAPE_MISMATCH',
          `[concat] ${first.dtype} ${formatShape(first.shape)} and ${x.dtype} ${formatShape(x.shape)} differ outside axis ${axis}`,
          { op: 'concat' },
        );
      total += x.shape[axis] as number;
    }
    return { shape: first.shape.map((d, i) => (i === axis ? total : d)), dtype: first.dtype };
  },
};
