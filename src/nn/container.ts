/** Modules that hold modules; children are named 0, 1, 2 ... */
import { UnsupportedError } from '../base/index.ts';
import type { Tensor } from '../tensor/index.ts';
import { Module } from './module.ts';

const numbered = (modules: readonly Module[]): [string, Module][] => modules.map((module, i) => [String(i), module]);

/** Modules applied one after the other. */
export class Sequential extends Module {
  readonly layers: readonly Module[];

  constructor(...layers: Module[]) {
    super();
    this.layers = layers;
  }
  override children(): [string, Module][] {
    return numbered(this.layers);
  }
  forward(x: Tensor): Tensor {
    return this.layers.reduce((h, layer) => layer.forward(h), x);
  }
}

/** A list of modules that the parent applies itself: `for (const block of this.blocks) x = block.forward(x)`. */
export class ModuleList<M extends Module = Module> extends Module {
  readonly items: readonly M[];

  constructor(items: Iterable<M> = []) {
    super();
    this.items = [...items];
  }
  get length(): number {
    return this.items.length;
  }
  [Symbol.iterator](): IterableIterator<M> {
    return this.items[Symbol.iterator]();
  }
  /** Item `i`; negative counts from the end. */
  at(i: number): M | undefined {
    return this.items.at(i);
  }
  override children(): [string, Module][] {
    return numbered(this.items);
  }
  forward(): Tensor {
    throw new UnsupportedError('NO_FORWARD', 'a ModuleList has no forward of its own', {
      hint: 'call its items one by one, or use Sequential',
    });
  }
}
