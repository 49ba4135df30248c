/** Pre-training without labels: it learns, is resumed bit for bit, and what it saves is where fine-tuning starts. */
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BlockLoader, phrases, plainTexts, TokenBlocks, trainWordPiece } from '../../src/data/index.ts';
import { BertForMaskedLM, createModel } from '../../src/models/index.ts';
import { crossEntropy, loadWeights, type Module } from '../../src/nn/index.ts';
import { maskedLM } from '../../src/tasks/index.ts';
import { manualSeed, tensor } from '../../src/tensor/index.ts';
import {
  type Listener,
  loadAdapter,
  loadModelFolder,
  parseRecipe,
  planRecipe,
  pretrain,
  type RecipeInput,
  resumeRun,
  runRecipe,
} from '../../src/training/index.ts';
import { errorOf } from '../error-of.ts';

let dir: string;
const { texts, labels } = phrases({ split: 'train', size: 900 });
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cambium-pretrain-'));
  await writeFile(join(dir, 'lines.txt'), `${texts.slice(0, 700).join('\n')}\n`);
  const rows = texts.slice(700).map((text, i) => `${labels[700 + i] ? 'good' : 'bad'},"${text.replaceAll('"', '""')}"`);
  await writeFile(join(dir, 'labelled.csv'), `label,text\n${rows.join('\n')}\n`);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const small = { hiddenSize: 32, numHiddenLayers: 1, numAttentionHeads: 2, intermediateSize: 64 };
const recipe = (changes: Partial<RecipeInput> = {}): RecipeInput => ({
  name: 'words',
  seed: 3,
  data: { name: 'texts', corpora: [{ file: 'lines.txt' }], validation: 0.1 },
  task: 'masked-lm',
  tokenizer: { train: 'wordpiece', vocabSize: 300 },
  maxLength: 24,
  model: { name: 'bert', ...small, dropout: 0.1, maxPositionEmbeddings: 32 },
  optimizer: { name: 'adamw', lr: 5e-3 },
  schedule: { name: 'linear', warmup: 0.1 },
  batchSize: 16,
  epochs: 3,
  ...changes,
});
/** What a run of masked-lm saved, as the model that predicts words. */
async function languageModel(run: string): Promise<Module> {
  const { model } = JSON.parse(await readFile(join(run, 'model', 'config.json'), 'utf8'));
  const { name, ...options } = model;
  const module = createModel(name, options, 'masked-lm');
  await loadWeights(module, join(run, 'model'), { print: false });
  return module;
}

