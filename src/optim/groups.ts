/** Parameter groups: which parameters share options, and which are not decayed. */
import type { Variable } from '../tensor/index.ts';

/** A variable with the name its module gave it. */
export interface Named {
  readonly name: string;
  readonly variable: Variable;
}

/** Parameters with options of their own; those left out are the optimizer's: `{ params: head.parameters(), lr: 1e-3 }`. */
export type ParameterGroup<Options> = { readonly params: readonly (Variable | Named)[] } & Partial<Options>;

/**
 * What an optimizer takes: `model.parameters()` (one group, everything decayed), `model.namedParameters()` (two groups: bias
 * and norm are not decayed), or groups.
 */
export type OptimizerParameters<Options> = readonly Variable[] | readonly Named[] | readonly ParameterGroup<Options>[];

/** Something with names for its parameters, such as a Module. */
interface HasNamedParameters {
  namedParameters(): readonly Named[];
}

/**
 * Two groups: matrices and filters, with `weightDecay` (the optimizer's own unless told); biases and the scales of
 * normalisation layers, with none. One dimension tells them apart, whatever they are called.
 */
export function parameterGroups(
  parameters: HasNamedParameters | readonly Named[],
  { weightDecay }: { weightDecay?: number } = {},
): ({ params: Named[] } & { weightDecay?: number })[] {
  const all = 'namedParameters' in parameters ? parameters.namedParameters() : parameters;
  const decayed = all.filter(({ variable }) => variable.rank > 1);
  const plain = all.filter(({ variable }) => variable.rank <= 1);
  return [
    ...(decayed.length > 0 ? [{ params: decayed, ...(weightDecay !== undefined && { weightDecay }) }] : []),
    ...(plain.length > 0 ? [{ params: plain, weightDecay: 0 }] : []),
  ];
}

/** Whatever was given, as groups of named parameters. Options that are undefined are left out. */
export function toGroups<Options>(
  parameters: OptimizerParameters<Options>,
): ({ params: Named[] } & Record<string, unknown>)[] {
  const first = parameters[0];
  if (first === undefined) return [];
  if ('variable' in first) return parameterGroups(parameters as readonly Named[]);
  if (!('params' in first)) return [{ params: (parameters as readonly Variable[]).map(withName) }];
  return (parameters as readonly ParameterGroup<Options>[]).map(({ params, ...options }) => ({
    ...Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)),
    params: params.map(withName),
  }));
}

const withName = (p: Variable | Named): Named => ('variable' in p ? p : { name: p.label ?? '', variable: p });
