/** Reading and adding by index. Indices are i32; one outside its range is an error when the program runs. */
import { broadcastShapes, DTypeError, normalizeAxis, promote } from '../base/index.ts';
import * as build from '../graph/build.ts';
import { constantNode, makeNode, type Node } from '../graph/index.ts';
import { align } from './operands.ts';
import { Tensor, type TensorLike } from './tensor.ts';

/** y[.., j, ..] = x[.., index[.., j, ..], ..] along `axis`; index has x's shape outside it (torch.gather). */
export function gather(x: Tensor, axis: number, index: Tensor): Tensor {
  return new Tensor(makeNode('gather', [x.node, asIndex(index).node], { axis: normalizeAxis(axis, x.rank, 'gather') }));
}

/** x with src added at `index` along `axis`; equal indices add up, in order (torch.scatter_add). */
export function scatterAdd(x: Tensor, axis: number, index: Tensor, src: Tensor): Tensor {
  const a = normalizeAxis(axis, x.rank, 'scatterAdd');
  return x.add(
    new Tensor(makeNode('scatterAdd', [asIndex(index).node, src.node], { axis: a, size: x.shape[a] as number })),
  );
}

/** Rows of table (V, D) at index (...): (..., D). */
export function embedding(table: Tensor, index: Tensor): Tensor {
  return new Tensor(makeNode('embedding', [table.node, asIndex(index).node]));
}

/** a where the condition holds, else b; all three broadcast. */
export function where(condition: Tensor, a: TensorLike, b: TensorLike): Tensor {
  const number = (value: TensorLike, other: TensorLike): Node =>
    typeof value !== 'number'
      ? value.node
      : typeof other === 'number'
        ? constantNode(value, [], 'f32')
        : align('where', other.node, value)[1];
  const [x, y] = [number(a, b), number(b, a)];
  const dtype = promote(x.dtype, y.dtype);
  const shape = broadcastShapes(condition.shape, broadcastShapes(x.shape, y.shape, 'where'), 'where');
  const adapt = (node: Node): Node => build.broadcastTo(build.cast(node, dtype), shape);
  return new Tensor(build.where(build.broadcastTo(condition.node, shape), adapt(x), adapt(y)));
}

function asIndex(index: Tensor): Tensor {
  if (index.dtype === 'f32' || index.dtype === 'f64')
    throw new DTypeError('DTYPE_NOT_INDEX', `indices must be integers, got ${index.dtype}`, {
      expected: 'i32',
      got: index.dtype,
      hint: "index.cast('i32')",
    });
  return index.cast('i32');
}
