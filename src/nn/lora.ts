/**
 * Low-rank adaptation (Hu et al. 2021, https://arxiv.org/abs/2106.09685): a linear layer keeps its weights and learns what to add
 * to them, as a product of two thin matrices. The trunk stays one; adapters are small, and several may share it.
 */
import { ArgumentError } from '../base/index.ts';
import { flush, type Tensor, Variable, zeros } from '../tensor/index.ts';
import { Dropout } from './activation.ts';
import { defaultWeight } from './init.ts';
import { Linear } from './linear.ts';
import { Module } from './module.ts';
import { probability } from './options.ts';
import { addSaved, removeSaved, savedOf, settleSaved, showSaved } from './saved-modules.ts';
import { traced } from './trace.ts';

export interface LoraOptions {
  /** Columns of the thin matrices; 8 unless told. */
  readonly rank?: number;
  /** The product is scaled by alpha / rank; twice the rank unless told. */
  readonly alpha?: number;
  /** Of what enters the thin matrices, in training. */
  readonly dropout?: number;
  /**
   * Linear layers by the last part of their path (`query`), by their path, or with `*` for anything. Query and value
   * projections of attention unless told.
   */
  readonly targets?: readonly string[];
}

export interface ApplyLoraOptions extends LoraOptions {
  /** `default` unless told. */
  readonly name?: string;
  /**
   * Paths of modules that train as a whole, such as a new head, and are saved with the adapter. Each adapter has its own parameters
   * there, equal to the model's at first: make optimizers afterwards.
   */
  readonly modulesToSave?: readonly string[];
}

export type ResolvedLora = Required<LoraOptions>;

/** Where attention makes queries and values: BERT, GPT-2 (all three in one), others by their common names. */
const QUERY_AND_VALUE = ['query', 'value', 'c_attn', 'q_proj', 'v_proj'];

/** A layer y = x W^T + b, or x W + b where `fanInFanOut` says so. */
type Target = Module & { readonly weight: Variable; readonly fanInFanOut?: boolean; lora?: Branches };

/** (alpha / rank) x A^T B^T.  x (..., in) -> (..., out). B is zero at first: nothing changes until it learns. */
class LowRank extends Module {
  readonly loraA: Variable; // (rank, in)
  readonly loraB: Variable; // (out, rank)
  readonly dropout: Dropout;
  readonly options: ResolvedLora;

