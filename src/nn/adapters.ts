/**
 * What all adapters share: small modules that learn in the place of a trunk's weights, beside some of its layers. The trunk stays one,
 * several adapters may share it, and one works at a time. See lora.ts, bottleneck.ts and prefix.ts for what they compute.
 */
import { ArgumentError, matchesWildcard, printable } from '../base/index.ts';
import type { Tensor, Variable } from '../tensor/index.ts';
import type { ResolvedAdapter } from './apply-adapter.ts';
import { isLinear, isWithin, type LinearLayer } from './matrix-layers.ts';
import { Module } from './module.ts';
import { isQuantized } from './quantized-weight.ts';
import { addSaved, removeSaved, savedOf, settleSaved, showSaved } from './saved-modules.ts';
import { traced } from './trace.ts';

export interface AdapterPlace {
  /** `default` unless told. */
  readonly name?: string;
  /**
   * Paths of modules that train as a whole, such as a new head, and are saved with the adapter. Each adapter has its own parameters
   * there, equal to the model's at first: make optimizers afterwards.
   */
  readonly modulesToSave?: readonly string[];
}

/** What an adapter has at one layer. */
export abstract class Branch extends Module {
  /** Of the whole adapter, with every default filled in. */
  abstract readonly options: ResolvedAdapter;
  /** Its parameters by what follows the layer's path in a file. */
  abstract tensors(): Readonly<Record<string, Variable>>;
  /** What becomes of `y`, the layer's answer to `x`. */
  abstract override forward(x: Tensor, y?: Tensor): Tensor;
}

/** The adapters of one layer, by name. */
export class Branches extends Module {
  #active: string | undefined;
  #merged: string | undefined;

