/** An adapter of any kind by its options, as recipes, saved folders and models name it. */
import { ArgumentError, escapeControls, printable } from '../base/index.ts';
import type { AdapterPlace } from './adapters.ts';
import { applyBottleneck, type BottleneckOptions, type ResolvedBottleneck, resolveBottleneck } from './bottleneck.ts';
import { applyLora, type LoraOptions, type ResolvedLora, resolveLora } from './lora.ts';
import type { Module } from './module.ts';
import { invalidOption } from './options.ts';
import { applyPrefix, type PrefixOptions, type ResolvedPrefix, resolvePrefix } from './prefix.ts';

export type AdapterOptions =
  | ({ readonly name: 'lora' } & LoraOptions)
  | ({ readonly name: 'bottleneck' } & BottleneckOptions)
  | ({ readonly name: 'prefix' } & PrefixOptions);

export type ResolvedAdapter = ResolvedLora | ResolvedBottleneck | ResolvedPrefix;

const adapterKinds = ['lora', 'bottleneck', 'prefix'] as const satisfies readonly AdapterOptions['name'][];

const known: { readonly [K in AdapterOptions['name']]: readonly string[] } = {
  lora: ['rank', 'alpha', 'dropout', 'targets'],
  bottleneck: ['size', 'activation', 'targets'],
  prefix: ['length'],
};

/** Defaults filled in; what a file says may be anything. @throws ArgumentError OPTION_INVALID, OPTION_UNKNOWN, PROBABILITY_INVALID. */
export function resolveAdapter(options: unknown): ResolvedAdapter {
  const given = (typeof options === 'object' && options !== null ? options : {}) as AdapterOptions;
  if (!adapterKinds.includes(given.name))
    throw invalidOption('adapter.name', adapterKinds.join(', '), typeof options === 'object' ? given.name : options);
  const names = known[given.name];
  const other = Object.keys(given).find((key) => key !== 'name' && !names.includes(key));
  if (other !== undefined)
    throw new ArgumentError('OPTION_UNKNOWN', `adapter: ${given.name} has no option ${printable(other)}`, {
      field: `adapter.${escapeControls(other)}`,
      expected: names,
      got: other,
      hint: `there are: ${names.join(', ')}`,
    });
  switch (given.name) {
    case 'lora':
      return resolveLora(given);
    case 'bottleneck':
      return resolveBottleneck(given);
    case 'prefix':
      return resolvePrefix(given);
  }
}

/** Whether it can become part of the weights: then a model needs it no longer. */
export const isMergeable = ({ name }: Pick<AdapterOptions, 'name'>): boolean => name === 'lora';

/** `applyLora`, `applyBottleneck` or `applyPrefix`. Returns the paths of the layers adapted. @throws those of the three. */
export function applyAdapter(model: Module, options: AdapterOptions, place: AdapterPlace = {}): string[] {
  const { name: kind, ...own } = resolveAdapter(options);
  const all = { ...own, ...place };
  switch (kind) {
    case 'lora':
      return applyLora(model, all);
    case 'bottleneck':
      return applyBottleneck(model, all);
    case 'prefix':
      return applyPrefix(model, all);
  }
}
