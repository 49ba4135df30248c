/**
 * Pruning by magnitude (Han et al. 2015, https://arxiv.org/abs/1506.02626): of the weights of linear and convolutional layers the
 * smallest become 0 and stay 0 while the others are tuned. It says how many weights a task needs; memory and time stay what they
 * are, for kernels multiply zeros as well.
 */
import { ArgumentError } from '../base/index.ts';
import { type Tensor, tensor, Variable } from '../tensor/index.ts';
import type { LinearLayer } from './adapters.ts';
import { Conv2d, ConvTranspose2d } from './conv.ts';
import { Linear } from './linear.ts';
import type { Module } from './module.ts';

export interface PruneOptions {
  /** Share of the weights that become 0, above 0 and below 1. */
  readonly amount: number;
  /** `model`, the default: the smallest of all; `layer`: of each layer the same share. */
  readonly scope?: 'model' | 'layer' | undefined;
  /** Paths of modules whose weights all stay, such as a new head. */
  readonly except?: readonly string[] | undefined;
}

export interface Sparsity {
  /** Weights of the layers that were looked at. */
  readonly weights: number;
  /** Of these, how many are 0. */
  readonly zeros: number;
}

/**
 * Sets the smallest weights to 0, as torch.nn.utils.prune's `global_unstructured` and `l1_unstructured` choose them.
 * @throws ArgumentError OPTION_INVALID for the amount; PRUNE_NOTHING where there are no such layers.
 */
export async function pruneWeights(model: Module, options: PruneOptions): Promise<Sparsity> {
  const { amount, scope = 'model', except } = options;
  if (!(amount > 0 && amount < 1))
    throw new ArgumentError('OPTION_INVALID', `prune.amount: expected a number above 0 and below 1, found ${amount}`, {
      field: 'prune.amount',
      got: amount,
    });
  const weights = prunable(model, except);
  if (weights.length === 0)
    throw new ArgumentError(
      'PRUNE_NOTHING',
      `${model.constructor.name} has no linear or convolutional layers to prune`,
      {
        field: 'prune',
      },
    );
  const groups = scope === 'model' ? [weights] : weights.map((weight) => [weight]);
  for (const group of groups) {
    const threshold = await thresholdOf(group, amount);
    for (const weight of group) {
      const values = (await weight.data()) as Float32Array;
      weight.assign(
        tensor(
          values.map((w) => (Math.abs(w) <= threshold ? 0 : w)),
          { shape: weight.shape },
        ),
      );
      await weight.data();
    }
  }
  return sparsityOf(model, except);
}

export async function sparsityOf(model: Module, except: readonly string[] = []): Promise<Sparsity> {
  let [weights, zeros] = [0, 0];
  for (const weight of prunable(model, except)) {
    weights += weight.size;
    for (const w of (await weight.data()) as Float32Array) if (w === 0) zeros++;
  }
  return { weights, zeros };
}

/**
 * Keeps weights that are 0 now at 0: call what it returns after each step of the optimizer.
 * @example const keep = await keepZeros(model); ... optimizer.step(); keep();
 */
export async function keepZeros(model: Module, except: readonly string[] = []): Promise<() => void> {
  const masks: [Variable, Variable][] = [];
  for (const weight of prunable(model, except)) {
    const kept = Uint8Array.from((await weight.data()) as Float32Array, (w) => Number(w !== 0));
    if (!kept.includes(0)) continue;
    masks.push([
      weight,
      new Variable(tensor(kept, { shape: weight.shape, dtype: 'u8' }), { label: `mask of ${weight.label}` }),
    ]);
  }
  return () => {
    for (const [weight, mask] of masks) if (weight.requiresGrad) weight.assign(masked(weight, mask));
  };
}

const masked = (weight: Variable, mask: Variable): Tensor => weight.mul(mask.cast('f32'));

function prunable(model: Module, except: readonly string[] = []): Variable[] {
  return [...model.namedModules()].flatMap(([path, layer]) => {
    if (except.some((other) => path === other || path.startsWith(`${other}.`))) return [];
    const linear = (layer as unknown as Partial<LinearLayer>).fanInFanOut === true;
    const fits = linear || layer instanceof Linear || layer instanceof Conv2d || layer instanceof ConvTranspose2d;
    const { weight } = layer as unknown as Partial<LinearLayer>;
    return fits && weight instanceof Variable ? [weight] : [];
  });
}

/** The magnitude of the largest weight that goes: of `amount` of them, rounded; below 0 where none goes. */
async function thresholdOf(weights: readonly Variable[], amount: number): Promise<number> {
  const all = new Float32Array(weights.reduce((sum, { size }) => sum + size, 0));
  let at = 0;
  for (const weight of weights) {
    all.set(((await weight.data()) as Float32Array).map(Math.abs), at);
    at += weight.size;
  }
  const count = Math.round(amount * all.length);
  return count === 0 ? -1 : (all.sort()[count - 1] as number);
}
