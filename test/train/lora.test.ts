import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { BertForSequenceClassification, GPT2, type MLP } from '../../src/models/index.ts';
import {
  activeAdapter,
  adapterNames,
  adapterOf,
  applyLora,
  crossEntropy,
  type Module,
  mergeLora,
  removeAdapters,
  setAdapter,
  unmergeLora,
} from '../../src/nn/index.ts';
import { AdamW } from '../../src/optim/index.ts';
import { manualSeed, tensor, type Variable } from '../../src/tensor/index.ts';
import { fineTune, loadAdapter, planFineTune, planText, saveAdapter } from '../../src/training/index.ts';
import { array, near, TwoLayers } from './golden-tensors.ts';
import { mlp, options } from './tiny.ts';

const folder = mkdtempSync(join(tmpdir(), 'lora-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const golden = JSON.parse(readFileSync(new URL('../golden/parity/lora.json', import.meta.url), 'utf8'));

const bertOptions = {
  vocabSize: 40,
  hiddenSize: 16,
  numHiddenLayers: 2,
  numAttentionHeads: 2,
  intermediateSize: 32,
  maxPositionEmbeddings: 12,
  numClasses: 3,
};
const tokens = tensor(
  new Int32Array(4 * 8).map((_, i) => (i * 7) % 40),
  { shape: [4, 8] },
);

function bert(): BertForSequenceClassification {
  manualSeed(5);
  return new BertForSequenceClassification(bertOptions);
}
const logits = (model: Module): Promise<ArrayLike<number>> => model.eval().forward(tokens).data();

/** Some steps of whatever trains. */
async function tuned(model: Module, steps = 4): Promise<void> {
  const trained = model
    .train()
    .namedParameters()
    .filter(({ variable }) => variable.requiresGrad);
  const optimizer = new AdamW(trained, { lr: 1e-2 });
  for (let i = 0; i < steps; i++) {
    const loss = crossEntropy(model.forward(tokens), tensor(new Int32Array([0, 1, 2, 0])));
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    await loss.item();
  }
}

describe('low-rank adaptation', () => {
  test('learns as PyTorch does', async () => {
    const model = new TwoLayers();
    const { start } = golden;
    model.start(start);
    applyLora(model, { rank: golden.rank, alpha: golden.alpha, targets: ['first'], modulesToSave: ['head'] });
    const [loraA, loraB] = Object.values(adapterOf(model).layers[0]?.tensors ?? {}) as [Variable, Variable];
    loraA.initialize(array(start.a));
    loraB.initialize(array(start.b));
    const trained = model.parameters().filter((variable) => variable.requiresGrad);
    expect(trained.length).toBe(4);
    const optimizer = new AdamW(trained, { lr: 0.05, weightDecay: 0 });
    const x = array(golden.x);
    const losses: number[] = [];
    for (let i = 0; i < golden.losses.length; i++) {
      const loss = crossEntropy(model.forward(x), tensor(Int32Array.from(golden.y)));
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      losses.push(await loss.item());
    }
    near(losses, golden.losses);
    near(await loraA.data(), golden.end.a.flat());
    near(await loraB.data(), golden.end.b.flat());
    near(await model.head.weight.data(), golden.end['head.weight'].flat());
    await mergeLora(model);
    near(await model.forward(x).data(), golden.logits.flat());
  });

  test('changes nothing until it learns; merged, unmerged and taken off it answers the same', async () => {
    const model = bert();
    const before = await logits(model);
    const names = [...model.stateDict().keys()];
    const paths = applyLora(model, { rank: 2, modulesToSave: ['classifier'] });
    expect(paths).toHaveLength(4);
    expect(paths[0]).toMatch(/attention\.self\.query$/);
    near(await logits(model), before, 1e-7);
    await tuned(model);
    const learned = await logits(model);
    expect(
      Math.max(...[...Array(12).keys()].map((i) => Math.abs((learned[i] as number) - (before[i] as number)))),
    ).toBeGreaterThan(1e-2);
    await mergeLora(model);
    near(await logits(model), learned);
    await unmergeLora(model);
    near(await logits(model), learned);
    await mergeLora(model);
    removeAdapters(model);
    expect([...model.stateDict().keys()]).toEqual(names);
    near(await logits(model), learned);
  });

  test('is saved alone with the head and loaded onto the same trunk, several side by side', async () => {
    const model = bert();
    applyLora(model, { rank: 2, alpha: 3, modulesToSave: ['classifier'] });
    await tuned(model);
    const learned = await logits(model);
    await saveAdapter(join(folder, 'one'), model, { modulesToSave: ['classifier'] });
    const config = JSON.parse(readFileSync(join(folder, 'one', 'adapter_config.json'), 'utf8'));
    expect(config).toMatchObject({ peft_type: 'LORA', r: 2, lora_alpha: 3, modules_to_save: ['classifier'] });

    const other = bert();
    const plain = await logits(other);
    await loadAdapter(other, join(folder, 'one'), { name: 'one' });
    near(await logits(other), learned);
    applyLora(other, { rank: 3, name: 'two', targets: ['query', 'key'] });
    expect(adapterNames(other)).toEqual(['one', 'two']);
    setAdapter(other, 'one');
    near(await logits(other), learned);
    setAdapter(other, null);
    near(await logits(other), plain, 1e-7);
  });

  test('each adapter has its head: switched, saved and merged with it, of other classes too', async () => {
    const saved: { dir: string; logits: ArrayLike<number> }[] = [];
    for (const [i, numClasses] of [3, 3, 5].entries()) {
      manualSeed(5);
      const model = new BertForSequenceClassification({ ...bertOptions, numClasses });
      applyLora(model, { rank: 2, modulesToSave: ['classifier', 'bert.pooler'] });
      await tuned(model, 2 + i);
      const dir = join(folder, `switched-${i}`);
      await saveAdapter(dir, model);
      saved.push({ dir, logits: await logits(model) });
    }
    const model = bert();
    const plain = await logits(model);
    const names = [...model.stateDict().keys()];
    for (const [i, { dir }] of saved.entries()) await loadAdapter(model, dir, { name: `a${i}` });
    expect(activeAdapter(model)).toBe('a2');
    for (const i of [0, 2, 1, 0]) {
      setAdapter(model, `a${i}`);
      near(await logits(model), saved[i]?.logits as ArrayLike<number>, 1e-6);
      expect(model.classifier.outFeatures).toBe([3, 3, 5][i]);
      const trained = model.namedParameters().filter(({ variable }) => variable.requiresGrad);
      expect(trained.filter(({ name }) => name.startsWith('classifier'))).toHaveLength(2);
    }
    // The others' heads are saved from where they rest.
    await saveAdapter(join(folder, 'again'), model, { name: 'a2' });
    expect(readFileSync(join(folder, 'again', 'adapter_model.safetensors'))).toEqual(
      readFileSync(join(folder, 'switched-2', 'adapter_model.safetensors')),
    );
    setAdapter(model, null);
    near(await logits(model), plain, 1e-7);

    // An adapter that cannot be loaded leaves the one that worked.
    setAdapter(model, 'a1');
    const torn = join(folder, 'torn');
    await saveAdapter(torn, model, { name: 'a1', modulesToSave: ['classifier'] });
    const config = join(torn, 'adapter_config.json');
    writeFileSync(config, readFileSync(config, 'utf8').replace('"classifier"', '"classifier", "bert.pooler"'));
    await expect(loadAdapter(model, torn, { name: 'a3' })).rejects.toMatchObject({ code: 'WEIGHTS_KEYS' });
    expect([activeAdapter(model), adapterNames(model)]).toEqual(['a1', ['a0', 'a1', 'a2']]);
    near(await logits(model), saved[1]?.logits as ArrayLike<number>, 1e-6);

    setAdapter(model, 'a2');
    await mergeLora(model);
    expect(() => applyLora(model, { name: 'a4', rank: 2 })).toThrow(
      expect.objectContaining({ code: 'ADAPTER_MERGED' }),
    );
    removeAdapters(model);
    expect([...model.stateDict().keys()]).toEqual(names);
    near(await logits(model), saved[2]?.logits as ArrayLike<number>);

    // Not merged, the model is what it was.
    const other = bert();
    await loadAdapter(other, join(folder, 'switched-2'));
    removeAdapters(other);
    near(await logits(other), plain, 1e-7);
  });

  test('fits the projections of GPT-2, which keep their weights the other way round', async () => {
    manualSeed(2);
    const quiet = { residPdrop: 0, embdPdrop: 0, attnPdrop: 0 };
    const model = new GPT2({ vocabSize: 40, nPositions: 8, nEmbd: 16, nLayer: 1, nHead: 2, ...quiet });
    expect(applyLora(model, { rank: 2 })).toHaveLength(1);
    const { layers } = adapterOf(model);
    const { 'lora_A.weight': a, 'lora_B.weight': b } = layers[0]?.tensors ?? {};
    expect(a?.shape).toEqual([2, 16]);
    expect(b?.shape).toEqual([48, 2]);
    b?.assign(
      tensor(
        new Float32Array(96).map((_, i) => Math.sin(i)),
        { shape: [48, 2] },
      ),
    );
    const learned = await logits(model);
    await mergeLora(model);
    near(await logits(model), learned);
  });

  test('refuses what does not fit', async () => {
    const model = bert();
    expect(() => applyLora(model, { targets: ['querry'] })).toThrow(
      expect.objectContaining({ code: 'ADAPTER_TARGETS', hint: expect.stringMatching(/are query, key, value, dense/) }),
    );
    expect(() => applyLora(model, { rank: 0 })).toThrow(/lora\.rank/);
    expect(() => applyLora(model, { alpha: -1 })).toThrow(/lora\.alpha/);
    expect(() => applyLora(model, { name: 'forward' })).toThrow(/cannot be named/);
    applyLora(model, { rank: 2 });
    expect(() => applyLora(model, { rank: 3 })).toThrow(expect.objectContaining({ code: 'ADAPTER_EXISTS' }));
    expect(() => setAdapter(model, 'two')).toThrow(expect.objectContaining({ code: 'ADAPTER_UNKNOWN' }));
    await mergeLora(model);
    expect(() => setAdapter(model, null)).toThrow(expect.objectContaining({ code: 'ADAPTER_MERGED' }));

    const narrow = new BertForSequenceClassification({ ...bertOptions, hiddenSize: 8 });
    await expect(loadAdapter(narrow, join(folder, 'one'))).rejects.toMatchObject({ code: 'WEIGHTS_SHAPE' });
    const flat = new BertForSequenceClassification({ ...bertOptions, numHiddenLayers: 1 });
    await expect(loadAdapter(flat, join(folder, 'one'))).rejects.toMatchObject({ code: 'WEIGHTS_KEYS' });
    expect(adapterNames(flat)).toEqual([]);
    expect(flat.parameters().every(({ requiresGrad }) => requiresGrad)).toBe(true);
    const broken = join(folder, 'one', 'adapter_config.json');
    writeFileSync(broken, JSON.stringify({ peft_type: 'LORA', r: 'two', lora_alpha: 2, target_modules: ['query'] }));
    await expect(loadAdapter(bert(), join(folder, 'one'))).rejects.toMatchObject({ code: 'ADAPTER_INVALID' });
  });
});

describe('a run with lora', () => {
  const adapter = { name: 'lora', rank: 4, targets: ['layers.0'] } as const;
  const architecture = { name: 'mlp', inFeatures: 784, hidden: 16, numClasses: 10 };
  test('trains the adapter and the head, saves both a usable model and the adapter', async () => {
    const untouched = mlp();
    const trunk = (untouched as MLP).namedParameters()[0]?.name as string;
    const target = trunk.replace(/\.weight$/, '');
    const plan = planFineTune(options({ model: mlp(), adapter: { ...adapter, targets: [target] } }));
    expect(plan.trainable).toBe(4 * (784 + 16) + 170);
    expect(planText(plan)).toContain('low-rank adapters of rank 4');
    const saveTo = join(folder, 'run', 'model');
    const { model, history } = await fineTune(
      options({ model: mlp(), adapter: { ...adapter, targets: [target] }, saveTo, architecture, epochs: 3 }),
    );
    expect(history.at(-1)?.trainLoss as number).toBeLessThan(history[0]?.trainLoss as number);
    expect([...model.stateDict().keys()]).toEqual([...untouched.stateDict().keys()]);
    // Its trunk with the adapter is the model.
    const again = mlp();
    await loadAdapter(again, join(folder, 'run', 'adapter'));
    const x = tensor(
      new Float32Array(2 * 784).map((_, i) => Math.sin(i)),
      { shape: [2, 1, 28, 28] },
    );
    near(await again.eval().forward(x).data(), await model.forward(x).data());
  });

  test('does not go with unfreezing', async () => {
    await expect(fineTune(options({ adapter, unfreeze: [{ epoch: 2, names: ['*'] }] }))).rejects.toMatchObject({
      code: 'OPTION_INVALID',
    });
  });
});
