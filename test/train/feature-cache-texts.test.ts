/** Head-only epochs of text models: the same to the bit as whole ones, whatever their batches are padded to; or a notice why not. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digits, phrases, subset, type TextCollateOptions, Tokenizer, trainWordPiece } from '../../src/data/index.ts';
import { createModel } from '../../src/models/index.ts';
import { manualSeed } from '../../src/tensor/index.ts';
import { type FineTuneOptions, fineTune, type TrainEvent } from '../../src/training/index.ts';

const train = phrases({ split: 'train', size: 70 });
const validation = phrases({ split: 'test', size: 25 });
const tokenizer = await trainWordPiece(train.texts, { vocabSize: 200 });
const bert = {
  ...{ hiddenSize: 32, numHiddenLayers: 2, numAttentionHeads: 2, intermediateSize: 64, maxPositionEmbeddings: 40 },
  ...{ vocabSize: tokenizer.vocabSize, numClasses: 2, dropout: 0 },
};

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'cambium-cache-'));
  process.env.CAMBIUM_CACHE = dir;
});
afterEach(() => {
  delete process.env.CAMBIUM_CACHE;
  rmSync(dir, { recursive: true, force: true });
});

type Case = Partial<FineTuneOptions> & { name?: string; options?: Record<string, unknown> };

async function run({ name = 'bert', options = bert, ...more }: Case, featureCache: 'auto' | 'off' = 'auto') {
  manualSeed(1);
  const model = createModel(name, options);
  const events: TrainEvent[] = [];
  const { history } = await fineTune({
    model,
    data: { train, validation },
    text: { tokenizer, maxLength: 36 },
    freeze: { belowDepth: 'head' },
    batchSize: 16,
    epochs: 3,
    seed: 5,
    optimizer: { name: 'adamw', lr: 1e-2 },
    featureCache,
    listeners: [(event) => void events.push(event)],
    ...more,
  });
  const hash = createHash('sha256');
  for (const [key, variable] of model.stateDict()) {
    const values = await variable.data();
    hash.update(key).update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  return {
    results: [hash.digest('hex'), history],
    cache: events.find((event) => event.type === 'feature-cache'),
    notices: events.flatMap((event) => (event.type === 'notice' ? [event.text] : [])).join('\n'),
  };
}

const text = (more: Partial<TextCollateOptions>): Case => ({ text: { tokenizer, maxLength: 36, ...more } });

describe('texts', () => {
  test.each<[string, Case]>([
    ['batches by length', {}],
    ['in any order', text({ bucketed: false })],
    ['padded finely, truncated', text({ padToMultipleOf: 3, maxLength: 20 })],
    ['several batches an update, averaged weights', { accumulate: 2, ema: { decay: 0.9, warmup: false } }],
    ['one batch larger than the data', { batchSize: 100 }],
  ])('%s: weights and measures to the bit', async (_, options) => {
    const off = await run(options, 'off');
    const [made, reused] = [await run(options), await run(options)];
    expect(off.cache).toBeUndefined();
    expect(made.notices).not.toContain('not cached');
    expect(made.cache).toMatchObject({ samples: 95, reused: false, shape: [32] });
    expect(reused.cache).toMatchObject({ reused: true });
    expect(made.results).toEqual(off.results);
    expect(reused.results).toEqual(off.results);
    expect(readdirSync(join(dir, 'features')).length).toBe(2);
  });

  test('another length of the texts is another cache', async () => {
    await run({ epochs: 2 });
    await run({ ...text({ maxLength: 12 }), epochs: 2 });
    expect(readdirSync(join(dir, 'features')).length).toBe(4);
  });

  test('what tokenizer_config.json says is part of the name: length and special tokens', async () => {
    const configs = [
      { modelMaxLength: 36, tokens: {} },
      { modelMaxLength: 12, tokens: {} },
      { modelMaxLength: 36, tokens: { pad: '[UNK]' } },
    ] as const;
    for (const [i, config] of configs.entries()) {
      await run({ text: { tokenizer: new Tokenizer(tokenizer.json, { config }) }, epochs: 2 });
      expect(readdirSync(join(dir, 'features')).length).toBe(2 * (i + 1));
    }
  });

  test('dropout in what is frozen: one notice, and the whole model runs', async () => {
    const { cache, notices } = await run({ options: { ...bert, dropout: 0.1 }, epochs: 1 });
    expect(cache).toBeUndefined();
    expect(notices).toContain('not cached');
    expect(notices).toContain('bert.embeddings.dropout');
  });
});

describe('what draws samples or mixes them: a notice', () => {
  const data = { train: digits({ split: 'train', size: 40 }) };
  const cnn: Case = { name: 'mnist-cnn', options: {}, data, text: undefined, freeze: ['conv*', 'fc1*'], epochs: 1 };
  test.each<[string, Case]>([
    ['mixup', { ...cnn, mixup: {} }],
    ['cutmix', { ...cnn, cutmix: {} }],
    [
      'sampler: balanced',
      {
        data: {
          train: subset(
            train,
            Array.from({ length: 40 }, (_, i) => i),
          ),
        },
        sampler: 'balanced',
        epochs: 1,
      },
    ],
  ])('%s', async (what, options) => {
    const { cache, notices } = await run(options);
    expect(cache).toBeUndefined();
    expect(notices).toContain(`not cached, every step runs the whole model: ${what}`);
  });
});
