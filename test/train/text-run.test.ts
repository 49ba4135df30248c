/** A recipe of texts from file to saved model: columns, tokenizer, buckets, resume, and what is refused. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { learnReviews } from '../../examples/text-loop.ts';
import type { CambiumError } from '../../src/base/index.ts';
import { phrases } from '../../src/data/index.ts';
import { LSTMClassifier, registerModel } from '../../src/models/index.ts';
import type { Prediction } from '../../src/tasks/index.ts';
import {
  type Listener,
  loadModelFolder,
  loadRunData,
  parseRecipe,
  planRecipe,
  type RecipeInput,
  resumeRun,
  runRecipe,
} from '../../src/training/index.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cambium-text-run-'));
  const csv = (split: 'train' | 'test', size: number): string => {
    const { texts, labels } = phrases({ split, size });
    const rows = texts.map((text, i) => `${labels[i] ? 'good' : 'bad'},"${text.replaceAll('"', '""')}"`);
    return `stars,review\n${rows.join('\n')}\n`;
  };
  await writeFile(join(dir, 'train.csv'), csv('train', 600));
  await writeFile(join(dir, 'test.csv'), csv('test', 120));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const recipe = (changes: Partial<RecipeInput> = {}): RecipeInput => ({
  name: 'reviews',
  seed: 3,
  data: {
    name: 'table',
    file: 'train.csv',
    testFile: 'test.csv',
    textColumn: 'review',
    labelColumn: 'stars',
    validation: 100,
  },
  tokenizer: { train: 'wordpiece', vocabSize: 300 },
  maxLength: 16,
  model: { name: 'lstm-classifier', embeddingDim: 16, hiddenSize: 16 },
  optimizer: { name: 'adamw', lr: 1e-2 },
  batchSize: 25,
  epochs: 1,
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

describe('a run on texts', () => {
  test('trains, saves model and tokenizer, and what is loaded answers the same', async () => {
    const out = join(dir, 'run');
    const { result, report, reportText } = await runRecipe(parseRecipe(recipe()), { dataDir: dir, out });
    expect(result.steps).toBe(20);
    expect(result.test?.n).toBe(120);
    expect(report?.naiveBayes).toBeGreaterThan(0.6);
    expect(reportText).toContain('naive Bayes baseline: accuracy 0.');
    expect(result.plan.model).toMatch(/up to 16 tokens of \d+/);
    const loaded = await loadModelFolder(join(out, 'model'));
    if (!('text' in loaded)) return expect.fail('a text model was saved');
    expect(loaded.classes).toEqual(['bad', 'good']);
    expect(loaded.text.maxLength).toBe(16);
    const batch = loaded.text.tokenizer.encodeBatch(['really good food']);
    const [answer] = await loaded.task.answers(loaded.module, batch);
    expect(Object.keys((answer?.label as Prediction | undefined)?.probabilities ?? {})).toEqual(['bad', 'good']);
    expect(JSON.parse(await readFile(join(out, 'model', 'tokenizer.json'), 'utf8')).model.type).toBe('WordPiece');
  });

  test('an interrupted run goes on, bit for bit', async () => {
    const whole = join(dir, 'whole');
    const input = parseRecipe(recipe({ epochs: 2, checkpoint: { everySteps: 7 } }));
    const straight = await runRecipe(input, { dataDir: dir, out: whole });
    const out = join(dir, 'cut');
    const stopper: Listener = (event) => {
      if (event.type === 'step' && event.step === 10) throw new Error('the power fails');
    };
    await expect(runRecipe(input, { dataDir: dir, out, listeners: [stopper] })).rejects.toThrow('the power fails');
    const resumed = await resumeRun(out, { dataDir: dir });
    expect(resumed.result.weightsHash).toBe(straight.result.weightsHash);
  });

  test('pairs, positions and BPE', async () => {
    const file = join(dir, 'pairs.tsv');
    await writeFile(
      file,
      Array.from({ length: 40 }, (_, i) => `why ${i % 7}\tso ${i % 2 ? 'good' : 'bad'}\t${i % 2}`).join('\n'),
    );
    const data = await loadRunData(
      parseRecipe(
        recipe({
          data: {
            name: 'table',
            file,
            textColumn: 0,
            pairColumn: 1,
            labelColumn: 2,
            classes: ['no', 'yes'],
            test: 0.2,
          },
          tokenizer: { train: 'bpe', vocabSize: 300 },
        }),
      ),
    );
    expect([data.train.length, data.validation?.length, data.test?.length]).toEqual([28, 4, 8]);
    expect(data.text?.tokenizer.kind).toBe('BPE');
    expect(Object.keys(data.train.schema.features)).toEqual(['text', 'pair']);
  });

  test('a loop of your own with BERT runs', async () => {
    const [bert, bayes] = await learnReviews({ samples: 320, epochs: 1 });
    expect(bert).toBeGreaterThan(0.4);
    expect(bayes).toBeGreaterThan(0.5);
  });

  test('a BERT recipe trains from the same fields', async () => {
    const size = { hiddenSize: 16, numHiddenLayers: 1, numAttentionHeads: 2, intermediateSize: 16 };
    const out = join(dir, 'bert');
    const input = recipe({ task: 'text-classification', model: { name: 'bert', ...size, maxPositionEmbeddings: 16 } });
    const { result } = await runRecipe(parseRecipe(input), { dataDir: dir, out });
    expect(result.modelDir).toBe(join(out, 'model'));
    expect('text' in (await loadModelFolder(join(out, 'model')))).toBe(true);
  });

  test('no more tokens than the model has positions', async () => {
    registerModel({
      name: 'eight-positions',
      description: 'a test',
      input: 'text',
      defaults: { vocabSize: 10, numClasses: 2, maxPositionEmbeddings: 8 },
      minSize: [1, 1],
      build: ({ vocabSize }) => new LSTMClassifier({ vocabSize: vocabSize as number, hiddenSize: 4, embeddingDim: 4 }),
    });
    const model = { name: 'eight-positions' };
    const plan = await planRecipe(parseRecipe(recipe({ model, maxLength: undefined })), { dataDir: dir });
    expect(plan.model).toContain('up to 8 tokens');
    expect(await codeOf(() => planRecipe(parseRecipe(recipe({ model })), { dataDir: dir }))).toEqual([
      'LENGTH_EXCEEDED',
      'maxLength',
    ]);
  });

  test('the plan knows texts', async () => {
    const plan = await planRecipe(parseRecipe(recipe()), { dataDir: dir });
    expect(plan.flopsPerStep).toBeGreaterThan(1e5);
  });
});

describe('recipes that do not fit their data', () => {
  const data = recipe().data;
  test.each<[string, RecipeInput, string, string]>([
    ['a model of pictures', recipe({ model: { name: 'mnist-cnn' } }), 'MODEL_INPUT', 'model.name'],
    [
      'a model of texts for pictures',
      recipe({ data: { name: 'digits' }, tokenizer: undefined, model: { name: 'lstm-classifier' } }),
      'MODEL_INPUT',
      'model.name',
    ],
    ['a tokenizer for pictures', recipe({ data: { name: 'digits' } }), 'RECIPE_INVALID', 'tokenizer'],
    ['another task', recipe({ task: 'image-classification' }), 'RECIPE_INVALID', 'task'],
    ['transforms of pictures', recipe({ transforms: [{ kind: 'randomFlip' }] }), 'RECIPE_INVALID', 'transforms'],
    ['no file', recipe({ data: { name: 'table' } }), 'RECIPE_INVALID', 'data.file'],
    ['no column', recipe({ data: { ...data, textColumn: 'reviews' } }), 'COLUMN_MISSING', 'reviews'],
    [
      'too few rows in the embedding',
      recipe({ model: { name: 'lstm-classifier', vocabSize: 10 } }),
      'TOKENIZER_MISMATCH',
      undefined as never,
    ],
    ['no room', recipe({ maxLength: 2 }), 'MAX_LENGTH', undefined as never],
    [
      'a set without its folder',
      recipe({ data: { name: 'sst2', dir: 'nowhere' } }),
      'FILE_NOT_FOUND',
      undefined as never,
    ],
  ])('%s', async (_, input, code, field) => {
    const dataDir = input.data.name === 'sst2' ? join(dir, 'nowhere') : dir;
    expect(await codeOf(() => planRecipe(parseRecipe(input), { dataDir }))).toEqual([
      code,
      code === 'MAX_LENGTH' ? 'maxLength' : field,
    ]);
  });
  test('fields for other data are named', () => {
    expect(() => parseRecipe(recipe({ data: { name: 'phrases', file: 'x.csv' } }))).toThrowError(
      expect.objectContaining({ code: 'RECIPE_INVALID', message: expect.stringContaining('data.file') }),
    );
  });
});
