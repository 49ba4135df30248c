/** Kernels of recurrent sequences. */
import type { Node, RecurrentCell } from '../graph/index.ts';
import type { HeavyKernel } from './heavy.ts';

const cells: readonly RecurrentCell[] = ['lstm', 'gru', 'tanh', 'relu'];

function kernelOf(
  kernel: string,
  node: Node<'recurrent'> | Node<'recurrentGrad'>,
  hidden: number,
  extra: number,
): HeavyKernel {
  const { cell, reverse, masked, precision } = node.attrs;
  const [rows, batch] = node.shape as [number, number];
  return {
    kernel,
    attrs: {
      cell: cells.indexOf(cell),
      reverse: Number(reverse),
      masked: Number(masked),
      steps: rows - 1,
      batch,
      hidden,
      bf16: Number(precision === 'bf16'),
    },
    // Any buffer stands for an operand this cell does not have.
    inputs: [0, 1, 2, extra, masked ? node.inputs.length - 1 : 0],
  };
}

export const recurrentKernel = (node: Node<'recurrent'>): HeavyKernel =>
  kernelOf(
    'recurrent',
    node,
    (node.inputs[2] as Node).shape[1] as number,
    node.attrs.cell === 'lstm' || node.attrs.cell === 'gru' ? 3 : 0,
  );

export const recurrentGradKernel = (node: Node<'recurrentGrad'>): HeavyKernel =>
  kernelOf('recurrent-grad', node, (node.inputs[2] as Node).shape[2] as number, node.attrs.cell === 'lstm' ? 3 : 0);
