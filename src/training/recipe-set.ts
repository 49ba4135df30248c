/** `--set optimizer.lr=1e-4`: changes to a recipe from the command line, by dotted path, before it is checked. */
import { parseDocument } from 'yaml';
import { ConfigError, printable } from '../base/errors.ts';
import type { Locate, Origin } from './recipe-parse.ts';

/** One `k=v`, its value typed as YAML would: 1e-4 a number, true a boolean, [1, 2] a list, anything else a text. */
export interface Setting {
  readonly path: readonly string[];
  readonly value: unknown;
  readonly text: string;
}

/** A change given as a value. @throws ConfigError SET_INVALID. */
export function setting(path: string, value: unknown): Setting {
  const text = `${path}=${JSON.stringify(value) ?? String(value)}`;
  return { ...parseSetting(`${path}=null`), value, text };
}

const FORBIDDEN = new Set(['__proto__', 'constructor', 'prototype']);

/** @throws ConfigError SET_INVALID. */
export function parseSetting(text: string): Setting {
  const equals = text.indexOf('=');
  const path = text.slice(0, Math.max(0, equals)).trim().split('.');
  if (equals < 1 || path.some((part) => part === '' || FORBIDDEN.has(part)))
    throw new ConfigError('SET_INVALID', `--set ${printable(text)}: expected field=value`, {
      field: equals > 0 ? path.join('.') : text,
      expected: 'field=value',
      got: text,
      hint: 'for example --set optimizer.lr=1e-4',
    });
  return { path, value: scalar(text.slice(equals + 1), text), text };
}

function scalar(source: string, text: string): unknown {
  if (source.trim() === '') return '';
  // YAML 1.2 reads "1e-4" as a text unless it has a dot; everyone means the number.
  if (/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(source.trim())) return Number(source);
  const document = parseDocument(source, { schema: 'core' });
  if (document.errors.length > 0)
    throw new ConfigError('SET_INVALID', `--set ${printable(text)}: the value cannot be read`, {
      field: text.slice(0, text.indexOf('=')),
      got: source,
      hint: 'quote texts with special characters',
    });
  return document.toJS({ maxAliasCount: 0 });
}

/** A copy of `recipe` with the settings applied in order; objects on the way are created. */
export function applySettings(recipe: unknown, settings: readonly Setting[]): unknown {
  const root = structuredClone(recipe) as Record<string, unknown>;
  for (const { path, value, text } of settings) {
    let here: Record<string, unknown> = root;
    for (const [i, key] of path.slice(0, -1).entries()) {
      const next = Object.hasOwn(here, key) ? here[key] : undefined;
      if (next === undefined || next === null) here[key] = {};
      else if (typeof next !== 'object')
        throw new ConfigError(
          'SET_INVALID',
          `--set ${printable(text)}: ${path.slice(0, i + 1).join('.')} has no fields`,
          {
            field: path.join('.'),
            got: next,
          },
        );
      here = here[key] as Record<string, unknown>;
    }
    const last = path.at(-1) as string;
    // A new name means another kind of thing: the options of the old one do not apply to it.
    if (last === 'name' && path.length > 1 && here.name !== value)
      for (const key of Object.keys(here)) if (key !== 'lr' && path[0] !== 'data') delete here[key];
    here[last] = value;
  }
  return root;
}

/** Blames `--set` for fields it gave, the file for the others. */
export const locateSettings =
  (settings: readonly Setting[], otherwise: Locate): Locate =>
  (path) => {
    const wanted = path.map(String).join('.');
    const setting = settings.findLast(({ path: p }) => wanted === p.join('.') || wanted.startsWith(`${p.join('.')}.`));
    const origin: Origin | undefined = setting && { text: `--set ${printable(setting.text)}` };
    return origin ?? otherwise(path);
  };
