/** Losses, with PyTorch's definitions and reductions. */
import { ArgumentError, DTypeError, formatShape, isFloat, ShapeError, sameShape } from '../base/index.ts';
import { gather, iota, type Tensor, where } from '../tensor/index.ts';
import { logSoftmax, softplus } from './functional.ts';
import { probability } from './options.ts';

export type Reduction = 'mean' | 'sum' | 'none';

function reduce(loss: Tensor, reduction: Reduction): Tensor {
  return reduction === 'mean' ? loss.mean() : reduction === 'sum' ? loss.sum() : loss;
}

interface ClassLossOptions {
  /** (C): weight of each class; the mean is then weighted. */
  classWeights?: Tensor;
  /** Samples with this label count neither in the sum nor in the mean. Default -100. */
  ignoreIndex?: number;
  reduction?: Reduction;
}

export interface CrossEntropyOptions extends ClassLossOptions {
  /** Share of the target spread evenly over all classes (Szegedy et al. 2016). */
  labelSmoothing?: number;
}

/**
 * -log softmax(logits)[target], L = -1/m sum over samples i of log softmax(f(x_i))[y_i].
 * logits (N, C) or (N, C, ...), target integer (N) or (N, ...), values 0 .. C - 1 or `ignoreIndex`.
 *
 * Any other target gives NaN, so that it is never silently trained on: labels are a program input, not known when the
 * graph is built. Tasks and data loaders check them on the host, with the sample's number, before they come here.
 */
export function crossEntropy(logits: Tensor, target: Tensor, options: CrossEntropyOptions = {}): Tensor {
  const { labelSmoothing = 0, ...rest } = options;
  probability('crossEntropy', 'labelSmoothing', labelSmoothing);
  checkClasses('crossEntropy', logits, target, rest.classWeights);
  const x = classesLast(logits);
  if ((x.shape.at(-1) as number) > LONG_ROW && !rest.classWeights) return longLoss(x, target, rest, labelSmoothing);
  return pickedLoss(logSoftmax(x), target, rest, labelSmoothing);
}

// Rows of more classes (a vocabulary) do not stay in the first cache through a fused softmax.
const LONG_ROW = 4096;

/** The same for x (..., C) with many classes: x is read once forward and once backward, and no probabilities are kept. */
function longLoss(x: Tensor, target: Tensor, options: ClassLossOptions, labelSmoothing: number): Tensor {
  const { ignoreIndex = -100, reduction = 'mean' } = options;
  const label = target.cast('i32');
  const valid = label.ge(0).and(label.lt(x.shape.at(-1) as number));
  const ignored = label.eq(ignoreIndex);
  const total = x.logSumExp();
  const picked = gather(x, -1, where(valid, label, 0).unsqueeze(-1)).squeeze(-1);
  const nll = total.sub(picked);
  const loss = labelSmoothing > 0 ? nll.mul(1 - labelSmoothing).add(total.sub(x.mean(-1)).mul(labelSmoothing)) : nll;
  const each = where(ignored, 0, where(valid, loss, Number.NaN));
  return reduction === 'mean' ? each.sum().div(where(ignored, 0, 1).sum()) : reduce(each, reduction);
}

/** -logProbabilities[target]: what is left of the cross-entropy after logSoftmax. Shapes and targets as there. */
export function nllLoss(logProbabilities: Tensor, target: Tensor, options: ClassLossOptions = {}): Tensor {
  checkClasses('nllLoss', logProbabilities, target, options.classWeights);
  return pickedLoss(classesLast(logProbabilities), target, options, 0);
}

function checkClasses(op: string, x: Tensor, target: Tensor, classWeights: Tensor | undefined): void {
  const expected = [...x.shape.slice(0, 1), ...x.shape.slice(2)];
  if (x.rank < 2 || !sameShape(target.shape, expected))
    throw new ShapeError(
      'SHAPE_MISMATCH',
      `[${op}] scores ${formatShape(x.shape)} need targets (N, ...) without the class axis, got ${formatShape(target.shape)}`,
      { op, expected, got: target.shape },
    );
  if (isFloat(target.dtype))
    throw new DTypeError('DTYPE_NOT_INDEX', `[${op}] targets are class indices, got ${target.dtype}`, {
      op,
      expected: 'i32 or u8',
      got: target.dtype,
      hint: "target.cast('i32')",
    });
  const numClasses = x.shape[1] as number;
  if (classWeights && !sameShape(classWeights.shape, [numClasses]))
    throw new ShapeError(
      'SHAPE_MISMATCH',
      `[${op}] ${numClasses} classes need as many weights, got ${formatShape(classWeights.shape)}`,
      { op, expected: [numClasses], got: classWeights.shape },
    );
}

