/**
 * An adapter of its own (see nn/adapters.ts) as a folder: adapter_config.json and adapter_model.safetensors, with the modules that
 * trained as a whole; of LoRA in PEFT's layout. Loading puts it on a model of the same trunk.
 */
import { dirname, join } from 'node:path';
import { ArgumentError, DataError, formatShape, printable, type Shape } from '../base/index.ts';
import { type HostArray, makeDirectory, readJson, readSafetensors, writeJson, writeSafetensors } from '../io/index.ts';
import { isOfHead, structureOf } from '../models/index.ts';
import {
  type AdapterOptions,
  activeAdapter,
  adapterNames,
  adapterOf,
  applyAdapter,
  isMergeable,
  type Module,
  mergeLora,
  removeAdapter,
  removeAdapters,
  reshapeSaved,
  setAdapter,
} from '../nn/index.ts';
import type { Variable } from '../tensor/index.ts';
import { configOf, parseAdapterConfig } from './adapter-config.ts';
import { type InitOptions, structureIfAny } from './init.ts';
import { arraysOf, restore } from './model-weights.ts';

const CONFIG = 'adapter_config.json';
const WEIGHTS = 'adapter_model.safetensors';
/** PEFT wraps the model twice. */
const PREFIX = 'base_model.model.';

export interface AdapterDescription {
  /** Of the adapter in the model; `default` unless told. */
  readonly name?: string;
  /** Modules saved whole: those given when it was applied unless told. */
  readonly modulesToSave?: readonly string[];
  /** Weights the trunk started from, for people and PEFT. */
  readonly baseModel?: string;
}

/** Writes one adapter. Returns the hash of its weights. @throws ArgumentError ADAPTER_UNKNOWN; IoError. */
export async function saveAdapter(dir: string, model: Module, description: AdapterDescription = {}): Promise<string> {
  const { name = 'default', baseModel } = description;
  const { options, fanInFanOut, layers, saved } = adapterOf(model, name);
  const { modulesToSave = saved.modules } = description;
  await makeDirectory(dir);
  const { sha256 } = await writeSafetensors(
    join(dir, WEIGHTS),
    await arraysOf(variablesOf(model, name, modulesToSave)),
    {
      format: 'pt',
    },
  );
  await writeJson(join(dir, CONFIG), {
    ...configOf(options, { paths: layers.map(({ path }) => path), fanInFanOut }),
    base_model_name_or_path: baseModel ?? null,
    modules_to_save: modulesToSave.length > 0 ? [...modulesToSave] : null,
    inference_mode: true,
  });
  return sha256;
}

/**
 * Puts a saved adapter on `model`, whose trunk is the one it was trained on, and makes it the active one. Modules saved with
 * it (its head, which may have other classes) are in the model's place while it is active.
 * @throws DataError ADAPTER_INVALID, WEIGHTS_SHAPE, WEIGHTS_KEYS; ArgumentError ADAPTER_TARGETS, ADAPTER_EXISTS, NO_SUCH_PARAMETER; IoError.
 */
export async function loadAdapter(
  model: Module,
  dir: string,
  { name = 'default' }: { name?: string } = {},
): Promise<void> {
  const file = join(dir, CONFIG);
  const { options, modulesToSave } = parseAdapterConfig(await readJson(file), file);
  const weights = join(dir, WEIGHTS);
  const stored = await readSafetensors(weights);
  const trained = model.namedParameters().map(({ variable }) => [variable, variable.requiresGrad] as const);
  const [before, isNew] = [activeAdapter(model), !adapterNames(model).includes(name)];
  applyAdapter(model, options, { name, modulesToSave });
  try {
    reshapeSaved(model, name, otherClasses(model, name, stored.tensors));
    const wanted = variablesOf(model, name, modulesToSave);
    await restore(wanted, checked(wanted, stored.tensors, weights), weights);
  } catch (error) {
    if (isNew) removeAdapter(model, name);
    setAdapter(model, before);
    for (const [variable, requiresGrad] of trained) variable.requiresGrad = requiresGrad;
    throw error;
  }
}

/** Shapes of the head's tensors that have another number of classes in the file, a layer at a time. */
function otherClasses(model: Module, name: string, stored: ReadonlyMap<string, HostArray>): Map<string, Shape> {
  const structure = structureIfAny(model);
  const shapes = new Map<string, Shape>();
  for (const [key, { shape }] of adapterOf(model, name).saved.variables) {
    const got = stored.get(PREFIX + key)?.shape;
    if (!got || !isOfHead(key, structure) || String(got.slice(1)) !== String(shape.slice(1))) continue;
    if (got.length > 0 && got[0] !== shape[0]) shapes.set(key, got);
  }
  const layerOf = (key: string): string => key.replace(/[^.]*$/, '');
  const agree = (key: string, [classes]: Shape): boolean =>
    [...adapterOf(model, name).saved.variables.keys()].every(
      (other) => layerOf(other) !== layerOf(key) || shapes.get(other)?.[0] === classes,
    );
  return new Map([...shapes].filter(([key, shape]) => agree(key, shape)));
}

