/** Shape rules of recurrent layers over a whole sequence, and of their gradient; rows of the total table are in ops.ts. */
import { DTypeError, formatShape, isFloat, type Shape, ShapeError, sameShape } from '../../base/index.ts';
import type { Operand, PrecisionAttrs } from '../attrs.ts';

/** LSTM (Hochreiter and Schmidhuber 1997, with forget gates), GRU (Cho et al. 2014, torch's form), tanh or ReLU units. */
export type RecurrentCell = 'lstm' | 'gru' | 'tanh' | 'relu';

/**
 * A sequence of one direction of one layer. Inputs: the projections of the input with every bias that may be added before
 * the recurrence [T, B, G H], the recurrent weight [G H, H] (gates in torch's order), h0 [B, H], then c0 [B, H] (lstm) or
 * the recurrent bias of n [H] (gru), then the lengths i32 [B] if `masked`.
 *
 * The result is [T + 1, B, slots x H]: the states, and side by side with them what backward reads. Slots are h c i f g o
 * (lstm), h r z n hn (gru; hn is the recurrent part of n before r), h. Row 0 holds the initial state and row t + 1 what step
 * t left; with `reverse` row T is the initial one and row t what step t left. At and past a sequence's length the state is
 * held. With a `precision` the products with the recurrent weight round their operands; the hidden size is then even. Gradients flow into the result from h after each step and, for lstm, from c after the last one processed.
 */
export interface RecurrentAttrs extends PrecisionAttrs {
  cell: RecurrentCell;
  /** From the last step to the first. */
  reverse: boolean;
  /** Lengths are given. */
  masked: boolean;
}

/** What a cell keeps: gates in the projection, slots of the result, slots of recurrentGrad's. */
export const recurrentLayout: Readonly<Record<RecurrentCell, { gates: number; slots: number; gradSlots: number }>> = {
  lstm: { gates: 4, slots: 6, gradSlots: 4 },
  gru: { gates: 3, slots: 5, gradSlots: 4 },
  tanh: { gates: 1, slots: 1, gradSlots: 1 },
  relu: { gates: 1, slots: 1, gradSlots: 1 },
};

export function inferRecurrent(inputs: readonly Operand[], { cell, masked }: RecurrentAttrs): Operand {
  const { gates, slots } = recurrentLayout[cell];
  const [x, w, h0] = inputs as [Operand, Operand, Operand];
  if (x.shape.length !== 3)
    throw new ShapeError('SHAPE_RANK', `[${cell}] projections are (T, B, ${gates} H), got ${formatShape(x.shape)}`, {
      op: cell,
      got: x.shape,
    });
  const [steps, batch] = x.shape as [number, number, number];
  const hidden = h0.shape.at(-1) ?? 0;
  if (steps < 1)
    throw new ShapeError('SHAPE_MISMATCH', `[${cell}] a sequence has at least one step`, { op: cell, got: x.shape });
  const want = (operand: Operand | undefined, expected: Shape, what: string): void => {
    if (!operand || !sameShape(operand.shape, expected))
      throw new ShapeError(
        'SHAPE_MISMATCH',
        `[${cell}] ${what} ${formatShape(operand?.shape ?? [])} should be ${formatShape(expected)}`,
        { op: cell, expected, got: operand?.shape },
      );
    if (!isFloat(operand.dtype) || operand.dtype !== x.dtype)
      throw new DTypeError(
        'DTYPE_NOT_FLOAT',
        `[${cell}] operands share one floating-point dtype, got ${operand.dtype}`,
        {
          op: cell,
          expected: x.dtype,
          got: operand.dtype,
          hint: "x.cast('f32')",
        },
      );
  };
  want(h0, [batch, hidden], 'h0');
  want(x, [steps, batch, gates * hidden], 'projections');
  want(w, [gates * hidden, hidden], 'recurrent weight');
  if (cell === 'lstm') want(inputs[3], [batch, hidden], 'c0');
  if (cell === 'gru') want(inputs[3], [hidden], 'bias of n');
  const lengths = inputs.at(-1) as Operand;
  if (masked && (lengths.dtype !== 'i32' || !sameShape(lengths.shape, [batch])))
    throw new ShapeError(
      'SHAPE_MISMATCH',
      `[${cell}] lengths are i32 (${batch}), got ${lengths.dtype} ${formatShape(lengths.shape)}`,
      {
        op: cell,
        expected: [batch],
        got: lengths.shape,
      },
    );
  return { shape: [steps + 1, batch, slots * hidden], dtype: x.dtype };
}

/**
 * (states, recurrent weight, gradient of h after each step [T, B, H], then of the last c [B, H] (lstm), then lengths) ->
 * [T + 1, B, slots x H]: gradients of the gates before their activation at step t in row t (i f g o; hn r z n; h), and in row
 * T those of h0 and c0 in the first slots.
 */
export function inferRecurrentGrad(inputs: readonly Operand[], { cell }: RecurrentAttrs): Operand {
  const [states, , gh] = inputs as [Operand, Operand, Operand];
  const [rows, batch] = states.shape as [number, number, number];
  return { shape: [rows, batch, recurrentLayout[cell].gradSlots * (gh.shape[2] as number)], dtype: gh.dtype };
}
