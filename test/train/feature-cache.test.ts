/** Head-only epochs on cached features: the same to the bit as whole ones; when there are none; caches that break. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digits, imageFolder, type Transform } from '../../src/data/index.ts';
import { createModel } from '../../src/models/index.ts';
import type { Module } from '../../src/nn/index.ts';
import { manualSeed } from '../../src/tensor/index.ts';
import { makeCache, openCache } from '../../src/training/feature-cache/store.ts';
import { type FineTuneOptions, fineTune, type TrainEvent } from '../../src/training/index.ts';

const data = { train: digits({ split: 'train', size: 75 }), validation: digits({ split: 'test', size: 30 }) };
const pad: Transform[] = [{ kind: 'pad', height: 32, width: 32 }];

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'cambium-cache-'));
  process.env.CAMBIUM_CACHE = dir;
});
afterEach(() => {
  delete process.env.CAMBIUM_CACHE;
  delete process.env.CAMBIUM_FEATURE_CACHE;
  delete process.env.CAMBIUM_MEMORY_LIMIT;
  rmSync(dir, { recursive: true, force: true });
});

const shaOf = async (model: Module): Promise<string> => {
  const hash = createHash('sha256');
  for (const [name, variable] of model.stateDict()) {
    const values = await variable.data();
    hash.update(name).update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  return hash.digest('hex');
};

type Case = Partial<FineTuneOptions> & { name: string; options?: Record<string, unknown> };

async function run({ name, options = {}, ...more }: Case, featureCache: 'auto' | 'off') {
  manualSeed(1);
  const model = createModel(name, options);
  const events: TrainEvent[] = [];
  const result = await fineTune({
    model,
    data,
    batchSize: 20,
    epochs: 2,
    seed: 5,
    optimizer: { name: 'adamw', lr: 1e-2 },
    featureCache,
    listeners: [(event) => void events.push(event)],
    ...more,
  });
  const losses = result.history.map(({ trainLoss, validation }) => [trainLoss, validation?.loss, validation?.accuracy]);
  const caches = events.flatMap((event) => (event.type === 'feature-cache' ? [event] : []));
  const notices = events.flatMap((event) => (event.type === 'notice' ? [event.text] : []));
  return { sha: await shaOf(model), losses, cache: caches[0], notices };
}

const cnn: Case = { name: 'mnist-cnn', freeze: ['conv1', 'conv2'] };
const entries = (): string[] => readdirSync(join(dir, 'features')).sort();

describe('epochs on cached features', () => {
  test.each<[string, string, number[], Case]>([
    ['a small CNN, dropout above', 'pool', [64, 12, 12], cnn],
    ['in bf16, several batches an update', 'pool', [64, 12, 12], { ...cnn, precision: 'bf16', accumulate: 2 }],
    [
      'VGG16, the head alone',
      'classifier.0',
      [512],
      { name: 'vgg16', options: { classifier: 'pooled', inChannels: 1 }, freeze: ['features'], transforms: pad },
    ],
    [
      'VGG16, the last convolutions too',
      'features.25',
      [512, 2, 2],
      { name: 'vgg16', options: { classifier: 'pooled', inChannels: 1 }, freeze: { belowDepth: -3 }, transforms: pad },
    ],
    [
      'a residual net, batch norm frozen',
      'avgpool',
      [16 * 4, 1, 1],
      { name: 'resnet20', options: { inChannels: 1 }, freeze: { belowDepth: 'head' }, freezeBatchNorm: true },
    ],
    [
      'SqueezeNet with averaged weights',
      'features',
      [512, 1, 1],
      {
        name: 'squeezenet1_1',
        options: { inChannels: 1, dropout: 0.3 },
        freeze: { belowDepth: 'head' },
        transforms: pad,
        ema: { decay: 0.9, warmup: false },
      },
    ],
  ])('%s: weights, losses and measures to the bit', async (_, layer, shape, options) => {
    const off = await run(options, 'off');
    const [made, reused] = [await run(options, 'auto'), await run(options, 'auto')];
    expect(off.cache).toBeUndefined();
    expect(made.cache).toMatchObject({ layer, shape, samples: 105, reused: false, inMemory: true });
    expect(reused.cache).toMatchObject({ layer, reused: true });
    expect([made.sha, made.losses]).toEqual([off.sha, off.losses]);
    expect([reused.sha, reused.losses]).toEqual([off.sha, off.losses]);
    // One for training, one for validation.
    expect(entries()).toHaveLength(2);
  });

  test('one batch larger than the data; batches that divide them', async () => {
    for (const batchSize of [500, 25]) {
      const [off, on] = [await run({ ...cnn, batchSize }, 'off'), await run({ ...cnn, batchSize }, 'auto')];
      expect(on.cache).toBeDefined();
      expect(on.sha).toBe(off.sha);
    }
  });

  test('rows read from disk where they do not fit into memory', async () => {
    const off = await run(cnn, 'off');
    await run(cnn, 'auto');
    process.env.CAMBIUM_MEMORY_LIMIT = '1';
    const on = await run({ ...cnn, checkMemory: false }, 'auto');
    expect(on.cache).toMatchObject({ reused: true, inMemory: false });
    expect(on.sha).toBe(off.sha);
  });

  test('another trunk, other data, other transforms: another cache', async () => {
    await run(cnn, 'auto');
    const transforms: Transform[] = [{ kind: 'normalize', mean: [0.1], std: [0.5] }];
    expect((await run({ ...cnn, transforms }, 'auto')).cache?.reused).toBe(false);
    const other = { ...data, train: digits({ split: 'train', size: 75, seed: 9 }) };
    expect((await run({ ...cnn, data: other }, 'auto')).cache?.reused).toBe(false);
    expect((await run({ ...cnn, options: { dropout: 0.1 } }, 'auto')).cache?.reused).toBe(true);
    expect(entries()).toHaveLength(2 + 2 + 1);
  });

  test('one epoch reads a cache that is there, but makes none', async () => {
    expect((await run({ ...cnn, epochs: 1 }, 'auto')).cache).toBeUndefined();
    await run(cnn, 'auto');
    expect((await run({ ...cnn, epochs: 1 }, 'auto')).cache?.reused).toBe(true);
  });
});

describe('no cache', () => {
  test.each<[string, Case, RegExp | undefined]>([
    ['where everything trains', { name: 'mnist-cnn' }, undefined],
    ['where what is frozen lies above what trains', { name: 'mnist-cnn', freeze: ['fc2'] }, undefined],
    ['where little is frozen', { name: 'mnist-cnn', freeze: ['conv1'] }, undefined],
    [
      'where pictures change',
      { ...cnn, transforms: [{ kind: 'randomAffine', degrees: 10 } as Transform] },
      /"randomAffine" changes the pictures/,
    ],
    [
      'where batch norm learns statistics',
      { name: 'resnet20', options: { inChannels: 1 }, freeze: { belowDepth: 'head' } },
      /batch norm bn1 .*freezeBatchNorm/,
    ],
    ['where it is thawed later', { ...cnn, unfreeze: [{ epoch: 2, names: ['*'] }] }, undefined],
  ])('%s', async (_, options, notice) => {
    const { cache, notices } = await run(options, 'auto');
    expect(cache).toBeUndefined();
    const told = notices.filter((text) => text.startsWith('features are not cached'));
    expect(told).toHaveLength(notice ? 1 : 0);
    if (notice) expect(told[0]).toMatch(notice);
  });

  test('where there is no room: one notice, and the same results', async () => {
    const off = await run(cnn, 'off');
    process.env.CAMBIUM_FEATURE_CACHE = '1 MB';
    const on = await run(cnn, 'auto');
    expect(on.cache).toBeUndefined();
    expect(on.notices.filter((text) => /features would take .* may take/.test(text))).toHaveLength(1);
    expect(on.sha).toBe(off.sha);
    expect(entries()).toEqual([]);
    process.env.CAMBIUM_FEATURE_CACHE = 'lots';
    expect((await run(cnn, 'auto')).notices.join()).toContain('CAMBIUM_FEATURE_CACHE');
  });

  test('where the folder cannot be made', async () => {
    writeFileSync(join(dir, 'features'), 'a file in its place');
    const { cache, notices } = await run(cnn, 'auto');
    expect(cache).toBeUndefined();
    expect(notices.filter((text) => text.startsWith('features are not cached'))).toHaveLength(1);
  });
});

describe('caches that break', () => {
  test('a changed byte, a cut shard, a foreign manifest: made again', async () => {
    const good = await run(cnn, 'auto');
    const path = good.cache?.path as string;
    const shard = join(path, readdirSync(path).find((name) => name.endsWith('.safetensors')) as string);
    const bytes = readFileSync(shard);
    const harm: (() => void)[] = [
      () => {
        const changed = Buffer.from(bytes);
        changed[bytes.length - 5] = (changed[bytes.length - 5] as number) ^ 1;
        writeFileSync(shard, changed);
      },
      () => writeFileSync(shard, bytes.subarray(0, bytes.length / 2)),
      () => writeFileSync(join(path, 'manifest.json'), '{"format":1}'),
      () => writeFileSync(join(path, 'manifest.json'), '{'),
      () => rmSync(shard),
    ];
    for (const damage of harm) {
      damage();
      const again = await run(cnn, 'auto');
      expect(again.cache).toMatchObject({ reused: false });
      expect(again.notices.filter((text) => text.includes('computed again'))).toHaveLength(1);
      expect(again.sha).toBe(good.sha);
    }
  });

  test('hashes that fit, but features of another engine: found out by the first batch', async () => {
    const good = await run(cnn, 'auto');
    const path = good.cache?.path as string;
    const file = join(path, 'manifest.json');
    const manifest = JSON.parse(readFileSync(file, 'utf8'));
    const shard = join(path, manifest.shards[0].file);
    const bytes = readFileSync(shard);
    for (let at = 400; at < bytes.length; at += 4) bytes[at] = (bytes[at] as number) ^ 1;
    writeFileSync(shard, bytes);
    manifest.shards[0].sha256 = createHash('sha256').update(bytes).digest('hex');
    writeFileSync(file, JSON.stringify(manifest));
    const again = await run(cnn, 'auto');
    expect(again.cache).toMatchObject({ layer: 'pool' });
    expect(again.sha).toBe(good.sha);
  });

  test('the oldest goes when the budget is full; drafts of dead processes go', async () => {
    process.env.CAMBIUM_FEATURE_CACHE = '6 MB';
    await run(cnn, 'auto');
    const before = entries();
    writeFileSync(join(dir, 'features', `.${'a'.repeat(16)}-999999999-${'b'.repeat(8)}.tmp`), '');
    await run({ ...cnn, transforms: [{ kind: 'normalize', mean: [0.1], std: [0.5] }] }, 'auto');
    expect(entries().some((name) => name.endsWith('.tmp'))).toBe(false);
    expect(entries().filter((name) => before.includes(name)).length).toBeLessThan(2);
  });

  test('two at once: both train, one cache stays', async () => {
    const off = await run(cnn, 'off');
    const request = { key: 'c'.repeat(64), rows: 6, width: 2 };
    const rows = async function* () {
      for (let i = 0; i < 3; i++) yield Float32Array.of(i, i, i, i);
    };
    await Promise.all([makeCache(request, rows()), makeCache(request, rows())]);
    const cached = await openCache(request, 1e6);
    expect([...(await (cached as NonNullable<typeof cached>).row(5))]).toEqual([2, 2]);
    expect(entries()).toEqual([request.key]);
    expect((await run(cnn, 'auto')).sha).toBe(off.sha);
  });
});

test('pictures of a folder: the same, though each is decoded once for the cache', async () => {
  const { writeFile, mkdir } = await import('node:fs/promises');
  const { default: sharp } = await import('sharp');
  for (const [k, name] of ['a', 'b'].entries()) {
    await mkdir(join(dir, 'pictures', name), { recursive: true });
    for (let i = 0; i < 9; i++) {
      const raw = Buffer.alloc(28 * 28 * 3, 20 * i + 90 * k);
      const png = await sharp(raw, { raw: { width: 28, height: 28, channels: 3 } })
        .png()
        .toBuffer();
      await writeFile(join(dir, 'pictures', name, `${i}.png`), png);
    }
  }
  const train = await imageFolder(join(dir, 'pictures'));
  const transforms: Transform[] = [{ kind: 'resize', height: 28, width: 28 }];
  const options: Case = {
    ...cnn,
    options: { inChannels: 3, numClasses: 2 },
    data: { train },
    batchSize: 4,
    transforms,
  };
  const [off, on] = [await run(options, 'off'), await run(options, 'auto')];
  expect(on.cache).toMatchObject({ samples: 18 });
  expect(on.sha).toBe(off.sha);
});
