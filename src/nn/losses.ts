/** Losses, with PyTorch's definitions and reductions. */
import { ArgumentError, formatShape, ShapeError, sameShape } from '../base/index.ts';
import { iota, type Tensor, where } from '../tensor/index.ts';
import { logSoftmax } from './functional.ts';

export type Reduction = 'mean' | 'sum' | 'none';

function reduce(loss: Tensor, reduction: Reduction): Tensor {
  return reduction === 'mean' ? loss.mean() : reduction === 'sum' ? loss.sum() : loss;
}

export interface CrossEntropyOptions {
  /** Share of the target spread evenly over all classes (Szegedy et al. 2016). */
  labelSmoothing?: number;
  /** (C): weight of each class; the mean is then weighted. */
  classWeights?: Tensor;
  /** Samples with this label count neither in the sum nor in the mean. Default -100. */
  ignoreIndex?: number;
  reduction?: Reduction;
}

/**
 * -log softmax(logits)[target].  logits (N, C) or (N, C, ...), target i32 (N) or (N, ...), values 0 .. C - 1.
 * A target outside the classes that is not `ignoreIndex` gives NaN, so that it is never silently trained on;
 * data loaders check labels before they come here.
 */
export function crossEntropy(logits: Tensor, target: Tensor, options: CrossEntropyOptions = {}): Tensor {
  const { labelSmoothing = 0, classWeights, ignoreIndex = -100, reduction = 'mean' } = options;
  if (logits.rank < 2 || !sameShape(target.shape, [logits.shape[0] as number, ...logits.shape.slice(2)]))
    throw new ShapeError(
      'SHAPE_MISMATCH',
      `[crossEntropy] logits ${formatShape(logits.shape)} need targets of shape (N, ...) without the class axis, got ${formatShape(target.shape)}`,
      { op: 'crossEntropy', expected: [logits.shape[0], ...logits.shape.slice(2)], got: target.shape },
    );
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1))
    throw new ArgumentError(
      'PROBABILITY_INVALID',
      `[crossEntropy] labelSmoothing must be in [0, 1], got ${labelSmoothing}`,
      {
        op: 'crossEntropy',
        got: labelSmoothing,
      },
    );
  const numClasses = logits.shape[1] as number;
  if (classWeights && !sameShape(classWeights.shape, [numClasses]))
    throw new ShapeError(
      'SHAPE_MISMATCH',
      `[crossEntropy] ${numClasses} classes need as many weights, got ${formatShape(classWeights.shape)}`,
      {
        op: 'crossEntropy',
        expected: [numClasses],
        got: classWeights.shape,
      },
    );
  // Classes last: rows the engine can hold whole.
  const rows = logits.rank === 2 ? logits : logits.permute(0, ...logits.shape.slice(2).map((_, i) => i + 2), 1);
  const logp = logSoftmax(rows);
  const labels = target.cast('i32').unsqueeze(-1);
  const hit = iota(rows.shape, rows.rank - 1).eq(labels);
  const ignored = target.cast('i32').eq(ignoreIndex);
  const weights = classWeights ?? 1;
  const weighted = classWeights ? logp.mul(classWeights) : logp;
  const valid = target.ge(0).and(target.lt(numClasses));
  const pick = (x: Tensor): Tensor => where(hit, x, 0).sum(-1);
  const nll = pick(weighted).neg();
  const smooth = weighted
    .sum(-1)
    .neg()
    .mul(labelSmoothing / numClasses);
  const loss = labelSmoothing > 0 ? nll.mul(1 - labelSmoothing).add(smooth) : nll;
  const each = where(ignored, 0, where(valid, loss, Number.NaN));
  if (reduction !== 'mean') return reduce(each, reduction);
  const share = weights === 1 ? where(ignored, 0, 1) : where(ignored, 0, pick(classWeights!.expand(rows.shape)));
  return each.sum().div(share.cast('f32').sum());
}

const paired = (op: string, x: Tensor, y: Tensor): void => {
  if (!sameShape(x.shape, y.shape))
    throw new ShapeError(
      'SHAPE_MISMATCH',
      `[${op}] prediction ${formatShape(x.shape)} and target ${formatShape(y.shape)} differ`,
      {
        op,
        expected: x.shape,
        got: y.shape,
      },
    );
};
interface LossOptions {
  reduction?: Reduction;
}

/** (x - y)^2. */
export function mseLoss(x: Tensor, y: Tensor, { reduction = 'mean' }: LossOptions = {}): Tensor {
  paired('mseLoss', x, y);
  return reduce(x.sub(y).square(), reduction);
}
/** |x - y|. */
export function l1Loss(x: Tensor, y: Tensor, { reduction = 'mean' }: LossOptions = {}): Tensor {
  paired('l1Loss', x, y);
  return reduce(x.sub(y).abs(), reduction);
}
/** Quadratic up to `delta`, then linear with slope delta (Huber 1964). */
export function huberLoss(
  x: Tensor,
  y: Tensor,
  { delta = 1, reduction = 'mean' }: LossOptions & { delta?: number } = {},
): Tensor {
  paired('huberLoss', x, y);
  const error = x.sub(y).abs();
  return reduce(where(error.le(delta), error.square().mul(0.5), error.sub(0.5 * delta).mul(delta)), reduction);
}
/** Huber divided by beta, as torch's SmoothL1Loss. */
export function smoothL1Loss(
  x: Tensor,
  y: Tensor,
  { beta = 1, reduction = 'mean' }: LossOptions & { beta?: number } = {},
): Tensor {
  if (beta === 0) return l1Loss(x, y, { reduction });
  return huberLoss(x, y, { delta: beta, reduction }).div(beta);
}
/** -(y log x + (1 - y) log(1 - x)) for probabilities x; logarithms are held above -100 as torch does. */
export function bceLoss(x: Tensor, y: Tensor, { reduction = 'mean' }: LossOptions = {}): Tensor {
  paired('bceLoss', x, y);
  const log = (p: Tensor): Tensor => p.log().maximum(-100);
  const flipped = x.neg().add(1);
  return reduce(
    y
      .mul(log(x))
      .add(y.neg().add(1).mul(log(flipped)))
      .neg(),
    reduction,
  );
}
/** The same from logits, stable for any size: max(x, 0) - x y + log(1 + exp(-|x|)). */
export function bceWithLogitsLoss(x: Tensor, y: Tensor, { reduction = 'mean' }: LossOptions = {}): Tensor {
  paired('bceWithLogitsLoss', x, y);
  return reduce(x.relu().sub(x.mul(y)).add(x.abs().neg().exp().log1p()), reduction);
}
