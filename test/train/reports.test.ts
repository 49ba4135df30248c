/** What a run leaves to read: the part it was measured on, how the model was tuned, how training and validation drift apart. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { phrases } from '../../src/data/index.ts';
import { on, parseRecipe, type RecipeInput, runRecipe } from '../../src/training/index.ts';
import { overfitOf, tuningOf } from '../../src/training/run-facts.ts';
import type { EpochRecord } from '../../src/training/train-state.ts';
import { mlp } from './tiny.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cambium-reports-'));
  const { texts, labels } = phrases({ split: 'train', size: 200 });
  const rows = texts.map((text, i) => `"${text.replaceAll('"', '""')}",${labels[i] === 1 ? 'good' : 'bad'}`);
  await writeFile(join(dir, 'all.csv'), `text,label\n${rows.join('\n')}\n`);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const recipe = (changes: Partial<RecipeInput> = {}): RecipeInput => ({
  name: 'report',
  seed: 3,
  data: { name: 'table', file: 'all.csv', validation: 40 },
  tokenizer: { train: 'wordpiece', vocabSize: 200 },
  maxLength: 16,
  model: { name: 'lstm-classifier', embeddingDim: 8, hiddenSize: 8 },
  optimizer: { name: 'adamw', lr: 1e-2 },
  batchSize: 20,
  epochs: 2,
  ...changes,
});

describe('a run without a test part', () => {
  test('is reported on validation, named as what chose the epoch, on the weights kept', async () => {
    const out = join(dir, 'validated');
    const wanted = parseRecipe(recipe({ freeze: { belowDepth: 'head' } }));
    const { result, report, reportText } = await runRecipe(wanted, { dataDir: dir, out });
    expect(report).toMatchObject({
      part: 'validation',
      n: 40,
      tuning: 'head only',
      init: null,
      samples: { train: 160, validation: 40, test: 0 },
      accuracy: result.validation?.accuracy,
      weights: result.weightsHash,
      naiveBayes: expect.any(Number),
      best: result.best?.epoch,
    });
    expect(report?.loss).toBeCloseTo(result.validation?.loss ?? 0, 5);
    expect(report?.trainable).toBeLessThan(report?.parameters ?? 0);
    const { gap } = report ?? {};
    expect(gap?.difference).toBe((gap?.validation ?? 0) - (gap?.train ?? 0));
    for (const text of ['measured on: validation, on which the epoch was chosen (40 samples)', 'the head only', 'gap '])
      expect(reportText).toContain(text);
    expect(await readFile(join(out, 'report.txt'), 'utf8')).toBe(reportText);
    const page = await readFile(join(out, 'report.html'), 'utf8');
    for (const text of ['validation, on which the epoch was chosen', 'naive Bayes baseline', 'Loss per epoch'])
      expect(page).toContain(text);
  });

  test('and without a validation part says that there is no report', async () => {
    const notices: string[] = [];
    const { report, reportText } = await runRecipe(
      parseRecipe(recipe({ data: { name: 'table', file: 'all.csv', validation: 0 }, epochs: 1 })),
      { dataDir: dir, out: join(dir, 'blind'), listeners: [on({ notice: ({ text }) => void notices.push(text) })] },
    );
    expect([report, reportText]).toEqual([undefined, undefined]);
    expect(notices.at(-1)).toMatch(/neither a test nor a validation part/);
  });
});

test('a test part is named, and how the model was tuned', async () => {
  const data = { name: 'table', file: 'all.csv', validation: 40, test: 40 } as const;
  const { report, reportText } = await runRecipe(parseRecipe(recipe({ data, epochs: 1 })), {
    dataDir: dir,
    out: join(dir, 'tested'),
  });
  expect(report).toMatchObject({ part: 'test', n: 40, tuning: 'from scratch', overfit: null });
  expect(report?.trainable).toBe(report?.parameters);
  expect(reportText).toContain('measured on: test (40 samples)');
});

test('ways of tuning', () => {
  const init = { weights: 'w' };
  const of = (changes: Partial<RecipeInput>) => tuningOf(parseRecipe(recipe(changes)), mlp());
  expect(of({})).toBe('from scratch');
  expect(of({ init })).toBe('full');
  expect(of({ init, freezeBatchNorm: true })).toBe('full');
  expect(of({ init, adapter: { name: 'lora' } })).toBe('low-rank adapters');
  expect(of({ init, adapter: { name: 'bottleneck' } })).toBe('bottleneck adapters');
  expect(of({ init, adapter: { name: 'prefix' } })).toBe('prefix');
  expect(of({ init, freeze: { belowDepth: 'head' }, unfreeze: [{ epoch: 2, fromDepth: 0 }] })).toBe(
    'gradual unfreezing',
  );
  // Nothing is frozen in this model: more than its head may train.
  expect(of({ init, freeze: ['x'] })).toBe('partial');
  expect(of({ init, epochs: 0 })).toBe('none');
});

describe('over-fitting', () => {
  const history = (...rows: readonly (readonly [train: number, validation: number])[]): EpochRecord[] =>
    rows.map(([trainLoss, loss], i) => ({ epoch: i + 1, step: i + 1, trainLoss, lr: 1, validation: { loss } }));

  test('is a validation loss that rises while the training loss falls', () => {
    expect(overfitOf(history([1, 0.9], [0.5, 0.4], [0.2, 0.6]))).toEqual({
      from: 2,
      to: 3,
      validation: [0.4, 0.6],
      train: [0.5, 0.2],
    });
  });
  test('and neither noise, nor a run that diverges, nor one that does better on validation, nor one without', () => {
    expect(overfitOf(history([1, 0.9], [0.5, 0.4], [0.2, 0.41]))).toBeNull();
    expect(overfitOf(history([1, 0.9], [0.5, 0.4], [0.7, 0.6]))).toBeNull();
    expect(overfitOf(history([1, 0.9], [0.5, 0.4]))).toBeNull();
    // With augmentation or smoothed labels training is the harder of the two.
    expect(overfitOf(history([0.59, 0.04], [0.29, 0.05]))).toBeNull();
    expect(overfitOf([{ epoch: 1, step: 1, trainLoss: 1, lr: 1 }])).toBeNull();
    expect(overfitOf([])).toBeNull();
  });
});
