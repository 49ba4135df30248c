/**
 * Which layer of a model a node was made for. Recorded only while something asks for it (`cambium profile`): a node made
 * inside `inLayer` belongs to that layer, its gradient to the same one backward, and what a pass rewrites it to as well.
 */
import type { Node } from './node.ts';

export interface Layer {
  /** Dotted module path. */
  readonly path: string;
  readonly direction: 'forward' | 'backward';
}

let recording = false;
let current: Layer | undefined;
const layers = new WeakMap<Node, Layer>();
// One object a layer and direction: they are compared by identity.
const backwards = new WeakMap<Layer, Layer>();

/** Nodes made from now on remember their layer; those made before have none. */
export function recordLayers(on: boolean): void {
  recording = on;
}

export const layerOf = (node: Node): Layer | undefined => layers.get(node);

/** Called for each node made; returns it. */
export function noteLayer<N extends Node>(node: N, layer = current): N {
  if (recording && layer) layers.set(node, layer);
  return node;
}

export function inLayer<T>(layer: Layer | undefined, body: () => T): T {
  if (!recording) return body();
  const outer = current;
  current = layer;
  try {
    return body();
  } finally {
    current = outer;
  }
}

/** Runs the gradient rule of `node`. */
export function inBackwardOf<T>(node: Node, body: () => T): T {
  const layer = layers.get(node);
  if (!layer || layer.direction === 'backward') return inLayer(layer, body);
  let backward = backwards.get(layer);
  if (!backward) {
    backward = { path: layer.path, direction: 'backward' };
    backwards.set(layer, backward);
  }
  return inLayer(backward, body);
}

/** The nodes of a rewriting pass: what its loop makes for one of them belongs to that one's layer. */
export const eachInItsLayer = (order: readonly Node[]): Iterable<Node> => (recording ? walk(order) : order);

function* walk(order: readonly Node[]): Generator<Node> {
  const outer = current;
  try {
    for (const node of order) {
      current = layers.get(node);
      yield node;
    }
  } finally {
    current = outer;
  }
}
