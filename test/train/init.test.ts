/** Starting from pretrained weights: heads replaced, lineage kept, companions brought along, resuming without the file. */
import { cp, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CambiumError } from '../../src/base/errors.ts';
import { type HostArray, sha256, writeSafetensors } from '../../src/io/index.ts';
import { createModel } from '../../src/models/index.ts';
import type { Module } from '../../src/nn/index.ts';
import { manualSeed } from '../../src/tensor/index.ts';
import { matchClasses } from '../../src/training/head-classes.ts';
import {
  fineTune,
  type InitOptions,
  initialise,
  type Listener,
  loadModelFolder,
  parseRecipe,
  planRecipe,
  type RecipeInput,
  resumeRun,
  runRecipe,
  type WeightsLineage,
} from '../../src/training/index.ts';
import { mlp, options, weightsOf } from './tiny.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cambium-init-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function save(model: Module, path: string): Promise<Map<string, HostArray>> {
  const tensors = new Map<string, HostArray>();
  for (const [name, v] of model.stateDict())
    tensors.set(name, { dtype: v.dtype, shape: v.shape, data: (await v.data()).slice() } as HostArray);
  await writeSafetensors(path, tensors);
  return tensors;
}
const trunk = (numClasses: number): Module => {
  manualSeed(9);
  return createModel('mlp', { hidden: 16, numClasses });
};
const valuesOf = (model: Module, name: string) => model.stateDict().get(name)?.data();
const codeOf = async (body: () => Promise<unknown>): Promise<CambiumError> => {
  try {
    await body();
  } catch (error) {
    return error as CambiumError;
  }
  return expect.fail('nothing was thrown');
};
/** Ends a run from a listener, as a power cut would. */
const stopAfter =
  (step: number): Listener =>
  (event) => {
    if (event.type === 'step' && event.step === step) throw new Error('the power fails');
  };

describe('fineTune', () => {
  test('starts from a file; a head of other classes stays new', async () => {
    const file = join(dir, 'seven.safetensors');
    const stored = await save(trunk(7), file);
    const model = mlp(4);
    const head = await model.stateDict().get('layers.3.weight')?.data();
    const events: string[] = [];
    const result = await fineTune(
      options({
        model,
        init: { weights: file },
        optimizer: { name: 'sgd', lr: 1e-12 },
        epochs: 1,
        listeners: [(event) => void (event.type === 'init' && events.push(event.report.text))],
      }),
    );
    expect(result.init?.loaded).toEqual(['layers.1.weight', 'layers.1.bias']);
    expect(result.init?.new).toEqual(['layers.3.weight', 'layers.3.bias']);
    expect(result.init?.unused).toEqual(['layers.3.bias', 'layers.3.weight']); // the file's order
    expect(events[0]).toMatch(/new {6}2: layers\.3\.weight, layers\.3\.bias/);
    expect(result.init?.lineage.sha256).toBe(sha256(await readFile(file)));
    expect(await model.stateDict().get('layers.1.weight')?.data()).toEqual(stored.get('layers.1.weight')?.data);
    expect(await model.stateDict().get('layers.3.weight')?.data()).toEqual(head);
  });

  test('a head of as many classes is kept, unless told', async () => {
    const file = join(dir, 'ten.safetensors');
    const stored = await save(trunk(10), file);
    const start = { optimizer: { name: 'sgd', lr: 1e-12 }, epochs: 1 } as const;
    const kept = await fineTune(options({ ...start, init: { weights: file } }));
    expect(kept.init?.new).toEqual([]);
    expect(await kept.model.stateDict().get('layers.3.weight')?.data()).toEqual(stored.get('layers.3.weight')?.data);
    const fresh = await fineTune(options({ ...start, init: { weights: file, head: 'new' } }));
    expect(fresh.init?.new).toEqual(['layers.3.weight', 'layers.3.bias']);
    expect(await fresh.model.stateDict().get('layers.3.weight')?.data()).not.toEqual(
      stored.get('layers.3.weight')?.data,
    );
  });

  test('whatever else differs is refused, and nothing is changed', async () => {
    const file = join(dir, 'wide.safetensors');
    manualSeed(1);
    await save(createModel('mlp', { hidden: 17 }), file);
    const model = mlp();
    const before = await weightsOf(model);
    expect((await codeOf(() => fineTune(options({ model, init: { weights: file } })))).code).toBe('WEIGHTS_SHAPE');
    expect(await weightsOf(model)).toEqual(before);
    const other = join(dir, 'other.safetensors');
    await save(createModel('resnet20'), other);
    for (const strict of [true, false]) {
      const error = await codeOf(() => fineTune(options({ model, init: { weights: other, strict } })));
      expect(error.code).toBe('WEIGHTS_KEYS');
    }
    expect((await codeOf(() => fineTune(options({ init: { weights: join(dir, 'no') } })))).code).toBe('FILE_NOT_FOUND');
  });
});