describe('masked language modelling', () => {
  test('logits at hidden places alone give the loss of all logits', async () => {
    const tokenizer = await trainWordPiece(texts, { vocabSize: 300 });
    manualSeed(1);
    const model = new BertForMaskedLM({ vocabSize: tokenizer.vocabSize, ...small, maxPositionEmbeddings: 32 });
    const blocks = await TokenBlocks.from(texts, { tokenizer, length: 24, style: 'bert' });
    const loader = new BlockLoader(blocks, { batchSize: 6, shuffle: true, seed: 2, masking: {} });
    for await (const batch of loader.epoch(0)) {
      const target = new Int32Array(6 * 24).fill(-100);
      const positions = batch.positions as { data: Int32Array };
      batch.label.data.forEach((id, k) => {
        if (id !== -100) target[positions.data[k] as number] = id;
      });
      const logits = model.eval().forward(tensor(batch.inputIds.data, { shape: [6, 24], dtype: 'i32' }));
      const all = logits.reshape([6 * 24, tokenizer.vocabSize]);
      const expected = await crossEntropy(all, tensor(target, { dtype: 'i32' })).item();
      const { loss, correct, weight } = maskedLM().measure(model, batch);
      expect(await loss.item()).toBeCloseTo(expected, 5);
      const best = await all.argmax(1).data();
      expect(await correct?.item()).toBe(target.filter((id, i) => id === best[i]).length);
      expect(weight).toBe(target.filter((id) => id !== -100).length);
      break;
    }
  });

  test('epochs 0 measures the weights of init on the validation part', async () => {
    const first = join(dir, 'first');
    const { result } = await runRecipe(parseRecipe(recipe({ epochs: 1 })), { dataDir: dir, out: first });
    const out = join(dir, 'measured');
    const measuring = recipe({ epochs: 0, init: { weights: first }, tokenizer: undefined });
    const said: string[] = [];
    const listener: Listener = (event) => void (event.type === 'run-end' && said.push(JSON.stringify(event.result)));
    const again = await runRecipe(parseRecipe(measuring), { dataDir: dir, out, listeners: [listener] });
    expect(again.result).toMatchObject({ epochs: 0, steps: 0, history: [], validation: result.validation });
    expect(again.result.validation?.loss).toBeGreaterThan(0);
    expect(said[0]).toContain(`"loss":${result.validation?.loss}`);
    expect(again.reportText).toContain('masked-lm: nothing was trained');
    expect(again.reportText).toContain('per masked token of the validation part: loss');
    const report = JSON.parse(await readFile(join(out, 'report.json'), 'utf8'));
    expect(report).toMatchObject({ trainable: 0, validation: { loss: result.validation?.loss } });
    expect(Object.keys(report.data)).toEqual(['validation']);
  });

  test('learns, reports, is saved with its tokenizer, and fine-tuning starts from it', async () => {
    const out = join(dir, 'run');
    const { result, reportText } = await runRecipe(parseRecipe(recipe({ epochs: 10 })), { dataDir: dir, out });
    const [first, last] = [result.history[0], result.history.at(-1)];
    expect(last?.validation?.loss).toBeLessThan((first?.validation?.loss ?? 0) - 0.2);
    expect(last?.validation?.accuracy).toBeGreaterThan(first?.validation?.accuracy ?? 1);
    expect(last?.validation?.perplexity).toBeCloseTo(Math.exp(last?.validation?.loss ?? 0), 6);
    expect(reportText).toContain('per masked token of the validation part');
    const report = JSON.parse(await readFile(join(out, 'report.json'), 'utf8'));
    expect(report).toMatchObject({ objective: 'masked-lm', validation: { loss: expect.any(Number) } });
    expect(report).toMatchObject({ trainable: report.parameters, gap: { validation: report.validation.loss } });
    const page = await readFile(join(out, 'report.html'), 'utf8');
    for (const text of ['Loss per epoch', 'per masked token', '10 epochs', 'name: bert', report.weights])
      expect(page).toContain(text);
    expect(JSON.parse(await readFile(join(out, 'model', 'tokenizer.json'), 'utf8')).model.type).toBe('WordPiece');
    const pretrainedOnly = await errorOf(() => loadModelFolder(join(out, 'model')));
    expect([pretrainedOnly.code, pretrainedOnly.details.field]).toEqual(['MODEL_PRETRAINED', 'pretraining']);

    const tuning: RecipeInput = {
      name: 'tuned',
      data: { name: 'table', file: 'labelled.csv', validation: 40 },
      init: { weights: 'run' },
      model: { name: 'bert' },
      optimizer: { name: 'adamw', lr: 2e-3 },
      batchSize: 20,
      epochs: 1,
    };
    const events: string[] = [];
    const listener: Listener = (event) => void (event.type === 'init' && events.push(...event.report.new));
    const tuned = await runRecipe(parseRecipe(tuning), {
      dataDir: dir,
      out: join(dir, 'tuned'),
      listeners: [listener],
    });
    expect(events.sort()).toEqual([
      'bert.pooler.dense.bias',
      'bert.pooler.dense.weight',
      'classifier.bias',
      'classifier.weight',
    ]);
    // The rows of the embedding are those of the pretrained tokenizer.
    const loaded = await loadModelFolder(join(tuned.run, 'model'));
    expect(loaded.model).toMatchObject({ hiddenSize: 32, maxPositionEmbeddings: 32 });
  }, 60_000);

  test('stopped and resumed it ends with the same weights', async () => {
    const wanted = await runRecipe(parseRecipe(recipe({ epochs: 2 })), { dataDir: dir, out: join(dir, 'whole') });
    const out = join(dir, 'broken');
    const stopAt: Listener = (event) => {
      if (event.type === 'checkpoint' && event.reason === 'steps' && event.step === 15) throw new Error('killed');
    };
    const broken = { ...recipe({ epochs: 2 }), checkpoint: { everySteps: 5 } };
    await errorOf(() => runRecipe(parseRecipe(broken), { dataDir: dir, out, listeners: [stopAt] }));
    const resumed = await resumeRun(out, { dataDir: dir });
    expect(resumed.result.weightsHash).toBe(wanted.result.weightsHash);
    expect(resumed.result.history).toEqual(wanted.result.history);
  }, 60_000);

  test('low-rank adapters tune what was pre-trained: alone, and merged into the model', async () => {
    const adapter = { name: 'lora', rank: 2 } as const;
    const { code, details } = await errorOf(() =>
      runRecipe(parseRecipe(recipe({ adapter })), { dataDir: dir, out: join(dir, 'no-trunk') }),
    );
    expect([code, details.field]).toEqual(['OPTION_INVALID', 'adapter']);
    await expect(stat(join(dir, 'no-trunk'))).rejects.toMatchObject({ code: 'ENOENT' });

    const tuning = recipe({ adapter, epochs: 1, init: { weights: join(dir, 'whole') }, tokenizer: undefined });
    const { result, run } = await runRecipe(parseRecipe(tuning), { dataDir: dir, out: join(dir, 'adapted') });
    expect(result.plan.trainable).toBe(2 * 2 * (32 + 32));
    const [merged, trunk] = [(await languageModel(run)).eval(), (await languageModel(join(dir, 'whole'))).eval()];
    const x = tensor(Int32Array.from({ length: 16 }, (_, i) => (i * 7) % 90));
    const logits = async (model: Module) => [...(await model.forward(x.reshape([2, 8])).data())];
    const [wanted, before] = [await logits(merged), await logits(trunk)];
    await loadAdapter(trunk, join(run, 'adapter'));
    const alone = await logits(trunk);
    expect(Math.max(...alone.map((y, i) => Math.abs(y - (wanted[i] as number))))).toBeLessThan(1e-4);
    expect(Math.max(...alone.map((y, i) => Math.abs(y - (before[i] as number))))).toBeGreaterThan(1e-3);
  }, 60_000);

  test('one call from code, from a stream of lines', async () => {
    const tokenizer = await trainWordPiece(texts, { vocabSize: 300 });
    manualSeed(1);
    const model = new BertForMaskedLM({ vocabSize: tokenizer.vocabSize, ...small, maxPositionEmbeddings: 32 });
    const lines = {
      name: 'stream',
      schema: { features: { text: { kind: 'text' } }, labels: {} } as const,
      async *samples() {
        for (const text of texts) yield { text };
      },
    };
    const result = await pretrain({
      objective: 'masked-lm',
      model,
      data: { train: lines, validation: plainTexts(texts.slice(0, 100)) },
      text: { tokenizer, maxLength: 24 },
      objectiveOptions: { masking: { maxSpan: 3 } },
      optimizer: { name: 'adamw', lr: 1e-2 },
      batchSize: 16,
      epochs: 1,
    });
    expect(result.validation?.loss).toBeLessThan(5.5);
    expect(result.model.training).toBe(false);
  });
});

