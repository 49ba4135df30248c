/**
 * Modules an adapter brings whole, such as its head (PEFT's modules_to_save): every adapter has parameters of its own in their
 * place, and the model keeps those it had.
 */
import type { Shape } from '../base/index.ts';
import { Variable, zeros } from '../tensor/index.ts';
import type { Module } from './module.ts';

/** One variable's place in its module. */
interface Slot {
  readonly property: string;
  /** Of the modules given when the adapter was applied, the one it belongs to. */
  readonly within: string;
  /** A parameter; buffers do not train. */
  readonly trains: boolean;
  readonly base: Variable;
  readonly own: Map<string, Variable>;
  shown: Variable;
}

// By the module that holds them, so that they are found from any root, and go with a module that is replaced.
const slotsOf = new WeakMap<Module, Slot[]>();

function* allSlots(model: Module): Generator<readonly [Module, Slot]> {
  for (const [, module] of model.namedModules())
    for (const slot of slotsOf.get(module) ?? []) yield [module, slot] as const;
}

/** Gives adapter `name` variables of its own, equal to the model's, for everything at `paths`; those it has already stay. */
export function addSaved(model: Module, name: string, paths: readonly string[]): void {
  const names = new Map([...model.stateDict()].map(([key, variable]) => [variable, key]));
  const parameters = new Set(model.parameters());
  for (const [, module] of [...model.namedModules()])
    for (const [property, value] of Object.entries(module)) {
      const key = value instanceof Variable ? names.get(value) : undefined;
      const within = paths.find((path) => key === path || key?.startsWith(`${path}.`));
      if (!(value instanceof Variable) || within === undefined) continue;
      const slots = slotsOf.get(module) ?? [];
      slotsOf.set(module, slots);
      let slot = slots.find((other) => other.property === property);
      if (!slot) {
        slot = { property, within, trains: parameters.has(value), base: value, own: new Map(), shown: value };
        slots.push(slot);
      }
      if (!slot.own.has(name)) slot.own.set(name, new Variable(slot.base));
    }
}

/** Puts an adapter's variables in place, and lets them train; the model's own where it has none, or for null. */
export function showSaved(model: Module, name: string | null): void {
  for (const [module, slot] of [...allSlots(model)]) {
    const next = (name === null ? undefined : slot.own.get(name)) ?? slot.base;
    show(module, slot, next);
    for (const variable of [slot.base, ...slot.own.values()])
      variable.requiresGrad = slot.trains && variable === next && next !== slot.base;
  }
}

function show(module: Module, slot: Slot, next: Variable): void {
  module.replaceVariable(slot.shown, next);
  slot.shown = next;
}

/** An adapter's variables by their names in the model, and the modules they were given for. */
export function savedOf(model: Module, name: string): { modules: string[]; variables: Map<string, Variable> } {
  const names = new Map([...model.stateDict()].map(([key, variable]) => [variable, key]));
  const mine = [...allSlots(model)].filter(([, { own }]) => own.has(name));
  return {
    modules: [...new Set(mine.map(([, { within }]) => within))],
    variables: new Map(
      mine.map(([, { shown, own }]) => [names.get(shown) as string, own.get(name) as Variable] as const),
    ),
  };
}

/** Other shapes for an adapter's variables, such as those of a head for other classes: zeros until they are loaded. */
export function reshapeSaved(model: Module, name: string, shapes: ReadonlyMap<string, Shape>): void {
  const { variables } = savedOf(model, name);
  for (const [key, shape] of shapes) {
    const before = variables.get(key);
    for (const [module, slot] of [...allSlots(model)]) {
      if (slot.own.get(name) !== before || !before) continue;
      const next = new Variable(zeros(shape), { requiresGrad: before.requiresGrad });
      slot.own.set(name, next);
      if (slot.shown === before) show(module, slot, next);
    }
  }
}

/** Forgets an adapter's variables; where they were in place the model's come back. */
export function removeSaved(model: Module, name: string): void {
  for (const [module, slot] of [...allSlots(model)]) {
    if (slot.shown === slot.own.get(name)) show(module, slot, slot.base);
    slot.own.delete(name);
  }
}

/** What is in place stays; nothing else is remembered. */
export function settleSaved(model: Module): void {
  for (const [, module] of model.namedModules()) slotsOf.delete(module);
}
