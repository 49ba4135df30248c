/** A causal language model from recipe to continuation, classifier and transformers' folder. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import type { CambiumError } from '../../src/base/index.ts';
import { phrases } from '../../src/data/index.ts';
import {
  fromPretrained,
  loadLanguageModel,
  parseRecipe,
  type RecipeInput,
  runRecipe,
} from '../../src/training/index.ts';
import { cambium, ensureBuilt, scratch } from './run-cli.ts';

const dir = scratch();
const { texts, labels } = phrases({ split: 'train', size: 600 });
const recipe: RecipeInput = {
  name: 'lines',
  seed: 1,
  data: { name: 'texts', corpora: [{ file: 'lines.txt' }], validation: 0.1, split: 'last' },
  task: 'causal-lm',
  tokenizer: { train: 'bpe', vocabSize: 300 },
  maxLength: 24,
  model: { name: 'gpt2', nEmbd: 32, nLayer: 2, nHead: 2, nPositions: 40, dropout: 0 },
  optimizer: { name: 'adamw', lr: 5e-3 },
  batchSize: 16,
  epochs: 2,
};
beforeAll(async () => {
  ensureBuilt();
  await writeFile(join(dir, 'lines.txt'), `${texts.slice(0, 500).join('\n')}\n`);
  const rows = texts.slice(500).map((text, i) => `${labels[500 + i] ? 'good' : 'bad'},"${text.replaceAll('"', '""')}"`);
  await writeFile(join(dir, 'labelled.csv'), `label,text\n${rows.join('\n')}\n`);
  const { result } = await runRecipe(parseRecipe(recipe), { dataDir: dir, out: join(dir, 'gpt') });
  const [first, second] = result.history;
  expect(second?.validation?.perplexity).toBeLessThan(0.9 * (first?.validation?.perplexity as number));
}, 120_000);

test('generate goes on with a prompt, the same for the same seed', async () => {
  const prompt = texts[0]?.slice(0, 12) as string;
  const args = ['generate', join(dir, 'gpt'), '--prompt', prompt, '--max-new-tokens', '10', '--json'];
  const one = JSON.parse((await cambium(args)).stdout);
  expect(one.text.startsWith(prompt)).toBe(true);
  expect(one.tokens.length).toBeLessThanOrEqual(10);
  expect(JSON.parse((await cambium(args)).stdout)).toEqual(one);
  expect(JSON.parse((await cambium([...args, '--seed', '4'])).stdout).tokens).not.toEqual(one.tokens);
  const beams = JSON.parse((await cambium([...args, '--beams', '3'])).stdout);
  expect(beams.text.startsWith(prompt)).toBe(true);
  expect(JSON.parse((await cambium([...args, '--beams', '3'])).stdout)).toEqual(beams);
  const both = await cambium([...args, '--beams', '3', '--temperature', '2']);
  expect([both.code, both.stderr]).toEqual([2, expect.stringContaining('temperature')]);
  const long = await cambium(['generate', join(dir, 'gpt'), '--prompt', texts.slice(0, 9).join(' ')]);
  expect(long.stderr).toContain('--prompt');
  expect(long.code).not.toBe(0);
});

test('export and fromPretrained give the same logits; other folders are refused', async () => {
  const out = join(dir, 'hf');
  expect((await cambium(['export', join(dir, 'gpt'), '--out', out])).code).toBe(0);
  const [ours, theirs] = [await loadLanguageModel(join(dir, 'gpt')), await fromPretrained(out, { print: false })];
  const ids = [...ours.tokenizer.ids(texts[1] as string)].slice(0, 12);
  expect([...(theirs.tokenizer?.ids(texts[1] as string) ?? [])].slice(0, 12)).toEqual(ids);
  const { tensor } = await import('../../src/tensor/index.ts');
  const x = tensor(Int32Array.from(ids), { shape: [1, ids.length] });
  expect(await theirs.model.forward(x).data()).toEqual(await ours.model.forward(x).data());
  const again = await cambium([
    'generate',
    out,
    '--prompt',
    texts[2] as string,
    '--max-new-tokens',
    '3',
    '--temperature',
    '0',
  ]);
  expect(again.code).toBe(0);
});

test('its weights start a classifier', async () => {
  const { result, report } = await runRecipe(
    parseRecipe({
      ...recipe,
      data: { name: 'table', file: 'labelled.csv', validation: 0.1, test: 0.2 },
      task: 'text-classification',
      tokenizer: undefined,
      init: { weights: join(dir, 'gpt') },
      epochs: 1,
    }),
    { dataDir: dir, out: join(dir, 'classes') },
  );
  expect(result.init?.new).toEqual(['score.weight']);
  expect(report).toBeDefined();
  const error = await loadLanguageModel(join(dir, 'classes')).catch((e: unknown) => e as CambiumError);
  expect(error).toMatchObject({ code: 'MODEL_TASK' });
});
