/** Files of features from the command line: probe, search, project, compare. */
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { writeNpy } from '../../src/io/index.ts';
import { cambium, ensureBuilt, scratch } from './run-cli.ts';

const dir = scratch();
const file = join(dir, 'a.npy');
beforeAll(async () => {
  ensureBuilt();
  const [rows, width] = [60, 4];
  const vectors = Float32Array.from(
    { length: rows * width },
    (_, i) => (Math.floor(i / width) % 3 === i % width ? 4 : 0) + Math.sin(i * i),
  );
  for (const name of ['a', 'b']) {
    const data = name === 'a' ? vectors : vectors.map((v) => 2 * v);
    await writeNpy(join(dir, `${name}.npy`), { dtype: 'f32', shape: [rows, width], data });
    await writeNpy(join(dir, `${name}.ids.npy`), {
      dtype: 'i32',
      shape: [rows],
      data: Int32Array.from({ length: rows }, (_, i) => 100 + i),
    });
    await writeNpy(join(dir, `${name}.labels.npy`), {
      dtype: 'i32',
      shape: [rows],
      data: Int32Array.from({ length: rows }, (_, i) => i % 3),
    });
  }
}, 120_000);

it('finds what is there, in words and as JSON', { timeout: 120_000 }, async () => {
  for (const method of ['linear', 'knn']) {
    const { code, stdout } = await cambium(['probe', file, '--method', method, '--json']);
    expect([code, JSON.parse(stdout).accuracy, JSON.parse(stdout).measured]).toEqual([0, 1, 12]);
  }
  expect((await cambium(['probe', file, '--test', join(dir, 'b.npy')])).stdout).toContain('precision');
  const clusters = await cambium(['probe', file, '--method', 'kmeans', '-k', '3']);
  expect(clusters.stdout).toContain('purity 1.0000');
  const nearest = JSON.parse((await cambium(['search', file, '--id', '100', '-k', '4', '--json'])).stdout);
  expect(nearest.map(({ label }: { label: string }) => label)).toEqual(['0', '0', '0', '0']);
  for (const method of ['pca', 'umap']) {
    const out = join(dir, `${method}.csv`);
    expect((await cambium(['project', file, '--method', method, '--out', out])).code).toBe(0);
    const lines = readFileSync(out, 'utf8').trim().split('\n');
    expect([lines.length, lines[0]]).toEqual([61, 'id,label,x,y']);
    expect(lines[1]).toMatch(/^100,0,-?[\d.e-]+,-?[\d.e-]+$/);
  }
  const page = join(dir, 'map.html');
  expect((await cambium(['project', file, '--out', page])).code).toBe(0);
  expect(readFileSync(page, 'utf8').match(/<circle /g)).toHaveLength(60);
  const before = readFileSync(file);
  const onto = await cambium(['project', file, '--out', file]);
  expect([onto.code, readFileSync(file).equals(before)]).toEqual([2, true]);
  expect(onto.stderr).toContain('.html');
  const { cka } = JSON.parse((await cambium(['compare', file, join(dir, 'b.npy'), '--json'])).stdout);
  expect(cka).toBeCloseTo(1, 5);
});

it('labels one file by another', { timeout: 120_000 }, async () => {
  const plain = join(dir, 'plain.npy');
  copyFileSync(file, plain);
  copyFileSync(join(dir, 'a.ids.npy'), join(dir, 'plain.ids.npy'));
  for (const method of [
    ['linear', '--l2', '0.5'],
    ['knn', '-k', '3'],
  ]) {
    const out = join(dir, 'labels.csv');
    const args = ['--out', out, '--method', ...method];
    const measured = await cambium(['label', file, join(dir, 'b.npy'), ...args]);
    expect([measured.code, measured.stdout], measured.stderr).toEqual([
      0,
      'accuracy 100.00 % of 60 (95 %: 93.98-100.00)\n',
    ]);
    const lines = readFileSync(out, 'utf8').trim().split('\n');
    expect([lines.length, lines[0]]).toEqual([61, 'id,label,confidence']);
    expect(lines[2]).toMatch(/^101,1,[01]\.\d{6}$/);
    const unlabelled = await cambium(['label', file, plain, ...args, '--json']);
    expect(unlabelled.code, unlabelled.stderr).toBe(0);
    expect(JSON.parse(unlabelled.stdout)).toEqual({ out, method: method[0], trained: 60, labelled: 60 });
    expect(readFileSync(out, 'utf8').trim().split('\n')[2]).toMatch(/^101,1,/);
  }
  const from = await cambium(['label', plain, file, '--out', join(dir, 'no.csv')]);
  expect([from.code, from.stderr]).toEqual([3, expect.stringContaining('no labels')]);
  const foreign = await cambium(['label', file, plain, '--out', join(dir, 'no.csv'), '-k', '3']);
  expect([foreign.code, foreign.stderr]).toEqual([2, expect.stringContaining('-k is not for --method linear')]);
});

it('refuses what is not there', { timeout: 120_000 }, async () => {
  const unknown = await cambium(['search', file, '--id', '7']);
  expect(unknown.code).not.toBe(0);
  expect(unknown.stderr).toContain('no sample 7');
  expect(unknown.stderr).toContain('between 100 and 159');
  expect((await cambium(['probe', join(dir, 'no.npy')])).code).toBe(4);
  expect((await cambium(['project', file])).code).toBe(2);
  expect((await cambium(['probe', join(dir, 'pca.csv')])).stderr).toContain('are not read from');
  expect((await cambium(['probe', file, '--method', 'magic'])).code).toBe(2);
  expect((await cambium(['search', file, '--id', '100', '-k', '60'])).stderr).toContain('k');
});
