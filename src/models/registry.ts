/** Models by name: what recipes, the command line and saved folders build from. A test trains every entry. */
import { ConfigError, nearest } from '../base/index.ts';
import type { Module } from '../nn/index.ts';

export interface ModelEntry {
  readonly name: string;
  readonly description: string;
  /** Options and their defaults; any other option is refused. */
  readonly defaults: Readonly<Record<string, unknown>>;
  /** What it reads: pictures (default), or tokens as `{ inputIds, attentionMask, tokenTypeIds }`. */
  readonly input?: 'image' | 'text';
  /** Smallest [height, width] of pictures it can read. */
  readonly minSize: readonly [number, number];
  build(options: Readonly<Record<string, unknown>>): Module;
  /** By task: the module that learns without labels, whose trunk has the names `build` gives it. */
  readonly pretraining?: Readonly<Record<string, (options: Readonly<Record<string, unknown>>) => Module>>;
}

const entries = new Map<string, ModelEntry>();

export function registerModel(entry: ModelEntry): void {
  entries.set(entry.name, entry);
}

/** By name. */
export const listModels = (): ModelEntry[] => [...entries.values()].sort((a, b) => (a.name < b.name ? -1 : 1));

/** Throws ConfigError with the nearest name. */
export function modelEntry(name: string): ModelEntry {
  const entry = entries.get(name);
  if (entry) return entry;
  const near = nearest(name, entries.keys());
  throw new ConfigError('MODEL_UNKNOWN', `there is no model "${name}"`, {
    field: 'model.name',
    got: name,
    hint: near ? `did you mean "${near}"?` : `known: ${[...entries.keys()].join(', ')}`,
  });
}

/** A positive integer option. */
export function integerOption(options: Readonly<Record<string, unknown>>, key: string): number {
  const value = options[key];
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1)
    throw new ConfigError('MODEL_OPTION_INVALID', `model option "${key}" must be a positive integer`, {
      field: `model.${key}`,
      expected: 'an integer >= 1',
      got: value,
    });
  return value;
}

export function booleanOption(options: Readonly<Record<string, unknown>>, key: string): boolean {
  const value = options[key];
  if (typeof value !== 'boolean')
    throw new ConfigError('MODEL_OPTION_INVALID', `model option "${key}" must be true or false`, {
      field: `model.${key}`,
      expected: 'true or false',
      got: value,
    });
  return value;
}

/** One of several words. */
export function choiceOption<const T extends string>(
  options: Readonly<Record<string, unknown>>,
  key: string,
  choices: readonly T[],
): T {
  const value = options[key];
  if (!choices.includes(value as T))
    throw new ConfigError('MODEL_OPTION_INVALID', `model option "${key}" must be one of ${choices.join(', ')}`, {
      field: `model.${key}`,
      expected: choices,
      got: value,
    });
  return value as T;
}

/** A probability option. */
export function probabilityOption(options: Readonly<Record<string, unknown>>, key: string): number {
  const value = options[key];
  if (typeof value !== 'number' || !(value >= 0 && value < 1))
    throw new ConfigError('MODEL_OPTION_INVALID', `model option "${key}" must be a number in [0, 1)`, {
      field: `model.${key}`,
      expected: '0 <= p < 1',
      got: value,
    });
  return value;
}

/** A number above 0 and below 1000, such as an epsilon. */
export function scaleOption(options: Readonly<Record<string, unknown>>, key: string): number {
  const value = options[key];
  if (typeof value !== 'number' || !(value > 0 && value < 1000))
    throw new ConfigError('MODEL_OPTION_INVALID', `model option "${key}" must be a number above 0`, {
      field: `model.${key}`,
      expected: '0 < x < 1000',
      got: value,
    });
  return value;
}
