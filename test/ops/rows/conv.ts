/** Rows of convolution and its two gradients, in both layouts. */
import { type ConvAttrs, makeNode } from '../../../src/graph/index.ts';
import { source } from '../backends.ts';
import { opCase } from '../op-case.ts';

type Four = [number, number, number, number];
const convs: ({ x: Four; w: Four } & Partial<ConvAttrs>)[] = [
  { x: [2, 3, 7, 8], w: [4, 3, 3, 3], padding: [1, 1, 1, 1] },
  { x: [1, 1, 5, 5], w: [1, 1, 1, 1] },
  { x: [1, 1, 3, 3], w: [1, 1, 3, 3] },
  { x: [2, 4, 9, 7], w: [6, 2, 3, 2], groups: 2, stride: [2, 1], padding: [1, 0, 2, 1] },
  { x: [2, 6, 8, 8], w: [6, 1, 3, 3], groups: 6, padding: [1, 1, 1, 1], stride: [2, 2] },
  { x: [1, 2, 11, 11], w: [3, 2, 3, 3], dilation: [2, 3] },
  { x: [3, 16, 4, 4], w: [32, 16, 3, 3], padding: [1, 1, 1, 1] },
  { x: [2, 5, 2, 2], w: [33, 5, 3, 3], padding: [1, 1, 1, 1] },
  { x: [1, 3, 9, 9], w: [2, 3, 5, 5], stride: [3, 3], padding: [2, 2, 2, 2] },
  { x: [1, 17, 6, 5], w: [15, 17, 1, 1] },
  { x: [2, 3, 8, 8], w: [4, 3, 1, 1], stride: [2, 2] },
  { x: [0, 3, 4, 4], w: [2, 3, 3, 3] },
  { x: [6, 33, 2, 2], w: [70, 33, 3, 3], padding: [1, 1, 1, 1] },
];
for (const { x, w, ...given } of convs)
  for (const [channelsLast, precision] of [[false], [true], [false, 'bf16'], [true, 'bf16']] as const) {
    const attrs = {
      stride: [1, 1],
      padding: [0, 0, 0, 0],
      dilation: [1, 1],
      groups: 1,
      ...given,
      channelsLast,
      ...(precision && { precision }),
    } as const;
    // The oracle rounds operands to bf16 as well; differences of rounded values are no derivative.
    const gradient = precision === undefined;
    const plain = w[2] === 3 && w[3] === 3 && [...attrs.stride, ...attrs.dilation, attrs.groups].every((v) => v === 1);
    const bound = precision && plain ? 'sums in bf16' : 'sums';
    const last = ([n, c, h, w]: Four): Four => (channelsLast ? [n, h, w, c] : [n, c, h, w]);
    const image = { shape: last(x) };
    const weight = { shape: w };
    const grad = { shape: makeNode('conv2d', [source(image), source(weight)], attrs).shape };
    opCase('conv2d', { inputs: [image, weight], attrs, bound, gradient });
    opCase('conv2dInputGrad', {
      inputs: [grad, weight],
      attrs: { ...attrs, size: [x[2], x[3]] },
      bound,
      gradient,
    });
    opCase('conv2dWeightGrad', {
      inputs: [image, grad],
      attrs: { ...attrs, kernelSize: [w[2], w[3]] },
      bound,
      gradient,
    });
  }
