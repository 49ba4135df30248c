import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { IoError, NetworkError } from '../../base/errors.ts';
import { countLabels } from '../dataset.ts';
import { holdsMnist, loadMnist, mnistFiles } from './mnist.ts';

const shared = process.env.CAMBIUM_SHARED ?? fileURLToPath(new URL('../../../../shared', import.meta.url));
const real = join(shared, 'data/mnist');
const why = `(skipped without ${real})`;

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'cambium-mnist-'));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true });
});

test.skipIf(!existsSync(real))(`the real files: counts and classes ${why}`, async () => {
  const train = await loadMnist({ split: 'train', dataDir: real });
  const test = await loadMnist({ split: 'test', dataDir: real });
  expect(countLabels(test.labels, 10)).toEqual([980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
  expect(countLabels(train.labels, 10)).toEqual([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
  expect(train.pixels.length).toBe(60_000 * 784);
});

test.skipIf(!existsSync(real))(`the cache is used when its files have the pinned digests ${why}`, async () => {
  vi.stubEnv('CAMBIUM_CACHE', dir);
  vi.stubEnv('CAMBIUM_OFFLINE', '1');
  mkdirSync(join(dir, 'mnist'));
  for (const { name } of [mnistFiles.test.images, mnistFiles.test.labels])
    copyFileSync(join(real, name), join(dir, 'mnist', name));
  expect((await loadMnist({ split: 'test' })).length).toBe(10_000);
  writeFileSync(join(dir, 'mnist', mnistFiles.test.labels.name), 'damaged');
  await expect(loadMnist({ split: 'test' })).rejects.toMatchObject({ code: 'OFFLINE' });
});

test('without files and network the error says what to do', async () => {
  vi.stubEnv('CAMBIUM_CACHE', dir);
  vi.stubEnv('CAMBIUM_OFFLINE', '1');
  const error = await loadMnist({ split: 'test' }).catch((e) => e);
  expect(error).toBeInstanceOf(NetworkError);
  expect(error.exitCode).toBe(7);
  expect(error.hint).toMatch(/--data-dir .*digits/);
});

test('a directory without the files names the missing one', async () => {
  const error = await loadMnist({ split: 'train', dataDir: dir }).catch((e) => e);
  expect(error).toBeInstanceOf(IoError);
  expect(error).toMatchObject({ code: 'FILE_NOT_FOUND', details: { expected: 'train-images-idx3-ubyte.gz' } });
});

test('the folder above the files will do', async () => {
  mkdirSync(join(dir, 'mnist'));
  expect(await holdsMnist(dir)).toBe(false);
  const file = join(dir, 'mnist', 't10k-images-idx3-ubyte');
  writeFileSync(file, 'damaged');
  writeFileSync(join(dir, 'mnist', 't10k-labels-idx1-ubyte'), 'damaged');
  expect(await holdsMnist(dir)).toBe(true);
  await expect(loadMnist({ split: 'test', dataDir: dir })).rejects.toMatchObject({ exitCode: 3, details: { file } });
});

test('files of another data set are refused by their counts', async () => {
  const images = Buffer.alloc(16 + 784);
  images.set([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28]);
  writeFileSync(join(dir, 't10k-images-idx3-ubyte'), images);
  writeFileSync(join(dir, 't10k-labels.idx1-ubyte'), Buffer.from([0, 0, 8, 1, 0, 0, 0, 1, 7]));
  await expect(loadMnist({ split: 'test', dataDir: dir })).rejects.toMatchObject({
    code: 'MNIST_COUNT',
    details: { expected: 10_000, got: 1 },
  });
});
