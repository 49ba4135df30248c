/** An adapter of any kind by its options, as recipes, saved folders and models name it. */
import type { AdapterPlace } from './adapters.ts';
import { applyBottleneck, type BottleneckOptions, type ResolvedBottleneck, resolveBottleneck } from './bottleneck.ts';
import { applyLora, type LoraOptions, type ResolvedLora, resolveLora } from './lora.ts';
import type { Module } from './module.ts';
import { applyPrefix, type PrefixOptions, type ResolvedPrefix, resolvePrefix } from './prefix.ts';

export type AdapterOptions =
  | ({ readonly name: 'lora' } & LoraOptions)
  | ({ readonly name: 'bottleneck' } & BottleneckOptions)
  | ({ readonly name: 'prefix' } & PrefixOptions);

export type ResolvedAdapter = ResolvedLora | ResolvedBottleneck | ResolvedPrefix;

/** Defaults filled in. @throws ArgumentError for values that mean nothing. */
export function resolveAdapter(options: AdapterOptions): ResolvedAdapter {
  switch (options.name) {
    case 'lora':
      return resolveLora(options);
    case 'bottleneck':
      return resolveBottleneck(options);
    case 'prefix':
      return resolvePrefix(options);
  }
}

export const adapterKinds = ['lora', 'bottleneck', 'prefix'] as const satisfies readonly AdapterOptions['name'][];

/** Whether it can become part of the weights: then a model needs it no longer. */
export const isMergeable = ({ name }: Pick<AdapterOptions, 'name'>): boolean => name === 'lora';

/** `applyLora`, `applyBottleneck` or `applyPrefix`. Returns the paths of the layers adapted. @throws those of the three. */
export function applyAdapter(model: Module, options: AdapterOptions, place: AdapterPlace = {}): string[] {
  const { name: kind, ...own } = options;
  switch (kind) {
    case 'lora':
      return applyLora(model, { ...own, ...place });
    case 'bottleneck':
      return applyBottleneck(model, { ...own, ...place });
    case 'prefix':
      return applyPrefix(model, { ...own, ...place });
  }
}
