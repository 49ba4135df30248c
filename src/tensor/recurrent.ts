/** A recurrent sequence as one op. */
import * as build from '../graph/build.ts';
import { makeNode, type Node, type RecurrentCell, recurrentPrecision } from '../graph/index.ts';
import { Tensor } from './tensor.ts';

export interface RecurrenceOptions {
  cell: RecurrentCell;
  h0: Tensor; // (B, H)
  /** lstm: (B, H). */
  c0?: Tensor;
  /** gru: the recurrent bias of n, (H). */
  biasN?: Tensor;
  /** i32 (B), each in 1 .. T: the state is held from there on. */
  lengths?: Tensor;
  /** From the last step to the first. */
  reverse?: boolean;
}

/**
 * One direction of one recurrent layer. x (T, B, gates * H) are the projections of the input with their biases, weight
 * (gates * H, H) the recurrent weight -> h after each step (T, B, H), and h and c (lstm) after the last one, (B, H).
 * Throws ShapeError or DTypeError for operands that do not fit; a length outside 1 .. T is an ArgumentError when the program
 * runs.
 */
export function recurrence(
  x: Tensor,
  weight: Tensor,
  { cell, h0, c0, biasN, lengths, reverse = false }: RecurrenceOptions,
): { output: Tensor; h: Tensor; c: Tensor | undefined } {
  const given = [x, weight, h0, c0, biasN, lengths].filter((t) => t !== undefined);
  const states: Node = makeNode(
    'recurrent',
    given.map((t) => t.node),
    { cell, reverse, masked: lengths !== undefined, ...recurrentPrecision(h0.shape.at(-1) ?? 0) },
  );
  const [steps, batch] = x.shape as [number, number];
  const hidden = h0.shape[1] as number;
  const cut = (row: number, rows: number, slot: number): Node =>
    build.slice(states, { start: [row, 0, slot * hidden], step: [1, 1, 1], count: [rows, batch, hidden] });
  const end = reverse ? 0 : steps;
  const last = (slot: number): Tensor => new Tensor(build.reshape(cut(end, 1, slot), [batch, hidden]));
  return {
    output: new Tensor(cut(reverse ? 0 : 1, steps, 0)),
    h: last(0),
    c: cell === 'lstm' ? last(1) : undefined,
  };
}
