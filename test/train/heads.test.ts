/** Regression, several labels and several heads from data to saved model: training, reports, resume, starting weights, the feature cache. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CambiumError } from '../../src/base/index.ts';
import { digitAttributes, digits, phrases, subset } from '../../src/data/index.ts';
import { createModel, listModels, structureOf } from '../../src/models/index.ts';
import type { NumberPrediction, Prediction } from '../../src/tasks/index.ts';
import { manualSeed } from '../../src/tensor/index.ts';
import {
  evaluate,
  type FineTuneOptions,
  fineTune,
  type Listener,
  loadModelFolder,
  loadRunData,
  on,
  parseRecipe,
  planRecipe,
  type RecipeInput,
  RunFolder,
  resumeRun,
  runRecipe,
} from '../../src/training/index.ts';
import { checkRecipe, findRecipeRate } from '../../src/training/recipe-tools.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cambium-heads-'));
  const { texts, labels } = phrases({ split: 'train', size: 1000 });
  // Stars follow from the mood and the length; topics from the words; some cells are empty.
  const rows = texts.map((text, i) => {
    const good = labels[i] === 1;
    const stars = (good ? 4 : 1) + Math.min(1, text.length / 60);
    const topics = [...(/food|菜|味/.test(text) ? ['food'] : []), ...(text.length > 30 ? ['long'] : [])].join('|');
    return [`"${text.replaceAll('"', '""')}"`, i % 5 === 0 ? '' : good ? 'good' : 'bad', topics, 100 * stars].join(',');
  });
  await writeFile(join(dir, 'all.csv'), `text,mood,topics,stars\n${rows.join('\n')}\n`);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const labels = {
  mood: { kind: 'class', optional: true },
  topics: { kind: 'classes' },
  stars: { kind: 'number' },
} as const;
const recipe = (wanted: Partial<typeof labels> = labels, changes: Partial<RecipeInput> = {}): RecipeInput => ({
  name: 'heads',
  seed: 3,
  data: { name: 'table', file: 'all.csv', labels: wanted, validation: 100, test: 100 },
  tokenizer: { train: 'wordpiece', vocabSize: 300 },
  maxLength: 16,
  model: { name: 'lstm-classifier', embeddingDim: 16, hiddenSize: 16 },
  optimizer: { name: 'adamw', lr: 1e-2 },
  batchSize: 25,
  epochs: 3,
  ...changes,
});
const codeOf = async (body: () => Promise<unknown>): Promise<[string, unknown]> => {
  try {
    await body();
  } catch (error) {
    const { code, details } = error as CambiumError;
    return [code, details.field];
  }
  return expect.fail('nothing was thrown');
};
const bytes = (file: string): Promise<Buffer> => readFile(file);

describe('a table of texts', () => {
  test('several heads learn together, and the saved model answers with all of them', async () => {
    const out = join(dir, 'several');
    const wanted = recipe(labels, {
      heads: { stars: { weight: 0.5, loss: 'huber' }, topics: { threshold: 0.4 } },
      epochs: 8,
    });
    const { result, report, reportText } = await runRecipe(parseRecipe(wanted), { dataDir: dir, out });
    const { measures } = result.test as NonNullable<typeof result.test>;
    expect(Object.keys(measures)).toEqual(
      expect.arrayContaining(['loss', 'mood.accuracy', 'topics.microF1', 'stars.rmse', 'stars.r2']),
    );
    expect(measures['mood.accuracy']).toBeGreaterThan(0.8);
    expect(measures['stars.r2']).toBeGreaterThan(0.5);
    expect(measures['topics.microF1']).toBeGreaterThan(0.6);
    // Rows without a mood are not counted.
    const mood = report?.heads?.mood;
    expect(mood?.kind === 'class' && mood.n).toBeLessThan(100);
    expect(report?.heads?.topics).toMatchObject({ kind: 'classes', n: 100, threshold: 0.4 });
    for (const line of ['mood\n', 'samples avg', 'always the mean', 'RMSE', 'majority baseline'])
      expect(reportText).toContain(line);
    expect(await readFile(join(out, 'report.html'), 'utf8')).toContain('<h2>stars</h2>');
    const loss =
      (measures['mood.loss'] as number) +
      (measures['topics.loss'] as number) +
      0.5 * (measures['stars.loss'] as number);
    expect(measures.loss).toBeCloseTo(loss, 6);

    const loaded = await loadModelFolder(join(out, 'model'));
    if (!('text' in loaded)) return expect.fail('a text model was saved');
    expect(loaded.heads.map(({ field }) => field)).toEqual(['mood', 'topics', 'stars']);
    expect(loaded.module.stateDict().get('fc.stars.weight')?.shape).toEqual([1, 32]);
    const [answers] = await loaded.task.answers(loaded.module, loaded.text.tokenizer.encodeBatch(['really good food']));
    expect((answers?.mood as Prediction | undefined)?.label).toMatch(/good|bad/);
    // In the units of the data, not in deviations.
    expect((answers?.stars as NumberPrediction | undefined)?.value).toBeGreaterThan(50);
    const config = JSON.parse(await readFile(join(out, 'model', 'config.json'), 'utf8'));
    expect(config).toMatchObject({ problem_type: 'multi_task', num_labels: 5 });

    // Measured again from the folder.
    const { test: part } = await loadRunData(parseRecipe(wanted), {
      dataDir: dir,
      heads: loaded.heads,
      text: loaded.text,
    });
    const again = await evaluate(loaded.module, loaded.task, part as never, { batchSize: 50, text: loaded.text });
    expect(again?.measures).toEqual(measures);
  });

  test('numbers alone: selected by an error, resumed bit for bit', async () => {
    const wanted = recipe({ stars: labels.stars }, { selectBy: { metric: 'rmse' }, checkpoint: { everySteps: 5 } });
    const [whole, cut] = [join(dir, 'numbers'), join(dir, 'numbers-cut')];
    const lines: unknown[] = [];
    const listener: Listener = on({ 'epoch-end': ({ validation }) => void lines.push(validation) });
    const { result, reportText } = await runRecipe(parseRecipe(wanted), {
      dataDir: dir,
      out: whole,
      listeners: [listener],
    });
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatchObject({ rmse: expect.any(Number), mae: expect.any(Number), r2: expect.any(Number) });
    expect(result.best?.value).toBe(Math.min(...lines.map((line) => (line as { rmse: number }).rmse)));
    expect(result.test?.accuracy).toBeUndefined();
    expect(reportText).toMatch(/always the mean/);
    const stop: Listener = on({
      step: ({ step }) => {
        if (step === 17) throw new Error('cut');
      },
    });
    await expect(runRecipe(parseRecipe(wanted), { dataDir: dir, out: cut, listeners: [stop] })).rejects.toThrow('cut');
    await resumeRun(cut, { dataDir: dir });
    for (const file of ['model/model.safetensors', 'report.json', 'metrics.jsonl'])
      expect(await bytes(join(cut, file)), file).toEqual(await bytes(join(whole, file)));
    const config = JSON.parse(await readFile(join(whole, 'model', 'config.json'), 'utf8'));
    expect(config).toMatchObject({
      problem_type: 'regression',
      heads: [{ field: 'stars', scale: { mean: [expect.any(Number)] } }],
    });
  });

  test('several labels alone, with balanced weights', async () => {
    const wanted = recipe({ topics: labels.topics }, { classWeights: 'balanced', selectBy: { metric: 'macroF1' } });
    const { result } = await runRecipe(parseRecipe(wanted), { dataDir: dir, out: join(dir, 'labels') });
    expect(result.test?.measures.macroF1).toBeGreaterThan(0.6);
    const loaded = await loadModelFolder(join(dir, 'labels', 'model'));
    expect(loaded.classes).toEqual([]);
    expect(JSON.stringify(loaded.heads)).not.toContain('classWeights');
  });

  test('weights start from a model of other heads: the trunk is kept, new heads are new', async () => {
    const init = { weights: join(dir, 'several') };
    const tokenizer = { path: join(dir, 'several', 'model') };
    for (const wanted of [{ stars: labels.stars }, { topics: labels.topics, stars: labels.stars }]) {
      const out = join(dir, `from-${Object.keys(wanted).join('-')}`);
      const { result } = await runRecipe(parseRecipe(recipe(wanted, { init, tokenizer, epochs: 1 })), {
        dataDir: dir,
        out,
      });
      expect(result.init?.loaded).toContain('lstm.weight_ih_l0');
      const several = Object.keys(wanted).length > 1;
      expect(result.init?.loaded.includes('fc.stars.weight')).toBe(several);
      expect(result.init?.new.includes('fc.weight')).toBe(!several);
    }
    const plan = await planRecipe(parseRecipe(recipe(labels, { init, tokenizer })), { dataDir: dir });
    expect(plan.parameters).toBeGreaterThan(0);
  });

  test('the rate test and the check know of them', async () => {
    const one = parseRecipe(recipe({ stars: labels.stars }));
    expect((await findRecipeRate(one, { dataDir: dir, steps: 12 })).points.length).toBeGreaterThan(3);
    expect(await checkRecipe(parseRecipe(recipe()), { dataDir: dir })).toEqual(expect.any(Array));
  });

  test.each([
    [{ heads: { moood: { weight: 2 } } }, 'HEAD_UNKNOWN', 'heads.moood'],
    [{ heads: { mood: { loss: 'l1' } } }, 'HEAD_OPTION', 'heads.mood.loss'],
    [{ heads: { stars: { threshold: 0.2 } } }, 'HEAD_OPTION', 'heads.stars.threshold'],
    [{ classWeights: 'balanced' }, 'HEAD_OPTION', 'classWeights'],
    [{ sampler: 'balanced' }, 'HEAD_OPTION', 'sampler'],
    [{ selectBy: { metric: 'accuracy' } }, 'METRIC_UNKNOWN', 'selectBy.metric'],
    [{ model: { name: 'lstm-classifier', heads: { stars: 1, mood: 2 } } }, 'CLASSES_MISMATCH', 'model.heads'],
    [{ task: 'text-classification' }, 'RECIPE_INVALID', 'task'],
    [{ model: { name: 'lstm-classifier', numClasses: 3 } }, 'CLASSES_MISMATCH', 'model.numClasses'],
  ] as [Partial<RecipeInput>, string, string][])('%j is refused: %s', async (changes, code, field) => {
    const out = join(dir, 'refused');
    const body = () => runRecipe(parseRecipe(recipe(labels, changes)), { dataDir: dir, out });
    expect(await codeOf(body)).toEqual([code, field]);
    await expect(RunFolder.open(out)).rejects.toThrow();
  });

  test('a column that is constant, or no number', async () => {
    await writeFile(join(dir, 'flat.csv'), `text,stars\n${'some words,3\n'.repeat(40)}`);
    const data = { name: 'table', file: 'flat.csv', labels: { stars: { kind: 'number' } }, validation: 5 } as const;
    const out = join(dir, 'flat');
    expect(await codeOf(() => runRecipe(parseRecipe(recipe(labels, { data })), { dataDir: dir, out }))).toEqual([
      'LABELS_CONSTANT',
      'stars',
    ]);
  });
});

describe('pictures', () => {
  const attributes = (changes: Partial<RecipeInput> = {}): RecipeInput => ({
    name: 'attributes',
    seed: 1,
    data: { name: 'digits', attributes: true, digits: { train: 600, test: 100 }, validation: 100 },
    transforms: [{ kind: 'normalize', mean: [0.13], std: [0.31] }],
    model: { name: 'mnist-cnn' },
    optimizer: { name: 'adamw', lr: 2e-3 },
    batchSize: 25,
    epochs: 2,
    ...changes,
  });

  test('which digit, its properties and its slant from one trunk; mixed pictures too', async () => {
    const { result } = await runRecipe(parseRecipe(attributes({ mixup: {} })), { out: join(dir, 'attributes') });
    expect('task' in result && result.task.name).toBe('image-multi-task');
    const measures = result.test?.measures ?? { loss: 0 };
    expect(measures['digit.accuracy']).toBeGreaterThan(0.5);
    expect(measures['properties.microF1']).toBeGreaterThan(0.6);
    expect(measures['slant.r2']).toBeGreaterThan(0);
  });

  test('a frozen trunk is computed once, and epochs are the same to the bit', async () => {
    const train = digitAttributes(digits({ split: 'train', size: 120 }));
    const data = {
      train: subset(train, [...Array(100).keys()]),
      validation: subset(
        train,
        [...Array(20).keys()].map((i) => i + 100),
      ),
    };
    const run = async (featureCache: 'auto' | 'off') => {
      manualSeed(4);
      const events: string[] = [];
      const model = createModel('vgg11', {
        inChannels: 1,
        numClasses: 15,
        heads: { digit: 10, properties: 4, slant: 1 },
      });
      const { history } = await fineTune({
        model,
        data: data as unknown as FineTuneOptions['data'],
        transforms: [{ kind: 'resize', height: 32, width: 32 }],
        freeze: { belowDepth: 'head' },
        epochs: 2,
        batchSize: 20,
        featureCache,
        seed: 4,
        listeners: [({ type }) => void events.push(type)],
      });
      return { history, cached: events.includes('feature-cache') };
    };
    process.env.CAMBIUM_CACHE = join(dir, 'cache');
    const [on, off] = [await run('auto'), await run('off')];
    expect([on.cached, off.cached]).toEqual([true, false]);
    expect(on.history).toEqual(off.history);
  });
});

test.each(listModels().filter(({ defaults }) => 'numClasses' in defaults))(
  'heads on $name: their outputs side by side, under the names of the labels',
  async ({ name }) => {
    const model = createModel(name, { heads: { a: 2, b: 3 } });
    const { head } = structureOf(model);
    const names = model.namedParameters().map((parameter) => parameter.name);
    expect(names).toEqual(expect.arrayContaining([`${head}.a.weight`, `${head}.b.weight`]));
    expect(names).not.toContain(`${head}.weight`);
    expect(structureOf(model).stages.length).toBeGreaterThan(1);
  },
);

test('heads that cannot be', async () => {
  for (const heads of [{}, { a: 0 }, { 'a.b': 1 }, [2]])
    expect(await codeOf(async () => createModel('mlp', { heads }))).toEqual(['MODEL_OPTION_INVALID', 'model.heads']);
  expect(await codeOf(async () => createModel('mlp', { heads: { a: 2 }, numClasses: 3 }))).toEqual([
    'MODEL_OPTION_INVALID',
    'model.heads',
  ]);
});