describe('classes of a head', () => {
  const names = (order: readonly number[]): string[] => order.map((i) => `class ${i}`);
  const order = [3, 0, 1, 2, 9, 8, 7, 6, 5, 4];
  let folder: string;
  let stored: Map<string, HostArray>;

  /** A folder whose head's rows stand for classes 0 to 9. */
  beforeAll(async () => {
    folder = join(dir, 'named');
    await mkdir(folder);
    stored = await save(trunk(10), join(folder, 'model.safetensors'));
    await named(names([...Array(10).keys()]));
  });
  const named = (classes: readonly string[]): Promise<void> =>
    writeFile(
      join(folder, 'config.json'),
      JSON.stringify({ model_type: 'mlp', id2label: Object.fromEntries(classes.entries()) }),
    );
  const start = async (classes: readonly string[], init: Partial<InitOptions> = {}) => {
    const model = mlp();
    const wanted = [{ field: 'label', names: classes }];
    const report = await initialise(model, { weights: folder, ...init }, wanted);
    return { report, rows: await valuesOf(model, 'layers.3.weight'), bias: await valuesOf(model, 'layers.3.bias') };
  };
  const row = (i: number): number[] =>
    Array.from(stored.get('layers.3.weight')?.data.slice(16 * i, 16 * (i + 1)) as Float32Array);

  test('are told by name: the same in another order, others, or unnamed', async () => {
    const moved = await start(names(order));
    expect(moved.rows).toEqual(Float32Array.from(order.flatMap(row)));
    expect(moved.bias).toEqual(Float32Array.from(order, (i) => stored.get('layers.3.bias')?.data[i] as number));
    expect(moved.report.heads).toMatchObject([{ layer: 'layers.3', how: 'reordered', to: names(order) }]);
    expect(moved.report.text).toContain('its rows moved from class 0, class 1');
    const same = await start(names([...Array(10).keys()]));
    expect(same.rows).toEqual(stored.get('layers.3.weight')?.data);
    expect(same.report.heads).toMatchObject([{ how: 'kept' }]);

    const others = await start([...names(order.slice(1)), 'class x']);
    expect(others.report.new).toEqual(['layers.3.weight', 'layers.3.bias']);
    expect(others.report.heads).toMatchObject([{ how: 'new' }]);
    expect(others.report.text).toMatch(/classes {2}layers\.3 new: the weights know class 0/);
    const kept = await start([...names(order.slice(1)), 'class x'], { head: 'keep' });
    expect(kept.rows).toEqual(stored.get('layers.3.weight')?.data);
    const four = createModel('mlp', { hidden: 16, numClasses: 4 });
    await expect(initialise(four, { weights: folder, head: 'keep' })).rejects.toMatchObject({ code: 'WEIGHTS_SHAPE' });

    for (const unnamed of [Array.from(order, (_, i) => `LABEL_${i}`), undefined]) {
      if (unnamed) await named(unnamed);
      else await rm(join(folder, 'config.json'));
      const byNumber = await start(names(order));
      expect(byNumber.rows).toEqual(stored.get('layers.3.weight')?.data);
      expect(byNumber.report.text).toContain('kept by their number');
    }
  });

  test('names that stand twice say nothing of an order', () => {
    expect(matchClasses(['a', 'a', 'b'], ['a', 'a', 'b'])).toEqual([0, 1, 2]);
    expect(matchClasses(['a', 'a', 'b'], ['a', 'b', 'a'])).toBeUndefined();
    expect(matchClasses(['a', 'b'], ['a', 'b', 'c'])).toBeUndefined();
  });

  test('each of several heads goes by its own classes', async () => {
    const sizes = { kind: 2, tone: 3 };
    const make = (): Module => createModel('mlp', { hidden: 16, numClasses: 5, heads: sizes });
    const several = join(dir, 'several');
    await mkdir(several);
    const tensors = await save(make(), join(several, 'model.safetensors'));
    const heads = [
      { kind: 'class', field: 'kind', names: ['one', 'two'] },
      { kind: 'class', field: 'tone', names: ['low', 'mid', 'high'] },
    ];
    await writeFile(join(several, 'config.json'), JSON.stringify({ model_type: 'cambium', heads }));
    const model = make();
    const report = await initialise(model, { weights: several }, [
      { field: 'kind', names: ['two', 'one'] },
      { field: 'tone', names: ['low', 'mid', 'top'] },
    ]);
    expect(report.heads.map(({ layer, how }) => [layer, how])).toEqual([
      ['layers.3.kind', 'reordered'],
      ['layers.3.tone', 'new'],
    ]);
    const bias = tensors.get('layers.3.kind.bias')?.data as Float32Array;
    expect(await valuesOf(model, 'layers.3.kind.bias')).toEqual(Float32Array.from([bias[1], bias[0]] as number[]));
    expect(report.new).toEqual(['layers.3.tone.weight', 'layers.3.tone.bias']);
  });

  test('a run answers the same when its classes are listed in another order', async () => {
    const table = join(dir, 'table');
    await mkdir(table);
    const lines = Array.from(
      { length: 60 },
      (_, i) => `${['good fine', 'bad poor'][i % 2]} ${'abcdefgh'[i % 8]},${['pos', 'neg'][i % 2]}`,
    );
    await writeFile(join(table, 'train.csv'), ['text,label', ...lines].join('\n'));
    const input = (changes: Partial<RecipeInput>, classes: Record<string, string>): RecipeInput => ({
      name: 'order',
      seed: 1,
      data: { name: 'table', dir: table, file: 'train.csv', validation: 20, classes },
      model: { name: 'lstm-classifier', embeddingDim: 8, hiddenSize: 8 },
      tokenizer: { train: 'wordpiece', vocabSize: 60 },
      optimizer: { name: 'adamw', lr: 2e-2 },
      batchSize: 10,
      epochs: 5,
      ...changes,
    });
    const first = join(dir, 'order-1');
    const trained = await runRecipe(parseRecipe(input({}, { neg: 'neg', pos: 'pos' })), { out: first });
    expect(trained.result.validation?.accuracy).toBe(1);
    const { tokenizer, ...plain } = input({ init: { weights: first }, epochs: 0 }, { pos: 'pos', neg: 'neg' });
    const again = await runRecipe(parseRecipe(plain), { out: join(dir, 'order-2') });
    expect(again.result.init?.heads).toMatchObject([{ how: 'reordered', from: ['neg', 'pos'], to: ['pos', 'neg'] }]);
    expect(again.result.validation?.accuracy).toBe(1);
  });
});

