/** Models by name and options: what recipes, the command line and saved folders call. */
import { ConfigError, nearest, ShapeError } from '../base/index.ts';
import { type AdapterOptions, adapterKinds, applyAdapter, declareQuantized, type Module } from '../nn/index.ts';
import { headsOption, splitHead } from './heads.ts';
import { listModels, modelEntry } from './registry.ts';

/**
 * A fresh model from the global random stream; with `pretraining` (`masked-lm` ...) the one that learns without labels. The option
 * `heads` ({ stars: 1, topics: 5 }) is every classifier's: several last layers on one trunk, their outputs side by side; `adapter`
 * ({ name: 'prefix', length: 16 }) and `quantized`
 * ({ bits: 8 }) every model's: what a saved model with an adapter, or of weights in 8 bits, was built from.
 * Throws ConfigError for an unknown name or option, heads that do not add up to numClasses, or a task the model has no form for.
 */
export function createModel(
  name: string,
  options: Readonly<Record<string, unknown>> = {},
  pretraining?: string,
): Module {
  const entry = modelEntry(name);
  const build = pretraining === undefined ? entry.build : entry.pretraining?.[pretraining];
  if (!build) {
    const able = listModels().filter((other) => other.pretraining?.[pretraining as string]);
    throw new ConfigError('MODEL_TASK', `model "${name}" cannot be trained as ${pretraining}`, {
      field: 'model.name',
      expected: able.map((other) => other.name),
      got: name,
      hint: `for ${pretraining} there are: ${able.map((other) => other.name).join(', ') || 'none'}`,
    });
  }
  const { heads, adapter, quantized, ...own } = options;
  for (const key of Object.keys(own)) {
    if (key in entry.defaults) continue;
    const near = nearest(key, Object.keys(entry.defaults));
    throw new ConfigError('MODEL_OPTION_UNKNOWN', `model "${name}" has no option "${key}"`, {
      field: `model.${key}`,
      got: key,
      hint: near ? `did you mean "${near}"?` : `it takes ${Object.keys(entry.defaults).join(', ')}`,
    });
  }
  const given = Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined));
  const model = heads === undefined ? built(build, entry.defaults, given) : severalHeads(heads);
  if (adapter !== undefined) applyAdapter(model, adapterOption(adapter));
  if (quantized !== undefined) refuseOtherBits(quantized);
  if (quantized !== undefined) declareQuantized(model);
  return model;

  function severalHeads(heads: unknown): Module {
    const sizes = headsOption(heads, given.numClasses);
    const numClasses = Object.values(sizes).reduce((a, b) => a + b);
    const model = built(build as Build, entry.defaults, { ...given, numClasses });
    splitHead(model, sizes);
    return model;
  }
}

function refuseOtherBits(value: unknown): void {
  if ((value as { bits?: unknown } | null)?.bits === 8) return;
  throw new ConfigError('MODEL_OPTION_INVALID', 'model option "quantized" must be { bits: 8 }', {
    field: 'model.quantized',
    expected: { bits: 8 },
    got: value,
  });
}

const isName = (value: unknown): boolean => typeof value === 'string';

/** Values are looked at where the adapter is made. */
function adapterOption(value: unknown): AdapterOptions {
  const { name, targets } = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const known = adapterKinds.includes(name as AdapterOptions['name']);
  if (known && (targets === undefined || (Array.isArray(targets) && targets.every(isName))))
    return value as AdapterOptions;
  throw new ConfigError('MODEL_OPTION_INVALID', 'model option "adapter" must name an adapter and its layers', {
    field: 'model.adapter',
    expected: `name: ${adapterKinds.join(', ')}; targets: names of layers`,
    got: value,
  });
}

type Options = Readonly<Record<string, unknown>>;
type Build = (options: Options) => Module;

/** What is too large for a tensor is the user's number, not the engine's failure. */
function built(build: Build, defaults: Options, given: Options): Module {
  try {
    return build({ ...defaults, ...given });
  } catch (cause) {
    if (!(cause instanceof ShapeError)) throw cause;
    const size = (value: unknown): number => (typeof value === 'number' ? value : 0);
    const [key, value] = Object.entries(given).reduce((a, b) => (size(b[1]) > size(a[1]) ? b : a), ['', 0]);
    throw new ConfigError('MODEL_OPTION_INVALID', `model.${key} is ${String(value)}: ${cause.message}`, {
      ...cause.details,
      field: `model.${key}`,
      got: value,
      hint: 'choose a smaller model',
      cause,
    });
  }
}
