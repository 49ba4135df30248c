/** Several heads on one trunk: a last layer for each label, their outputs side by side. */
import { ConfigError, printable, UnsupportedError } from '../base/index.ts';
import { Module } from '../nn/index.ts';
import { concat, type Tensor } from '../tensor/index.ts';
import { replaceModule, structureOf } from './structure.ts';

/** Features (N, ...) to outputs of all heads, concatenated along the last axis in their order. Weights are named `<head>.<label>.weight`. */
export class Heads extends Module {
  readonly #parts: readonly (readonly [string, Module])[];

  constructor(parts: Readonly<Record<string, Module>>) {
    super();
    this.#parts = Object.entries(parts);
  }

  forward(x: Tensor): Tensor {
    return concat(
      this.#parts.map(([, part]) => part.forward(x)),
      -1,
    );
  }

  /** Under the labels' own names. */
  override children(): [string, Module][] {
    return this.#parts.map(([name, part]) => [name, part]);
  }
}

/**
 * Puts a head of its own for each label in place of the model's last layer, with the architecture's initial values from the global
 * random stream. @example splitHead(model, { stars: 1, topics: 5 })
 * @throws UnsupportedError HEAD_UNKNOWN for a model without a head of its own.
 */
export function splitHead(model: Module, sizes: Readonly<Record<string, number>>): void {
  const { head, makeHead } = structureOf(model);
  if (head === undefined || !makeHead)
    throw new UnsupportedError('HEAD_UNKNOWN', `${model.constructor.name} has no head to split`, {
      hint: 'its last layer is tied to other weights or predicts tokens',
    });
  replaceModule(
    model,
    head,
    new Heads(Object.fromEntries(Object.entries(sizes).map(([name, n]) => [name, makeHead(n)]))),
  );
}

/** The model option `heads`, checked. @throws ConfigError MODEL_OPTION_INVALID. */
export function headsOption(heads: unknown, numClasses: unknown): Record<string, number> {
  const sizes = typeof heads === 'object' && heads !== null ? Object.entries(heads) : [];
  const usable = sizes.every(
    ([name, n]) => /^[A-Za-z_][\w-]*$/.test(name) && Number.isInteger(n) && n >= 1 && n <= 1e6,
  );
  const total = sizes.reduce((sum, [, n]) => sum + Number(n), 0);
  if (sizes.length > 0 && usable && (numClasses === undefined || numClasses === total))
    return Object.fromEntries(sizes);
  throw new ConfigError(
    'MODEL_OPTION_INVALID',
    usable && sizes.length > 0
      ? `model.heads has ${total} outputs, model.numClasses is ${printable(numClasses)}`
      : `model.heads: expected names and numbers of outputs, found ${printable(heads)}`,
    { field: 'model.heads', expected: '{ stars: 1, topics: 5 }', got: heads },
  );
}
