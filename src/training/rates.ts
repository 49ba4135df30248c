/** Discriminative learning rates: a factor for every parameter, by name or by depth, and the groups that come of it. */
import { ConfigError } from '../base/errors.ts';
import { depthOf, structureOf } from '../models/index.ts';
import type { Module, NamedVariable } from '../nn/index.ts';

export interface RateGroup {
  /** Names, with `*` for anything; a name without `*` is itself, or a module with all below it. */
  readonly params: string | readonly string[];
  /** Times the learning rate. */
  readonly lrScale?: number;
  /** In place of the optimizer's; biases and norms stay without unless `decayBiasAndNorm`. */
  readonly weightDecay?: number;
}

export interface RateOptions {
  /** The first group that names a parameter has it. */
  readonly groups?: readonly RateGroup[];
  /** Stage d of D (the head) learns at lr * layerDecay^(D - d), times a group's own factor (ELECTRA, BEiT: 0.65 - 0.9). */
  readonly layerDecay?: number;
}

export interface Rate {
  readonly lrScale: number;
  readonly weightDecay?: number;
}

/** The rate of every parameter. @throws ConfigError RATES_INVALID naming the group that nothing belongs to. */
export function ratesOf(model: Module, { groups = [], layerDecay }: RateOptions): Map<string, Rate> {
  const structure = layerDecay === undefined ? undefined : structureOf(model);
  const names = model.namedParameters().map(({ name }) => name);
  const matchers = groups.map(({ params }, i) => {
    const patterns = (typeof params === 'string' ? [params] : params).map(matcher);
    const matches = (name: string): boolean => patterns.some((pattern) => pattern(name));
    if (!names.some(matches))
      throw new ConfigError('RATES_INVALID', `optimizer.groups[${i}].params names no parameter`, {
        field: `optimizer.groups[${i}].params`,
        got: params,
        hint: 'cambium plan shows the names, as do model.namedParameters()',
      });
    return matches;
  });
  return new Map(
    names.map((name) => {
      const group = groups[matchers.findIndex((matches) => matches(name))];
      const depth = structure ? structure.stages.length - 1 - depthOf(name, structure) : 0;
      const lrScale = (group?.lrScale ?? 1) * (layerDecay ?? 1) ** depth;
      return [name, { lrScale, ...(group?.weightDecay !== undefined && { weightDecay: group.weightDecay }) }];
    }),
  );
}

function matcher(pattern: string): (name: string) => boolean {
  if (!pattern.includes('*')) return (name) => name === pattern || name.startsWith(`${pattern}.`);
  const parts = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  const expression = new RegExp(`^${parts.join('.*')}$`);
  return (name) => expression.test(name);
}

/** Parameters that share a rate, in the order of the model. */
export function groupByRate(
  parameters: readonly NamedVariable[],
  rates: ReadonlyMap<string, Rate>,
): { readonly params: NamedVariable[]; readonly rate: Rate }[] {
  const groups = new Map<string, { params: NamedVariable[]; rate: Rate }>();
  for (const parameter of parameters) {
    const rate = rates.get(parameter.name) ?? { lrScale: 1 };
    const key = `${rate.lrScale} ${rate.weightDecay}`;
    const group = groups.get(key);
    if (group) group.params.push(parameter);
    else groups.set(key, { params: [parameter], rate });
  }
  return [...groups.values()];
}

/** A line of the plan: which parameters train how, and from when. */
export interface PlanGroup {
  readonly parameters: number;
  /** First and last name. */
  readonly names: readonly [string, string];
  /** 0 for frozen ones. */
  readonly lrScale: number;
  readonly weightDecay?: number;
  /** First epoch they train in; null for frozen ones. */
  readonly fromEpoch: number | null;
}

/** The groups a run trains, for its plan. */
export function planGroups(
  parameters: readonly NamedVariable[],
  rates: ReadonlyMap<string, Rate>,
  firstEpoch: ReadonlyMap<string, number>,
): PlanGroup[] {
  const groups = new Map<string, { -readonly [K in keyof PlanGroup]: PlanGroup[K] }>();
  for (const { name, variable } of parameters) {
    const epoch = firstEpoch.get(name) ?? 1;
    const trains = Number.isFinite(epoch);
    const { lrScale, weightDecay } = trains ? (rates.get(name) ?? { lrScale: 1 }) : { lrScale: 0 };
    const key = `${lrScale} ${weightDecay} ${epoch}`;
    const group = groups.get(key);
    if (group) {
      group.parameters += variable.size;
      group.names = [group.names[0], name];
    } else
      groups.set(key, {
        parameters: variable.size,
        names: [name, name],
        lrScale,
        ...(weightDecay !== undefined && { weightDecay }),
        fromEpoch: trains ? epoch : null,
      });
  }
  return [...groups.values()];
}

/** One line a group: `722,496 parameters (features.0.weight .. features.12.bias): lr x 0.1, from epoch 2`. */
export const groupText = ({ parameters, names, lrScale, weightDecay, fromEpoch }: PlanGroup): string => {
  const [first, last] = names;
  const how =
    fromEpoch === null
      ? 'frozen'
      : [
          `lr x ${Number(lrScale.toPrecision(4))}`,
          ...(weightDecay === undefined ? [] : [`decay ${weightDecay}`]),
          ...(fromEpoch > 1 ? [`from epoch ${fromEpoch}`] : []),
        ].join(', ');
  return `${parameters.toLocaleString('en')} parameters (${first === last ? first : `${first} .. ${last}`}): ${how}`;
};
