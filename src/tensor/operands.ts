/** Two operands brought together: broadcasting and type promotion, and the ranks torch.matmul takes. */
import { broadcastShapes, type DType, isFloat, promote, ShapeError, sizeOf } from '../base/index.ts';
import * as build from '../graph/build.ts';
import { constantNode, makeNode, type Node, productPrecision } from '../graph/index.ts';

/** Two operands brought to one dtype and shape. A JavaScript number takes the tensor's dtype where it can. */
export function align(op: string, x: Node, other: { readonly node: Node } | number, least?: DType): [Node, Node] {
  if (typeof other === 'number') {
    const base = x.dtype === 'bool' || x.dtype === 'u8' ? 'i32' : x.dtype;
    const wide = Number.isInteger(other) || isFloat(base) ? base : 'f32';
    const dtype = least ? promote(wide, least) : wide;
    const a = build.cast(x, dtype);
    return [a, constantNode(other, a.shape, dtype)];
  }
  const y = other.node;
  const both = promote(x.dtype, y.dtype);
  const dtype = least ? promote(both, least) : both;
  const shape = broadcastShapes(x.shape, y.shape, op);
  return [build.broadcastTo(build.cast(x, dtype), shape), build.broadcastTo(build.cast(y, dtype), shape)];
}

/** torch.matmul's rules: 1-D operands are vectors, leading axes broadcast. */
export function matmul(a: Node, b: Node): Node {
  if (a.shape.length === 0 || b.shape.length === 0)
    throw new ShapeError('SHAPE_RANK', '[matmul] operands must have at least one dimension', { op: 'matmul' });
  if (a.shape.length === 1)
    return dropLast(matmul(build.reshape(a, [1, a.shape[0] as number]), b), b.shape.length === 1 ? -1 : -2);
  if (b.shape.length === 1) return dropLast(matmul(a, build.reshape(b, [b.shape[0] as number, 1])), -1);
  const product = { transA: false, transB: false };
  // (..., M, K) x (K, N): one product with the leading axes folded into M.
  if (b.shape.length === 2 && a.shape.length > 2) {
    const rows = sizeOf(a.shape.slice(0, -1));
    const flat = build.reshape(a, [rows, a.shape.at(-1) as number]);
    const y = makeNode('matmul', [flat, b], { ...product, ...productPrecision(flat.shape, b.shape) });
    return build.reshape(y, [...a.shape.slice(0, -1), b.shape[1] as number]);
  }
  const lead = broadcastShapes(a.shape.slice(0, -2), b.shape.slice(0, -2), 'matmul');
  return makeNode(
    'matmul',
    [build.broadcastTo(a, [...lead, ...a.shape.slice(-2)]), build.broadcastTo(b, [...lead, ...b.shape.slice(-2)])],
    { ...product, ...productPrecision(a.shape, b.shape) },
  );
}

function dropLast(x: Node, axis: number): Node {
  const drop = x.shape.length + axis;
  return build.reshape(
    x,
    x.shape.filter((_, i) => i !== drop),
  );
}
