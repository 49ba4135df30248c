/** Mixup and CutMix: each picture of a training batch is mixed with its counterpart from the batch's other end, and so are their labels. */
import { ArgumentError } from '../base/errors.ts';
import { Philox } from '../base/rng.ts';
import type { LabelledBatch } from '../data/index.ts';
import { iota, scalar, type Tensor, where } from '../tensor/index.ts';

export interface MixingOptions {
  /** Zhang et al. 2018, https://arxiv.org/abs/1710.09412: x = lambda x_i + (1 - lambda) x_j, lambda of Beta(alpha, alpha). */
  readonly mixup?: { readonly alpha?: number } | undefined;
  /** Yun et al. 2019, https://arxiv.org/abs/1905.04899: a rectangle of 1 - lambda of the area is x_j's. */
  readonly cutmix?: { readonly alpha?: number } | undefined;
  /** Names the random numbers, with the batch's epoch and index. Default 0. */
  readonly seed?: number;
}

// Above any run's streams for order and splits.
const STREAM = 2 ** 52;
const [MIXUP_ALPHA, CUTMIX_ALPHA] = [0.2, 1];

/** Where both are given, each batch takes one of them, by a fair coin. */
export class Mixing {
  readonly #options: MixingOptions;

  /** @throws ArgumentError for an alpha that is not above 0, or neither kind. */
  constructor(options: MixingOptions) {
    for (const field of ['mixup', 'cutmix'] as const) {
      const alpha = options[field]?.alpha;
      if (alpha !== undefined && !(alpha > 0 && Number.isFinite(alpha)))
        throw new ArgumentError('OPTION_INVALID', `${field}.alpha: expected a number above 0, found ${alpha}`, {
          field: `${field}.alpha`,
          got: alpha,
        });
    }
    if (!options.mixup && !options.cutmix)
      throw new ArgumentError('OPTION_INVALID', 'mixing needs mixup or cutmix', { field: 'mixup' });
    this.#options = options;
  }

  /** x (N, C, H, W), in training. The same for the same batch: a function of seed, epoch and index. */
  mix(x: Tensor, { epoch, index }: Pick<LabelledBatch, 'epoch' | 'index'>): { x: Tensor; lambda: number } {
    const { mixup, cutmix, seed = 0 } = this.#options;
    const random = new Philox(seed, STREAM + epoch * 2 ** 24 + index);
    const cut = cutmix && (!mixup || random.uniform() < 0.5);
    const lambda = beta(random, (cut ? cutmix.alpha : mixup?.alpha) ?? (cut ? CUTMIX_ALPHA : MIXUP_ALPHA));
    const other = x.flip(0);
    if (!cut) {
      const share = scalar(lambda);
      return { x: x.mul(share).add(other.mul(share.neg().add(1))), lambda };
    }
    const [, , height, width] = x.shape as [number, number, number, number];
    const [top, bottom] = side(random, height, lambda);
    const [left, right] = side(random, width, lambda);
    const rows = iota([height, 1], 0);
    const columns = iota([1, width], 1);
    const at = (v: number): Tensor => scalar(v, 'i32');
    const inside = rows
      .ge(at(top))
      .and(rows.lt(at(bottom)))
      .and(columns.ge(at(left)))
      .and(columns.lt(at(right)));
    // What was really cut: the rectangle ends at the edge.
    const area = ((bottom - top) * (right - left)) / (height * width);
    return { x: where(inside, other, x), lambda: Math.fround(1 - area) };
  }
}

/** A stretch of sqrt(1 - lambda) of the side around a random middle, cut at the edges. */
function side(random: Philox, length: number, lambda: number): [number, number] {
  const half = (length * Math.sqrt(1 - lambda)) / 2;
  const middle = random.integer(length);
  return [Math.max(0, Math.round(middle - half)), Math.min(length, Math.round(middle + half))];
}

/** Beta(a, a) as a ratio of gammas; to single precision, where versions of Math.log agree. */
function beta(random: Philox, alpha: number): number {
  const [a, b] = [gamma(random, alpha), gamma(random, alpha)];
  return a + b > 0 ? Math.fround(a / (a + b)) : Number(random.uniform() < 0.5);
}

/** Marsaglia and Tsang 2000; below 1 by Gamma(a) = Gamma(a + 1) U^(1/a). */
function gamma(random: Philox, alpha: number): number {
  if (alpha < 1) return gamma(random, alpha + 1) * (1 - random.uniform()) ** (1 / alpha);
  const d = alpha - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const z = random.normal();
    const v = (1 + c * z) ** 3;
    if (v > 0 && Math.log(1 - random.uniform()) < (z * z) / 2 + d - d * v + d * Math.log(v)) return d * v;
  }
}