// Rows the engine can hold whole.
const classesLast = (x: Tensor): Tensor =>
  x.rank === 2 ? x : x.permute(0, ...x.shape.slice(2).map((_, i) => i + 2), 1);

/** logp (..., C), target (...). Comparison and sum instead of a gather: softmax, loss and its gradient fuse into one pass. */
function pickedLoss(logp: Tensor, target: Tensor, options: ClassLossOptions, labelSmoothing: number): Tensor {
  const { classWeights, ignoreIndex = -100, reduction = 'mean' } = options;
  const numClasses = logp.shape.at(-1) as number;
  const label = target.cast('i32');
  const hit = iota(logp.shape, logp.rank - 1).eq(label.unsqueeze(-1));
  const pick = (x: Tensor): Tensor => where(hit, x, 0).sum(-1);
  const weighted = classWeights ? logp.mul(classWeights) : logp;
  const nll = pick(weighted).neg();
  const smooth = (): Tensor => weighted.sum(-1).mul(-labelSmoothing / numClasses);
  const loss = labelSmoothing > 0 ? nll.mul(1 - labelSmoothing).add(smooth()) : nll;
  const ignored = label.eq(ignoreIndex);
  const valid = label.ge(0).and(label.lt(numClasses));
  const each = where(ignored, 0, where(valid, loss, Number.NaN));
  if (reduction !== 'mean') return reduce(each, reduction);
  const weightOf = classWeights ? pick(classWeights.expand(logp.shape)) : 1;
  return each.sum().div(where(ignored, 0, weightOf).sum());
}

// Broadcasting a target over predictions is nearly always a mistake, so it is refused.
function paired(op: string, x: Tensor, y: Tensor): void {
  if (!sameShape(x.shape, y.shape))
    throw new ShapeError(
      'SHAPE_MISMATCH',
      `[${op}] prediction ${formatShape(x.shape)} and target ${formatShape(y.shape)} differ`,
      { op, expected: x.shape, got: y.shape },
    );
}

function width(op: string, field: string, value: number): void {
  if (!(value > 0))
    throw new ArgumentError('OPTION_INVALID', `[${op}] ${field} must be positive, got ${value}`, {
      op,
      field,
      got: value,
    });
}

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
  width('huberLoss', 'delta', delta);
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
/**
 * -(y log x + (1 - y) log(1 - x)) for probabilities x. As in torch, logarithms are held above -100 and the slope is
 * (x - y) / max(x (1 - x), 1e-12), so that x = 0 or 1 gives neither infinity nor NaN. Targets get no gradient.
 */
export function bceLoss(x: Tensor, y: Tensor, { reduction = 'mean' }: LossOptions = {}): Tensor {
  paired('bceLoss', x, y);
  const log = (p: Tensor): Tensor => p.log().maximum(-100);
  const other = x.neg().add(1);
  const value = y
    .mul(log(x))
    .add(y.neg().add(1).mul(log(other)))
    .neg();
  const slope = x.sub(y).div(x.mul(other).maximum(1e-12));
  // The value, and a line through it that carries the gradient: the logarithms' own would be infinite at 0.
  return reduce(value.detach().add(slope.detach().mul(x.sub(x.detach()))), reduction);
}

/**
 * The same from logits, stable for any size: log(1 + exp(x)) - x y. With `posWeight` (C), what a positive of each label counts
 * against a negative: (1 - y) x + (1 + (p - 1) y) log(1 + exp(-x)).
 */
export function bceWithLogitsLoss(
  x: Tensor,
  y: Tensor,
  { reduction = 'mean', posWeight }: LossOptions & { posWeight?: Tensor } = {},
): Tensor {
  paired('bceWithLogitsLoss', x, y);
  if (!posWeight) return reduce(softplus(x).sub(x.mul(y)), reduction);
  const last = x.shape.at(-1) as number;
  if (!sameShape(posWeight.shape, [last]))
    throw new ShapeError(
      'SHAPE_MISMATCH',
      `[bceWithLogitsLoss] ${last} labels need as many weights, got ${formatShape(posWeight.shape)}`,
      { op: 'bceWithLogitsLoss', expected: [last], got: posWeight.shape },
    );
  const positive = y.mul(posWeight.sub(1)).add(1);
  return reduce(x.mul(y.neg().add(1)).add(positive.mul(softplus(x.neg()))), reduction);
}
