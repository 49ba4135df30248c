/**
 * Module: a tree of named parameters, buffers and children whose state-dict keys are PyTorch's.
 * Children and variables are ordinary properties; a property's name (in snake_case) is its key.
 */
import { ArgumentError, nearest, type TypedArray } from '../base/index.ts';
import { type Tensor, Variable } from '../tensor/index.ts';
import { type Allowances, type LoadReport, loadState, type StoredTensor } from './state.ts';
import { type ForwardHook, traced, withForwardHook } from './trace.ts';

/** A variable with its state-dict key. */
export interface NamedVariable {
  readonly name: string;
  readonly variable: Variable;
}

/**
 * A layer or model. Subclasses assign `parameter(...)`, `buffer(...)` and other modules to properties in the constructor
 * and define `forward`:
 *
 *     class Block extends Module {
 *       readonly conv = new Conv2d(8, 8, 3, { padding: 1 });
 *       forward(x: Tensor): Tensor { return x.add(this.conv.forward(x).relu()); }
 *     }
 */
export abstract class Module {
  /** Whether dropout drops and batch norm uses the batch; set by train() and eval(). */
  training = true;
  readonly #buffers = new Set<Variable>();

  constructor() {
    // An own property that wraps the subclass's method: every call is seen by hooks and located in errors.
    const forward = this.forward as (...args: unknown[]) => Tensor;
    Object.defineProperty(this, 'forward', {
      value: (...args: unknown[]) => traced(this, forward, args),
      configurable: true,
      writable: true,
    });
  }

  /** The output for `x`: builds graph nodes, computes nothing. */
  abstract forward(x: Tensor): Tensor;

  /** A trainable variable that starts as `initial`; assign it to a property. */
  protected parameter(initial: Tensor): Variable {
    return new Variable(initial, { requiresGrad: true });
  }

  /** A variable that is saved with the model but not trained; assign it to a property. */
  protected buffer(initial: Tensor): Variable {
    const variable = new Variable(initial);
    this.#buffers.add(variable);
    return variable;
  }

  /** Direct children by key; an array of modules in property `blocks` gives `blocks.0`, `blocks.1` ... */
  children(): [string, Module][] {
    return Object.entries(this).flatMap(([property, value]): [string, Module][] => {
      const key = stateKey(property);
      if (value instanceof Module) return [[key, value]];
      if (!Array.isArray(value)) return [];
      return value.flatMap((item, i): [string, Module][] => (item instanceof Module ? [[`${key}.${i}`, item]] : []));
    });
  }

  /** This module (path '') and all below it, parents first. */
  *namedModules(prefix = ''): Generator<[string, Module]> {
    yield [prefix, this];
    for (const [name, child] of this.children()) yield* child.namedModules(join(prefix, name));
  }

  *#variables(): Generator<{ name: string; variable: Variable; buffer: boolean }> {
    const seen = new Set<Variable>();
    for (const [path, module] of this.namedModules())
      for (const [property, value] of Object.entries(module)) {
        if (!(value instanceof Variable) || seen.has(value)) continue;
        seen.add(value);
        const name = join(path, stateKey(property));
        // The longest name wins: asking a layer for its parameters must not shorten what the whole model calls them.
        if (value.label === undefined || name.endsWith(`.${value.label}`)) value.label = name;
        yield { name, variable: value, buffer: module.#buffers.has(value) };
      }
  }

