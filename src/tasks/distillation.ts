/** Knowledge distillation (Hinton, Vinyals and Dean 2015, https://arxiv.org/abs/1503.02531): a student learns a teacher's soft answers. */
import { ArgumentError, formatShape, ShapeError, sameShape } from '../base/index.ts';
import type { LabelledBatch } from '../data/index.ts';
import { logSoftmax, softmax } from '../nn/index.ts';
import type { Tensor } from '../tensor/index.ts';

export interface Teacher {
  /** Logits (N, C) of a batch in evaluation mode, in the order of the student's classes; no gradient goes there. */
  logits(batch: LabelledBatch): Tensor;
  readonly temperature: number;
  /** Share of the teacher's answers in the loss; the labels have the rest. */
  readonly alpha: number;
}

/**
 * T^2 KL(softmax(teacher / T) || softmax(student / T)), mean over samples (PyTorch's `kl_div`, `batchmean`); logits (N, C) both.
 * T^2 keeps its gradients as large as those of the labels. @throws ShapeError SHAPE_MISMATCH; ArgumentError OPTION_INVALID.
 */
export function distillationLoss(student: Tensor, teacher: Tensor, temperature: number): Tensor {
  if (student.rank !== 2 || !sameShape(student.shape, teacher.shape))
    throw new ShapeError(
      'SHAPE_MISMATCH',
      `[distillationLoss] student ${formatShape(student.shape)} and teacher ${formatShape(teacher.shape)} need one shape (N, C)`,
      { op: 'distillationLoss', expected: student.shape, got: teacher.shape },
    );
  if (!(temperature > 0 && Number.isFinite(temperature)))
    throw new ArgumentError('OPTION_INVALID', `[distillationLoss] temperature is above 0, got ${temperature}`, {
      op: 'distillationLoss',
      field: 'temperature',
      got: temperature,
    });
  const soft = teacher.detach().div(temperature);
  const divergence = softmax(soft).mul(logSoftmax(soft).sub(logSoftmax(student.div(temperature))));
  return divergence.sum().mul(temperature ** 2 / (student.shape[0] as number));
}

/** alpha of the teacher's loss, 1 - alpha of the labels'. */
export const withTeacher = (
  labels: Tensor,
  student: Tensor,
  { logits, temperature, alpha }: Teacher,
  batch: LabelledBatch,
): Tensor =>
  distillationLoss(student, logits(batch), temperature)
    .mul(alpha)
    .add(labels.mul(1 - alpha));