/** @throws DataError unless the file has just what the model wants. */
function checked(
  wanted: ReadonlyMap<string, Variable>,
  stored: ReadonlyMap<string, HostArray>,
  file: string,
): ReadonlyMap<string, HostArray> {
  const missing = [...wanted.keys()].find((key) => !stored.has(key));
  const unused = [...stored.keys()].find((key) => !wanted.has(key));
  const tensor = missing ?? unused;
  if (tensor !== undefined)
    throw new DataError(
      'WEIGHTS_KEYS',
      missing === undefined
        ? `the model has no place for ${printable(tensor)} of the adapter`
        : `the adapter has no ${printable(tensor)}`,
      {
        file,
        tensor,
        expected: [...wanted.keys()].slice(0, 20),
        got: [...stored.keys()].slice(0, 20),
        hint: 'the adapter belongs to another model',
      },
    );
  for (const [key, { shape }] of wanted) {
    const got = (stored.get(key) as HostArray).shape;
    if (String(got) !== String(shape))
      throw new DataError(
        'WEIGHTS_SHAPE',
        `${printable(key)} is ${formatShape(got)}, the model has room for ${formatShape(shape)}`,
        { file, tensor: key, expected: shape, got },
      );
  }
  return stored;
}

/** An adapter on a model that is about to train; its head, and what else starts anew, trains whole. @throws ArgumentError. */
export function adapt(model: Module, adapter: AdapterOptions, unfreeze: readonly unknown[] = []): void {
  if (unfreeze.length > 0)
    throw new ArgumentError('OPTION_INVALID', 'an adapter keeps the trunk as it is: unfreeze would train it', {
      field: 'unfreeze',
      hint: 'leave out adapter or unfreeze',
    });
  applyAdapter(model, adapter, { modulesToSave: trainedWhole(model) });
}

/**
 * Saves the adapter of a finished run beside its model, and makes it part of the model's weights where it can be. Returns what the
 * model is built from afterwards.
 */
export async function settleAdapter<A extends object>(
  model: Module,
  adapter: AdapterOptions,
  { saveTo, architecture, init }: { saveTo?: string; architecture?: A; init?: InitOptions },
): Promise<A | undefined> {
  if (saveTo !== undefined)
    await saveAdapter(join(dirname(saveTo), 'adapter'), model, {
      modulesToSave: trainedWhole(model),
      // As it was named, not where it was found.
      baseModel: init?.lineage?.weights ?? init?.weights,
    });
  if (!isMergeable(adapter)) return architecture && { ...architecture, adapter: placed(model, adapter) };
  await mergeLora(model);
  removeAdapters(model);
  return architecture;
}

/** Layers by their paths: a pattern might mean more in a model that is built anew, whose head is not held out. */
const placed = (model: Module, adapter: AdapterOptions): AdapterOptions =>
  adapter.name === 'prefix' ? adapter : { ...adapter, targets: adapterOf(model).layers.map(({ path }) => path) };

function trainedWhole(model: Module): string[] {
  const { head, mayBeNew = [] } = structureOf(model);
  const all = model.namedParameters();
  return [...(head === undefined ? [] : [head]), ...mayBeNew].filter((path) =>
    all.some(({ name }) => name.startsWith(`${path}.`)),
  );
}

/** What is saved, by PEFT's names. */
function variablesOf(model: Module, name: string, modulesToSave: readonly string[]): Map<string, Variable> {
  const variables = new Map<string, Variable>();
  for (const { path, tensors } of adapterOf(model, name).layers)
    for (const [key, variable] of Object.entries(tensors)) variables.set(`${PREFIX}${path}.${key}`, variable);
  const { saved } = adapterOf(model, name);
  const all = new Map([...model.stateDict(), ...saved.variables]);
  for (const path of modulesToSave) {
    const own = [...all].filter(([key]) => key === path || key.startsWith(`${path}.`));
    if (own.length === 0)
      throw new ArgumentError('NO_SUCH_PARAMETER', `the model has no module "${path}"`, { got: path });
    for (const [key, variable] of own) variables.set(PREFIX + key, variable);
  }
  return variables;
}
