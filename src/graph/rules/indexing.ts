/** Shape rules of reading and adding by index. */
import { formatShape, ShapeError, sameShape } from '../../base/index.ts';
import type { Operand, OpInfo } from '../attrs.ts';
import { wantFloat, wantIndex, wantRank } from './checks.ts';

export const gather: OpInfo<'gather'> = {
  kind: 'heavy',
  arity: 2,
  infer: ([x, index], { axis }) => {
    const [a, i] = [x as Operand, index as Operand];
    wantIndex('gather', i);
    if (a.shape.length !== i.shape.length || a.shape.some((d, k) => k !== axis && d !== i.shape[k]))
      throw new ShapeError(
        'SHAPE_MISMATCH',
        `[gather] ${formatShape(a.shape)} and index ${formatShape(i.shape)} differ outside axis ${axis}`,
        {
          op: 'gather',
        },
      );
    return { shape: i.shape, dtype: a.dtype };
  },
};

export const scatterAdd: OpInfo<'scatterAdd'> = {
  kind: 'heavy',
  arity: 2,
  infer: ([index, src], { axis, size }) => {
    const [i, s] = [index as Operand, src as Operand];
    wantIndex('scatterAdd', i);
    wantFloat('scatterAdd', s);
    if (!sameShape(i.shape, s.shape))
      throw new ShapeError(
        'SHAPE_MISMATCH',
        `[scatterAdd] index ${formatShape(i.shape)} and source ${formatShape(s.shape)} differ`,
        {
          op: 'scatterAdd',
        },
      );
    return { shape: s.shape.map((d, k) => (k === axis ? size : d)), dtype: s.dtype };
  },
};

export const embedding: OpInfo<'embedding'> = {
  kind: 'heavy',
  arity: 2,
  infer: ([table, index]) => {
    const [t, i] = [table as Operand, index as Operand];
    wantRank('embedding', t, 2, 'table (rows, width)');
    wantIndex('embedding', i);
    return { shape: [...i.shape, t.shape[1] as number], dtype: t.dtype };
  },
};

export const embeddingGrad: OpInfo<'embeddingGrad'> = {
  kind: 'heavy',
  arity: 2,
  infer: ([, grad], { rows }) => {
    const g = grad as Operand;
    return { shape: [rows, g.shape.at(-1) as number], dtype: g.dtype };
  },
};
