/** Names, state, modes, freezing, hooks and located errors: what every model gets from Module. */
import { describe, expect, test } from 'vitest';
import { ArgumentError, type CambiumError, DataError, ShapeError } from '../base/index.ts';
import { engineStats, manualSeed, ones, type Tensor, uniform, zeros } from '../tensor/index.ts';
import {
  BatchNorm2d,
  Conv2d,
  Dropout,
  Flatten,
  formatSummary,
  Identity,
  Linear,
  MaxPool2d,
  Module,
  ModuleList,
  ReLU,
  Sequential,
  summarize,
} from './index.ts';

class Net extends Module {
  readonly features = new Sequential(new Conv2d(1, 4, 3), new BatchNorm2d(4), new ReLU(), new MaxPool2d(2));
  readonly blocks = new ModuleList([new Identity(), new Dropout(0.5)]);
  readonly lastLayers = [new Flatten(), new Linear(36, 3)];
  forward(x: Tensor): Tensor {
    let h = this.features.forward(x);
    for (const block of this.blocks) h = block.forward(h);
    return this.lastLayers.reduce((y, layer) => layer.forward(y), h);
  }
}

/** The error a function throws, of the kind expected. */
function errorOf<E extends CambiumError>(Kind: new (...args: never[]) => E, body: () => unknown): E {
  try {
    body();
  } catch (error) {
    expect(error).toBeInstanceOf(Kind);
    return error as E;
  }
  return expect.fail('nothing was thrown');
}

const values = async (model: Module): Promise<number[][]> => {
  const out: number[][] = [];
  for (const variable of model.stateDict().values()) out.push(Array.from(await variable.data()));
  return out;
};

describe('names', () => {
  test('keys are paths of properties, numbers in sequences and arrays, snake case', () => {
    expect([...new Net().stateDict().keys()]).toEqual([
      'features.0.weight',
      'features.0.bias',
      'features.1.weight',
      'features.1.bias',
      'features.1.running_mean',
      'features.1.running_var',
      'features.1.num_batches_tracked',
      'last_layers.1.weight',
      'last_layers.1.bias',
    ]);
  });

  test('parameters, buffers and modules', () => {
    const net = new Net();
    expect(net.namedParameters().map((p) => p.name)).toHaveLength(6);
    expect(net.namedBuffers().map((p) => p.name)).toHaveLength(3);
    expect(net.namedParameters().every((p) => p.variable.requiresGrad)).toBe(true);
    expect([...net.namedModules()].map(([name]) => name)).toContain('blocks.1');
  });

  test('a variable is labelled with its longest path, whoever asked first', () => {
    const net = new Net();
    summarize(net, [1, 1, 8, 8]);
    (net.features.layers[0] as Module).parameters();
    expect(net.parameters().map((p) => p.label)).toEqual(net.namedParameters().map((p) => p.name));
    expect(net.parameters()[0]?.label).toBe('features.0.weight');
  });

  test('a shared layer has one set of parameters', () => {
    const shared = new Linear(2, 2);
    expect(new Sequential(shared, new ReLU(), shared).parameters()).toHaveLength(2);
  });
});