  constructor(from: number, to: number, options: ResolvedLora) {
    super();
    this.options = options;
    this.loraA = this.parameter(defaultWeight([options.rank, from]));
    this.loraB = this.parameter(zeros([to, options.rank]));
    this.dropout = new Dropout(options.dropout);
  }
  get #scale(): number {
    return this.options.alpha / this.options.rank;
  }
  forward(x: Tensor): Tensor {
    const thin = this.dropout.forward(x).matmul(this.loraA.transpose(0, 1));
    return thin.matmul(this.loraB.transpose(0, 1)).mul(this.#scale);
  }
  /** What the layer's weight would grow by: (out, in). */
  delta(): Tensor {
    return this.loraB.matmul(this.loraA).mul(this.#scale);
  }
  override describe(): string {
    return `rank ${this.options.rank}`;
  }
}

/** The adapters of one layer, by name. */
class Branches extends Module {
  #active: string | undefined;
  #merged: string | undefined;

  get active(): string | undefined {
    return this.#active;
  }
  get merged(): string | undefined {
    return this.#merged;
  }
  named(name: string): LowRank | undefined {
    const value = (this as unknown as Record<string, unknown>)[name];
    return value instanceof LowRank ? value : undefined;
  }
  add(name: string, branch: LowRank): void {
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
  /** What is added to the layer's output; nothing once it is part of the weights. */
  forward(x: Tensor): Tensor {
    return (this.named(this.#active as string) as LowRank).forward(x);
  }
  get adds(): boolean {
    return this.#active !== undefined && this.#merged === undefined;
  }
}

/**
 * Puts adapters on the linear layers of `model` and stops training everything else but `modulesToSave`. Applied again with
 * the same name and options, it changes nothing. Returns the paths adapted.
 * @throws ArgumentError LORA_TARGETS where no linear layer is named; LORA_EXISTS; LORA_MERGED; OPTION_INVALID.
 */
export function applyLora(model: Module, options: ApplyLoraOptions = {}): string[] {
  const { name = 'default', modulesToSave = [] } = options;
  const resolved = resolveLora(options);
  checkName(name);
  const layers = linearLayers(model);
  const chosen = layers.filter(
    ([path]) => !isWithin(path, modulesToSave) && resolved.targets.some((target) => matches(path, target)),
  );
  if (chosen.length === 0) {
    const names = namesOf(layers.map(([path]) => path).filter((path) => !isWithin(path, modulesToSave)));
    throw new ArgumentError('LORA_TARGETS', `no linear layer is named by ${resolved.targets.join(', ')}`, {
      got: resolved.targets,
      expected: layers.map(([path]) => path).slice(0, 40),
      hint:
        names.length > 0
          ? `linear layers of the model are ${names.slice(0, NAMED).join(', ')}${names.length > NAMED ? ', ...' : ''}: name some`
          : 'the model has no linear layers',
    });
  }
  refuseMerged(model);
  for (const { variable } of model.namedParameters()) variable.requiresGrad = false;
  for (const [path, layer] of chosen) {
    const branches = layer.lora ?? attach(layer);
    const known = branches.named(name);
    if (known && JSON.stringify(known.options) !== JSON.stringify(resolved))
      throw new ArgumentError('LORA_EXISTS', `${path} has an adapter "${name}" of other options`, {
        expected: known.options,
        got: resolved,
        hint: 'give the new one another name',
      });
    const [a, b] = layer.weight.shape as [number, number];
    if (!known) branches.add(name, layer.fanInFanOut ? new LowRank(a, b, resolved) : new LowRank(b, a, resolved));
  }
  addSaved(model, name, modulesToSave);
  activate(model, name);
  return chosen.map(([path]) => path);
}

/**
 * The adapter that works and trains from now on, with the modules saved with it; null for the trunk alone and the modules it had.
 * @throws ArgumentError LORA_UNKNOWN, LORA_MERGED.
 */
export function setAdapter(model: Module, name: string | null): void {
  const known = adapterNames(model);
  if (name !== null && !known.includes(name))
    throw new ArgumentError('LORA_UNKNOWN', `the model has no adapter "${name}"`, { got: name, expected: known });
  refuseMerged(model);
  activate(model, name);
}

function activate(model: Module, name: string | null): void {
  // Layers that only other adapters have rest.
  for (const [, { lora }] of adaptedLayers(model)) lora.activate(name !== null && lora.named(name) ? name : undefined);
  showSaved(model, name);
}

function refuseMerged(model: Module): void {
  for (const [path, { lora }] of adaptedLayers(model))
    if (lora.merged !== undefined)
      throw new ArgumentError('LORA_MERGED', `adapter "${lora.merged}" is part of the weights of ${path}`, {
        hint: 'unmergeLora(model) first',
      });
}

/** The adapter that works now; null for the trunk alone. */
export const activeAdapter = (model: Module): string | null =>
  adaptedLayers(model).find(([, { lora }]) => lora.active !== undefined)?.[1].lora.active ?? null;

export const adapterNames = (model: Module): string[] => [
  ...new Set(adaptedLayers(model).flatMap(([, { lora }]) => lora.children().map(([name]) => name))),
];

/** The options, paths, matrices and whole modules of one adapter. @throws ArgumentError LORA_UNKNOWN. */
export function adapterOf(model: Module, name = 'default') {
  const layers = adaptedLayers(model).flatMap(([path, layer]) => {
    const branch = layer.lora.named(name);
    return branch ? [{ path, branch, fanInFanOut: layer.fanInFanOut === true }] : [];
  });
  const [first] = layers;
  if (!first)
    throw new ArgumentError('LORA_UNKNOWN', `the model has no adapter "${name}"`, {
      got: name,
      expected: adapterNames(model),
    });
  return {
    options: first.branch.options,
    fanInFanOut: first.fanInFanOut,
    layers: layers.map(({ path, branch: { loraA, loraB } }) => ({ path, loraA, loraB })),
    saved: savedOf(model, name),
  };
}

/** Adds the active adapters to the weights they belong to: as fast as without them, and no longer trainable. */
export async function mergeLora(model: Module): Promise<void> {
  await grow(model, (lora) => (lora.merged === undefined ? lora.active : undefined), 1);
}

/** Takes merged adapters out of the weights again, to the rounding of one addition. */
export async function unmergeLora(model: Module): Promise<void> {
  await grow(model, (lora) => lora.merged, -1);
}

async function grow(model: Module, which: (lora: Branches) => string | undefined, sign: 1 | -1): Promise<void> {
  for (const [, { weight, lora, fanInFanOut }] of adaptedLayers(model)) {
    const name = which(lora);
    const branch = name === undefined ? undefined : lora.named(name);
    if (!branch) continue;
    const delta = branch.delta().mul(sign);
    weight.assign(weight.add(fanInFanOut ? delta.transpose(0, 1) : delta));
    lora.markMerged(sign > 0 ? name : undefined);
  }
  await flush([]);
}

/**
 * Takes all adapters off; what is merged stays in the weights, and so do the modules saved with it; otherwise the model has its own
 * again. Its names are those from before `applyLora`.
 */
export function removeLora(model: Module): void {
  if (!adaptedLayers(model).some(([, { lora }]) => lora.merged !== undefined)) showSaved(model, null);
  settleSaved(model);
  for (const [, layer] of adaptedLayers(model)) {
    Object.defineProperty(layer, 'forward', {
      value: plainForwards.get(layer),
      configurable: true,
      writable: true,
    });
    delete (layer as Target).lora;
  }
}

/** Takes one adapter off; the layers keep their others. */
export function removeAdapter(model: Module, name: string): void {
  for (const [, { lora }] of adaptedLayers(model)) lora.remove(name);
  removeSaved(model, name);
}

/** Whether a parameter belongs to an adapter. */
export const isLora = (name: string): boolean => name.includes('.lora.') || name.startsWith('lora.');

export function resolveLora(options: LoraOptions): ResolvedLora {
  const { rank = 8, alpha = 2 * rank, dropout = 0, targets = QUERY_AND_VALUE } = options;
  if (!Number.isInteger(rank) || rank < 1 || rank > 65536)
    throw new ArgumentError('OPTION_INVALID', `lora.rank: expected a whole number above 0, found ${rank}`, {
      field: 'lora.rank',
      got: rank,
    });
  if (!(alpha > 0) || !Number.isFinite(alpha))
    throw new ArgumentError('OPTION_INVALID', `lora.alpha: expected a number above 0, found ${alpha}`, {
      field: 'lora.alpha',
      got: alpha,
    });
  probability('lora', 'dropout', dropout);
  return { rank, alpha, dropout, targets };
}

const plainForwards = new WeakMap<Module, unknown>();

function attach(layer: Target): Branches {
  const branches = new Branches();
  plainForwards.set(layer, layer.forward);
  const plain = Object.getPrototypeOf(layer).forward as (x: Tensor) => Tensor;
  const forward = (...args: unknown[]): Tensor => {
    const y = plain.call(layer, args[0] as Tensor);
    return branches.adds ? y.add(branches.forward(args[0] as Tensor)) : y;
  };
  Object.defineProperty(layer, 'forward', {
    value: (...args: unknown[]) => traced(layer, forward, args),
    configurable: true,
    writable: true,
  });
  layer.lora = branches;
  return branches;
}

const adaptedLayers = (model: Module): [string, Target & { readonly lora: Branches }][] =>
  [...model.namedModules()].filter(
    (entry): entry is [string, Target & { readonly lora: Branches }] =>
      (entry[1] as unknown as Partial<Target>).lora instanceof Branches,
  );

const linearLayers = (model: Module): [string, Target][] =>
  [...model.namedModules()].filter((entry): entry is [string, Target] => {
    const [path, layer] = entry as unknown as [string, Partial<Target>];
    const linear = layer instanceof Linear || layer.fanInFanOut === true;
    return path !== '' && linear && layer.weight instanceof Variable && layer.weight.rank === 2;
  });

const isWithin = (name: string, paths: readonly string[]): boolean =>
  paths.some((path) => name === path || name.startsWith(`${path}.`));

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

function matches(path: string, target: string): boolean {
  if (!target.includes('*')) return path === target || path.endsWith(`.${target}`);
  const escaped = target.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${escaped.join('.*')}$`).test(path);
}

function checkName(name: string): void {
  if (/^[a-z][a-z0-9_]{0,63}$/.test(name) && !(name in Branches.prototype)) return;
  throw new ArgumentError('OPTION_INVALID', `an adapter cannot be named "${name}"`, {
    got: name,
    expected: 'small letters, digits and "_"',
  });
}
