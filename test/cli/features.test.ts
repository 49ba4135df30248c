/** Vectors of a trained model written from the command line. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { readNpy, readSafetensors } from '../../src/io/index.ts';
import { cambium, ensureBuilt, scratch } from './run-cli.ts';

beforeAll(ensureBuilt, 120_000);
const dir = scratch();
const small = ['data.name=digits', 'data.digits.train=200', 'data.digits.test=30', 'data.validation=20', 'limit={}'];

it('writes vectors, ids and labels of the part asked for', { timeout: 120_000 }, async () => {
  const [run, out] = [join(dir, 'run'), join(dir, 'vectors.npy')];
  const trained = await cambium(['train', 'quickstart', '--out', run, ...small.flatMap((s) => ['--set', s])]);
  expect(trained.code).toBe(0);
  const { code, stdout } = await cambium(['features', run, '--out', out, '--json']);
  expect([code, JSON.parse(stdout).shape[0], JSON.parse(stdout).labelled]).toEqual([0, 30, true]);
  const vectors = await readNpy(out);
  expect(vectors.shape).toEqual(JSON.parse(stdout).shape);
  expect((await readNpy(join(dir, 'vectors.labels.npy'))).shape).toEqual([30]);

  const other = join(dir, 'logits.safetensors');
  const logits = await cambium([
    'features',
    run,
    '--layer',
    'head',
    '--split',
    'validation',
    '--limit',
    '7',
    '--out',
    other,
  ]);
  expect(logits.code).toBe(0);
  expect((await readSafetensors(other)).tensors.get('features')?.shape).toEqual([7, 10]);

  const wrong = await cambium(['features', run, '--layer', 'haed', '--out', join(dir, 'no.npy')]);
  expect(wrong.code).not.toBe(0);
  expect(wrong.stderr).toMatch(/haed/);
  expect((await cambium(['features', run, '--out', join(dir, 'no.txt')])).stderr).toMatch(/\.parquet/);
  expect((await cambium(['features', run])).code).toBe(2);
  expect(existsSync(join(dir, 'no.npy'))).toBe(false);
});

it('reads a trunk that learned without labels', { timeout: 120_000 }, async () => {
  const [run, out] = [join(dir, 'turned'), join(dir, 'trunk.parquet')];
  const changes = [...small, 'task=rotation', 'objective={}', 'epochs=1'];
  expect((await cambium(['train', 'quickstart', '--out', run, ...changes.flatMap((s) => ['--set', s])])).code).toBe(0);
  const { code, stdout } = await cambium(['features', run, '--out', out, '--json']);
  expect([code, JSON.parse(stdout).shape]).toEqual([0, [30, 128]]);
  expect((await cambium(['probe', out, '--method', 'knn', '-k', '3', '--json'])).code).toBe(0);
  expect((await cambium(['evaluate', run])).stderr).toContain('knows no classes');
});
