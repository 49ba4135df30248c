/** Finds a recipe: a built-in name, or a YAML, JSON or TypeScript file, checked with the line and column of every mistake. */
import { extname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isMap, LineCounter, parseDocument, type Range, type Node as YamlNode } from 'yaml';
import { CambiumError, ConfigError, nearest, printable } from '../base/errors.ts';
import { decodeUtf8, exists, readFileBytes } from '../io/index.ts';
import type { Recipe } from './recipe.ts';
import { type Locate, parseRecipe } from './recipe-parse.ts';
import { applySettings, locateSettings, parseSetting } from './recipe-set.ts';
import { builtinRecipes } from './recipes.ts';

const MAX_BYTES = 2 ** 20;
const FILE = /\.(ya?ml|json|[cm]?[jt]s)$/i;

/**
 * The recipe `source` names, with `--set` changes, checked.
 * @throws ConfigError with field, file, line and column; IoError when the file cannot be read.
 */
export async function loadRecipe(source: string, settings: readonly string[] = []): Promise<Recipe> {
  const changes = settings.map(parseSetting);
  const { value, locate } = await readRecipe(source);
  return parseRecipe(applySettings(value, changes), locateSettings(changes, locate));
}

interface Source {
  value: unknown;
  locate: Locate;
}

async function readRecipe(source: string): Promise<Source> {
  if (Object.hasOwn(builtinRecipes, source))
    return { value: builtinRecipes[source], locate: () => ({ text: `recipe ${source}` }) };
  if (!FILE.test(source) && !(await exists(source))) {
    const near = nearest(source, Object.keys(builtinRecipes));
    const known = Object.keys(builtinRecipes).join(', ');
    throw new ConfigError('RECIPE_NOT_FOUND', `there is no recipe ${printable(source)}`, {
      field: 'recipe',
      got: source,
      expected: `${known}, or a .yaml, .json or .ts file`,
      hint:
        near === undefined ? `built-in recipes: ${known}; or give a .yaml, .json or .ts file` : `did you mean ${near}?`,
    });
  }
  return /^\.[cm]?[jt]s$/i.test(extname(source)) ? importRecipe(source) : readYaml(source);
}

/** YAML and JSON (which is YAML) alike. */
async function readYaml(file: string): Promise<Source> {
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
    throw new ConfigError('RECIPE_SYNTAX', `${place}: ${error.message.split('\n')[0]}`, { file, line, column });
  }
  if (!isMap(document.contents))
    throw new ConfigError('RECIPE_SYNTAX', `${printable(file)}:1:1: expected a recipe's fields`, {
      file,
      line: 1,
      column: 1,
      hint: 'cambium train --help shows an example',
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
    throw new ConfigError('RECIPE_SYNTAX', `${printable(file)}: ${(cause as Error).message}`, { file, cause });
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

/** A TypeScript or JavaScript module whose default export is a recipe; it is the user's own code and runs as such. */
async function importRecipe(file: string): Promise<Source> {
  if (!(await exists(file)))
    throw new ConfigError('RECIPE_NOT_FOUND', `there is no recipe file ${printable(file)}`, { field: 'recipe', file });
  let module: { default?: unknown };
  try {
    const { createJiti } = await import('jiti');
    // `cambium/...` is this very package, so that a recipe can register a model of its own.
    const virtualModules = {
      'cambium/io': await import('../io/index.ts'),
      'cambium/nn': await import('../nn/index.ts'),
      'cambium/optim': await import('../optim/index.ts'),
      'cambium/data': await import('../data/index.ts'),
      'cambium/models': await import('../models/index.ts'),
      'cambium/tasks': await import('../tasks/index.ts'),
      'cambium/training': await import('./index.ts'),
    };
    const jiti = createJiti(pathToFileURL(resolve('recipe.ts')).href, { virtualModules, interopDefault: false });
    module = await jiti.import(resolve(file));
  } catch (cause) {
    if (cause instanceof CambiumError) throw cause;
    const text = cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause);
    throw new ConfigError('RECIPE_SYNTAX', `${printable(file)} cannot be loaded: ${text}`, { file, cause });
  }
  if (typeof module.default !== 'object' || module.default === null)
    throw new ConfigError('RECIPE_SYNTAX', `${printable(file)} has no recipe as its default export`, {
      file,
      hint: "end it with: export default defineRecipe({ name: '...', ... })",
    });
  return { value: module.default, locate: () => ({ file, text: printable(file) }) };
}
