/** Kernels of attention: sizes, and where each operand's [batch, step, head, feature] elements lie. */
import { sizeOf, stridesOf } from '../base/index.ts';
import { type Attrs, attentionSizes, isJoint, type Node } from '../graph/index.ts';
import type { HeavyKernel } from './heavy.ts';
import type { View } from './view.ts';

/** Position of the output among attentionGrad's inputs, which its kernel reads contiguous. */
const OUTPUT = 3;

/** q, k, v and the output's gradient in place if features lie side by side; a mask also if it repeats along keys. */
export function attentionOperand(node: Node, i: number, view: View): View | undefined {
  const first = node.op === 'attention' ? 3 : 5;
  const { masked } = node.attrs as Attrs<'attention'>;
  const mask = masked && i === first;
  if (view.shape.length !== 4 || (node.op === 'attentionGrad' && i === OUTPUT) || sizeOf(view.shape) === 0)
    return undefined;
  const inner = view.shape[3] === 1 ? 1 : (view.strides[3] as number);
  if (view.strides.some((s) => s < 0) || !(inner === 1 || (mask && inner === 0))) return undefined;
  return view;
}

/** Offset and strides of [batch, step, head, feature]; features are 1 apart. */
const place = (name: string, offset: number, [batch, step, head]: readonly number[]): Record<string, number> => ({
  [`${name}Offset`]: offset,
  [`${name}Batch`]: batch as number,
  [`${name}Step`]: step as number,
  [`${name}Head`]: head as number,
});

const placeOf = (name: string, { offset, strides }: View): Record<string, number> => place(name, offset, strides);

function shared(
  node: Node,
  views: readonly View[],
  first: number,
): { attrs: Record<string, number>; inputs: number[] } {
  const { scale, causal, masked, dropout } = node.attrs as Attrs<'attention'>;
  const [q, k, v] = views as [View, View, View];
  const mask = masked ? (views[first] as View) : { offset: 0, strides: [0, 0, 0, 0] };
  const [maskBatch, maskHead, maskRow, maskCol] = mask.strides as [number, number, number, number];
  return {
    attrs: {
      ...attentionSizes(node.inputs),
      scale,
      causal: Number(causal),
      masked: Number(masked),
      dropout,
      ...placeOf('q', q),
      ...placeOf('k', k),
      ...placeOf('v', v),
      maskOffset: mask.offset,
      maskBatch,
      maskHead,
      maskRow,
      maskCol: masked && (views[first] as View).shape[3] === 1 ? 1 : maskCol,
    },
    // Where there is no mask or no stream the kernel reads nothing: any buffer stands for it.
    inputs: [...Array(first).keys(), masked ? first : 0, dropout > 0 ? views.length - 1 : 0],
  };
}

export function attentionKernel(node: Node<'attention'>, views: readonly View[]): HeavyKernel {
  return { kernel: 'attention', ...shared(node, views, 3) };
}

export function attentionGradKernel(node: Node<'attentionGrad'>, views: readonly View[]): HeavyKernel {
  const { attrs, inputs } = shared(node, views, 5);
  const operands = node.inputs.slice(0, 3).map((x) => x.shape);
  const joint = isJoint(node.inputs);
  let start = 0;
  const results = ['gradQ', 'gradK', 'gradV'].map((name, i) => {
    const shape = operands[i] as readonly number[];
    if (joint) {
      const [batch, step, part, head] = stridesOf(node.shape) as [number, number, number, number];
      return place(name, i * part, [batch, step, head]);
    }
    const at = start;
    start += sizeOf(shape);
    return place(name, at, stridesOf(shape));
  });
  return {
    kernel: 'attention-grad',
    attrs: { ...attrs, ...placeOf('grad', views[4] as View), ...Object.assign({}, ...results) },
    inputs,
  };
}