  get active(): string | undefined {
    return this.#active;
  }
  get merged(): string | undefined {
    return this.#merged;
  }
  named(name: string | undefined): Branch | undefined {
    const value = name === undefined ? undefined : (this as unknown as Record<string, unknown>)[name];
    return value instanceof Branch ? value : undefined;
  }
  add(name: string, branch: Branch): void {
    Object.assign(this, { [name]: branch });
  }
  remove(name: string): void {
    if (this.named(name)) delete (this as unknown as Record<string, unknown>)[name];
    if (this.#active === name) this.#active = undefined;
  }
  activate(name: string | undefined): void {
    this.#active = name;
    for (const [key, child] of this.children())
      for (const variable of child.parameters()) variable.requiresGrad = key === name;
  }
  markMerged(name: string | undefined): void {
    this.#merged = name;
  }
  /** The one at work; none once it is part of the weights. */
  get working(): Branch | undefined {
    return this.#merged === undefined ? this.named(this.#active) : undefined;
  }
  forward(x: Tensor): Tensor {
    return this.working?.forward(x) ?? x;
  }
}

export type Adapted = Module & { readonly adapters: Branches };

/** The adapters of a layer that has some. */
export function adaptersOf(layer: Module): Branches | undefined {
  const { adapters } = layer as unknown as { adapters?: unknown };
  return adapters instanceof Branches ? adapters : undefined;
}

/** The layers that have adapters, by path. */
export const adaptedLayers = (model: Module): [string, Adapted][] =>
  [...model.namedModules()].filter((entry): entry is [string, Adapted] => adaptersOf(entry[1]) !== undefined);

/**
 * Puts a branch on each of `layers`, stops training everything else but `modulesToSave`, and lets the adapter work. Applied again
 * with the same name and options, it changes nothing.
 * @throws ArgumentError ADAPTER_EXISTS, ADAPTER_MERGED, OPTION_INVALID for the name.
 */
export function placeBranches<L extends Module>(
  model: Module,
  { name = 'default', modulesToSave = [] }: AdapterPlace,
  layers: readonly (readonly [string, L])[],
  make: (layer: L) => Branch,
): void {
  checkName(name);
  refuseMerged(model);
  const branches = layers.map(([, layer]) => make(layer));
  const wanted = JSON.stringify(branches[0]?.options);
  for (const [path, { adapters }] of adaptedLayers(model)) {
    const known = adapters.named(name);
    if (known && JSON.stringify(known.options) !== wanted)
      throw new ArgumentError('ADAPTER_EXISTS', `${path} has an adapter "${name}" of other options`, {
        expected: known.options,
        got: branches[0]?.options,
        hint: 'give the new one another name',
      });
  }
  for (const { variable } of model.namedParameters()) variable.requiresGrad = false;
  for (const [i, [, layer]] of layers.entries()) {
    const { adapters } = attach(layer);
    if (!adapters.named(name)) adapters.add(name, branches[i] as Branch);
  }
  addSaved(model, name, modulesToSave);
  activate(model, name);
}

/**
 * The adapter that works and trains from now on, with the modules saved with it; null for the trunk alone and the modules it had.
 * @throws ArgumentError ADAPTER_UNKNOWN, ADAPTER_MERGED.
 */
export function setAdapter(model: Module, name: string | null): void {
  const known = adapterNames(model);
  if (name !== null && !known.includes(name)) throw unknownAdapter(model, name);
  refuseMerged(model);
  activate(model, name);
}

function activate(model: Module, name: string | null): void {
  // Layers that only other adapters have rest.
  for (const [, { adapters }] of adaptedLayers(model))
    adapters.activate(name !== null && adapters.named(name) ? name : undefined);
  showSaved(model, name);
}

function refuseMerged(model: Module): void {
  for (const [path, { adapters }] of adaptedLayers(model))
    if (adapters.merged !== undefined)
      throw new ArgumentError('ADAPTER_MERGED', `adapter "${adapters.merged}" is part of the weights of ${path}`, {
        hint: 'unmergeLora(model) first',
      });
}

const unknownAdapter = (model: Module, name: string): ArgumentError =>
  new ArgumentError('ADAPTER_UNKNOWN', `the model has no adapter "${name}"`, {
    got: name,
    expected: adapterNames(model),
  });

/** The adapter that works now; null for the trunk alone. */
export const activeAdapter = (model: Module): string | null =>
  adaptedLayers(model).find(([, { adapters }]) => adapters.active !== undefined)?.[1].adapters.active ?? null;

export const adapterNames = (model: Module): string[] => [
  ...new Set(adaptedLayers(model).flatMap(([, { adapters }]) => adapters.children().map(([name]) => name))),
];

/** The options, layers with their parameters, and whole modules of one adapter. @throws ArgumentError ADAPTER_UNKNOWN. */
export function adapterOf(model: Module, name = 'default') {
  const layers = adaptedLayers(model).flatMap(([path, layer]) => {
    const branch = layer.adapters.named(name);
    return branch
      ? [{ path, branch, fanInFanOut: (layer as unknown as Partial<LinearLayer>).fanInFanOut === true }]
      : [];
  });
  const [first] = layers;
  if (!first) throw unknownAdapter(model, name);
  return {
    options: first.branch.options,
    fanInFanOut: first.fanInFanOut,
    layers: layers.map(({ path, branch }) => ({ path, tensors: branch.tensors() })),
    saved: savedOf(model, name),
  };
}

/**
 * Takes all adapters off; what is merged stays in the weights, and so do the modules saved with it; otherwise the model has its own
 * again. Its names are those from before.
 */
export function removeAdapters(model: Module): void {
  if (!adaptedLayers(model).some(([, { adapters }]) => adapters.merged !== undefined)) showSaved(model, null);
  settleSaved(model);
  for (const [, layer] of adaptedLayers(model)) {
    Object.defineProperty(layer, 'forward', { value: plainForwards.get(layer), configurable: true, writable: true });
    delete (layer as { adapters?: Branches }).adapters;
  }
}

/** Takes one adapter off; the layers keep their others. */
export function removeAdapter(model: Module, name: string): void {
  for (const [, { adapters }] of adaptedLayers(model)) adapters.remove(name);
  removeSaved(model, name);
}

/** Whether a parameter belongs to an adapter. */
export const isOfAdapter = (name: string): boolean => name.includes('.adapters.') || name.startsWith('adapters.');

const plainForwards = new WeakMap<Module, unknown>();

/** Gives a layer room for adapters; those of linear layers change what it answers. */
function attach(layer: Module): Adapted {
  if (adaptersOf(layer)) return layer as Adapted;
  const adapters = new Branches();
  plainForwards.set(layer, layer.forward);
  const plain = Object.getPrototypeOf(layer).forward as (...args: unknown[]) => Tensor;
  const forward = (...args: unknown[]): Tensor => {
    const y = plain.apply(layer, args);
    return adapters.working?.forward(args[0] as Tensor, y) ?? y;
  };
  Object.defineProperty(layer, 'forward', {
    value: (...args: unknown[]) => traced(layer, forward, args),
    configurable: true,
    writable: true,
  });
  return Object.assign(layer, { adapters });
}

/**
 * Linear layers named by `targets`: by the last part of their path, several last parts (`output.dense`), the whole, or with `*` for
 * anything; those within `except` left out. @throws ArgumentError ADAPTER_TARGETS where there are none.
 */
export function linearTargets(
  model: Module,
  targets: readonly string[],
  except: readonly string[] = [],
): [string, LinearLayer][] {
  const layers = [...model.namedModules()].filter(
    (entry): entry is [string, LinearLayer] => entry[0] !== '' && isLinear(entry[1]) && entry[1].weight.rank === 2,
  );
  const free = layers.filter(([path]) => !isWithin(path, except) && !isOfAdapter(path));
  const chosen = free.filter(([path]) => targets.some((target) => matches(path, target)));
  if (chosen.length > 0) return chosen;
  if (isQuantized(model))
    throw new ArgumentError('ADAPTER_TARGETS', 'weights in 8 bits take no adapters', {
      hint: 'put them on the model those were made from',
    });
  const names = namesOf(free.map(([path]) => path));
  throw new ArgumentError('ADAPTER_TARGETS', `no linear layer is named by ${printable(targets.join(', '))}`, {
    got: targets,
    expected: free.map(([path]) => path).slice(0, 40),
    hint:
      names.length > 0
        ? `linear layers of the model are ${names.slice(0, NAMED).join(', ')}${names.length > NAMED ? ', ...' : ''}: name some`
        : 'the model has no linear layers',
  });
}

/** How many names a hint has room for. */
const NAMED = 12;

/** What names layers in `targets`: the last part of their paths, or where that is a number the whole. */
const namesOf = (paths: readonly string[]): string[] => [
  ...new Set(
    paths.map((path) => {
      const last = path.slice(path.lastIndexOf('.') + 1);
      return /^\d+$/.test(last) ? path : last;
    }),
  ),
];

const matches = (path: string, target: string): boolean =>
  target.includes('*') ? matchesWildcard(path, target) : path === target || path.endsWith(`.${target}`);

function checkName(name: string): void {
  if (/^[a-z][a-z0-9_]{0,63}$/.test(name) && !(name in new Branches())) return;
  throw new ArgumentError('OPTION_INVALID', `an adapter cannot be named ${printable(name)}`, {
    got: name,
    expected: 'small letters, digits and "_"',
  });
}