describe('what does not fit is refused', () => {
  const refused = async (changes: Partial<RecipeInput>, place: string | undefined = dir) => {
    const { code, details } = await errorOf(async () => planRecipe(parseRecipe(recipe(changes)), { dataDir: place }));
    return [code, details.field];
  };
  test('tasks, data, models and options', async () => {
    expect(await refused({ task: undefined })).toEqual(['RECIPE_INVALID', 'task']);
    expect(await refused({ task: 'rotation' })).toEqual(['RECIPE_INVALID', 'task']);
    expect(await refused({ model: { name: 'lstm-classifier' } })).toEqual(['MODEL_TASK', 'model.name']);
    expect(await refused({ data: { name: 'texts' } })).toEqual(['RECIPE_INVALID', 'data.corpora']);
    expect(await refused({ data: { name: 'texts', corpora: [{ file: 'gone.txt' }] } })).toEqual([
      'FILE_NOT_FOUND',
      undefined,
    ]);
    expect(await refused({ data: { name: 'texts', corpora: [{}] } })).toEqual(['RECIPE_INVALID', 'data.corpora[0]']);
    expect(await refused({ data: { name: 'texts', corpora: [{ set: 'waimai' }] } }, '/nowhere')).toEqual([
      'FILE_NOT_FOUND',
      undefined,
    ]);
    expect(await refused({ maxLength: 64 })).toEqual(['LENGTH_EXCEEDED', 'maxLength']);
    expect(await refused({ objective: { masking: { probability: 1 } } })).toEqual([
      'RECIPE_INVALID',
      'objective.masking.probability',
    ]);
    expect(await refused({ objective: { masking: { mask: 0.9, random: 0.9 } } })).toEqual(['OPTION_INVALID', 'random']);
    expect(await refused({ tokenizer: { train: 'bpe', vocabSize: 300 } })).toEqual([
      'SPECIAL_TOKEN_MISSING',
      'cls_token',
    ]);
  });
});
