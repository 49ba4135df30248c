import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { BertForSequenceClassification, createModel, GPT2, generate } from '../../src/models/index.ts';
import {
  type AdapterOptions,
  adapterNames,
  adapterOf,
  applyAdapter,
  applyBottleneck,
  applyLora,
  applyPrefix,
  crossEntropy,
  type Module,
  MultiheadAttention,
  removeAdapters,
  setAdapter,
} from '../../src/nn/index.ts';
import { AdamW } from '../../src/optim/index.ts';
import { manualSeed, type Tensor, tensor, type Variable, zeros } from '../../src/tensor/index.ts';
import {
  fineTune,
  loadAdapter,
  loadModelFolder,
  parseRecipe,
  planFineTune,
  planText,
  resumeRun,
  runRecipe,
  saveAdapter,
  savePretrained,
} from '../../src/training/index.ts';
import { openInit } from '../../src/training/init-source.ts';
import type { RecipeInput } from '../../src/training/recipe.ts';
import { array, flat, type Nested, near, TwoLayers } from './golden-tensors.ts';
import { mlp, options } from './tiny.ts';

const folder = mkdtempSync(join(tmpdir(), 'adapters-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const golden = JSON.parse(readFileSync(new URL('../golden/parity/adapters.json', import.meta.url), 'utf8'));

/** Five steps of AdamW on what the adapter learns, as in the script of the goldens. */
async function fiveSteps(model: Module, forward: () => Tensor, y: number[], learned: Nested[]): Promise<number[]> {
  const variables = adapterOf(model).layers.flatMap(({ tensors }) => Object.values(tensors));
  for (const [i, variable] of variables.entries()) variable.assign(array(learned[i] as Nested));
  expect(model.parameters().filter(({ requiresGrad }) => requiresGrad)).toEqual(variables);
  const optimizer = new AdamW(variables, { lr: 0.05, weightDecay: 0 });
  const losses: number[] = [];
  for (let i = 0; i < 5; i++) {
    const loss = crossEntropy(forward(), tensor(Int32Array.from(y)));
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    losses.push(await loss.item());
  }
  return losses;
}
async function ends(model: Module, wanted: Nested[]): Promise<void> {
  const variables = adapterOf(model).layers.flatMap(({ tensors }) => Object.values(tensors));
  for (const [i, variable] of variables.entries()) near(await variable.data(), flat(wanted[i] as Nested));
}

const sizes = { vocabSize: 40, hiddenSize: 16, numHiddenLayers: 2, numAttentionHeads: 2, intermediateSize: 32 };
function bert(): BertForSequenceClassification {
  manualSeed(5);
  const quiet = { hiddenDropoutProb: 0, attentionProbsDropoutProb: 0 };
  return new BertForSequenceClassification({ ...sizes, ...quiet, maxPositionEmbeddings: 12, numClasses: 3 });
}
const ids = (rows: number, steps: number): Tensor =>
  tensor(
    new Int32Array(rows * steps).map((_, i) => (i * 7) % 40),
    { shape: [rows, steps] },
  );
const logits = (model: Module): Promise<ArrayLike<number>> => model.eval().forward(ids(4, 8)).data();

/** Some steps of whatever trains. */
async function tuned(model: Module): Promise<void> {
  const trained = model.train().parameters();
  const optimizer = new AdamW(
    trained.filter(({ requiresGrad }) => requiresGrad),
    { lr: 1e-2 },
  );
  for (let i = 0; i < 4; i++) {
    const loss = crossEntropy(model.forward(ids(4, 8)), tensor(new Int32Array([0, 1, 2, 0])));
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    await loss.item();
  }
}

const recipe = (changes: Partial<RecipeInput>): RecipeInput => ({
  name: 'tiny',
  seed: 0,
  data: { name: 'digits' },
  model: { name: 'mlp' },
  optimizer: { name: 'adamw', lr: 1e-3 },
  batchSize: 10,
  epochs: 1,
  ...changes,
});

const kinds: AdapterOptions[] = [
  { name: 'lora', rank: 2, targets: ['query'] },
  { name: 'bottleneck', size: 4, activation: 'gelu' },
  { name: 'prefix', length: 5 },
];

describe('bottleneck adapters', () => {
  test('learn as PyTorch does', async () => {
    const { start, x, y, size, losses, end } = golden.bottleneck;
    const model = new TwoLayers();
    model.start(start);
    expect(applyBottleneck(model, { size, targets: ['first'] })).toEqual(['first']);
    near(await fiveSteps(model, () => model.forward(array(x)), y, start.learned), losses);
    await ends(model, end);
  });

  test('stand behind both halves of every block, and change nothing until they learn', async () => {
    const model = bert();
    const before = await logits(model);
    const paths = applyBottleneck(model);
    expect(paths).toHaveLength(4);
    expect(paths.slice(0, 2).map((path) => path.replace('bert.encoder.layer.0.', ''))).toEqual([
      'attention.output.dense',
      'output.dense',
    ]);
    near(await logits(model), before, 1e-7);
    removeAdapters(model);
    expect([...model.stateDict().keys()]).toEqual([...bert().stateDict().keys()]);
  });
});

describe('prefixes', () => {
  test('learn as PyTorch does, beside masks and in order', async () => {
    const { start, x, y, heads, length, losses, end, causal } = golden.prefix;
    const model = new MultiheadAttention(6, heads, { batchFirst: true });
    await model.loadStateDict(
      new Map(
        ['in_proj_weight', 'in_proj_bias', 'out_proj.weight', 'out_proj.bias'].map((key) => [key, array(start[key])]),
      ) as never,
    );
    applyPrefix(model, { length });
    const keyPaddingMask = tensor(new Uint8Array([0, 0, 0, 0, 0, 0, 0, 1]), { shape: [2, 4], dtype: 'u8' }).ne(0);
    const forward = (options = {}): Tensor =>
      model.forward(array(x), undefined, undefined, { keyPaddingMask, ...options }).mean(1);
    const [losses_, first] = [await fiveSteps(model, forward, y, start.learned), start.learned as Nested[]];
    near(losses_, losses);
    await ends(model, end);
    for (const [i, variable] of Object.values(adapterOf(model).layers[0]?.tensors ?? {}).entries())
      variable.assign(array(first[i] as Nested));
    near(await forward({ causal: true }).data(), causal.flat());
  });

  test('of a padded text are those of the text alone', async () => {
    const model = bert();
    applyPrefix(model, { length: 3 });
    await tuned(model);
    model.eval();
    const alone = await model.forward({ inputIds: ids(1, 5) }).data();
    const padded = await model
      .forward({
        inputIds: ids(1, 8),
        attentionMask: tensor(new Int32Array([1, 1, 1, 1, 1, 0, 0, 0]), { shape: [1, 8] }),
      })
      .data();
    near(padded, alone, 1e-6);
  });

  test('go with a cache of keys and values', async () => {
    manualSeed(3);
    const model = new GPT2({ vocabSize: 40, nPositions: 24, nEmbd: 16, nLayer: 2, nHead: 2 });
    const plain = await generate(model, [1, 2, 3], { maxNewTokens: 12, temperature: 0 });
    applyPrefix(model, { length: 4 });
    for (const { tensors } of adapterOf(model).layers)
      for (const variable of Object.values(tensors) as Variable[]) variable.assign(variable.mul(200));
    const tokens = await generate(model, [1, 2, 3], { maxNewTokens: 12, temperature: 0 });
    expect(tokens).not.toEqual(plain);
    // Each next token by the whole text anew.
    const whole = [1, 2, 3];
    while (whole.length < 15) {
      const all = await model
        .eval()
        .forward(tensor(Int32Array.from(whole), { shape: [1, whole.length] }))
        .data();
      const last = Array.from(all.slice(-40) as Float32Array);
      whole.push(last.indexOf(Math.max(...last)));
    }
    expect(tokens).toEqual(whole.slice(3));
  });
});

describe.each(kinds)('an adapter of $name', (kind) => {
  test('is saved alone with the head, and shares a trunk with others', async () => {
    const model = bert();
    applyAdapter(model, kind, { modulesToSave: ['classifier'] });
    await tuned(model);
    const learned = await logits(model);
    const dir = join(folder, kind.name);
    await saveAdapter(dir, model);
    const other = bert();
    const plain = await logits(other);
    for (const [i, another] of kinds.entries()) applyAdapter(other, another, { name: `other${i}` });
    await loadAdapter(other, dir, { name: 'mine' });
    near(await logits(other), learned, 1e-6);
    expect(adapterNames(other).sort()).toEqual(['mine', 'other0', 'other1', 'other2']);
    setAdapter(other, null);
    near(await logits(other), plain, 1e-7);
  });

  test('refuses another of its name', () => {
    const model = bert();
    applyAdapter(model, kind);
    applyAdapter(model, kind);
    for (const another of kinds.filter(({ name }) => name !== kind.name))
      expect(() => applyAdapter(model, another)).toThrow(expect.objectContaining({ code: 'ADAPTER_EXISTS' }));
  });
});

test('of a run: the model keeps what cannot be merged, and is read with it', async () => {
  const target = (mlp().namedParameters()[0] as { name: string }).name.replace(/\.weight$/, '');
  const adapter = { name: 'bottleneck', size: 3, targets: [target] } as const;
  const plan = planFineTune(options({ model: mlp(), adapter }));
  expect(plan.trainable).toBe(16 * 3 + 3 + 3 * 16 + 16 + 170);
  expect(planText(plan)).toContain('bottleneck adapters of 3');
  const saveTo = join(folder, 'run', 'model');
  const architecture = { name: 'mlp', inFeatures: 784, hidden: 16, numClasses: 10 };
  const { model, history } = await fineTune(options({ model: mlp(), adapter, saveTo, architecture, epochs: 3 }));
  expect(history.at(-1)?.trainLoss as number).toBeLessThan(history[0]?.trainLoss as number);
  const loaded = await loadModelFolder(saveTo);
  expect(loaded.model.adapter).toEqual(adapter);
  const x = tensor(
    new Float32Array(2 * 784).map((_, i) => Math.sin(i)),
    { shape: [2, 1, 28, 28] },
  );
  const wanted = await model.forward(x).data();
  near(await loaded.module.eval().forward(x).data(), wanted, 1e-7);
  const again = mlp();
  await loadAdapter(again, join(folder, 'run', 'adapter'));
  near(await again.eval().forward(x).data(), wanted, 1e-7);
  const next = recipe({ model: { name: 'mlp', hidden: 16 }, init: { weights: saveTo } });
  await expect(openInit(parseRecipe(next), undefined)).rejects.toMatchObject({ code: 'INIT_ADAPTER' });
  const inside = recipe({ model: { name: 'mlp', adapter: { name: 'lora' } } });
  await expect(runRecipe(parseRecipe(inside), { out: join(folder, 'inside') })).rejects.toMatchObject({
    code: 'RECIPE_INVALID',
    details: { field: 'model.adapter' },
  });
});

test('of a run over layers by a pattern: read back without that of the head', async () => {
  const saveTo = join(folder, 'pattern', 'model');
  const architecture = { name: 'mlp', inFeatures: 784, hidden: 16, numClasses: 10 };
  const adapter = { name: 'bottleneck' as const, size: 3, targets: ['*'] };
  await fineTune(options({ model: mlp(), adapter, saveTo, architecture, epochs: 1 }));
  const { model } = await loadModelFolder(saveTo);
  expect((model.adapter as { targets: string[] }).targets).toHaveLength(1);
});

test('what a damaged file says of a model is told as damage', async () => {
  const saveTo = join(folder, 'damaged');
  const architecture = { name: 'mlp', inFeatures: 784, hidden: 16, numClasses: 10 };
  await fineTune(options({ model: mlp(), saveTo, architecture, epochs: 1 }));
  const file = join(saveTo, 'config.json');
  const config = JSON.parse(readFileSync(file, 'utf8'));
  const odd = { toString: 1, valueOf: 1 };
  for (const [field, value] of [
    ['adapter', 'lora'],
    ['adapter', { name: 'lora', modulesToSave: 3 }],
    ['adapter', { name: 'lora', rank: odd, targets: ['*'] }],
    ['adapter', { name: 'lora', alpha: odd }],
    ['adapter', { name: 'lora', dropout: '0.5' }],
    ['adapter', { name: 'lora', targets: [3] }],
    ['adapter', { name: 'bottleneck', size: 1e15 }],
    ['adapter', { name: 'bottleneck', activation: odd }],
    ['adapter', { name: 'prefix', lenght: 3 }],
    ['adapter', { name: 'prefix' }],
    ['quantized', { bits: 4 }],
    ['quantized', null],
  ] as const) {
    writeFileSync(file, JSON.stringify({ ...config, model: { ...config.model, [field]: value } }));
    await expect(loadModelFolder(saveTo), JSON.stringify(value)).rejects.toMatchObject({
      code: 'MODEL_OPTION_INVALID',
      exitCode: 3,
      details: { field: `model.${field}` },
    });
  }
});

test('of a run that was interrupted: it ends with the same weights', async () => {
  const stop = (event: { type: string; epoch?: number }): void => {
    if (event.type === 'epoch-end' && event.epoch === 1) throw new Error('power cut');
  };
  const adapter = { name: 'bottleneck' as const, size: 2, targets: ['layers.0', 'layers.1'] };
  const tiny = recipe({ adapter, limit: { train: 40, validation: 10, test: 10 }, epochs: 2 });
  const whole = await runRecipe(parseRecipe(tiny), { out: join(folder, 'uncut') });
  const half = join(folder, 'half');
  await expect(runRecipe(parseRecipe(tiny), { out: half, listeners: [stop] })).rejects.toThrow('power cut');
  expect((await resumeRun(half)).result.weightsHash).toBe(whole.result.weightsHash);
});

test('of each head of a batch of nothing', async () => {
  const model = new MultiheadAttention(8, 2, { batchFirst: true });
  applyPrefix(model, { length: 3 });
  expect((await model.forward(zeros([0, 4, 8])).data()).length).toBe(0);
});

test.each(kinds)('of $name: transformers cannot read the model', async (kind) => {
  const model = bert();
  applyAdapter(model, kind);
  await expect(savePretrained(join(folder, 'exported'), model)).rejects.toMatchObject({ code: 'EXPORT_ADAPTER' });
});

test('refuses what does not fit', async () => {
  expect(() => applyPrefix(mlp())).toThrow(expect.objectContaining({ code: 'ADAPTER_TARGETS' }));
  expect(() => applyBottleneck(mlp())).toThrow(expect.objectContaining({ code: 'ADAPTER_TARGETS' }));
  expect(() => applyPrefix(bert(), { length: 0 })).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }));
  expect(() => applyBottleneck(bert(), { activation: 'tanh' as never })).toThrow(/relu or gelu/);
  for (const adapter of ['lora', { name: 'other' }, { name: 'bottleneck', targets: 3 }])
    expect(() => createModel('bert', { ...sizes, adapter })).toThrow(
      expect.objectContaining({ code: 'MODEL_OPTION_INVALID' }),
    );
  expect(() => applyAdapter(bert(), { name: 'lorra' } as never)).toThrow(/adapter.name/);
  for (const adapter of [
    { name: 'lora', targets: 'query' },
    { name: 'lora', rnak: 2 },
  ])
    await expect(fineTune(options({ adapter: adapter as never }))).rejects.toMatchObject({
      code: expect.stringMatching(/OPTION_/),
    });
  await expect(fineTune(options({ adapter: { name: 'lor' } as never }))).rejects.toMatchObject({
    code: 'OPTION_INVALID',
    details: { field: 'adapter.name' },
  });
  const model = bert();
  applyPrefix(model, { length: 2 });
  await saveAdapter(join(folder, 'short'), model);
  const file = join(folder, 'short', 'adapter_config.json');
  const config = JSON.parse(readFileSync(file, 'utf8'));
  for (const [changes, code] of [
    [{ length: 3 }, 'WEIGHTS_SHAPE'],
    [{ length: 'two' }, 'ADAPTER_INVALID'],
    [{ length: 0 }, 'ADAPTER_INVALID'],
    [{ length: 1e12 }, 'ADAPTER_INVALID'],
    [{ modules_to_save: ['nope'] }, 'NO_SUCH_PARAMETER'],
    [{ adapter_type: 'soft' }, 'ADAPTER_INVALID'],
    [{ adapter_type: 'bottleneck', size: 4, activation: 'tanh' }, 'ADAPTER_INVALID'],
  ] as const) {
    writeFileSync(file, JSON.stringify({ ...config, ...changes }));
    const other = bert();
    await expect(loadAdapter(other, join(folder, 'short'))).rejects.toMatchObject({ code });
    expect(adapterNames(other)).toEqual([]);
  }
  applyLora(model, { name: 'second', rank: 2 });
  expect(adapterNames(model)).toEqual(['default', 'second']);
});
