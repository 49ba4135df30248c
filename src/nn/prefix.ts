/**
 * Prefix tuning (Li and Liang 2021, https://arxiv.org/abs/2101.00190; for understanding, P-tuning v2, Liu et al. 2022,
 * https://arxiv.org/abs/2110.07602): in every layer, queries also look at keys and values that are learned and come before those of
 * the input. Learned as they are, without a network that makes them; positions of the input count from 0 as before.
 */
import { ArgumentError } from '../base/index.ts';
import {
  type AttentionOptions,
  arange,
  attention,
  concat,
  full,
  type Tensor,
  type Variable,
  where,
} from '../tensor/index.ts';
import { type AdapterPlace, adaptersOf, Branch, placeBranches } from './adapters.ts';
import { normal } from './init.ts';
import type { Module } from './module.ts';
import { wholeSize } from './options.ts';

export interface PrefixOptions {
  /** Learned keys and values of each head of each layer; 16 unless told. */
  readonly length?: number | undefined;
}

export interface ResolvedPrefix {
  readonly name: 'prefix';
  readonly length: number;
}

/** Attention that may have a prefix: it calls `attend`. */
export interface Prefixable {
  /** Heads, and features of each head's keys and values. */
  readonly headShape: readonly [heads: number, features: number];
}

/** Deviation of the initial keys and values, as of BERT's and GPT-2's weights. */
const STD = 0.02;

class Prefix extends Branch {
  readonly key: Variable; // (heads, length, d)
  readonly value: Variable; // (heads, length, d)
  readonly options: ResolvedPrefix;

  constructor([heads, features]: Prefixable['headShape'], options: ResolvedPrefix) {
    super();
    this.options = options;
    this.key = this.parameter(normal([heads, options.length, features]).mul(STD));
    this.value = this.parameter(normal([heads, options.length, features]).mul(STD));
  }
  /** It works inside of attention, in `attend`. */
  override forward(x: Tensor, y: Tensor = x): Tensor {
    return y;
  }
  override describe(): string {
    return `${this.options.length}`;
  }
  override tensors(): Record<string, Variable> {
    return { prefix_key: this.key, prefix_value: this.value };
  }
}

/**
 * Gives every attention layer of `model` a prefix and stops training everything else but `modulesToSave`. Applied again with the
 * same name and options, it changes nothing. Returns the paths of the layers.
 * @throws ArgumentError ADAPTER_TARGETS where the model has no attention; ADAPTER_EXISTS; ADAPTER_MERGED; OPTION_INVALID.
 */
export function applyPrefix(model: Module, options: PrefixOptions & AdapterPlace = {}): string[] {
  const resolved = resolvePrefix(options);
  const layers = [...model.namedModules()].filter(
    (entry): entry is [string, Module & Prefixable] => 'headShape' in entry[1],
  );
  if (layers.length === 0)
    throw new ArgumentError('ADAPTER_TARGETS', 'the model has no attention that could get a prefix', {
      hint: 'lora and bottleneck adapters go with linear layers',
    });
  placeBranches(model, options, layers, ({ headShape }) => new Prefix(headShape, resolved));
  return layers.map(([path]) => path);
}

/** @throws ArgumentError OPTION_INVALID. */
export function resolvePrefix({ length = 16 }: PrefixOptions): ResolvedPrefix {
  wholeSize('prefix.length', length);
  return { name: 'prefix', length };
}

/** `attention` of a layer that may have a prefix.  q (B, heads, Tq, d), k and v (B, heads, Tk, d). */
export function attend(layer: Module, q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
  const prefix = adaptersOf(layer)?.working;
  if (!(prefix instanceof Prefix)) return attention(q, k, v, options);
  const { length } = prefix.options;
  const before = (learned: Variable, x: Tensor): Tensor =>
    concat([learned.expand([x.shape[0] as number, ...learned.shape]), x], 2);
  return attention(q, before(prefix.key, k), before(prefix.value, v), {
    ...options,
    causal: false,
    mask: maskBehind(length, q.shape[2] as number, k.shape[2] as number, options),
  });
}

/** The mask of `options` for keys that stand behind `length` others, at which every query may look. */
function maskBehind(length: number, tq: number, tk: number, { mask, causal }: AttentionOptions): Tensor | null {
  const order = causal ? arange(0, tk).reshape(1, tk).le(arange(0, tq).reshape(tq, 1)) : null;
  if (!mask) return order && behind(order, length, tk);
  if (!order) return behind(mask, length, tk);
  return mask.dtype === 'bool'
    ? behind(mask.and(order), length, tk)
    : behind(where(order, mask, Number.NEGATIVE_INFINITY), length, tk);
}

function behind(mask: Tensor, length: number, tk: number): Tensor {
  const lead = mask.shape.slice(0, -1);
  const free = mask.dtype === 'bool' ? full([...lead, length], 1).ne(0) : full([...lead, length], 0);
  return concat([free, mask.expand([...lead, tk])], -1);
}
