/** What the passes make of typical graphs: which kernels there are, and what they fuse. Nothing runs here. */
import { describe, expect, test } from 'vitest';
import { gradients } from '../autograd/backward.ts';
import { type DType, sizeOf } from '../base/index.ts';
import { type Node, Storage, sourceNode, topologicalOrder } from '../graph/index.ts';
import { conv2d, maxPool2d, scalar, uniform, where } from '../tensor/index.ts';
import { Tensor } from '../tensor/tensor.ts';
import { lower } from './index.ts';
import type { NativeProgram } from './program.ts';

const source = (shape: number[], dtype: DType = 'f32'): Tensor =>
  new Tensor(sourceNode(new Storage(dtype, sizeOf(shape)), shape));

interface Wanted {
  outputs?: Tensor[];
  updates?: [Tensor, Tensor][];
  checks?: Tensor[];
}

function compile(
  { outputs = [], updates = [], checks = [] }: Wanted,
  epilogues = true,
  recomputation = true,
): NativeProgram {
  const roots = [...outputs, ...updates.map(([, value]) => value), ...checks].map((t) => t.node);
  const inputs = [...topologicalOrder(roots), ...updates.map(([target]) => target.node)].filter(
    (node, i, all): node is Node<'source'> => node.op === 'source' && all.indexOf(node) === i,
  );
  return lower(
    {
      inputs,
      outputs: roots.slice(0, outputs.length + updates.length),
      overwrites: [...outputs.map(() => -1), ...updates.map(([target]) => inputs.indexOf(target.node as never))],
      checks: checks.map((t) => t.node),
    },
    { epilogues, recomputation },
  ).program;
}
const kernels = (program: NativeProgram): string[] => program.steps.map((s) => s.kernel);

describe('fusion', () => {
  test('a chain of elementwise ops is one kernel', () => {
    const x = source([8, 5]);
    expect(kernels(compile({ outputs: [x.mul(2).add(1).relu().exp().sub(x)] }))).toEqual(['fused']);
  });

  test('softmax is one kernel over rows', () => {
    const x = source([8, 5]);
    const e = x.sub(x.max(-1, { keepDims: true })).exp();
    const program = compile({ outputs: [e.div(e.sum(-1, { keepDims: true }))] });
    expect(kernels(program)).toEqual(['fused']);
    expect(program.steps[0]?.fused?.cols).toBe(5);
  });

  test('backward of GELU reads one value and computes the others again', () => {
    const wide = source([32, 64]);
    const [w1, w2] = [source([64, 48]), source([48, 64])];
    const x = wide.matmul(w1).add(source([48]));
    const loss = x.mul(0.5).mul(x.mul(Math.SQRT1_2).erf().add(1)).matmul(w2).mul(x.sum()).sum();
    const grad = new Tensor(gradients(loss.node, [w1.node])[0] as Node);
    const traffic = (recomputation: boolean): number =>
      compile({ outputs: [grad] }, true, recomputation)
        .steps.map(({ fused }) => (fused ? fused.inputs.length + fused.outputs.length : 0))
        .reduce((a, b) => a + b, 0);
    expect(traffic(true)).toBeLessThan(traffic(false) - 2);
  });

  test('bias and relu ride in the convolution, and images are made channels-last once', () => {
    const x = source([2, 3, 8, 8]);
    const y = conv2d(x, source([4, 3, 3, 3]), source([4]), { padding: 1 }).relu();
    const z = conv2d(y, source([4, 4, 3, 3]), source([4]), { padding: 1 }).relu();
    const names = kernels(compile({ outputs: [maxPool2d(z, 2).flatten(1)] }));
    expect(names).toEqual(['fused', 'conv2d', 'conv2d', 'max-pool', 'fused']);
    const off = kernels(compile({ outputs: [maxPool2d(z, 2).flatten(1)] }, false));
    expect(off).toEqual(['fused', 'conv2d', 'fused', 'conv2d', 'fused', 'max-pool', 'fused']);
  });

  test('an optimizer update rides in the product that makes its gradient, which is never stored', () => {
    const x = source([4, 32]);
    const w = source([16, 32]);
    const momentum = source([16, 32]);
    const loss = x.matmul(w.transpose()).square().sum();
    const grad = new Tensor(gradients(loss.node, [w.node])[0] as Node);
    const velocity = momentum.mul(0.9).add(grad);
    const program = compile({
      outputs: [loss],
      checks: [loss, grad],
      updates: [
        [momentum, velocity],
        [w, w.sub(velocity.mul(scalar(0.1)))],
      ],
    });
    const last = program.steps.at(-1);
    expect(last?.kernel).toBe('gemm');
    expect(last?.fused?.outputs).toHaveLength(2);
    expect(kernels(program).filter((k) => k === 'gemm')).toHaveLength(2);
    // Its finiteness follows from its factors.
    expect(kernels(program)).toContain('check-product');
    expect(kernels(program)).not.toContain('copy');
  });

  test('a dropout mask is drawn again instead of being kept', () => {
    const x = source([8, 8]);
    const keep = uniform([8, 8]).lt(0.5);
    const h = where(keep, x.exp(), 0);
    const loss = h
      .matmul(source([8, 8]))
      .square()
      .sum();
    const grad = new Tensor(gradients(loss.node, [x.node])[0] as Node);
    const program = compile({ outputs: [loss, grad] });
    const random = program.steps.flatMap((s) => s.fused?.code ?? []).filter(([op]) => op === 'random');
    expect(random).toHaveLength(2);
  });

  test('adjacent transposes vanish into the product', () => {
    const a = source([4, 6]);
    const b = source([5, 6]);
    const program = compile({ outputs: [b.matmul(a.transpose()).transpose()] });
    expect(kernels(program)).toEqual(['gemm']);
    expect(program.steps[0]?.attrs).toMatchObject({ M: 4, N: 5, K: 6, transA: 0, transB: 1 });
  });
});

describe('updates', () => {
  test('checks come before anything is overwritten', () => {
    const w = source([64]);
    const program = compile({ checks: [w.square().sum()], updates: [[w, w.mul(0.5)]] });
    const names = kernels(program);
    expect(names.indexOf('check-finite')).toBeLessThan(names.lastIndexOf('fused'));
    expect(program.steps.at(-1)?.fused?.outputs[0]?.buffer).toBe(program.steps.at(-1)?.fused?.inputs[0]?.buffer);
  });

  test('two variables that swap their values do so through a temporary', () => {
    const a = source([16]);
    const b = source([16]);
    const program = compile({
      updates: [
        [a, b.mul(1.5)],
        [b, a.mul(2.5)],
      ],
    });
    expect(kernels(program)).toContain('copy');
  });

  test('an update that reads another order of its own elements is not made in place', () => {
    const a = source([4, 4]);
    expect(kernels(compile({ updates: [[a, a.transpose().add(a)]] }))).toEqual(['fused', 'copy']);
  });
});
