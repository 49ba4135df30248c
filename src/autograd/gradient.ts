/**
 * Differentiation as one rule per primitive: the gradient of the output, to the gradients of the inputs.
 * Rules build nodes; they never see numbers. `none` marks an op that has no gradient anywhere.
 */
import { UnsupportedError } from '../base/index.ts';
import {
  add,
  binary,
  cast,
  constantLike,
  differentiable,
  div,
  expand,
  mul,
  narrow,
  neg,
  pad,
  permute,
  reshape,
  scale,
  slice,
  sub,
  sum,
  unary,
  where,
} from '../graph/build.ts';
import {
  type Attrs,
  type ConvAttrs,
  imageSizes,
  inherited,
  iotaNode,
  makeNode,
  type Node,
  type OpName,
} from '../graph/index.ts';
import { attentionGradients } from './attention.ts';
import { recurrentGradients } from './recurrent.ts';

interface Flow {
  /** Gradient of the output; the output's shape and dtype. */
  readonly grad: Node;
  readonly inputs: readonly Node[];
  readonly output: Node;
}

export interface RuleContext<K extends OpName> extends Flow {
  readonly attrs: Attrs<K>;
}

type Gradients = readonly ((() => Node) | undefined)[];

/** One gradient per input, built only when asked for; `undefined` where an input has none. */
type Rule<K extends OpName> = (context: RuleContext<K>) => Gradients;
/** A rule that needs no attributes. */
type PlainRule = (context: Flow) => Gradients;

const none: PlainRule = ({ inputs }) => inputs.map(() => undefined);

const second: (op: string) => () => Node = (op) => () => {
  throw new UnsupportedError('NO_SECOND_GRADIENT', `[${op}] has no gradient of its gradient`, { op });
};

const unaryRule =
  (rule: (grad: Node, x: Node, y: Node) => Node): PlainRule =>
  ({ grad, inputs, output }) => [() => rule(grad, inputs[0] as Node, output)];

const binaryRule =
  (
    left: (g: Node, a: Node, b: Node, y: Node) => Node,
    right: (g: Node, a: Node, b: Node, y: Node) => Node,
  ): PlainRule =>
  ({ grad, inputs, output }) => {
    const [a, b] = inputs as [Node, Node];
    return [() => left(grad, a, b, output), () => right(grad, a, b, output)];
  };

const zero = (x: Node): Node => constantLike(x, 0);

/** Ties share the gradient equally, as torch.maximum does. */
const extremum = (wins: (a: Node, b: Node) => Node): PlainRule =>
  binaryRule(
    (g, a, b) => share(g, a, b, wins(a, b)),
    (g, a, b) => share(g, b, a, wins(b, a)),
  );
const share = (g: Node, a: Node, b: Node, wins: Node): Node =>
  where(wins, g, where(binary('eq', a, b), scale(g, 0.5), zero(g)));

const convAttrs = ({ stride, padding, dilation, groups, channelsLast, precision }: ConvAttrs): ConvAttrs => ({
  stride,
  padding,
  dilation,
  groups,
  channelsLast,
  ...inherited({ precision }),
});

const spatial = (x: Node, channelsLast: boolean): [number, number] => {
  const { h, w } = imageSizes(x.shape, channelsLast);
  return [h, w];
};

/** g with zeros between and around its elements: the transpose of `slice`. */
function unslice(g: Node, x: Node, { start, step }: Attrs<'slice'>): Node {
  let y = g;
  for (let axis = 0; axis < x.shape.length; axis++) {
    let stride = step[axis] as number;
    let first = start[axis] as number;
    const size = x.shape[axis] as number;
    const count = y.shape[axis] as number;
    if (count === 0) {
      y = pad(y, at(y, axis, 0), at(y, axis, size));
      continue;
    }
    if (stride < 0) {
      first += (count - 1) * stride;
      stride = -stride;
      y = slice(y, {
        start: at(y, axis, count - 1),
        step: y.shape.map((_, i) => (i === axis ? -1 : 1)),
        count: y.shape,
      });
    }
    if (stride > 1) {
      // (n) -> (n, 1) -> (n, stride) -> (n * stride): each element followed by stride - 1 zeros.
      const apart = reshape(y, [...y.shape.slice(0, axis + 1), 1, ...y.shape.slice(axis + 1)]);
      const spread = pad(apart, at(apart, axis + 1, 0), at(apart, axis + 1, stride - 1));
      y = reshape(spread, [...y.shape.slice(0, axis), count * stride, ...y.shape.slice(axis + 1)]);
      y = narrow(y, axis, 0, (count - 1) * stride + 1);
    }
    y = pad(y, at(y, axis, first), at(y, axis, size - first - (y.shape[axis] as number)));
  }
  return y;
}
const at = (x: Node, axis: number, value: number): number[] => x.shape.map((_, i) => (i === axis ? value : 0));

