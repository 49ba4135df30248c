/**
 * Pruning by magnitude (Han et al. 2015, https://arxiv.org/abs/1506.02626): of the weights of linear and convolutional layers the
 * smallest become 0 and stay 0 while the others are tuned. It says how many weights a task needs; memory and time stay what they
 * are, for kernels multiply zeros as well.
 */
import { ArgumentError } from '../base/index.ts';
import { tensor, Variable, zeros } from '../tensor/index.ts';
import { hasWeight, isWithin, outputAxis } from './matrix-layers.ts';
import type { Module } from './module.ts';
import { invalidOption } from './options.ts';

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
 * @throws ArgumentError OPTION_INVALID; NO_SUCH_MODULE for `except`; PRUNE_NOTHING where there are no such layers.
 */
export async function pruneWeights(model: Module, options: PruneOptions): Promise<Sparsity> {
  const { amount, scope = 'model', except = [] } = options;
  if (!(amount > 0 && amount < 1)) throw invalidOption('prune.amount', 'a number above 0 and below 1', amount);
  if (scope !== 'model' && scope !== 'layer') throw invalidOption('prune.scope', 'model or layer', scope);
  const weights = prunable(model, except);
  if (weights.length === 0)
    throw new ArgumentError(
      'PRUNE_NOTHING',
      `${model.constructor.name} has no linear or convolutional layers to prune${except.length > 0 ? ` but ${except.join(', ')}` : ''}`,
      { field: 'prune', hint: 'leave out prune' },
    );
  for (const group of scope === 'model' ? [weights] : weights.map((weight) => [weight]))
    await zeroSmallest(group, amount);
  return sparsityOf(model, except);
}

export async function sparsityOf(model: Module, except: readonly string[] = []): Promise<Sparsity> {
  let [weights, none] = [0, 0];
  for (const weight of prunable(model, except)) {
    weights += weight.size;
    for (const w of (await weight.data()) as Float32Array) if (w === 0) none++;
  }
  return { weights, zeros: none };
}

/**
 * For weights that are 0 now to stay 0: call what it returns between `backward()` and the optimizer's `step()`. It takes the gradients
 * of these weights away, from the first step on, so that nothing moves them.
 * @example const keep = await keepZeros(model); ... loss.backward(); keep(); optimizer.step();
 */
export async function keepZeros(model: Module, except: readonly string[] = []): Promise<() => void> {
  const masks: [Variable, Variable][] = [];
  for (const weight of prunable(model, except)) {
    const kept = Uint8Array.from((await weight.data()) as Float32Array, (w) => Number(w !== 0));
    if (!kept.includes(0)) continue;
    const mask = new Variable(tensor(kept, { shape: weight.shape, dtype: 'u8' }), { label: `mask of ${weight.label}` });
    masks.push([weight, mask]);
  }
  return masking(masks);
}

/** What `keepZeros` would return, by masks of nothing: for plans of memory and time, before any weight is known. */
export function plannedZeros(model: Module, except: readonly string[] = []): () => void {
  return masking(prunable(model, except).map((weight) => [weight, new Variable(zeros(weight.shape, 'u8'))]));
}

function masking(masks: readonly (readonly [Variable, Variable])[]): () => void {
  return () => {
    for (const [weight, mask] of masks) if (weight.grad) weight.grad = weight.grad.mul(mask.cast('f32'));
  };
}

function prunable(model: Module, except: readonly string[]): Variable[] {
  const layers = [...model.namedModules()];
  const unknown = except.find((path) => !layers.some(([name]) => name === path));
  if (unknown !== undefined)
    throw new ArgumentError('NO_SUCH_MODULE', `the model has no module "${unknown}"`, {
      field: 'except',
      got: unknown,
      expected: layers.map(([path]) => path).slice(1, 41),
    });
  return layers.flatMap(([path, layer]) =>
    outputAxis(layer) !== undefined && hasWeight(layer) && !isWithin(path, except) ? [layer.weight] : [],
  );
}

/** Exactly `amount` of them, rounded: of equal ones at the border the first. */
async function zeroSmallest(weights: readonly Variable[], amount: number): Promise<void> {
  const all = new Float32Array(weights.reduce((sum, { size }) => sum + size, 0));
  let at = 0;
  for (const weight of weights) {
    all.set(((await weight.data()) as Float32Array).map(Math.abs), at);
    at += weight.size;
  }
  const count = Math.round(amount * all.length);
  if (count === 0) return;
  const border = all.sort()[count - 1] as number;
  let equal = count - all.indexOf(border);
  for (const weight of weights) {
    const values = ((await weight.data()) as Float32Array).map((w) => {
      const magnitude = Math.abs(w);
      return magnitude < border || (magnitude === border && equal-- > 0) ? 0 : w;
    });
    weight.assign(tensor(values, { shape: weight.shape }));
    await weight.data();
  }
}
