/** Rows of pooling and its gradients, in both layouts. */
import { makeNode, type PoolAttrs } from '../../../src/graph/index.ts';
import { source } from '../backends.ts';
import { opCase } from '../op-case.ts';

type Four = [number, number, number, number];
const pools: ({ x: Four; kernelSize: [number, number]; stride: [number, number] } & Partial<PoolAttrs>)[] = [
  { x: [2, 3, 8, 6], kernelSize: [2, 2], stride: [2, 2] },
  { x: [1, 1, 1, 1], kernelSize: [1, 1], stride: [1, 1] },
  { x: [1, 2, 7, 7], kernelSize: [3, 3], stride: [2, 2], padding: [1, 1, 1, 1] },
  { x: [1, 17, 5, 9], kernelSize: [3, 2], stride: [1, 3], padding: [0, 1, 1, 0] },
  { x: [1, 16, 9, 8], kernelSize: [2, 3], stride: [2, 1], dilation: [3, 2] },
  { x: [2, 33, 3, 3], kernelSize: [3, 3], stride: [3, 3] },
  { x: [0, 2, 4, 4], kernelSize: [2, 2], stride: [2, 2] },
];
for (const { x, ...given } of pools)
  for (const channelsLast of [false, true]) {
    const shape: Four = channelsLast ? [x[0], x[2], x[3], x[1]] : x;
    const size = [x[2], x[3]] as const;
    const attrs = { padding: [0, 0, 0, 0], dilation: [1, 1], ...given, channelsLast } as const;
    const image = { shape };
    const grad = { shape: makeNode('maxPool2d', [source(image)], attrs).shape };
    opCase('maxPool2d', { inputs: [image], attrs });
    opCase('maxPool2dGrad', { inputs: [image, grad], attrs, bound: 'sums', linear: [1], gradient: false });
    // PyTorch's average pooling pads evenly; uneven padding comes from maxPool2d's ceilMode alone.
    const even = attrs.padding[0] === attrs.padding[1] && attrs.dilation[0] === 1;
    for (const countIncludePad of even ? [true, false] : []) {
      opCase('avgPool2d', { inputs: [image], attrs: { ...attrs, countIncludePad }, bound: 'sums' });
      opCase('avgPool2dGrad', { inputs: [grad], attrs: { ...attrs, countIncludePad, size }, bound: 'sums' });
    }
    for (const to of [
      [1, 1],
      [3, 4],
      [9, 2],
    ] as const) {
      const smaller = { shape: makeNode('adaptiveAvgPool2d', [source(image)], { size: to, channelsLast }).shape };
      opCase('adaptiveAvgPool2d', { inputs: [image], attrs: { size: to, channelsLast }, bound: 'sums' });
      opCase('adaptiveAvgPool2dGrad', { inputs: [smaller], attrs: { size, channelsLast }, bound: 'sums' });
    }
  }
