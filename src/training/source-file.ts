/** Reads a recipe, or a file of recipes: built-in by name, or YAML, JSON or TypeScript, with the place of every field. */
import { extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isMap, LineCounter, parseDocument, type Range, type Node as YamlNode } from 'yaml';
import { CambiumError, ConfigError, nearest, printable } from '../base/errors.ts';
import { decodeUtf8, exists, readFileBytes } from '../io/index.ts';
import type { Locate } from './recipe-parse.ts';

const MAX_BYTES = 2 ** 20;
const FILE = /\.(ya?ml|json|[cm]?[jt]s)$/i;

/** What is read, as messages and codes name it, and those that need no file. */
export interface SourceKind {
  readonly kind: string;
  readonly builtin: Readonly<Record<string, unknown>>;
}

export interface Source {
  readonly value: unknown;
  readonly locate: Locate;
}

/** @throws ConfigError <KIND>_NOT_FOUND, <KIND>_SYNTAX with line and column; IoError when the file cannot be read. */
export async function readSource(source: string, { kind, builtin }: SourceKind): Promise<Source> {
  if (Object.hasOwn(builtin, source)) return { value: builtin[source], locate: () => ({ text: `${kind} ${source}` }) };
  if (!FILE.test(source) && !(await exists(source))) {
    const near = nearest(source, Object.keys(builtin));
    const known = Object.keys(builtin).join(', ');
    throw new ConfigError(`${kind.toUpperCase()}_NOT_FOUND`, `there is no ${kind} ${printable(source)}`, {
      field: kind,
      got: source,
      expected: `${known}, or a .yaml, .json or .ts file`,
      hint:
        near === undefined
          ? `built-in ${kind}s: ${known}; or give a .yaml, .json or .ts file`
          : `did you mean ${near}?`,
    });
  }
  return /^\.[cm]?[jt]s$/i.test(extname(source)) ? importModule(source, kind) : readYaml(source, kind);
}

/** YAML and JSON (which is YAML) alike. */
async function readYaml(file: string, kind: string): Promise<Source> {
  const syntaxCode = `${kind.toUpperCase()}_SYNTAX`;
  const text = decodeUtf8(await readFileBytes(file, { maxBytes: MAX_BYTES }), file);
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter, prettyErrors: false, uniqueKeys: true });
  const at = (offset: number) => {
    const { line, col } = counter.linePos(offset);
    return { file, line, column: col, text: `${printable(file)}:${line}:${col}` };
  };
  const error = document.errors[0] ?? document.warnings[0];
  if (error) {
    const { text: place, line, column } = at(error.pos[0]);
    throw new ConfigError(syntaxCode, `${place}: ${error.message.split('\n')[0]}`, { file, line, column });
  }
  if (!isMap(document.contents))
    throw new ConfigError(syntaxCode, `${printable(file)}:1:1: expected a ${kind}'s fields`, {
      file,
      line: 1,
      column: 1,
      hint: kind === 'recipe' ? 'cambium train --help shows an example' : `cambium ${kind} --help shows an example`,
    });
  const locate: Locate = (path) => {
    // The nearest enclosing thing that was really written.
    for (let n = path.length; n >= 0; n--) {
      const offset = offsetOf(document.contents, path.slice(0, n));
      if (offset !== undefined) return at(offset);
    }
    return { file, text: printable(file) };
  };
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    throw new ConfigError(syntaxCode, `${printable(file)}: ${(cause as Error).message}`, { file, cause });
  }
  return { value, locate };
}

// Where a field's key stands (a list element: the element itself).
function offsetOf(root: unknown, path: readonly PropertyKey[]): number | undefined {
  let here = root as YamlNode | null | undefined;
  let offset = (here?.range as Range | undefined)?.[0];
  for (const key of path) {
    if (isMap(here)) {
      const item = here.items.find((i) => String((i.key as { value?: unknown } | null)?.value) === String(key));
      if (!item) return undefined;
      offset = ((item.key as YamlNode | null)?.range as Range | undefined)?.[0];
      here = item.value as YamlNode | null;
    } else {
      here = (here as { items?: YamlNode[] } | null | undefined)?.items?.[Number(key)];
      if (!here) return undefined;
      offset = (here.range as Range | undefined)?.[0];
    }
  }
  return offset;
}

/** A TypeScript or JavaScript module and its default export; it is the user's own code and runs as such. */
async function importModule(file: string, kind: string): Promise<Source> {
  if (!(await exists(file)))
    throw new ConfigError(`${kind.toUpperCase()}_NOT_FOUND`, `there is no ${kind} file ${printable(file)}`, {
      field: kind,
      file,
    });
  const syntaxCode = `${kind.toUpperCase()}_SYNTAX`;
  let module: { default?: unknown };
  try {
    const { createJiti } = await import('jiti');
    // `cambium/...` is this very package, so that the file can register a model of its own.
    const virtualModules = {
      'cambium/io': await import('../io/index.ts'),
      'cambium/nn': await import('../nn/index.ts'),
      'cambium/optim': await import('../optim/index.ts'),
      'cambium/data': await import('../data/index.ts'),
      'cambium/models': await import('../models/index.ts'),
      'cambium/tasks': await import('../tasks/index.ts'),
      'cambium/features': await import('../features/index.ts'),
      'cambium/training': await import('./index.ts'),
    };
    const jiti = createJiti(pathToFileURL(resolve('recipe.ts')).href, { virtualModules, interopDefault: false });
    module = await jiti.import(resolve(file));
  } catch (cause) {
    if (cause instanceof CambiumError) throw cause;
    const text = cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause);
    throw new ConfigError(syntaxCode, `${printable(file)} cannot be loaded: ${text}`, { file, cause });
  }
  if (typeof module.default !== 'object' || module.default === null)
    throw new ConfigError(syntaxCode, `${printable(file)} has no ${kind} as its default export`, {
      file,
      hint: `end it with: export default define${kind[0]?.toUpperCase()}${kind.slice(1)}({ name: '...', ... })`,
    });
  return { value: module.default, locate: () => ({ file, text: printable(file) }) };
}
