/** What trains when: frozen names and depths, layers that join at later epochs, batch norm that stays as it is. */
import { ConfigError, matchesWildcard } from '../base/index.ts';
import { depthOf, type ModelStructure, structureOf } from '../models/index.ts';
import { freezeBatchNorm, type Module, type NamedVariable } from '../nn/index.ts';

/** A number of stages from the input (see `structureOf`); negative counts from the end, 'head' is all but the last. */
export type Depth = number | 'head';

/** What stays as it is: names with `*` for anything, or everything below a depth. */
export type FreezeOptions = readonly string[] | { readonly names?: readonly string[]; readonly belowDepth?: Depth };

export interface UnfreezeOptions {
  /** First epoch they train in, from 2. */
  readonly epoch: number;
  readonly names?: readonly string[];
  /** This stage and all behind it, up to the head. */
  readonly fromDepth?: Depth;
}

export interface TrainableOptions {
  readonly freeze?: FreezeOptions;
  /** Gradual unfreezing (Howard and Ruder 2018); their optimizer state starts then. */
  readonly unfreeze?: readonly UnfreezeOptions[];
  /** Running statistics and affine parameters of every batch norm stay as they are, also of layers that train. */
  readonly freezeBatchNorm?: boolean;
}

/** `features.*` freezes every parameter whose name begins so; a name without `*` itself, or a module and all below it. */
export function freeze(model: Module, patterns: readonly string[]): string[] {
  return patterns.flatMap((pattern) => named(model, pattern).flatMap((name) => model.freeze(name)));
}

/** The opposite of `freeze`. */
export function unfreeze(model: Module, patterns: readonly string[]): string[] {
  return patterns.flatMap((pattern) => named(model, pattern).flatMap((name) => model.unfreeze(name)));
}

/** The parameters a pattern means; itself where it has no `*`, or means none. */
function named(model: Module, pattern: string): string[] {
  if (!pattern.includes('*')) return [pattern];
  const names = model.namedParameters().map(({ name }) => name);
  const meant = names.filter((name) => matchesWildcard(name, pattern));
  return meant.length > 0 ? meant : [pattern];
}

/** Freezes the stages before number `depth`, so that the head and what lies above train. Returns the names. */
export function freezeBelow(model: Module, depth: Depth): string[] {
  const structure = structureOf(model);
  const limit = stageNumber(depth, structure, 'freeze.belowDepth');
  const below = model.namedParameters().filter(({ name }) => depthOf(name, structure) < limit);
  for (const { variable } of below) variable.requiresGrad = false;
  return below.map(({ name }) => name);
}

/** Unfreezes stage `depth` and all behind it. Returns the names. */
export function unfreezeFrom(model: Module, depth: Depth): string[] {
  const structure = structureOf(model);
  const limit = stageNumber(depth, structure, 'unfreeze.fromDepth');
  const above = model.namedParameters().filter(({ name }) => depthOf(name, structure) >= limit);
  for (const { variable } of above) variable.requiresGrad = true;
  return above.map(({ name }) => name);
}

function stageNumber(depth: Depth, { stages }: ModelStructure, field: string): number {
  const n = stages.length;
  const number = depth === 'head' ? n - 1 : depth < 0 ? n + depth : depth;
  if (Number.isInteger(number) && number >= 0 && number <= n) return number;
  throw new ConfigError('DEPTH_INVALID', `${field}: ${depth} is no depth of a model with ${n} stages`, {
    field,
    expected: `'head', or a whole number from ${-n} to ${n}`,
    got: depth,
    hint: `its stages are ${stages.map((paths, i) => `${i}: ${paths.join(' ')}`).join(', ')}`,
  });
}

/** The first epoch every parameter trains in; applied at the beginning of each. */
export class Trainable {
  /** 1 from the start, infinity for never. */
  readonly firstEpoch: ReadonlyMap<string, number>;
  readonly #named: readonly NamedVariable[];

  /** @throws ArgumentError NO_SUCH_PARAMETER; ConfigError DEPTH_INVALID, UNFREEZE_INVALID. */
  constructor(
    model: Module,
    { freeze: frozen = [], unfreeze: later = [], freezeBatchNorm: norms }: TrainableOptions,
    epochs: number,
  ) {
    const { names = [], belowDepth } = Array.isArray(frozen)
      ? { names: frozen }
      : (frozen as Exclude<FreezeOptions, readonly string[]>);
    freeze(model, names);
    if (belowDepth !== undefined) freezeBelow(model, belowDepth);
    this.#named = model.namedParameters();
    const first = new Map(
      this.#named.map(({ name, variable }) => [name, variable.requiresGrad ? 1 : Number.POSITIVE_INFINITY]),
    );
    for (const [i, { epoch, names: joining = [], fromDepth }] of later.entries()) {
      if (!Number.isInteger(epoch) || epoch < 2 || epoch > epochs || (joining.length === 0 && fromDepth === undefined))
        throw new ConfigError(
          'UNFREEZE_INVALID',
          `unfreeze[${i}]: ${epoch > epochs ? `the run has ${epochs} epochs` : 'it needs an epoch from 2, and names or fromDepth'}`,
          {
            field: `unfreeze[${i}].epoch`,
            expected: `2 .. ${epochs}`,
            got: epoch,
          },
        );
      const chosen = [...unfreeze(model, joining), ...(fromDepth === undefined ? [] : unfreezeFrom(model, fromDepth))];
      for (const name of chosen) first.set(name, Math.min(first.get(name) as number, epoch));
    }
    if (norms) {
      const layers = freezeBatchNorm(model);
      for (const layer of layers)
        for (const kind of ['weight', 'bias'])
          if (first.has(`${layer}.${kind}`)) first.set(`${layer}.${kind}`, Number.POSITIVE_INFINITY);
    }
    this.firstEpoch = first;
    this.apply(epochs);
  }

  /** Sets what trains in an epoch; returns how many parameters that are. */
  apply(epoch: number): number {
    let count = 0;
    for (const { name, variable } of this.#named) {
      variable.requiresGrad = (this.firstEpoch.get(name) as number) <= epoch;
      if (variable.requiresGrad) count += variable.size;
    }
    return count;
  }

  /** Numbers of parameters that join at an epoch. */
  joining(epoch: number): number {
    return this.#named.reduce(
      (sum, { name, variable }) => sum + (this.firstEpoch.get(name) === epoch ? variable.size : 0),
      0,
    );
  }
}
