/** Folders of transformers: read with equal logits, written and read again, and what is refused. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CambiumError } from '../base/index.ts';
import {
  BertForMaskedLM,
  BertForSequenceClassification,
  BertForTokenClassification,
  BertModel,
  GPT2,
} from '../models/index.ts';
import { tensor } from '../tensor/index.ts';
import { fromPretrained, type PretrainedModel, savePretrained } from './pretrained.ts';

const golden = fileURLToPath(new URL('../../test/golden/pretrained/', import.meta.url));
let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cambium-pretrained-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const answer = async (name: string): Promise<{ ids: number[][]; mask: number[][]; logits: number[] }> =>
  JSON.parse(await readFile(join(golden, name, 'answer.json'), 'utf8'));
const i32 = (rows: number[][]) =>
  tensor(Int32Array.from(rows.flat()), { shape: [rows.length, rows[0]?.length as number] });
async function logitsOf(model: PretrainedModel, name: string): Promise<number[]> {
  const { ids, mask } = await answer(name);
  const y =
    model instanceof GPT2 ? model.forward(i32(ids)) : model.forward({ inputIds: i32(ids), attentionMask: i32(mask) });
  return [...(await y.data())];
}
const codeOf = async (body: () => Promise<unknown>): Promise<[string, unknown]> => {
  try {
    await body();
  } catch (error) {
    const { code, details } = error as CambiumError;
    return [code, details.field];
  }
  return expect.fail('nothing was thrown');
};

describe('what transformers wrote', () => {
  test.each(['bert', 'gpt2'])('%s gives its logits, and again after saving', async (name) => {
    const lines: string[] = [];
    const read = await fromPretrained(join(golden, name), { print: (text) => lines.push(text) });
    expect(read.report).toMatchObject({ missing: [], unused: [], mismatched: [], adapted: [] });
    expect(lines.join()).toContain('loaded');
    const { logits } = await answer(name);
    const ours = await logitsOf(read.model, name);
    expect(Math.max(...ours.map((v, i) => Math.abs(v - (logits[i] as number))))).toBeLessThan(5e-6);
    const out = join(dir, name);
    await savePretrained(out, read.model, read);
    const again = await fromPretrained(out, { print: false });
    expect(await logitsOf(again.model, name)).toEqual(ours);
    expect(again.labels).toEqual(read.labels);
    expect(again.tokenizer?.json).toEqual(read.tokenizer?.json);
    if (name === 'bert') {
      expect(read.labels).toEqual(['bad', 'good', 'none']);
      expect(read.tokenizer?.vocabSize).toBe(63);
      const config = JSON.parse(await readFile(join(out, 'config.json'), 'utf8'));
      expect(config).toMatchObject({
        model_type: 'bert',
        architectures: ['BertForSequenceClassification'],
        pad_token_id: 0,
      });
    }
  });

  test('another head is new; the trunk is the folder’s', async () => {
    const from = join(golden, 'bert');
    const trunk = await fromPretrained(from, { print: false });
    const word = 'bert.embeddings.word_embeddings.weight';
    const weight = await trunk.model.stateDict().get(word)?.data();
    for (const [head, kind, fresh] of [
      ['none', BertModel, []],
      ['maskedLM', BertForMaskedLM, ['cls.predictions.bias']],
      ['token', BertForTokenClassification, []],
    ] as const) {
      const { model, report } = await fromPretrained(from, { head, print: false });
      expect(model).toBeInstanceOf(kind);
      for (const name of fresh) expect(report.missing).toContain(name);
      expect(report.missing.every((name) => name.startsWith('cls.'))).toBe(true);
      expect(await (model.stateDict().get(word) ?? model.stateDict().get(word.slice(5)))?.data()).toEqual(weight);
    }
    const labels = ['a', 'b', 'c', 'd'];
    const { model, report } = await fromPretrained(from, { head: 'sequence', labels, print: false });
    expect(model).toBeInstanceOf(BertForSequenceClassification);
    expect(report.missing).toEqual(['classifier.weight', 'classifier.bias']);
    await savePretrained(join(dir, 'four'), model, { labels });
    expect((await fromPretrained(join(dir, 'four'), { print: false })).labels).toEqual(labels);
    expect(await codeOf(() => savePretrained(join(dir, 'no'), model, { labels: ['a'] }))).toEqual([
      'LABELS_INVALID',
      'labels',
    ]);
  });
});

test('labels in another order move the rows of the head; other labels make it new', async () => {
  const from = join(golden, 'bert');
  const read = await fromPretrained(from, { print: false });
  const moved = await fromPretrained(from, { labels: ['none', 'bad', 'good'], print: false });
  expect([...(moved.report.permuted ?? [])].sort()).toEqual(['classifier.bias', 'classifier.weight']);
  const [a, b] = [await logitsOf(read.model, 'bert'), await logitsOf(moved.model, 'bert')];
  expect(b).toEqual(a.map((_, i) => a[3 * Math.floor(i / 3) + ([2, 0, 1][i % 3] as number)]));
  const others = await fromPretrained(from, { labels: ['x', 'y', 'z'], print: false });
  expect(others.report.missing).toEqual(['classifier.weight', 'classifier.bias']);
});

describe('what is refused', () => {
  const changed = async (change: object, from = 'bert'): Promise<string> => {
    const copy = await mkdtemp(join(dir, 'bad-'));
    await cp(join(golden, from), copy, { recursive: true });
    const file = join(copy, 'config.json');
    await writeFile(file, JSON.stringify({ ...JSON.parse(await readFile(file, 'utf8')), ...change }));
    return copy;
  };
  test.each([
    [{ hidden_size: '8' }, 'MODEL_CONFIG', 'hidden_size'],
    [{ vocab_size: 0 }, 'MODEL_CONFIG', 'vocab_size'],
    [{ num_hidden_layers: 1e7 }, 'MODEL_CONFIG', 'num_hidden_layers'],
    [{ vocab_size: 2 ** 31 }, 'MODEL_CONFIG', 'vocab_size'],
    [{ intermediate_size: 2 ** 20 }, 'WEIGHTS_SHAPE', undefined],
    [{ hidden_dropout_prob: 2 }, 'MODEL_CONFIG', 'hidden_dropout_prob'],
    [{ id2label: [] }, 'MODEL_CONFIG', 'id2label'],
    [{ hidden_act: 'swish2' }, 'PRETRAINED_UNSUPPORTED', 'hidden_act'],
    [{ position_embedding_type: 'relative_key' }, 'PRETRAINED_UNSUPPORTED', 'position_embedding_type'],
    [{ is_decoder: true }, 'PRETRAINED_UNSUPPORTED', 'is_decoder'],
    [{ model_type: 'roberta' }, 'PRETRAINED_UNSUPPORTED', 'model_type'],
    [{ architectures: ['BertForQuestionAnswering'] }, 'PRETRAINED_UNSUPPORTED', 'architectures'],
    [{ num_hidden_layers: 2 }, 'WEIGHTS_KEYS', undefined],
    [{ max_position_embeddings: 9 }, 'WEIGHTS_SHAPE', undefined],
  ])('%j', async (change, code, field) => {
    const copy = await changed(change);
    expect(await codeOf(() => fromPretrained(copy, { print: false }))).toEqual([code, field]);
  });
  test('others', async () => {
    const gpt = await changed({ n_inner: 7 }, 'gpt2');
    expect(await codeOf(() => fromPretrained(gpt))).toEqual(['PRETRAINED_UNSUPPORTED', 'n_inner']);
    expect(await codeOf(() => fromPretrained(join(golden, 'gpt2'), { head: 'sequence' }))).toEqual([
      'OPTION_INVALID',
      'head',
    ]);
    expect(await codeOf(() => fromPretrained(join(golden, 'bert'), { head: 'causalLM' }))).toEqual([
      'OPTION_INVALID',
      'head',
    ]);
    expect((await codeOf(() => fromPretrained(dir)))[0]).toBe('MODEL_NOT_FOUND');
    const words = await changed({});
    await writeFile(join(words, 'vocab.txt'), `${await readFile(join(words, 'vocab.txt'), 'utf8')}more\n`);
    expect((await codeOf(() => fromPretrained(words, { print: false })))[0]).toBe('TOKENIZER_MISMATCH');
  });
});
