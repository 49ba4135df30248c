/**
 * What tuning needs to know of an architecture: its stages from the input to the head, and how a head of another number of
 * classes is made. Each model declares its own; nothing is guessed from shapes.
 */
import { ArgumentError, UnsupportedError } from '../base/index.ts';
import {
  BatchNorm1d,
  BatchNorm2d,
  Dropout,
  GroupNorm,
  InstanceNorm1d,
  InstanceNorm2d,
  isWithin,
  LayerNorm,
  type Module,
  type Sequential,
} from '../nn/index.ts';
import { integerOption } from './registry.ts';

export interface ModelStructure {
  /** Modules (and bare parameters) by path, from the input on; every parameter lies in one stage. The last holds the head. */
  readonly stages: readonly (readonly string[])[];
  /** Path of the last layer, whose outputs are the classes; none where it is tied to other weights. */
  readonly head?: string;
  /** A last layer for so many classes, with the architecture's initial values. */
  readonly makeHead?: (classes: number) => Module;
  /** Paths besides the head that weights of another task lack: they may start anew. */
  readonly mayBeNew?: readonly string[];
  /** Layers, besides recurrent ones, whose output has its steps first: (T, N, ...). */
  readonly stepsFirst?: readonly string[];
  /** Names of tensors of other tasks' heads, which weights may have too many. */
  readonly otherHeads?: RegExp;
}

/** A module that declares its structure. */
export interface Structured {
  structure(): ModelStructure;
}

/** @throws UnsupportedError STRUCTURE_UNKNOWN for a model that declares none. */
export function structureOf(model: Module): ModelStructure {
  if ('structure' in model && typeof model.structure === 'function') return (model as Module & Structured).structure();
  throw new UnsupportedError('STRUCTURE_UNKNOWN', `${model.constructor.name} does not say what its stages are`, {
    hint: 'give the class a method structure(): { stages, head, makeHead }, or name parameters instead',
  });
}

/** Whether a parameter or buffer belongs to the head. */
export const isOfHead = (name: string, { head }: ModelStructure): boolean =>
  head !== undefined && isWithin(name, [head]);

/** Whether weights may lack a parameter because they were trained for another task. */
export const mayBeNew = (name: string, structure: ModelStructure): boolean =>
  isOfHead(name, structure) || isWithin(name, structure.mayBeNew ?? []);

/** Number of the stage a parameter or buffer belongs to: 0 reads the input, `stages.length - 1` holds the head. */
export function depthOf(name: string, { stages }: ModelStructure): number {
  const depth = stages.findIndex((paths) => isWithin(name, paths));
  if (depth >= 0) return depth;
  throw new ArgumentError('NO_SUCH_PARAMETER', `no stage of the model holds "${name}"`, {
    got: name,
    expected: stages,
    hint: 'the structure() of a model must cover every parameter',
  });
}

/**
 * How many stages from the input on always answer the same in training: nothing in them trains, moves statistics (batch norm
 * that is not frozen) or draws random numbers (dropout). What leaves the last of them may be computed once and kept.
 */
export function frozenDepth(model: Module): number {
  const { stages } = structureOf(model);
  const parameters = model.namedParameters().filter(({ variable }) => variable.requiresGrad);
  const moving = [...model.namedModules()].filter(([, module]) => module.movesStatistics || module.drawsRandom);
  const names = [...parameters.map(({ name }) => name), ...moving.map(([path]) => path)];
  const first = stages.findIndex((paths) => names.some((name) => isWithin(name, paths)));
  return first < 0 ? stages.length : first;
}

/**
 * Puts a new head for `classes` classes on a model, with the architecture's initial values from the global random stream.
 * Returns the names of the new parameters.
 * @example const model = squeezenet11({ numClasses: 1000 }); await loadWeights(model, file); replaceHead(model, { classes: 2 });
 * @throws UnsupportedError HEAD_UNKNOWN for a model without a head of its own; ConfigError for a wrong number.
 */
export function replaceHead(model: Module, { classes }: { classes: number }): string[] {
  const { head, makeHead } = structureOf(model);
  if (head === undefined || !makeHead)
    throw new UnsupportedError('HEAD_UNKNOWN', `${model.constructor.name} has no head to replace`, {
      hint: 'its last layer is tied to other weights or predicts tokens; build a classifier and load the trunk into it',
    });
  const next = makeHead(integerOption({ classes }, 'classes'));
  replaceModule(model, head, next);
  return model
    .namedParameters()
    .map(({ name }) => name)
    .filter((name) => isWithin(name, [head]));
}

/** Puts `next` where the module at `path` is. @throws ArgumentError NO_SUCH_MODULE. */
export function replaceModule(root: Module, path: string, next: Module): void {
  for (const [prefix, parent] of root.namedModules())
    for (const [key, child] of parent.children()) {
      if ((prefix ? `${prefix}.${key}` : key) !== path) continue;
      for (const [property, value] of Object.entries(parent)) {
        if (value === child) (parent as unknown as Record<string, Module>)[property] = next;
        else if (Array.isArray(value) && value.includes(child)) value[value.indexOf(child)] = next;
        else continue;
        next.train(child.training);
        return;
      }
    }
  throw new ArgumentError('NO_SUCH_MODULE', `there is no module "${path}"`, { got: path });
}

const norms = [BatchNorm1d, BatchNorm2d, LayerNorm, GroupNorm, InstanceNorm1d, InstanceNorm2d] as const;

/** One stage a layer with weights, its norm and activation behind it; dropout belongs to the layer that reads it. */
export function sequentialStages(path: string, { layers }: Sequential): string[][] {
  const stages: string[][] = [];
  let ahead: string[] = [];
  for (const [i, layer] of layers.entries()) {
    const name = `${path}.${i}`;
    const weighted = layer.parameters().length > 0 && !norms.some((norm) => layer instanceof norm);
    if (weighted) {
      stages.push([...ahead, name]);
      ahead = [];
    } else if (layer instanceof Dropout || stages.length === 0) ahead.push(name);
    else (stages.at(-1) as string[]).push(name);
  }
  return stages;
}