  namedParameters(): NamedVariable[] {
    return [...this.#variables()].filter((v) => !v.buffer);
  }
  namedBuffers(): NamedVariable[] {
    return [...this.#variables()].filter((v) => v.buffer);
  }
  parameters(): Variable[] {
    return this.namedParameters().map((p) => p.variable);
  }

  /** Puts `next` where `variable` is among its own: the parameter or buffer of another adapter. */
  replaceVariable(variable: Variable, next: Variable): void {
    for (const [property, value] of Object.entries(this))
      if (value === variable) Object.assign(this, { [property]: next });
    if (this.#buffers.delete(variable)) this.#buffers.add(next);
  }

  /** Parameters and buffers by PyTorch's keys, in PyTorch's order. */
  stateDict(): Map<string, Variable> {
    return new Map([...this.#variables()].map(({ name, variable }) => [name, variable]));
  }

  /**
   * Copies tensors (of a weight file, or another module's `stateDict()`) into this model. `strict`, the default, throws
   * DataError unless every tensor fits and none is missing or left over (or may be, by the functions given instead of true);
   * nothing is changed then.
   */
  loadStateDict(
    tensors: ReadonlyMap<string, StoredTensor | Tensor>,
    { strict = true, owned }: { strict?: boolean | Allowances; owned?: (data: TypedArray) => boolean } = {},
  ): LoadReport {
    return loadState(this.stateDict(), tensors, strict, owned);
  }

  /** Training mode for this module and all below it. */
  train(mode = true): this {
    for (const [, module] of this.namedModules()) module.training = mode;
    return this;
  }
  /** Evaluation mode: no dropout, running statistics in batch norm. */
  eval(): this {
    return this.train(false);
  }

  /**
   * Stops training the parameters named by `pattern`: a dotted path with all below it ('features', 'features.0.weight'),
   * or a regular expression. Returns their names. Throws ArgumentError if there are none. Running statistics of batch
   * norm are buffers and keep moving in training mode, as in PyTorch.
   */
  freeze(pattern: string | RegExp): string[] {
    return this.#setTrainable(pattern, false);
  }
  unfreeze(pattern: string | RegExp): string[] {
    return this.#setTrainable(pattern, true);
  }
  #setTrainable(pattern: string | RegExp, value: boolean): string[] {
    const all = this.namedParameters();
    const chosen = all.filter(({ name }) =>
      typeof pattern === 'string' ? name === pattern || name.startsWith(`${pattern}.`) : name.search(pattern) >= 0,
    );
    if (chosen.length === 0) {
      const near = typeof pattern === 'string' ? nearest(pattern, prefixes(all.map((p) => p.name))) : undefined;
      throw new ArgumentError('NO_SUCH_PARAMETER', `no parameter is named by ${String(pattern)}`, {
        got: String(pattern),
        hint: near ? `did you mean "${near}"?` : 'list them with model.namedParameters()',
      });
    }
    for (const { variable } of chosen) variable.requiresGrad = value;
    return chosen.map((p) => p.name);
  }

  /** Calls `hook` after the forward of this module and every one below it, while `body` runs. */
  withForwardHook<T>(hook: ForwardHook, body: () => T): T {
    return withForwardHook(this, hook, body);
  }

  /** Whether its own forward draws random numbers in training: dropout with p > 0. */
  get drawsRandom(): boolean {
    return false;
  }
  /** Whether its own forward moves buffers in training: batch norm that is not frozen. */
  get movesStatistics(): boolean {
    return false;
  }

  /** Arguments worth printing, e.g. `64 -> 128, kernel 3x3`. */
  describe(): string {
    return '';
  }
  toString(): string {
    const inner = this.describe();
    return inner ? `${this.constructor.name}(${inner})` : this.constructor.name;
  }
}

// JavaScript properties are camelCase, PyTorch's keys snake_case; a capital first letter is the key's own.
const stateKey = (property: string): string => property.replace(/(?<=^[a-z].*)[A-Z]/g, (c) => `_${c.toLowerCase()}`);

const join = (prefix: string, name: string): string => (prefix ? `${prefix}.${name}` : name);

/** Every dotted prefix of the names: what a pattern may name. */
function prefixes(names: readonly string[]): string[] {
  return [...new Set(names.flatMap((name) => name.split('.').map((_, i, all) => all.slice(0, i + 1).join('.'))))];
}
