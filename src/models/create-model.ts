/** Models by name and options: what recipes, the command line and saved folders call. */
import { CambiumError, ConfigError, nearest, ShapeError } from '../base/index.ts';
import { type AdapterOptions, applyAdapter, declareQuantized, type Module } from '../nn/index.ts';
import { headsOption, splitHead } from './heads.ts';
import { listModels, modelEntry } from './registry.ts';

/**
 * A fresh model from the global random stream; with `pretraining` (`masked-lm` ...) the one that learns without labels. Options of
 * every model: `heads` ({ stars: 1, topics: 5 }, of classifiers), several last layers on one trunk, their outputs side by side;
 * `adapter` ({ name: 'prefix', length: 16 }) and `quantized` ({ bits: 8 }), what a saved model has.
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
  return changed(model, { adapter, quantized });

  function severalHeads(heads: unknown): Module {
    const sizes = headsOption(heads, given.numClasses);
    const numClasses = Object.values(sizes).reduce((a, b) => a + b);
    const model = built(build as Build, entry.defaults, { ...given, numClasses });
    splitHead(model, sizes);
    return model;
  }
}

/** What a saved model was changed to: any of it may be damage in a file. */
function changed(model: Module, { adapter, quantized }: Options): Module {
  const invalid = (field: string, message: string, got: unknown, cause?: CambiumError): ConfigError =>
    new ConfigError('MODEL_OPTION_INVALID', `model option "${field}": ${message}`, {
      ...cause?.details,
      field: `model.${field}`,
      got,
      cause,
    });
  const attempt = (field: string, got: unknown, body: () => void): void => {
    try {
      body();
    } catch (cause) {
      if (!(cause instanceof CambiumError)) throw cause;
      throw invalid(field, cause.message, got, cause);
    }
  };
  if (adapter !== undefined) attempt('adapter', adapter, () => void applyAdapter(model, adapter as AdapterOptions));
  if (quantized === undefined) return model;
  if ((quantized as { bits?: unknown } | null)?.bits !== 8)
    throw invalid('quantized', 'expected { bits: 8 }', quantized);
  attempt('quantized', quantized, () => void declareQuantized(model));
  return model;
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
