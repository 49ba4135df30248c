/** Reading and adding by index. */
import { ArgumentError, sizeOf } from '../../base/index.ts';
import type { OpName } from '../../graph/index.ts';
import { type Evaluate, type PlainEvaluate, type Value, value } from './arrays.ts';

/** Index `i` of `index`, refused outside [0, size). */
function read(op: OpName, index: Value, i: number, size: number): number {
  const k = index.data[i] as number;
  if (k < 0 || k >= size)
    throw new ArgumentError('INDEX_OUT_OF_RANGE', `index[${i}] is ${k}, outside 0..${size - 1}`, {
      op,
      position: i,
      got: k,
      expected: size,
    });
  return k;
}

/** Pairs of positions along `axis`: element i of the index tensor, and where it points in a tensor with `size` there. */
function along(op: OpName, index: Value, axis: number, size: number, visit: (i: number, target: number) => void): void {
  const inner = sizeOf(index.shape.slice(axis + 1));
  const count = index.shape[axis] as number;
  const total = sizeOf(index.shape);
  for (let i = 0; i < total; i++) {
    const outer = Math.floor(i / (count * inner));
    visit(i, (outer * size + read(op, index, i, size)) * inner + (i % inner));
  }
}

const gather: Evaluate<'gather'> = ({ inputs, attrs: { axis }, out }) => {
  const [x, index] = [value(inputs, 0), value(inputs, 1)];
  along('gather', index, axis, x.shape[axis] as number, (i, from) => {
    out[i] = x.data[from] as number;
  });
};

const scatterAdd: Evaluate<'scatterAdd'> = ({ inputs, attrs: { axis, size }, out }) => {
  const [index, src] = [value(inputs, 0), value(inputs, 1)];
  const sums = new Float64Array(out.length);
  along('scatterAdd', index, axis, size, (i, to) => {
    (sums[to] as number) += src.data[i] as number;
  });
  out.set(sums);
};

const embedding: PlainEvaluate = ({ inputs, out }) => {
  const [table, index] = [value(inputs, 0), value(inputs, 1)];
  const [rows, width] = table.shape as [number, number];
  for (let i = 0; i < index.data.length; i++) {
    const row = read('embedding', index, i, rows);
    out.set(table.data.subarray(row * width, (row + 1) * width), i * width);
  }
};

const embeddingGrad: Evaluate<'embeddingGrad'> = ({ inputs, attrs: { rows }, shape, out }) => {
  const [index, grad] = [value(inputs, 0), value(inputs, 1)];
  const width = shape[1] as number;
  const sums = new Float64Array(out.length);
  for (let i = 0; i < index.data.length; i++) {
    const row = read('embeddingGrad', index, i, rows) * width;
    for (let k = 0; k < width; k++) (sums[row + k] as number) += grad.data[i * width + k] as number;
  }
  out.set(sums);
};

export const indexing = { gather, scatterAdd, embedding, embeddingGrad };
