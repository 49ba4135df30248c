/**
 * Names the culprit when a step met NaN or infinity: runs the same batch again, layer by layer forward, then the gradients
 * backward, and reports the first that is not finite. The step itself has updated nothing.
 */
import { NumericError } from '../base/errors.ts';
import type { LabelledBatch } from '../data/index.ts';
import { planAndDiscard, type Tensor } from '../tensor/index.ts';
import type { StepOptions } from './train-step.ts';

export interface StepContext {
  /** From 1: the update that could not be made. */
  readonly step: number;
  readonly lr: number;
}

interface Finding {
  readonly layer?: string;
  readonly kind?: string;
  readonly tensor?: string;
  readonly direction: 'weights' | 'forward' | 'loss' | 'backward';
  /** Rows of the batch that hold the bad values; undefined where the batch cannot be told apart. */
  readonly rows?: number[];
}

/** The error to throw in place of the engine's: with step, layer, direction, sample ids and learning rate. */
export async function diagnoseNonFinite(
  cause: NumericError,
  options: StepOptions,
  batch: LabelledBatch,
  context: StepContext,
): Promise<NumericError> {
  const finding = (await find(options, batch)) ?? { direction: 'backward' as const };
  const { layer, kind, tensor, direction, rows } = finding;
  const all = [...batch.ids];
  const ids = rows && rows.length < all.length ? rows.map((row) => all[row] as number) : all;
  const at =
    direction === 'weights'
      ? `the weights ${tensor} are`
      : direction === 'loss'
        ? 'the loss is'
        : direction === 'forward'
          ? `the output of layer ${layer}${kind ? ` (${kind})` : ''} is`
          : tensor === undefined
            ? 'a gradient is'
            : `the gradient of ${tensor} is`;
  return new NumericError(
    'NON_FINITE',
    `step ${context.step}: ${at} NaN or infinite (${direction === 'weights' ? 'before the step' : direction === 'backward' ? 'backward' : 'forward'}); nothing was updated`,
    {
      step: context.step,
      layer: layer ?? 'loss',
      direction,
      tensor,
      samples: ids.slice(0, 64),
      epoch: batch.epoch + 1,
      batch: batch.index,
      lr: context.lr,
      hint:
        direction === 'weights'
          ? 'load weights that are finite'
          : `samples ${ids.slice(0, 8).join(', ')}${ids.length > 8 ? ' ...' : ''}, lr ${context.lr}: try a smaller optimizer.lr or clip.norm=1; the last checkpoint is good`,
      cause,
    },
  );
}

async function find({ model, lossOf, parameters }: StepOptions, batch: LabelledBatch): Promise<Finding | undefined> {
  for (const [name, variable] of model.stateDict())
    if (await badRows(variable)) return { direction: 'weights', tensor: name, layer: parentOf(name) };

  for (const p of parameters) p.grad = null;
  const outputs: { path: string; kind: string; output: Tensor }[] = [];
  const loss = model.withForwardHook(
    (path, module, output) => outputs.push({ path, kind: module.constructor.name, output }),
    () => lossOf(batch),
  );
  // Running statistics of batch norm must not learn from this batch.
  planAndDiscard([]);
  for (const { path, kind, output } of outputs) {
    const rows = await badRows(output, batch.size);
    if (rows) return { direction: 'forward', layer: path, kind, rows };
  }
  if (await badRows(loss)) return { direction: 'loss' };

  loss.backward();
  // From the loss towards the input: the last layer with a bad gradient spoiled the ones before it.
  const named = model.namedParameters().reverse();
  for (const { name, variable } of named)
    if (variable.grad && (await badRows(variable.grad)))
      return { direction: 'backward', tensor: name, layer: parentOf(name) };
  return undefined;
}

const parentOf = (name: string): string => name.split('.').slice(0, -1).join('.') || name;

/** Rows (of `count`, where the tensor has that many) with values that are not finite; undefined if there are none. */
async function badRows(x: Tensor, count = 1): Promise<number[] | undefined> {
  const data = await x.data();
  const rows = new Set<number>();
  const perRow = x.shape[0] === count ? data.length / count : data.length;
  for (let i = 0; i < data.length; i++) if (!Number.isFinite(data[i])) rows.add(Math.floor(i / perRow));
  return rows.size > 0 ? [...rows] : undefined;
}
