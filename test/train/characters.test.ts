/** Recipes with a vocabulary of characters: a causal language model that keeps line ends, and a classifier. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { phrases } from '../../src/data/index.ts';
import { generate } from '../../src/models/index.ts';
import {
  loadLanguageModel,
  loadModelFolder,
  parseRecipe,
  type RecipeInput,
  runRecipe,
} from '../../src/training/index.ts';

let dir: string;
const lines = ['All:', 'Speak, speak.', '', '第一公民：', '\t你们都决心饿死吗？'];
const play = `${Array.from({ length: 40 }, (_, i) => lines[i % 5]).join('\n')}\n`;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cambium-characters-'));
  await writeFile(join(dir, 'play.txt'), play);
  const { texts, labels } = phrases({ split: 'train', size: 240 });
  await writeFile(join(dir, 'rows.tsv'), texts.map((text, i) => `${labels[i] ? 'good' : 'bad'}\t${text}\n`).join(''));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const common = {
  tokenizer: { train: 'char' },
  optimizer: { name: 'adamw', lr: 1e-2 },
  batchSize: 8,
  epochs: 1,
} as const;
const causal: RecipeInput = {
  ...common,
  name: 'char-gpt',
  data: { name: 'texts', corpora: [{ file: 'play.txt', document: true }], validation: 0 },
  task: 'causal-lm',
  maxLength: 16,
  model: { name: 'gpt2', nEmbd: 16, nLayer: 1, nHead: 2, nPositions: 24, dropout: 0 },
};

test('a causal language model of characters gives its text back, line ends included', async () => {
  await runRecipe(parseRecipe(causal), { dataDir: dir, out: join(dir, 'gpt') });
  const { model, tokenizer } = await loadLanguageModel(join(dir, 'gpt'));
  expect(tokenizer.vocabSize).toBe(3 + new Set(play).size);
  expect(tokenizer.decode(tokenizer.encode(play).inputIds)).toBe(play);
  expect(model.options.vocabSize).toBe(tokenizer.vocabSize);
  const tokens = await generate(model, [...tokenizer.ids('All:\n')], { maxNewTokens: 6 });
  expect(tokenizer.decode(tokens).length).toBeGreaterThan(0);
});

test('a classifier of characters frames its texts as BERT does', async () => {
  const recipe = parseRecipe({
    ...common,
    name: 'char-classifier',
    data: { name: 'table', file: 'rows.tsv', textColumn: 1, labelColumn: 0, test: 40 },
    maxLength: 24,
    model: { name: 'lstm-classifier', embeddingDim: 8, hiddenSize: 8 },
  });
  await runRecipe(recipe, { dataDir: dir, out: join(dir, 'classifier') });
  const loaded = await loadModelFolder(join(dir, 'classifier', 'model'));
  if (!('text' in loaded)) return expect.fail('a text model was saved');
  const { tokenizer } = loaded.text;
  expect(tokenizer.tokenize('好')).toEqual(['好']);
  expect([...tokenizer.encode('好').inputIds]).toEqual([2, tokenizer.tokenToId('好'), 3]);
});

test('an option of other vocabularies is refused', async () => {
  const tokenizer = { train: 'char', chineseCharacters: true } as const;
  await expect(
    runRecipe(parseRecipe({ ...causal, tokenizer }), { dataDir: dir, out: join(dir, 'no') }),
  ).rejects.toMatchObject({ code: 'RECIPE_INVALID', details: { field: 'tokenizer.chineseCharacters' } });
});
