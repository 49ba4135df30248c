/** adapter_config.json: PEFT's for LoRA, `adapter_type` and our options for the others. */
import { ArgumentError, DataError, printable } from '../base/index.ts';
import type { Json } from '../io/index.ts';
import { type ResolvedAdapter, resolveAdapter } from '../nn/index.ts';

interface Layers {
  readonly paths: readonly string[];
  readonly fanInFanOut: boolean;
}

export function configOf(options: ResolvedAdapter, { paths, fanInFanOut }: Layers): { [key: string]: Json } {
  switch (options.name) {
    case 'lora':
      return {
        peft_type: 'LORA',
        r: options.rank,
        lora_alpha: options.alpha,
        lora_dropout: options.dropout,
        target_modules: [...paths],
        fan_in_fan_out: fanInFanOut,
        bias: 'none',
        task_type: null,
      };
    case 'bottleneck':
      return {
        adapter_type: 'bottleneck',
        size: options.size,
        activation: options.activation,
        target_modules: [...paths],
      };
    case 'prefix':
      return { adapter_type: 'prefix', length: options.length };
  }
}

/** @throws DataError ADAPTER_INVALID. */
export function parseAdapterConfig(
  json: Json,
  file: string,
): { readonly options: ResolvedAdapter; readonly modulesToSave: readonly string[] } {
  const config = (typeof json === 'object' && json !== null && !Array.isArray(json) ? json : {}) as Record<
    string,
    Json
  >;
  const invalid = (field: string, expected: string): never => {
    throw new DataError('ADAPTER_INVALID', `${printable(file)}: ${field}: expected ${expected}`, {
      file,
      field,
      expected,
      got: config[field],
    });
  };
  const strings = (field: string): string[] => {
    const value = config[field];
    if (typeof value === 'string') return [value];
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value as string[];
    return invalid(field, 'a list of names');
  };
  const options = (): unknown => {
    const { adapter_type: kind, size, activation, length } = config;
    if (kind === 'prefix') return { name: kind, length };
    if (kind === 'bottleneck') return { name: kind, size, activation, targets: strings('target_modules') };
    if (kind !== undefined) invalid('adapter_type', 'bottleneck or prefix');
    if (config.peft_type !== 'LORA') invalid('peft_type', 'LORA');
    for (const field of ['use_rslora', 'use_dora'])
      if (config[field] === true) invalid(field, 'false: it is not read here');
    const { r: rank, lora_alpha: alpha, lora_dropout: dropout = 0 } = config;
    return { name: 'lora', rank, alpha, dropout, targets: strings('target_modules') };
  };
  const resolved = (): ResolvedAdapter => {
    try {
      return resolveAdapter(options());
    } catch (cause) {
      if (!(cause instanceof ArgumentError)) throw cause;
      throw new DataError('ADAPTER_INVALID', `${printable(file)}: ${cause.message}`, { ...cause.details, file, cause });
    }
  };
  return { options: resolved(), modulesToSave: config.modules_to_save ? strings('modules_to_save') : [] };
}