/** The total table of gradients. */
export const gradientRules: { readonly [K in OpName]: Rule<K> } = {
  source: none,
  constant: none,
  iota: none,
  random: none,
  neg: unaryRule((g) => neg(g)),
  abs: unaryRule((g, x) => mul(g, unary('sign', x))),
  sign: none,
  exp: unaryRule((g, _x, y) => mul(g, y)),
  log: unaryRule((g, x) => div(g, x)),
  log1p: unaryRule((g, x) => div(g, add(x, constantLike(x, 1)))),
  expm1: unaryRule((g, _x, y) => mul(g, add(y, constantLike(y, 1)))),
  sqrt: unaryRule((g, _x, y) => div(scale(g, 0.5), y)),
  rsqrt: unaryRule((g, _x, y) => scale(mul(g, mul(y, mul(y, y))), -0.5)),
  reciprocal: unaryRule((g, _x, y) => neg(mul(g, mul(y, y)))),
  sin: unaryRule((g, x) => mul(g, unary('cos', x))),
  cos: unaryRule((g, x) => neg(mul(g, unary('sin', x)))),
  tanh: unaryRule((g, _x, y) => mul(g, sub(constantLike(y, 1), mul(y, y)))),
  sigmoid: unaryRule((g, _x, y) => mul(g, mul(y, sub(constantLike(y, 1), y)))),
  erf: unaryRule((g, x) => mul(g, scale(unary('exp', neg(mul(x, x))), 2 / Math.sqrt(Math.PI)))),
  // From the output, so that x need not be kept.
  relu: unaryRule((g, _x, y) => where(binary('lt', zero(y), y), g, zero(g))),
  floor: none,
  ceil: none,
  round: none,
  not: none,
  cast: ({ grad, inputs }) => {
    const x = inputs[0] as Node;
    return [differentiable(x) ? () => cast(grad, x.dtype) : undefined];
  },
  add: binaryRule(
    (g) => g,
    (g) => g,
  ),
  sub: binaryRule(
    (g) => g,
    (g) => neg(g),
  ),
  mul: binaryRule(
    (g, _a, b) => mul(g, b),
    (g, a) => mul(g, a),
  ),
  div: binaryRule(
    (g, _a, b) => div(g, b),
    (g, _a, b, y) => neg(div(mul(g, y), b)),
  ),
  pow: binaryRule(
    // b = 0 gives 0 even where a = 0 (0 * inf otherwise).
    (g, a, b) => where(binary('eq', b, zero(b)), zero(g), mul(g, mul(b, binary('pow', a, sub(b, constantLike(b, 1)))))),
    (g, a, _b, y) => where(binary('lt', zero(a), a), mul(g, mul(y, unary('log', a))), zero(g)),
  ),
  maximum: extremum((a, b) => binary('lt', b, a)),
  minimum: extremum((a, b) => binary('lt', a, b)),
  eq: none,
  lt: none,
  le: none,
  and: none,
  or: none,
  where: ({ grad, inputs }) => {
    const condition = inputs[0] as Node;
    return [undefined, () => where(condition, grad, zero(grad)), () => where(condition, zero(grad), grad)];
  },
  sum: ({ grad, inputs }) => [() => expand(grad, (inputs[0] as Node).shape)],
  max: ({ grad, inputs, output, attrs }) => {
    const x = inputs[0] as Node;
    return [
      () => {
        const hit = cast(binary('eq', x, expand(output, x.shape)), x.dtype);
        return mul(hit, expand(div(grad, sum(hit, attrs.axes)), x.shape));
      },
    ];
  },
  argmax: none,
  logSumExp: unaryRule((g, x, y) => mul(expand(g, x.shape), unary('exp', sub(x, expand(y, x.shape))))),
  detach: none,
  reshape: ({ grad, inputs }) => [() => reshape(grad, (inputs[0] as Node).shape)],
  permute: ({ grad, attrs }) => {
    const inverse = new Array<number>(attrs.axes.length);
    attrs.axes.forEach((axis, i) => {
      inverse[axis] = i;
    });
    return [() => permute(grad, inverse)];
  },
  expand: ({ grad, inputs }) => {
    const x = inputs[0] as Node;
    return [
      () =>
        sum(
          grad,
          x.shape.map((_, i) => i).filter((i) => x.shape[i] === 1),
        ),
    ];
  },
  slice: ({ grad, inputs, attrs }) => [() => unslice(grad, inputs[0] as Node, attrs)],
  pad: ({ grad, inputs, attrs }) => {
    const x = inputs[0] as Node;
    return [() => slice(grad, { start: attrs.before, step: x.shape.map(() => 1), count: x.shape })];
  },
  concat: ({ grad, inputs, attrs }) => {
    let start = 0;
    return inputs.map((x) => {
      const first = start;
      const count = x.shape[attrs.axis] as number;
      start += count;
      return () => narrow(grad, attrs.axis, first, count);
    });
  },
  matmul: ({ grad, inputs, attrs: { transA, transB, precision } }) => {
    const [a, b] = inputs as [Node, Node];
    const product = (l: Node, r: Node, tl: boolean, tr: boolean): Node =>
      makeNode('matmul', [l, r], { transA: tl, transB: tr, ...inherited({ precision }) });
    return [
      () => (transA ? product(b, grad, transB, true) : product(grad, b, false, !transB)),
      () => (transB ? product(grad, a, true, transA) : product(a, grad, !transA, false)),
    ];
  },
  conv2d: ({ grad, inputs, attrs }) => {
    const [x, w] = inputs as [Node, Node];
    return [
      () => makeNode('conv2dInputGrad', [grad, w], { ...convAttrs(attrs), size: spatial(x, attrs.channelsLast) }),
      () =>
        makeNode('conv2dWeightGrad', [x, grad], {
          ...convAttrs(attrs),
          kernelSize: [w.shape[2] as number, w.shape[3] as number],
        }),
    ];
  },
  conv2dInputGrad: ({ grad, inputs, attrs }) => {
    const [gy, w] = inputs as [Node, Node];
    return [
      () => makeNode('conv2d', [grad, w], convAttrs(attrs)),
      () =>
        makeNode('conv2dWeightGrad', [grad, gy], {
          ...convAttrs(attrs),
          kernelSize: [w.shape[2] as number, w.shape[3] as number],
        }),
    ];
  },
  conv2dWeightGrad: ({ grad, inputs, attrs }) => {
    const [x, gy] = inputs as [Node, Node];
    return [
      () => makeNode('conv2dInputGrad', [gy, grad], { ...convAttrs(attrs), size: spatial(x, attrs.channelsLast) }),
      () => makeNode('conv2d', [x, grad], convAttrs(attrs)),
    ];
  },
  maxPool2d: ({ grad, inputs, attrs }) => [() => makeNode('maxPool2dGrad', [inputs[0] as Node, grad], attrs)],
  maxPool2dGrad: () => [undefined, second('maxPool2d')],
  avgPool2d: ({ grad, inputs, attrs }) => [
    () => makeNode('avgPool2dGrad', [grad], { ...attrs, size: spatial(inputs[0] as Node, attrs.channelsLast) }),
  ],
  avgPool2dGrad: ({ grad, attrs: { size: _, ...attrs } }) => [() => makeNode('avgPool2d', [grad], attrs)],
  adaptiveAvgPool2d: ({ grad, inputs, attrs: { channelsLast } }) => [
    () => makeNode('adaptiveAvgPool2dGrad', [grad], { size: spatial(inputs[0] as Node, channelsLast), channelsLast }),
  ],
  adaptiveAvgPool2dGrad: ({ grad, inputs, attrs: { channelsLast } }) => [
    () => makeNode('adaptiveAvgPool2d', [grad], { size: spatial(inputs[0] as Node, channelsLast), channelsLast }),
  ],
  attention: ({ grad, inputs, output, attrs }) => attentionGradients(grad, inputs, output, attrs),
  attentionGrad: () => [0, 1, 2, 3, 4].map(() => second('attention')),
  recurrent: ({ grad, inputs, output, attrs }) => recurrentGradients(grad, inputs, output, attrs),
  recurrentGrad: ({ inputs, attrs: { cell } }) => inputs.map(() => second(cell)),
  gather: ({ grad, inputs, attrs: { axis } }) => {
    const [x, index] = inputs as [Node, Node];
    // One element of each row: a comparison fuses with its neighbours and needs no zeros to add to.
    if (index.shape[axis] === 1) {
      const hit = binary('eq', iotaNode(x.shape, axis), expand(index, x.shape));
      return [() => where(hit, expand(grad, x.shape), zero(x)), undefined];
    }
    return [() => makeNode('scatterAdd', [index, grad], { axis, size: x.shape[axis] as number }), undefined];
  },
  scatterAdd: ({ grad, inputs, attrs: { axis } }) => [
    undefined,
    () => makeNode('gather', [grad, inputs[0] as Node], { axis }),
  ],
  embedding: ({ grad, inputs }) => {
    const [table, index] = inputs as [Node, Node];
    return [() => makeNode('embeddingGrad', [index, grad], { rows: table.shape[0] as number }), undefined];
  },
  embeddingGrad: ({ grad, inputs }) => [undefined, () => makeNode('embedding', [grad, inputs[0] as Node])],
};