describe('state', () => {
  test('another model, loaded, is equal; later changes of one do not reach the other', async () => {
    const [a, b] = [new Net(), new Net()];
    const report = b.loadStateDict(a.stateDict());
    expect(report).toMatchObject({ missing: [], unused: [], mismatched: [] });
    expect(report.loaded).toHaveLength(9);
    expect(await values(b)).toEqual(await values(a));
    const [bias] = [...a.stateDict()].filter(([name]) => name === 'last_layers.1.bias').map(([, v]) => v);
    bias?.assign(ones([3]));
    expect((await values(a)).at(-1)).toEqual([1, 1, 1]);
    expect((await values(b)).at(-1)).not.toEqual([1, 1, 1]);
  });

  test('host data replace an initialisation that was never computed', async () => {
    const linear = new Linear(2, 1);
    const before = engineStats.runs;
    linear.loadStateDict(
      new Map([
        ['weight', { shape: [1, 2], dtype: 'f32', data: Float32Array.of(3, 4) }],
        ['bias', { shape: [1], dtype: 'f64', data: Float64Array.of(0.5) }],
      ]),
    );
    expect(engineStats.runs).toBe(before);
    expect(await values(linear)).toEqual([[3, 4], [0.5]]);
    expect(await linear.forward(ones([1, 2])).item()).toBe(7.5);
  });

  test('a head of another size names the tensor, both shapes and the way out', async () => {
    const ten = new Sequential(new Linear(4, 8), new Linear(8, 10));
    const thousand = new Sequential(new Linear(4, 8), new Linear(8, 1000));
    const before = await values(ten);
    const error = errorOf(DataError, () => ten.loadStateDict(thousand.stateDict()));
    expect(error.code).toBe('WEIGHTS_SHAPE');
    expect(error.message).toContain(
      '1.weight is (10, 8) in the model and (1000, 8) in the weights (and 1 more differ)',
    );
    expect(error.details).toMatchObject({ tensor: '1.weight', layer: '1', expected: [10, 8], got: [1000, 8] });
    expect(error.hint).toContain('numClasses');
    expect(await values(ten)).toEqual(before);

    const report = ten.loadStateDict(thousand.stateDict(), { strict: false });
    expect(report.loaded).toEqual(['0.weight', '0.bias']);
    expect(report.mismatched.map((m) => m.name)).toEqual(['1.weight', '1.bias']);
    expect((await values(ten)).slice(2)).toEqual(before.slice(2));
  });

  test('missing and unused tensors are named, with the nearest key', () => {
    const model = new Sequential(new Linear(2, 2));
    const state = new Map([...model.stateDict()].map(([key, v]) => [key.replace('bias', 'biass'), v]));
    const error = errorOf(DataError, () => model.loadStateDict(state));
    expect(error.message).toBe('0.bias is missing from the weights');
    expect(error.hint).toContain('the weights have "0.biass"');
    expect(model.loadStateDict(state, { strict: false })).toMatchObject({ missing: ['0.bias'], unused: ['0.biass'] });
  });
});

describe('modes', () => {
  test('train and eval reach every module', () => {
    const net = new Net();
    const modes = (): boolean[] => [...net.namedModules()].map(([, m]) => m.training);
    expect(new Set(modes())).toEqual(new Set([true]));
    net.eval();
    expect(new Set(modes())).toEqual(new Set([false]));
    net.train();
    expect(new Set(modes())).toEqual(new Set([true]));
  });

  test('freezing by path or pattern; a name that is not there suggests the nearest', () => {
    const net = new Net();
    expect(net.freeze('features')).toHaveLength(4);
    expect(net.namedParameters().filter((p) => p.variable.requiresGrad)).toHaveLength(2);
    expect(net.unfreeze(/\.1\.bias$/g)).toEqual(['features.1.bias', 'last_layers.1.bias']);
    const error = errorOf(ArgumentError, () => net.freeze('feature'));
    expect(error.code).toBe('NO_SUCH_PARAMETER');
    expect(error.hint).toBe('did you mean "features"?');
  });

  test('a frozen parameter gets no gradient', () => {
    const net = new Net();
    net.freeze('features');
    net
      .forward(zeros([2, 1, 8, 8]))
      .sum()
      .backward();
    const withGrad = net.namedParameters().filter((p) => p.variable.grad);
    expect(withGrad.map((p) => p.name)).toEqual(['last_layers.1.weight', 'last_layers.1.bias']);
  });
});

describe('forward', () => {
  test('hooks see every module, inner ones first, also below plain calls', () => {
    const net = new Net();
    const seen: string[] = [];
    const x = zeros([2, 1, 8, 8]);
    net.withForwardHook(
      (path, _, output) => seen.push(`${path}:${output.shape.join('x')}`),
      () => net.forward(x),
    );
    expect(seen.slice(0, 5)).toEqual([
      'features.0:2x4x6x6',
      'features.1:2x4x6x6',
      'features.2:2x4x6x6',
      'features.3:2x4x3x3',
      'features:2x4x3x3',
    ]);
    expect(seen.at(-1)).toBe(':2x3');
    net.forward(x);
    expect(seen).toHaveLength(10);
  });

  test('an error names the layer, its arguments and its input, and keeps its stack', () => {
    const net = new Net();
    const error = errorOf(ShapeError, () => net.forward(zeros([2, 3, 8, 8])));
    expect(error.code).toBe('CHANNELS_MISMATCH');
    expect(error.details.layer).toBe('features.0');
    expect(error.message).toContain('in features.0 = Conv2d(1 -> 4, kernel 3x3), input (2, 3, 8, 8)');
    expect(error.message.match(/; in /g)).toHaveLength(1);
    expect(error.stack).toContain('in features.0 = Conv2d');
    // The frames stay those of the op that refused, not of whoever added the name.
    expect(error.stack).toContain('at makeNode');
  });

  test('an image too small for a pooling says which', () => {
    const error = errorOf(ShapeError, () => new Net().forward(zeros([2, 1, 3, 3])));
    expect(error.code).toBe('INPUT_TOO_SMALL');
    expect(error.details.layer).toBe('features.3');
    expect(error.hint).toContain('pad or resize');
  });

  test('a layer alone is located too', () => {
    const error = errorOf(ShapeError, () => new Linear(3, 2).forward(zeros([1, 4])));
    expect(error.message).toContain('in Linear(3 -> 2), input (1, 4)');
  });
});

