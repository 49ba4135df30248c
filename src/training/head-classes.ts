/** Classes of pretrained weights against those wanted, by name: as many classes are not the same classes. */
import { basename, dirname, join } from 'node:path';
import { printable } from '../base/errors.ts';
import { exists, type Json, readJson, weightFileNames } from '../io/index.ts';
import { type ConfigJson, labelsOf } from '../models/index.ts';
import type { Module } from '../nn/index.ts';
import { headsOf } from '../tasks/index.ts';
import type { TrainOptions } from './fine-tune-options.ts';
import { parseHeads } from './head-config.ts';

/** What one head predicts, in the order of its outputs. */
export interface NamedHead {
  readonly field: string;
  readonly names: readonly string[];
}

/** What became of the weights' rows for one head. */
export interface HeadOutcome {
  /** Path of the layer. */
  readonly layer: string;
  /** reordered: the same classes stood in another order, and the rows were moved. new: they are other classes. */
  readonly how: 'kept' | 'reordered' | 'new';
  /** The weights' classes; left out where they do not say. */
  readonly from?: readonly string[];
  readonly to: readonly string[];
}

export interface HeadPlan {
  readonly outcomes: readonly HeadOutcome[];
  /** Row of the weights for each row of a tensor of the model; undefined where all stay in place. */
  rows(name: string): readonly number[] | undefined;
  /** Whether a tensor of the model keeps its initial values. */
  fresh(name: string): boolean;
}

/** What a model is about to predict; nothing where it learns without labels. */
export const headsToLearn = ({ task, data, inputs }: TrainOptions): readonly NamedHead[] =>
  inputs ? [] : (task?.heads ?? headsOf(data.train.schema));

/**
 * What the folder of weights says they predict; undefined for weights that do not say: a file of its own, a trunk, `LABEL_0 ...`.
 * @throws DataError MODEL_CONFIG, JSON_INVALID; IoError.
 */
export async function headsOfWeights(path: string): Promise<readonly NamedHead[] | undefined> {
  const { config, file } = (await configOfWeights(path)) ?? {};
  if (!config || file === undefined) return undefined;
  if (config.model_type === 'cambium') return config.pretraining === undefined ? parseHeads(config, file) : undefined;
  const names = labelsOf(config as ConfigJson, file);
  return names && !isNumbered(names) ? [{ field: 'label', names }] : undefined;
}

/** The config.json of a folder of weights, or of the folder a file of weights is in by its usual name. @throws DataError JSON_INVALID; IoError. */
export async function configOfWeights(
  path: string,
): Promise<{ readonly config: Readonly<Record<string, Json>>; readonly file: string } | undefined> {
  const isFile = (weightFileNames as readonly string[]).includes(basename(path));
  const file = join(isFile ? dirname(path) : path, 'config.json');
  if (!(await exists(file))) return undefined;
  const config = await readJson(file);
  return typeof config === 'object' && config !== null && !Array.isArray(config) ? { config, file } : undefined;
}

/** transformers' names for classes nobody named. */
const isNumbered = (names: readonly string[]): boolean => names.every((name, i) => name === `LABEL_${i}`);

/** Row of `from` for each of `to`; undefined where they are not the same names. */
export function matchClasses(from: readonly string[], to: readonly string[]): readonly number[] | undefined {
  if (from.length !== to.length) return undefined;
  if (from.every((name, i) => name === to[i])) return to.map((_, i) => i);
  const rows = new Map(from.map((name, i) => [name, i]));
  // A name that stands twice does not say which row is meant.
  if (rows.size !== from.length || new Set(to).size !== to.length) return undefined;
  const found = to.map((name) => rows.get(name));
  return found.every((row) => row !== undefined) ? (found as number[]) : undefined;
}

/** How the heads at `head` of a model take the rows of weights for other classes. */
export function planHeads(
  model: Module,
  head: string,
  { from = [], to }: { from: readonly NamedHead[] | undefined; to: readonly NamedHead[] },
): HeadPlan {
  const named = to.filter(({ names }) => !isNumbered(names));
  const layers = named.flatMap(({ field, names }) => {
    // A single head is the last layer itself, whatever its label is called.
    const [layer, source] = to.length === 1 ? [head, from.length === 1 ? from[0] : undefined] : [`${head}.${field}`];
    const known = source ?? (to.length > 1 ? from.find((other) => other.field === field) : undefined);
    const tensors = classTensors(model, layer, names.length);
    if (tensors.length === 0) return [];
    const rows = known ? matchClasses(known.names, names) : names.map((_, i) => i);
    const how = !rows ? 'new' : rows.some((row, i) => row !== i) ? 'reordered' : 'kept';
    const outcome: HeadOutcome = { layer, how, ...(known && { from: known.names }), to: names };
    return [{ outcome, rows, tensors }];
  });
  const isWithin = (name: string, layer: string): boolean => name.startsWith(`${layer}.`);
  return {
    outcomes: layers.map(({ outcome }) => outcome),
    rows: (name) => layers.find(({ outcome, tensors }) => outcome.how === 'reordered' && tensors.includes(name))?.rows,
    fresh: (name) => layers.some(({ outcome }) => outcome.how === 'new' && isWithin(name, outcome.layer)),
  };
}

/** Weight and bias of the last layer at a path, which have a row for each class. */
function classTensors(model: Module, layer: string, classes: number): string[] {
  const all = [...model.stateDict()].filter(([name]) => name.startsWith(`${layer}.`));
  const last = all.at(-1)?.[0].replace(/\.[^.]*$/, '.');
  return all
    .filter(([name, { shape }]) => last !== undefined && name.startsWith(last) && shape[0] === classes)
    .map(([name]) => name);
}

/** Lines for people. */
export function headsText(outcomes: readonly HeadOutcome[]): string[] {
  const list = (names: readonly string[]): string =>
    names
      .slice(0, 6)
      .map((name) => printable(name).slice(1, -1))
      .join(', ') + (names.length > 6 ? ', ...' : '');
  return outcomes.map(({ layer, how, from, to }) => {
    const title = `  classes  ${layer}`;
    if (!from) return `${title} kept by their number: the weights do not name theirs`;
    if (how === 'kept') return `${title} kept: ${list(to)}`;
    if (how === 'reordered') return `${title} kept, its rows moved from ${list(from)} to ${list(to)}`;
    return `${title} new: the weights know ${list(from)}, wanted are ${list(to)} (head: keep takes it as it is)`;
  });
}
