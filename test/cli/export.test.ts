/** A trained BERT handed to transformers, what cannot be, and a smaller one. */
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { fromPretrained } from '../../src/training/index.ts';
import { cambium, ensureBuilt, scratch } from './run-cli.ts';

beforeAll(ensureBuilt, 120_000);
const dir = scratch();
const small = ['data.phrases.train=100', 'data.phrases.test=20', 'data.validation=20', 'epochs=1', 'batchSize=25'];
const train = (out: string, model: string) =>
  cambium(['train', 'text-quickstart', '--out', out, ...[...small, model].flatMap((s) => ['--set', s])]);

it('writes a folder that reads back with the same classes and tokenizer', { timeout: 120_000 }, async () => {
  const [run, out] = [join(dir, 'run'), join(dir, 'bert')];
  const model = 'model={name: bert, hiddenSize: 16, numHiddenLayers: 1, numAttentionHeads: 2, intermediateSize: 16}';
  expect((await train(run, model)).code).toBe(0);
  const { code, stdout } = await cambium(['export', run, '--out', out, '--json']);
  expect([code, JSON.parse(stdout).architecture]).toEqual([0, 'BertForSequenceClassification']);
  const { labels, tokenizer, model: read } = await fromPretrained(out, { print: false });
  expect(labels).toEqual(JSON.parse(stdout).classes);
  expect(read.stateDict().get('bert.embeddings.word_embeddings.weight')?.shape[0]).toBe(tokenizer?.vocabSize);
});

it('makes a model smaller, which is measured as any other', { timeout: 120_000 }, async () => {
  const [run, out] = [join(dir, 'run'), join(dir, 'small')];
  const { code, stdout } = await cambium(['quantize', run, '--out', out, '--json']);
  const { layers, before, after } = JSON.parse(stdout);
  expect([code, layers]).toEqual([0, 8]);
  expect(after).toBeLessThan(before);
  const [whole, small] = await Promise.all([run, out].map((folder) => cambium(['evaluate', folder, '--json'])));
  expect([whole?.code, small?.code]).toEqual([0, 0]);
  const loss = (result?: { stdout: string }): number => JSON.parse(result?.stdout ?? '').loss;
  expect(loss(small)).toBeCloseTo(loss(whole), 2);
  expect((await cambium(['quantize', out, '--out', join(dir, 'again')])).stderr).toContain('8 bits already');
  for (const taken of [run, join(run, 'model'), out])
    expect((await cambium(['quantize', run, '--out', taken])).stderr).toContain('is not empty');
  expect((await cambium(['export', out, '--out', join(dir, 'no')])).stderr).toContain('no weights in 8 bits');
});

it('refuses other models, and names the way out', { timeout: 120_000 }, async () => {
  const run = join(dir, 'lstm');
  expect((await train(run, 'model={name: lstm-classifier, embeddingDim: 8, hiddenSize: 8}')).code).toBe(0);
  const { code, stderr } = await cambium(['export', run, '--out', join(dir, 'no')]);
  expect(code).toBe(1);
  expect(stderr).toContain('load_state_dict');
  expect((await cambium(['export', join(dir, 'nothing'), '--out', join(dir, 'no')])).code).toBe(4);
  expect((await cambium(['export', run])).code).toBe(2);
});