const recipe = (changes: Partial<RecipeInput> = {}): RecipeInput => ({
  name: 'tuned',
  seed: 5,
  data: { name: 'digits', validation: 30, digits: { train: 120, test: 40 } },
  transforms: [{ kind: 'normalize', mean: [0.13], std: [0.31] }],
  model: { name: 'mlp', hidden: 16 },
  init: { weights: 'sub/pre.safetensors' },
  optimizer: { name: 'adamw', lr: 5e-3 },
  batchSize: 15,
  epochs: 2,
  checkpoint: { everySteps: 2 },
  ...changes,
});

describe('a recipe', () => {
  test('looks under the data folder, keeps report and lineage, and names the places where nothing is', async () => {
    const data = join(dir, 'data');
    await cp(join(dir, 'seven.safetensors'), join(data, 'sub', 'pre.safetensors'), { recursive: true });
    const out = join(dir, 'run-1');
    const { result } = await runRecipe(parseRecipe(recipe()), { dataDir: data, out });
    expect(result.init?.new).toEqual(['layers.3.weight', 'layers.3.bias']);
    const report = JSON.parse(await readFile(join(out, 'init', 'report.json'), 'utf8'));
    expect(report).toMatchObject({ loaded: ['layers.1.weight', 'layers.1.bias'], adapted: [] });
    const { origin } = await loadModelFolder(join(out, 'model'));
    const lineage = {
      weights: 'sub/pre.safetensors',
      sha256: sha256(await readFile(join(data, 'sub/pre.safetensors'))),
    };
    expect(origin).toMatchObject({ init: lineage });
    expect(report.lineage).toMatchObject(lineage);

    const error = await codeOf(() => runRecipe(parseRecipe(recipe()), { dataDir: dir, out: join(dir, 'x') }));
    expect(error.code).toBe('WEIGHTS_NOT_FOUND');
    expect(error.details.expected).toEqual([
      join(dir, 'sub/pre.safetensors'),
      join(process.cwd(), 'sub/pre.safetensors'),
    ]);
    expect((await codeOf(async () => parseRecipe({ ...recipe(), init: { wieghts: 'a' } }))).message).toContain(
      'init.wieghts',
    );
  });

  test('weights that cannot be used leave no folder in the way of better ones', async () => {
    const file = join(dir, 'better.safetensors');
    const out = join(dir, 'retried');
    const run = () => runRecipe(parseRecipe(recipe({ epochs: 0, init: { weights: file } })), { out });
    await save(createModel('resnet20'), file);
    expect((await codeOf(run)).code).toBe('WEIGHTS_KEYS');
    await expect(stat(out)).rejects.toMatchObject({ code: 'ENOENT' });
    await writeFile(file, (await readFile(join(dir, 'ten.safetensors'))).subarray(0, 900));
    expect((await codeOf(run)).code).toMatch(/^SAFETENSORS_/);
    await save(trunk(10), file);
    expect((await run()).result.modelDir).toBe(join(out, 'model'));
    expect((await codeOf(run)).code).toBe('RUN_EXISTS');
  });

  test('goes on bit for bit without the weights, and refuses changed ones', async () => {
    const data = join(dir, 'data-2');
    await cp(join(dir, 'data'), data, { recursive: true });
    const straight = await runRecipe(parseRecipe(recipe()), { dataDir: data, out: join(dir, 'whole') });
    const out = join(dir, 'cut');
    const cut = runRecipe(parseRecipe(recipe()), { dataDir: data, out, listeners: [stopAfter(5)] });
    await expect(cut).rejects.toThrow('the power fails');
    await save(trunk(8), join(data, 'sub', 'pre.safetensors'));
    const changed = await codeOf(() => resumeRun(out, { dataDir: data }));
    expect([changed.code, changed.details.field]).toEqual(['RESUME_CHANGED', 'init.weights']);
    await rm(join(data, 'sub'), { recursive: true });
    const resumed = await resumeRun(out, { dataDir: data });
    expect(resumed.result.init).toBeUndefined();
    expect(resumed.result.weightsHash).toBe(straight.result.weightsHash);
    expect((await loadModelFolder(join(out, 'model'))).origin).toEqual(
      (await loadModelFolder(join(dir, 'whole', 'model'))).origin,
    );
  });

  test('from a folder of ours: its options and transforms come along, plan included', async () => {
    const { transforms, ...plain } = recipe({ init: { weights: join(dir, 'run-1') }, model: { name: 'mlp' } });
    const input = parseRecipe(plain);
    expect((await planRecipe(input)).parameters).toBe(784 * 16 + 16 + 16 * 10 + 10);
    const out = join(dir, 'run-2');
    const { result } = await runRecipe(input, { out });
    expect(result.init?.new).toEqual([]);
    expect(await loadModelFolder(join(out, 'model'))).toMatchObject({ transforms, model: { name: 'mlp', hidden: 16 } });

    // What it came from can be read from the last of a chain alone.
    const last = parseRecipe({ ...plain, epochs: 0, init: { weights: out } });
    const { run } = await runRecipe(last, { out: join(dir, 'run-3') });
    const { init } = (await loadModelFolder(join(run, 'model'))).origin as unknown as { init: WeightsLineage };
    expect(init).toMatchObject({
      weights: out,
      recipe: 'tuned',
      sha256: result.weightsHash,
      parent: {
        weights: join(dir, 'run-1'),
        recipe: 'tuned',
        parent: { weights: 'sub/pre.safetensors', sha256: sha256(await readFile(join(dir, 'seven.safetensors'))) },
      },
    });
    expect(init.parent?.parent?.parent).toBeUndefined();
  });
});

