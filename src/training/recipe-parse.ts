/** Checks an object against a schema and says what is wrong in one sentence: field, expected, found, nearest name. */
import type { z } from 'zod';
import { ConfigError, nearest, printable } from '../base/errors.ts';
import { type Recipe, recipeSchema } from './recipe.ts';
import { fieldsAt } from './schema-fields.ts';

/** Where a value came from: a file's position, or `--set`. */
export interface Origin {
  readonly text: string;
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
}

/** The place a field was written at, where it is known. */
export type Locate = (path: readonly PropertyKey[]) => Origin | undefined;

/** What is read: a recipe, or a file that holds recipes. `kind` is its name in messages and codes. */
interface Form<T> {
  readonly kind: string;
  readonly schema: z.ZodType<T>;
}

/** @throws ConfigError RECIPE_INVALID or RECIPE_UNKNOWN_FIELD with `field` and, where known, file, line and column. */
export const parseRecipe = (value: unknown, locate?: Locate): Recipe =>
  parseAs({ kind: 'recipe', schema: recipeSchema }, value, locate);

/** @throws ConfigError <KIND>_INVALID or <KIND>_UNKNOWN_FIELD with `field` and, where known, file, line and column. */
export function parseAs<T>(form: Form<T>, value: unknown, locate: Locate = () => undefined): T {
  const parsed = form.schema.safeParse(value);
  if (parsed.success) return parsed.data;
  // A mistyped name explains what is missing, not the other way round.
  const { issues } = parsed.error;
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? (issues[0] as z.core.$ZodIssue);
  throw issue.code === 'unrecognized_keys'
    ? unknownField(form, issue.path, issue.keys[0] as string, value, locate)
    : invalidField(form, issue, value, locate);
}

function invalidField({ kind }: Form<unknown>, issue: z.core.$ZodIssue, value: unknown, locate: Locate): ConfigError {
  const field = pathText(issue.path) || kind;
  const got = valueAt(value, issue.path);
  const expected = expectation(issue);
  const missing = got === undefined && issue.code === 'invalid_type';
  const words = missing ? 'is missing' : `found ${printable(got)}`;
  const near = typeof got === 'string' ? nearest(got, choices(issue)) : undefined;
  const message = missing ? `${field} is missing: expected ${expected}` : `${field}: expected ${expected}, ${words}`;
  return configError(`${kind.toUpperCase()}_INVALID`, message, field, locate(issue.path), {
    expected,
    got,
    ...(near === undefined ? {} : { hint: `did you mean ${near}?` }),
  });
}

/** Fields of earlier versions. */
const formerly: Readonly<Record<string, string>> = { lora: 'it is adapter: { name: lora, ... } now' };

/** The error for a field the schema does not have. */
function unknownField(
  { kind, schema }: Form<unknown>,
  parent: readonly PropertyKey[],
  key: string,
  value: unknown,
  locate: Locate,
): ConfigError {
  const known = fieldsAt(schema, parent, value);
  const near = nearest(key, known);
  const field = pathText([...parent, key]);
  const where = parent.length > 0 ? `${pathText(parent)} has` : `a ${kind} has`;
  const renamed = parent.length === 0 ? formerly[key] : undefined;
  const hint =
    renamed ?? (near === undefined ? `${where} ${known.join(', ')}` : `did you mean ${pathText([...parent, near])}?`);
  const code = `${kind.toUpperCase()}_UNKNOWN_FIELD`;
  return configError(code, `unknown field ${printable(field)}`, field, locate([...parent, key]), {
    expected: known,
    got: key,
    hint,
  });
}

function configError(
  code: string,
  message: string,
  field: string,
  origin: Origin | undefined,
  details: Record<string, unknown>,
): ConfigError {
  const { file, line, column } = origin ?? {};
  return new ConfigError(code, origin ? `${origin.text}: ${message}` : message, {
    field,
    ...(file === undefined ? {} : { file }),
    ...(line === undefined ? {} : { line, column }),
    ...details,
  });
}

function expectation(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.expected === 'int' ? 'a whole number' : article(String(issue.expected));
    case 'too_small':
      return `${issue.origin === 'string' ? 'a longer text' : `a number ${issue.inclusive ? '>=' : '>'} ${issue.minimum}`}`;
    case 'too_big':
      return `${issue.origin === 'string' ? 'a shorter text' : `a number ${issue.inclusive ? '<=' : '<'} ${issue.maximum}`}`;
    case 'invalid_value':
      return issue.values.map((v) => printable(v)).join(' or ');
    case 'invalid_union':
      return choices(issue).length > 0
        ? choices(issue)
            .map((v) => printable(v))
            .join(' or ')
        : /^expected /.test(issue.message)
          ? issue.message.replace(/^expected /, '')
          : 'one of the allowed values';
    default:
      return issue.message.replace(/^expected /, '');
  }
}

function choices(issue: z.core.$ZodIssue): string[] {
  if (issue.code === 'invalid_value') return issue.values.map(String);
  if (issue.code !== 'invalid_union') return [];
  const options = (issue as { options?: unknown[] }).options;
  if (options) return options.map(String);
  return (issue.errors ?? []).flat().flatMap(choices);
}

const article = (type: string): string =>
  ({
    object: 'an object',
    array: 'a list',
    record: 'an object',
    boolean: 'true or false',
    string: 'a text',
    tuple: 'a list',
  })[type] ?? `a ${type}`;

/** `transforms[1].height`. */
export const pathText = (path: readonly PropertyKey[]): string =>
  path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text ? `${text}.${String(key)}` : String(key)),
    '',
  );

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let here = value;
  for (const key of path) here = (here as Record<PropertyKey, unknown> | null | undefined)?.[key];
  return here;
}
