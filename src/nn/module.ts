/**
 * Module: a tree of named parameters, buffers and children whose state-dict keys are PyTorch's.
 * Children and variables are ordinary properties; a property's name is its key.
 */
import {
  CambiumError,
  DataError,
  formatShape,
  nearest,
  type Shape,
  ShapeError,
  sameShape,
  type TypedArray,
} from '../base/index.ts';
import { type Tensor, tensor, Variable } from '../tensor/index.ts';

/** A parameter is what training changes; a buffer is saved with the model but has no gradient. */
export interface NamedVariable {
  readonly name: string;
  readonly variable: Variable;
}

/** What `loadStateDict` did with every tensor. */
export interface LoadReport {
  loaded: string[];
  /** In the model but not in the file: keeps its initial value. */
  missing: string[];
  /** In the file but not in the model. */
  unused: string[];
  /** In both, with different shapes; never loaded. */
  mismatched: { name: string; expected: Shape; got: Shape }[];
}

export interface StoredTensor {
  readonly shape: Shape;
  readonly dtype: string;
  readonly data: TypedArray;
}

/** Called after each module's forward with its dotted path; the summary and the search for a first NaN use it. */
export type ForwardHook = (path: string, module: Module, output: Tensor) => void;

let activeHook: { root: Module; paths: Map<Module, string>; hook: ForwardHook } | undefined;

export abstract class Module {
  /** Whether dropout drops and batch norm uses the batch; set by train() and eval(). */
  training = true;
  readonly #buffers = new Set<Variable>();

  /** Computes the output. Call the module through `forward`; hooks and error paths come with it. */
  abstract forward(x: Tensor): Tensor;

  /** A trainable variable that starts as `initial`. Assign it to a property. */
  protected parameter(initial: Tensor): Variable {
    return new Variable(initial, { requiresGrad: true });
  }

  /** A variable that is saved but not trained. Assign it to a property. */
  protected buffer(initial: Tensor): Variable {
    const variable = new Variable(initial);
    this.#buffers.add(variable);
    return variable;
  }

  /** Runs a child: errors name it, hooks see its output. */
  protected run(child: Module, x: Tensor): Tensor {
    let output: Tensor;
    try {
      output = child.forward(x);
    } catch (error) {
      throw withLayer(error, this, child, x.shape);
    }
    const path = activeHook?.paths.get(child);
    if (path !== undefined) activeHook?.hook(path, child, output);
    return output;
  }

  /** Direct children by property name. */
  children(): [string, Module][] {
    return Object.entries(this).filter((entry): entry is [string, Module] => entry[1] instanceof Module);
  }

  /** This module (path '') and all below it, parents first. */
  *namedModules(prefix = ''): Generator<[string, Module]> {
    yield [prefix, this];
    for (const [name, child] of this.children()) yield* child.namedModules(prefix ? `${prefix}.${name}` : name);
  }

