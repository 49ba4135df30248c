/** Reads field names out of a zod schema, for error messages. */

/** What the names of the fields are at a place of the schema, for "did you mean"; empty where anything goes. */
export function fieldsAt(root: unknown, path: readonly PropertyKey[], value: unknown): string[] {
  let schema = root;
  let here: unknown = value;
  for (const key of path) {
    if (typeof key !== 'string') return [];
    const { type, valueType } = defOf(schema) ?? {};
    schema = type === 'record' ? valueType : objectAt(schema, here)?.[key];
    here = (here as Record<string, unknown> | undefined)?.[key];
  }
  return Object.keys(objectAt(schema, here) ?? {});
}

type Shape = Readonly<Record<string, unknown>>;
interface Def {
  type: string;
  innerType?: unknown;
  /** Of a record: what every key holds. */
  valueType?: unknown;
  options?: readonly unknown[];
  discriminator?: string;
}

const defOf = (schema: unknown): Def | undefined => (schema as { _zod?: { def?: Def } } | undefined)?._zod?.def;

// Through default/nullable/optional wrappers, and into the union's branch the value's `name` picks.
function objectAt(schema: unknown, value: unknown): Shape | undefined {
  const def = defOf(schema);
  if (!def) return undefined;
  if (def.innerType !== undefined) return objectAt(def.innerType, value);
  if (def.options && def.discriminator !== undefined) {
    const wanted = (value as Record<string, unknown> | undefined)?.[def.discriminator];
    const shapes = def.options.map((option) => objectAt(option, undefined) ?? {});
    const literal = (shape: Shape): unknown =>
      (shape[def.discriminator as string] as { value?: unknown } | undefined)?.value;
    return shapes.find((shape) => literal(shape) === wanted) ?? Object.assign({}, ...shapes);
  }
  return (schema as { shape?: Shape }).shape;
}
