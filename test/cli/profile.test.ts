/** `cambium profile`: costs that add up, layers by module path, and a plain answer where there is no native engine. */
import { beforeAll, expect, it } from 'vitest';
import { loadAddon } from '../../src/backend/native/addon.ts';
import { cambium, ensureBuilt, jsonLines, tiny } from './run-cli.ts';

beforeAll(ensureBuilt, 120_000);

const native = 'addon' in loadAddon();
const recipe = ['profile', 'cnn-mnist', ...tiny, '--steps', '4'];

it.runIf(native)('adds up to the step, by class and by layer', async () => {
  const { code, stdout, stderr } = await cambium([...recipe, '--json']);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  const [profile] = jsonLines(stdout);
  const sum = (list: { ms: number }[]): number => list.reduce((total, { ms }) => total + ms, 0);
  expect(sum(profile.kernels)).toBeCloseTo(profile.total.ms, 6);
  expect(sum(profile.classes)).toBeCloseTo(profile.total.ms, 6);
  expect(sum(profile.layers)).toBeCloseTo(profile.total.ms, 6);
  const { graphMs, lookupMs, callMs, restMs, totalMs } = profile.overhead;
  expect(graphMs + lookupMs + callMs + restMs).toBeCloseTo(totalMs, 6);
  for (const ms of [graphMs, lookupMs, callMs]) expect(ms).toBeGreaterThan(0);
  expect(profile.total.ms + totalMs).toBeCloseTo(profile.stepMs, 6);
  for (const rate of Object.values(profile.ceilings)) expect(rate).toBeGreaterThan(0);

  const layers = profile.layers.map(({ layer }: { layer: string }) => layer);
  expect(layers).toEqual(expect.arrayContaining(['conv1', 'conv2', 'fc1', 'fc2']));
  for (const layer of profile.layers.filter(({ layer }: { layer: string }) => /^(conv2|fc1)$/.test(layer))) {
    expect(layer.forwardMs).toBeGreaterThan(0);
    expect(layer.backwardMs).toBeGreaterThan(0);
  }
  // Batch 20, 28x28 -> 26x26 -> 24x24, no padding: 2 * 20 * 24^2 * 64 * 32 * 9 for each of the three passes.
  const conv2 = profile.kernels.filter(
    (k: { layer: string; class: string }) => k.layer === 'conv2' && k.class === 'convolution',
  );
  expect(conv2.map((k: { kernel: string }) => k.kernel).sort()).toEqual([
    'conv2d',
    'conv2d-input-grad',
    'conv2d-weight-grad',
  ]);
  for (const { flops } of conv2) expect(flops).toBe(2 * 20 * 24 ** 2 * 64 * 32 * 9);
});

it.runIf(native)('prints tables whose columns line up', async () => {
  const { code, stdout } = await cambium([...recipe, '--top', '3', '--set', 'accumulate=2', '--set', 'precision=bf16']);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^class .*of limit$/m);
  expect(stdout).toMatch(/batch 20 x 2, bf16/);
  expect(stdout).toMatch(/more kernels, .* ms/);
  const rows = stdout.split('\n\n')[2]?.split('\n') ?? [];
  expect(rows.length).toBeGreaterThan(3);
  const at = (rows[0] as string).indexOf('GFLOP/s') + 'GFLOP/s'.length;
  for (const row of rows.slice(1, 4)) expect(row.slice(at, at + 2)).toBe('  ');
});

it('says so on the reference backend', async () => {
  const { code, stderr } = await cambium(recipe, { env: { CAMBIUM_BACKEND: 'reference' } });
  expect(code).toBe(1);
  expect(stderr).toMatch(/native engine.*reference backend.*\n.*cambium doctor/);
});

it('refuses no steps', async () => {
  const { code, stderr } = await cambium(['profile', 'cnn-mnist', '--steps', '0']);
  expect(code).toBe(2);
  expect(stderr).toMatch(/--steps/);
});