  *#variables(): Generator<{ name: string; variable: Variable; buffer: boolean }> {
    const seen = new Set<Variable>();
    for (const [path, module] of this.namedModules())
      for (const [property, value] of Object.entries(module)) {
        if (!(value instanceof Variable) || seen.has(value)) continue;
        seen.add(value);
        const key = stateKey(property);
        const name = path ? `${path}.${key}` : key;
        value.label ??= name;
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

  /** Parameters and buffers by PyTorch's keys, in PyTorch's order. */
  stateDict(): Map<string, Variable> {
    return new Map([...this.#variables()].map(({ name, variable }) => [name, variable]));
  }

  /**
   * Copies tensors into this model. `strict` (default) throws DataError unless every tensor fits and none is missing
   * or left over; nothing is changed then.
   */
  loadStateDict(tensors: ReadonlyMap<string, StoredTensor>, { strict = true }: { strict?: boolean } = {}): LoadReport {
    const own = this.stateDict();
    const report: LoadReport = { loaded: [], missing: [], unused: [], mismatched: [] };
    for (const [name, variable] of own) {
      const stored = tensors.get(name);
      if (!stored) report.missing.push(name);
      else if (!sameShape(stored.shape, variable.shape))
        report.mismatched.push({ name, expected: variable.shape, got: stored.shape });
      else report.loaded.push(name);
    }
    for (const name of tensors.keys()) if (!own.has(name)) report.unused.push(name);
    if (strict) refuse(report);
    for (const name of report.loaded) {
      const { data, shape } = tensors.get(name) as StoredTensor;
      const variable = own.get(name) as Variable;
      variable.assign(tensor(data, { shape }).cast(variable.dtype));
    }
    return report;
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
   * Stops training parameters whose name starts with, or matches, `pattern`; returns their names.
   * Throws ArgumentError if none does.
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
      typeof pattern === 'string' ? name === pattern || name.startsWith(`${pattern}.`) : pattern.test(name),
    );
    if (chosen.length === 0) {
      const near = typeof pattern === 'string' ? nearest(pattern, prefixes(all.map((p) => p.name))) : undefined;
      throw new CambiumError('NO_SUCH_PARAMETER', `no parameter is named by "${pattern}"`, {
        got: String(pattern),
        hint: near ? `did you mean "${near}"?` : 'list them with model.namedParameters()',
      });
    }
    for (const { variable } of chosen) variable.requiresGrad = value;
    return chosen.map((p) => p.name);
  }

  /** Calls `hook` after the forward of every module below this one, while `body` runs. */
  withForwardHook<T>(hook: ForwardHook, body: () => T): T {
    const outer = activeHook;
    activeHook = { root: this, paths: new Map([...this.namedModules()].map(([path, m]) => [m, path])), hook };
    try {
      return body();
    } finally {
      activeHook = outer;
    }
  }

  /** Arguments worth printing, e.g. `64 -> 128, kernelSize=3`. */
  describe(): string {
    return '';
  }
  toString(): string {
    const inner = this.describe();
    return `${this.constructor.name}${inner ? `(${inner})` : ''}`;
  }
}

/** Modules one after the other; children are named 0, 1, 2 ... */
export class Sequential extends Module {
  readonly layers: readonly Module[];

  constructor(...layers: Module[]) {
    super();
    this.layers = layers;
  }
  override children(): [string, Module][] {
    return this.layers.map((layer, i) => [String(i), layer]);
  }
  forward(x: Tensor): Tensor {
    return this.layers.reduce((h, layer) => this.run(layer, h), x);
  }
}

// JavaScript properties are camelCase, PyTorch's keys snake_case.
const stateKey = (property: string): string => property.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);

/** Every dotted prefix of the names: what a pattern may name. */
function prefixes(names: readonly string[]): string[] {
  return [...new Set(names.flatMap((name) => name.split('.').map((_, i, all) => all.slice(0, i + 1).join('.'))))];
}

function refuse({ missing, unused, mismatched }: LoadReport): void {
  const bad = mismatched[0];
  if (bad)
    throw new DataError(
      'WEIGHTS_SHAPE',
      `${bad.name} is ${formatShape(bad.expected)} in the model and ${formatShape(bad.got)} in the weights` +
        (mismatched.length > 1 ? ` (and ${mismatched.length - 1} more tensors differ)` : ''),
      {
        tensor: bad.name,
        expected: bad.expected,
        got: bad.got,
        hint: 'build the model with the same options (numClasses, inChannels), or load with { strict: false } to keep the new head',
      },
    );
  const name = missing[0] ?? unused[0];
  if (name === undefined) return;
  const which = missing.length > 0 ? 'missing from the weights' : 'not in the model';
  const count = (missing.length > 0 ? missing : unused).length;
  throw new DataError('WEIGHTS_KEYS', `${name}${count > 1 ? ` and ${count - 1} more tensors are` : ' is'} ${which}`, {
    tensor: name,
    expected: missing.slice(0, 20),
    got: unused.slice(0, 20),
    hint: 'the weights belong to another model, or load them with { strict: false }',
  });
}

function withLayer(error: unknown, parent: Module, child: Module, input: Shape): unknown {
  if (!(error instanceof ShapeError) && !(error instanceof CambiumError)) return error;
  const name = parent.children().find(([, module]) => module === child)?.[0] ?? '?';
  const { layer, ...details } = error.details;
  // Innermost first: each parent prepends its own part of the path.
  const path = layer === undefined ? name : `${name}.${layer}`;
  const message =
    layer === undefined
      ? `${error.message}; in layer ${name} = ${child}, input ${formatShape(input)}`
      : error.message.replace(`in layer ${layer} =`, `in layer ${path} =`);
  const Kind = error.constructor as typeof CambiumError;
  return new Kind(error.code, message, { ...details, layer: path, cause: error.cause ?? error });
}
