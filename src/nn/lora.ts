/**
 * Low-rank adaptation (Hu et al. 2021, https://arxiv.org/abs/2106.09685): a linear layer keeps its weights and learns what to add
 * to them, as a product of two thin matrices, which can be merged into the weights afterwards.
 */
import { ArgumentError } from '../base/index.ts';
import { flush, type Tensor, type Variable, zeros } from '../tensor/index.ts';
import { Dropout } from './activation.ts';
import { type AdapterPlace, adaptedLayers, Branch, linearTargets, placeBranches } from './adapters.ts';
import { defaultWeight } from './init.ts';
import { type LinearLayer, widthsOf } from './matrix-layers.ts';
import type { Module } from './module.ts';
import { invalidOption, layerNames, probability, wholeSize } from './options.ts';

export interface LoraOptions {
  /** Columns of the thin matrices; 8 unless told. */
  readonly rank?: number | undefined;
  /** The product is scaled by alpha / rank; twice the rank unless told. */
  readonly alpha?: number | undefined;
  /** Of what enters the thin matrices, in training. */
  readonly dropout?: number | undefined;
  /**
   * Linear layers by the last part of their path (`query`), by their path, or with `*` for anything. Query and value
   * projections of attention unless told.
   */
  readonly targets?: readonly string[] | undefined;
}

export interface ResolvedLora {
  readonly name: 'lora';
  readonly rank: number;
  readonly alpha: number;
  readonly dropout: number;
  readonly targets: readonly string[];
}

/** Where attention makes queries and values: BERT, GPT-2 (all three in one), others by their common names. */
const QUERY_AND_VALUE = ['query', 'value', 'c_attn', 'q_proj', 'v_proj'];

/** (alpha / rank) x A^T B^T.  x (..., in) -> (..., out). B is zero at first: nothing changes until it learns. */
class LowRank extends Branch {
  readonly loraA: Variable; // (rank, in)
  readonly loraB: Variable; // (out, rank)
  readonly dropout: Dropout;
  readonly options: ResolvedLora;

  constructor({ from, to }: { from: number; to: number }, options: ResolvedLora) {
    super();
    this.options = options;
    this.loraA = this.parameter(defaultWeight([options.rank, from]));
    this.loraB = this.parameter(zeros([to, options.rank]));
    this.dropout = new Dropout(options.dropout);
  }
  get #scale(): number {
    return this.options.alpha / this.options.rank;
  }
  override forward(x: Tensor, y: Tensor = x): Tensor {
    const thin = this.dropout.forward(x).matmul(this.loraA.transpose(0, 1));
    return y.add(thin.matmul(this.loraB.transpose(0, 1)).mul(this.#scale));
  }
  /** By PEFT's names. */
  override tensors(): Record<string, Variable> {
    return { 'lora_A.weight': this.loraA, 'lora_B.weight': this.loraB };
  }
  /** What the layer's weight would grow by: (out, in). */
  delta(): Tensor {
    return this.loraB.matmul(this.loraA).mul(this.#scale);
  }
  override describe(): string {
    return `rank ${this.options.rank}`;
  }
}

/**
 * Puts low-rank adapters on linear layers of `model` and stops training everything else but `modulesToSave`. Applied again with
 * the same name and options, it changes nothing. Returns the paths adapted.
 * @throws ArgumentError ADAPTER_TARGETS where no linear layer is named; ADAPTER_EXISTS; ADAPTER_MERGED; OPTION_INVALID.
 */
export function applyLora(model: Module, options: LoraOptions & AdapterPlace = {}): string[] {
  const resolved = resolveLora(options);
  const layers = linearTargets(model, resolved.targets, options.modulesToSave);
  placeBranches(model, options, layers, (layer) => new LowRank(widthsOf(layer), resolved));
  return layers.map(([path]) => path);
}

/**
 * Adds the active low-rank adapter to the weights it belongs to: as fast as without it, and no longer trainable.
 * @throws ArgumentError ADAPTER_MERGE for an adapter of another kind.
 */
export async function mergeLora(model: Module): Promise<void> {
  await grow(model, ({ merged, active }) => (merged === undefined ? active : undefined), 1);
}

/** Takes merged adapters out of the weights again, to the rounding of one addition. */
export async function unmergeLora(model: Module): Promise<void> {
  await grow(model, ({ merged }) => merged, -1);
}

type Which = (adapters: { merged: string | undefined; active: string | undefined }) => string | undefined;

async function grow(model: Module, which: Which, sign: 1 | -1): Promise<void> {
  for (const [, layer] of adaptedLayers(model)) {
    const { adapters } = layer;
    const name = which(adapters);
    const branch = adapters.named(name);
    if (!branch) continue;
    if (!(branch instanceof LowRank))
      throw new ArgumentError('ADAPTER_MERGE', `adapter "${name}" is no low-rank one: it stays beside the weights`, {
        got: branch.options,
      });
    const { weight, fanInFanOut } = layer as unknown as LinearLayer;
    const delta = branch.delta().mul(sign);
    weight.assign(weight.add(fanInFanOut ? delta.transpose(0, 1) : delta));
    adapters.markMerged(sign > 0 ? name : undefined);
  }
  await flush([]);
}

/** @throws ArgumentError OPTION_INVALID, PROBABILITY_INVALID. */
export function resolveLora(options: LoraOptions): ResolvedLora {
  const { rank = 8, dropout = 0, targets = QUERY_AND_VALUE } = options;
  wholeSize('lora.rank', rank);
  const { alpha = 2 * rank } = options;
  if (typeof alpha !== 'number' || !(alpha > 0) || !Number.isFinite(alpha))
    throw invalidOption('lora.alpha', 'a number above 0', alpha);
  if (typeof dropout !== 'number') throw invalidOption('lora.dropout', 'a probability', dropout);
  probability('lora', 'dropout', dropout);
  layerNames('lora.targets', targets);
  return { name: 'lora', rank, alpha, dropout, targets };
}
