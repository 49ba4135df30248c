/** Small pieces of a lowering: names, layers and costs of units, and steps that only move or fill. */
import { sizeOf } from '../base/index.ts';
import { type Layer, layerOf, type Node } from '../graph/index.ts';
import type { Group } from './fuse.ts';
import type { Fused, Step } from './program.ts';
import type { Unit } from './schedule.ts';
import type { View } from './view.ts';

/** For each value how many steps lead to it: what backward has come to is deeper than what forward is made from. */
export function depths(order: Iterable<Node>): Map<Node, number> {
  const found = new Map<Node, number>();
  for (const node of order) found.set(node, Math.min(0, ...node.inputs.map((x) => found.get(x) as number)) - 1);
  return found;
}

/** The layer of the product or convolution, else the one that most of the unit's nodes belong to. */
export function layerOfUnit({ group, makes, check }: Unit): Layer | undefined {
  const decisive = check?.node ?? group?.heavy;
  if (decisive) return layerOf(decisive);
  const counts = new Map<Layer, number>();
  for (const node of makes) {
    const layer = layerOf(node);
    if (layer) counts.set(layer, (counts.get(layer) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
}

export const readsStorage = (unit: Unit, input: Node): boolean =>
  [...unit.reads].some((read) => read.storage === input.storage);

export const offsetOf = (view: View, start: readonly number[]): number =>
  start.reduce((sum, s, i) => sum + s * (view.strides[i] as number), 0);

/** A value made from constants that is wanted in memory has a kernel of its own. */
export const loneGroup = (node: Node): Group => ({
  number: -1,
  size: sizeOf(node.shape),
  cols: 0,
  heavy: undefined,
  members: new Set([node]),
  rows: new Set(),
  terminals: new Set(),
  recomputed: new Set(),
  phase: undefined,
});

export function constantStep(node: Node, value: number, buffer: number): Step {
  const integer = node.dtype === 'i32';
  const fused: Fused = {
    dims: [sizeOf(node.shape)],
    cols: 0,
    inputs: [],
    outputs: [{ buffer, dtype: node.dtype, offset: 0, strides: [1], reg: 0 }],
    registers: ['full'],
    code: [[integer ? 'consti' : 'const', 0, value]],
  };
  return { kernel: 'fused', name: 'fill', in: [], out: [], attrs: {}, fused };
}

/** Joins adjacent dimensions that every operand walks evenly; drops those of size 1. */
export function collapse(fused: Fused): Fused {
  const operands = [...fused.inputs, ...fused.outputs];
  const dims: number[] = [];
  const strides = operands.map((): number[] => []);
  fused.dims.forEach((size, i) => {
    if (size === 1) return;
    const joins = dims.length > 0 && operands.every((o, k) => strides[k]?.at(-1) === (o.strides[i] as number) * size);
    if (joins) dims[dims.length - 1] = (dims.at(-1) as number) * size;
    else dims.push(size);
    operands.forEach((o, k) => {
      const list = strides[k] as number[];
      if (joins) list[list.length - 1] = o.strides[i] as number;
      else list.push(o.strides[i] as number);
    });
  });
  operands.forEach((o, k) => {
    o.strides = strides[k] as number[];
  });
  return { ...fused, dims };
}

/** Bytes of one convolution's packed weights, with room for panels that are not full. */
export const weightBytes = (a: Record<string, number>): number =>
  2 * (a.bf16 as number) * (a.n as number) * Math.max(imageElements(a, 'i'), imageElements(a, 'o')) +
  4 *
    Math.ceil((a.oc as number) / 64) *
    64 *
    Math.ceil((a.ic as number) / 16) *
    16 *
    (a.kh as number) *
    (a.kw as number);

const imageElements = (a: Record<string, number>, side: 'i' | 'o'): number =>
  (a[`${side}h`] as number) * (a[`${side}w`] as number) * (a[`${side}c`] as number);

export const nameOf = (group: Group): string => {
  const ops = [...(group.heavy ? [group.heavy] : []), ...group.members, ...group.terminals].map((n) => n.op);
  return ops.length > 4 ? `${ops.slice(0, 3).join('+')}+${ops.length - 3}` : ops.join('+');
};