describe('texts', () => {
  const reviews = (changes: Partial<RecipeInput> = {}): RecipeInput => ({
    name: 'reviews',
    seed: 3,
    data: { name: 'phrases', validation: 40, phrases: { train: 200, test: 40 } },
    model: { name: 'lstm-classifier', embeddingDim: 8, hiddenSize: 8 },
    optimizer: { name: 'adamw', lr: 1e-2 },
    batchSize: 20,
    epochs: 1,
    checkpoint: { everySteps: 2 },
    ...changes,
  });

  test('the tokenizer of the weights comes along, also where they are gone when the run is resumed', async () => {
    const first = join(dir, 'text-1');
    await runRecipe(parseRecipe(reviews({ tokenizer: { train: 'wordpiece', vocabSize: 120 }, maxLength: 12 })), {
      out: first,
    });
    const copy = join(dir, 'text-copy');
    await cp(join(first, 'model'), copy, { recursive: true });
    const next = parseRecipe(reviews({ init: { weights: copy }, model: { name: 'lstm-classifier' } }));
    const straight = await runRecipe(next, { out: join(dir, 'text-2') });
    expect(straight.result.init?.new).toEqual([]);
    const [a, b] = [await loadModelFolder(join(first, 'model')), await loadModelFolder(join(dir, 'text-2', 'model'))];
    if (!('text' in a && 'text' in b)) return expect.fail('two models of texts');
    expect(b.text.tokenizer.json).toEqual(a.text.tokenizer.json);
    expect(b.text.maxLength).toBe(12);

    const out = join(dir, 'text-3');
    await expect(runRecipe(next, { out, listeners: [stopAfter(5)] })).rejects.toThrow('the power fails');
    await rm(copy, { recursive: true });
    const resumed = await resumeRun(out);
    expect(resumed.result.weightsHash).toBe(straight.result.weightsHash);
  });

  test('from a folder of transformers, tokenizer and sizes included', async () => {
    const weights = fileURLToPath(new URL('../golden/pretrained/bert', import.meta.url));
    const input = parseRecipe(reviews({ init: { weights }, model: { name: 'bert' } }));
    const out = join(dir, 'text-4');
    const { result } = await runRecipe(input, { out });
    // Three classes there, two here.
    expect(result.init?.new).toEqual(['classifier.weight', 'classifier.bias']);
    const loaded = await loadModelFolder(join(out, 'model'));
    if (!('text' in loaded)) return expect.fail('a model of texts');
    expect(loaded.model).toMatchObject({ hiddenSize: 8, numHiddenLayers: 1, layerNormEps: 1e-7, vocabSize: 63 });
    expect([loaded.text.tokenizer.vocabSize, loaded.text.maxLength]).toEqual([63, 8]);
  });

  test('a tokenizer that does not fit the embedding is refused', async () => {
    const from = { weights: join(dir, 'text-1') };
    const larger = reviews({ init: from, tokenizer: { train: 'wordpiece', vocabSize: 200 } });
    const error = await codeOf(() => runRecipe(parseRecipe(larger), { out: join(dir, 'no-1') }));
    expect(error.code).toBe('TOKENIZER_MISMATCH');
    const file = { weights: join(dir, 'text-1', 'model', 'model.safetensors') };
    const bare = reviews({ init: file, tokenizer: { train: 'wordpiece', vocabSize: 90 } });
    const other = await codeOf(() => runRecipe(parseRecipe(bare), { out: join(dir, 'no-2') }));
    expect(other.code).toBe('TOKENIZER_MISMATCH');
    await writeFile(join(dir, 'page.bin'), '<html>not found</html>');
    const page = await codeOf(() =>
      runRecipe(parseRecipe(reviews({ init: { weights: join(dir, 'page.bin') } })), { out: join(dir, 'no-3') }),
    );
    expect(page.code).toBe('WEIGHTS_FORMAT');
  });
});
