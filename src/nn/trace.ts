/** What surrounds every module's forward: hooks see its output, and an error learns which layer it came from. */
import { CambiumError, formatShape, type Shape } from '../base/index.ts';
import { inLayer, type Layer, recordLayers } from '../graph/index.ts';
import { Tensor } from '../tensor/index.ts';
import type { Module } from './module.ts';

/**
 * Called after each module's forward with its dotted path ('' for the root), output and arguments. A tensor it returns
 * takes the output's place. Summaries, the search for a first NaN and feature extraction use it.
 */
export type ForwardHook = (path: string, module: Module, output: Tensor, args: readonly unknown[]) => unknown;

let active: { readonly paths: ReadonlyMap<Module, string>; readonly hook: ForwardHook } | undefined;

let layers: ReadonlyMap<Module, Layer> | undefined;

/** Nodes made while `body` runs remember the innermost module below `root` that made them, `loss` outside of all. */
export function withLayers<T>(root: Module, body: () => T): T {
  const outer = layers;
  layers = new Map(
    [...root.namedModules()].map(([path, module]) => [
      module,
      { path: path || module.constructor.name, direction: 'forward' },
    ]),
  );
  recordLayers(true);
  try {
    return inLayer({ path: 'loss', direction: 'forward' }, body);
  } finally {
    layers = outer;
  }
}

// Where an error on its way up was thrown, so that each module it passes can lengthen the path.
const origins = new WeakMap<Error, { module: Module; inside: string; message: string; input: Shape | undefined }>();

/** Calls `hook` after the forward of `root` and every module below it, while `body` runs. */
export function withForwardHook<T>(root: Module, hook: ForwardHook, body: () => T): T {
  const outer = active;
  active = { paths: new Map([...root.namedModules()].map(([path, module]) => [module, path])), hook };
  try {
    return body();
  } finally {
    active = outer;
  }
}

/** `forward` of `module` with errors located and hooks called. */
export function traced(module: Module, forward: (...args: unknown[]) => Tensor, args: unknown[]): Tensor {
  let output: Tensor;
  try {
    const layer = layers?.get(module);
    output = layer ? inLayer(layer, () => forward.apply(module, args)) : forward.apply(module, args);
  } catch (error) {
    if (error instanceof CambiumError) locate(error, module, args[0]);
    throw error;
  }
  const path = active?.paths.get(module);
  const instead = path !== undefined ? active?.hook(path, module, output, args) : undefined;
  return instead instanceof Tensor ? instead : output;
}

/** Names the layer in an error. The innermost module that sees it is the culprit; those around it complete its path. */
function locate(error: CambiumError, module: Module, input: unknown): void {
  let origin = origins.get(error);
  if (!origin) {
    const shape = input instanceof Tensor ? input.shape : undefined;
    origin = { module, inside: error.details.layer ?? '', message: error.message, input: shape };
    origins.set(error, origin);
  }
  const path = pathWithin(module, origin.module);
  if (path === undefined) return;
  const full = [path, origin.inside].filter(Boolean).join('.');
  if (full) error.details.layer = full;
  const input_ = origin.input ? `, input ${formatShape(origin.input)}` : '';
  const message = `${origin.message}; in ${path ? `${path} = ` : ''}${origin.module}${input_}`;
  // The stack keeps the user's line; only its first line repeats the message.
  if (error.stack) error.stack = error.stack.replace(error.message, () => message);
  error.message = message;
}

function pathWithin(root: Module, wanted: Module): string | undefined {
  for (const [path, module] of root.namedModules()) if (module === wanted) return path;
  return undefined;
}