describe('summary', () => {
  test('shapes, parameters and cost, without computing or changing anything', () => {
    const net = new Net();
    net.features.eval();
    const before = { ...engineStats };
    const summary = summarize(net, [1, 1, 8, 8]);
    expect(engineStats).toEqual(before);
    expect(net.training).toBe(true);
    expect(net.features.training).toBe(false);
    expect(summary).toMatchObject({ parameters: 40 + 8 + 111, trainable: 159 });
    expect(summary.layers[0]).toEqual({
      name: 'features.0',
      type: 'Conv2d(1 -> 4, kernel 3x3)',
      outputShape: [1, 4, 6, 6],
      parameters: 40,
      trainable: 40,
      flops: 2 * 144 * 9,
    });
    const text = formatSummary(summary);
    expect(text.split('\n')[0]).toMatch(/^layer +type +output +parameters +cost$/);
    expect(text).toMatch(/159 parameters, 159 trainable, .* forward$/);
  });
});

describe('dropout', () => {
  test('drops a share p and scales the rest; the identity in evaluation', async () => {
    manualSeed(1);
    const drop = new Dropout(0.3);
    const y = await drop.forward(ones([10000])).data();
    const kept = y.filter((v) => v !== 0);
    expect(new Set(kept)).toEqual(new Set([Math.fround(1 / 0.7)]));
    expect(Math.abs(kept.length / 10000 - 0.7)).toBeLessThan(0.02);
    const x = ones([3]);
    expect(drop.eval().forward(x)).toBe(x);
    expect(await new Dropout(1).forward(ones([3])).toArray()).toEqual([0, 0, 0]);
  });

  test('the same stream gives the same mask, the gradient uses the mask of the forward', async () => {
    const x = uniform([64]).add(1);
    x.requiresGrad = true;
    manualSeed(5);
    const y = new Dropout(0.5).forward(x);
    y.sum().backward();
    manualSeed(5);
    const again = new Dropout(0.5).forward(x);
    expect(await y.data()).toEqual(await again.data());
    const grad = await (x.grad as Tensor).data();
    (await y.data()).forEach((v, i) => {
      expect(grad[i]).toBe(v === 0 ? 0 : 2);
    });
  });

  test('arguments are checked where the layer is made', () => {
    expect(() => new Dropout(1.5)).toThrow(/p must be in \[0, 1\], got 1.5/);
    expect(() => new Linear(0, 3)).toThrow(/inFeatures must be an integer >= 1/);
    expect(() => new Conv2d(3, 4, 3, { groups: 2 })).toThrow(/groups 2 must divide 3 and 4/);
    expect(() => new BatchNorm2d(2.5)).toThrow(/numFeatures must be an integer/);
  });
});

describe('batch norm', () => {
  test('refuses to normalise one value per channel, and other channels', () => {
    const norm = new BatchNorm2d(4);
    expect(errorOf(ArgumentError, () => norm.forward(zeros([1, 4, 1, 1]))).code).toBe('BATCH_TOO_SMALL');
    expect(errorOf(ShapeError, () => norm.forward(zeros([2, 3, 4, 4]))).code).toBe('CHANNELS_MISMATCH');
    expect(errorOf(ShapeError, () => norm.forward(zeros([2, 4]))).code).toBe('SHAPE_RANK');
    norm.eval().forward(zeros([1, 4, 1, 1]));
  });

  test('statistics move once a forward and never in evaluation', async () => {
    const norm = new BatchNorm2d(1);
    for (let i = 0; i < 3; i++) await norm.forward(uniform([2, 1, 2, 2])).realize();
    expect(await norm.numBatchesTracked.item()).toBe(3);
    const before = await values(norm);
    await norm
      .eval()
      .forward(uniform([2, 1, 2, 2]))
      .realize();
    expect(await values(norm)).toEqual(before);
  });
});
