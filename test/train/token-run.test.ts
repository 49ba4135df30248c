/** Token classification from files to saved model and back: loss by hand, recipe, resume, answers with places, and what is refused. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CambiumError } from '../../src/base/index.ts';
import {
  entities,
  entityClasses,
  InMemoryTextDataset,
  type LabelledBatch,
  trainWordPiece,
} from '../../src/data/index.ts';
import { BertForTokenClassification } from '../../src/models/index.ts';
import { type Answers, headsOf, type TagsPrediction, textTask } from '../../src/tasks/index.ts';
import { manualSeed, tensor } from '../../src/tensor/index.ts';
import {
  fineTune,
  loadModelFolder,
  parseRecipe,
  type RecipeInput,
  resumeRun,
  runRecipe,
  type Samples,
  tagTexts,
} from '../../src/training/index.ts';
import { openPart } from '../../src/training/model-data.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cambium-token-run-'));
  for (const split of ['train', 'test'] as const) {
    const { sentences } = entities({ split, size: split === 'train' ? 240 : 40 });
    const rows = sentences.map(({ tokens, tags }) =>
      tokens.map((w, i) => `${w}\tx\t${entityClasses[tags[i] as number]}\n`).join(''),
    );
    await writeFile(join(dir, `${split}.conll`), rows.join('\n'));
  }
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const bert = { name: 'bert', hiddenSize: 16, numHiddenLayers: 1, numAttentionHeads: 2, intermediateSize: 16 };
const recipe = (changes: Partial<RecipeInput> = {}) =>
  parseRecipe({
    name: 'ner',
    seed: 3,
    data: { name: 'tokens', file: 'train.conll', testFile: 'test.conll', validation: 40 },
    task: 'token-classification',
    tokenizer: { train: 'wordpiece', vocabSize: 200, lowercase: false },
    model: bert,
    optimizer: { name: 'adamw', lr: 1e-2 },
    batchSize: 25,
    epochs: 1,
    ...changes,
  });
const errorOf = (body: Promise<unknown>): Promise<CambiumError> =>
  body.then(
    () => expect.fail('nothing was thrown'),
    (e) => e,
  );

describe('the head', () => {
  const names = ['O', 'B-A', 'I-A'];
  const logits = [1, 0, 2, 0, 3, 1, 5, 5, 5, 2, 2, 0, 0, 1, 0, 9, 0, 0];
  const tags = [-100, 1, -100, 0, 2, -100];
  const nll = (row: number, tag: number): number => {
    const own = logits.slice(3 * row, 3 * row + 3);
    return Math.log(own.reduce((sum, v) => sum + Math.exp(v), 0)) - (own[tag] as number);
  };
  const batch = (more: object = {}) =>
    ({
      tags: { dtype: 'i32', shape: [2, 3], data: Int32Array.from(tags) },
      ids: Int32Array.of(4, 5),
      size: 2,
      ...more,
    }) as unknown as LabelledBatch;
  const y = () => tensor(logits, { shape: [2, 3, 3] });
  const lossOf = (options: object, own = batch()) =>
    textTask({ heads: [{ kind: 'tags', field: 'tags', names, ...options }] })
      .lossOf(y(), own)
      .item();

  test('means over words that have a tag, weighted by class and sample', async () => {
    const each = [nll(1, 1), nll(3, 0), nll(4, 2)] as const;
    expect(await lossOf({})).toBeCloseTo((each[0] + each[1] + each[2]) / 3, 5);
    expect(await lossOf({ classWeights: [1, 2, 4] })).toBeCloseTo((2 * each[0] + each[1] + 4 * each[2]) / 7, 5);
    const weighted = batch({ weight: { dtype: 'f32', shape: [2], data: Float32Array.of(3, 1) } });
    expect(await lossOf({}, weighted)).toBeCloseTo((3 * each[0] + each[1] + each[2]) / 5, 5);
    const none = batch({ tags: { dtype: 'i32', shape: [2, 3], data: new Int32Array(6).fill(-100) } });
    expect(await lossOf({}, none)).toBe(0);
    const wrong = batch({ tags: { dtype: 'i32', shape: [2, 3], data: Int32Array.of(0, 0, 0, 0, 3, 0) } });
    expect(() => lossOf({}, wrong)).toThrowError(
      expect.objectContaining({ code: 'LABEL_OUT_OF_RANGE', details: expect.objectContaining({ sample: 5 }) }),
    );
  });

  test('one head, one kind', () => {
    const heads = [{ kind: 'tags', field: 'tags', names } as const, { kind: 'class', field: 'label', names } as const];
    expect(() => textTask({ heads })).toThrowError(expect.objectContaining({ code: 'HEADS_INVALID' }));
    expect(() => textTask({ heads: [{ kind: 'tags', field: 'tags', names: ['O'] }] })).toThrowError(
      expect.objectContaining({ code: 'CLASSES_INVALID' }),
    );
  });
});

describe('a run', () => {
  test('trains BERT from CoNLL files, measures entities, and its folder finds them again', {
    timeout: 60_000,
  }, async () => {
    const out = join(dir, 'run');
    const { result, report, reportText } = await runRecipe(recipe({ epochs: 2 }), { dataDir: dir, out });
    expect('model' in result && result.model).toBeInstanceOf(BertForTokenClassification);
    expect(result.history[1]?.trainLoss).toBeLessThan(result.history[0]?.trainLoss as number);
    expect(reportText).toContain('entities: right with all their words');
    expect(report?.heads?.tags).toMatchObject({ kind: 'tags', of: 'entities', n: 40 });
    const loaded = await loadModelFolder(join(out, 'model'));
    if (!('text' in loaded)) return expect.fail('a model of texts');
    // The classes a file is read by are the model's, whichever of them it has.
    await writeFile(join(dir, 'one.conll'), 'Anna x B-PER\nleft x O\n');
    const { part } = await openPart(loaded, { split: 'test', file: join(dir, 'one.conll'), notify: () => {} });
    expect(part.schema.labels.tags).toMatchObject({ names: loaded.classes });
    const text = '  Anna Baker moved to Berlin.';
    for await (const { tokens, entities: found = [] } of tagTexts(loaded, [text])) {
      expect(tokens.map((token) => token.text)).toEqual(['Anna', 'Baker', 'moved', 'to', 'Berlin', '.']);
      for (const { start, end, text: own } of found) expect(text.slice(start, end)).toBe(own);
    }
    const short = { ...loaded, text: { ...loaded.text, maxLength: 4 } };
    for await (const { tokens, truncated } of tagTexts(short, [['王', '明', '在', '京']]))
      expect([tokens.length, truncated]).toEqual([2, 2]);
  });

  test('goes on where it was interrupted, bit for bit', { timeout: 60_000 }, async () => {
    const model = { name: 'lstm-classifier', embeddingDim: 8, hiddenSize: 8, dropout: 0.2 };
    const own = recipe({ model, epochs: 2 });
    const whole = await runRecipe(own, { dataDir: dir, out: join(dir, 'whole') });
    const half = join(dir, 'half');
    const stop = (event: { type: string; epoch?: number }) => {
      if (event.type === 'epoch-end' && event.epoch === 1) throw new Error('pulled the plug');
    };
    await expect(runRecipe(own, { dataDir: dir, out: half, listeners: [stop] })).rejects.toThrow('pulled the plug');
    const resumed = await resumeRun(half, { dataDir: dir });
    expect(resumed.result.weightsHash).toBe(whole.result.weightsHash);
  });

  test('what does not fit is refused by name', async () => {
    const run = (changes: Partial<RecipeInput>) =>
      errorOf(runRecipe(recipe(changes), { dataDir: dir, out: join(dir, 'no') }));
    const gpt = { name: 'gpt2', nEmbd: 16, nLayer: 1, nHead: 2 };
    expect(await run({ model: gpt })).toMatchObject({ code: 'MODEL_TASK', details: { field: 'model.name' } });
    expect(await run({ model: { ...bert, perToken: false } })).toMatchObject({
      code: 'MODEL_TASK',
      details: { field: 'model.perToken' },
    });
    expect(await run({ task: 'text-classification' })).toMatchObject({
      code: 'RECIPE_INVALID',
      details: { field: 'task' },
    });
    expect(await run({ sampler: 'balanced' })).toMatchObject({ code: 'HEAD_OPTION' });
    expect(await run({ data: { name: 'tokens', file: 'train.conll', format: 'csv' } })).toMatchObject({
      details: { field: 'data.format' },
    });
    expect(await run({ data: { name: 'phrases' }, task: undefined, model: { ...bert, perToken: true } })).toMatchObject(
      { code: 'MODEL_TASK' },
    );
  });
});

describe('by hand', () => {
  test('a token classifier on labels of whole texts says what to do; answers without words are of every token', async () => {
    const data = entities({ split: 'train', size: 20 });
    const tokenizer = await trainWordPiece(
      data.sentences.map(({ tokens }) => tokens.join(' ')),
      { vocabSize: 100 },
    );
    manualSeed(1);
    const small = {
      vocabSize: tokenizer.vocabSize,
      hiddenSize: 8,
      numHiddenLayers: 1,
      numAttentionHeads: 2,
      intermediateSize: 8,
    };
    const model = new BertForTokenClassification({ ...small, numClasses: 7 });
    const train = data as unknown as Samples;
    const { task } = await fineTune({
      model,
      data: { train },
      text: { tokenizer },
      batchSize: 10,
      classWeights: 'balanced',
    });
    expect(task.name).toBe('token-classification');
    const [answer] = await textTask({ heads: headsOf(data.schema) }).answers(
      model,
      tokenizer.encodeBatch(['Anna left']),
    );
    expect(((answer as Answers).tags as TagsPrediction).tags.length).toBe(
      tokenizer.encode('Anna left').inputIds.length,
    );
    const texts = new InMemoryTextDataset({
      name: 't',
      texts: ['a', 'b'],
      labels: Int32Array.of(0, 1),
      classes: ['x', 'y'],
    });
    const error = await errorOf(
      fineTune({ model: new BertForTokenClassification(small), data: { train: texts }, text: { tokenizer } }),
    );
    expect([error.code, error.details.hint]).toEqual(['CLASSES_MISMATCH', expect.stringContaining('for each token')]);
  });
});
