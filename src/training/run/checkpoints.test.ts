import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ArgumentError, DataError, IoError } from '../../base/errors.ts';
import type { HostArray } from '../../io/host-array.ts';
import { Checkpoints } from './index.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'cambium-checkpoints-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const content = (step: number, length = 5) => ({
  step,
  model: new Map<string, HostArray>([
    ['w', { dtype: 'f32', shape: [length], data: new Float32Array(length).fill(step + 0.1) }],
    ['n', { dtype: 'i32', shape: [], data: Int32Array.of(step) }],
  ]),
  optimizer: new Map<string, HostArray>([['m', { dtype: 'f32', shape: [2], data: Float32Array.of(step, Number.NaN) }]]),
  state: { step, epoch: 1, lossSum: 0.1 + step, history: [{ loss: 1e-300 }] },
});
const files = ['manifest.json', 'model.safetensors', 'optimizer.safetensors', 'state.json'];
const root = fileURLToPath(new URL('../../..', import.meta.url));

test('what is loaded is what was saved', async () => {
  const store = new Checkpoints(join(dir, 'checkpoints'));
  expect(await store.list()).toEqual([]);
  expect(await store.latest()).toBeUndefined();
  const saved = await store.save(content(1234));
  expect(saved).toMatchObject({ name: 'step-00001234', removed: [], warnings: [] });
  expect(readdirSync(saved.path).sort()).toEqual(files);
  const { model, optimizer, state } = content(1234);
  expect(await store.load(1234)).toMatchObject({ name: 'step-00001234', step: 1234, model, optimizer, state });
  expect((await store.load('step-00001234', { optimizer: false })).optimizer.size).toBe(0);
  expect((await store.latest())?.warnings).toEqual([]);
});

test('keeps the last ones and the best, and forgets what came after a step it was taken back to', async () => {
  const store = new Checkpoints(dir, { keepLast: 2 });
  await store.save(content(1), { best: true });
  for (const step of [2, 3, 4]) await store.save(content(step));
  expect(await store.list()).toEqual(['step-00000001', 'step-00000003', 'step-00000004']);
  expect(await store.best()).toBe('step-00000001');
  await store.markBest('step-00000003');
  expect((await store.save(content(5))).removed).toEqual(['step-00000001']);
  expect(await store.list()).toEqual(['step-00000003', 'step-00000004', 'step-00000005']);
  expect((await store.save(content(2))).removed).toHaveLength(3);
  expect(await store.list()).toEqual(['step-00000002']);
  expect(await store.best()).toBeUndefined();
  await expect(store.markBest('step-00000009')).rejects.toMatchObject({ code: 'CHECKPOINT_UNKNOWN' });
});

test('a second save of a step replaces the first only when it is whole', async () => {
  const store = new Checkpoints(dir, { keepLast: 1 });
  await store.save(content(7), { best: true });
  const again = await store.save({ ...content(7), state: 'second' }, { best: true });
  expect(again).toMatchObject({ name: 'step-00000007-2', removed: ['step-00000007'] });
  expect((await store.load(7)).state).toBe('second');
  expect((await store.load('step-00000007')).state).toBe('second');
  expect((await store.latest())?.checkpoint.name).toBe('step-00000007-2');
});

test('saves that are asked for at once come one after the other', async () => {
  const store = new Checkpoints(dir);
  await Promise.all([1, 2, 3, 3, 4].map((step) => store.save(content(step))));
  expect(await store.list()).toEqual(['step-00000003-2', 'step-00000004']);
});

describe.each(files)('damage to %s', (name) => {
  const path = () => join(dir, 'step-00000002', name);
  const flip = (at: (size: number) => number) => () => {
    const bytes = readFileSync(path());
    const i = at(bytes.length);
    bytes[i] = (bytes[i] as number) ^ 1;
    writeFileSync(path(), bytes);
  };
  test.each([
    ['first byte flipped', flip(() => 0)],
    ['middle byte flipped', flip((n) => n >> 1)],
    ['last byte flipped', flip((n) => n - 1)],
    ['missing', () => rmSync(path())],
    ['half', () => truncateSync(path(), statSync(path()).size >> 1)],
    ['empty', () => truncateSync(path(), 0)],
    ['longer', () => writeFileSync(path(), Buffer.concat([readFileSync(path()), Buffer.from('x')]))],
    [
      'a folder',
      () => {
        rmSync(path());
        mkdirSync(path());
      },
    ],
  ])('%s: the one before is used and it is said; asked for by name it is refused', async (_, spoil) => {
    const store = new Checkpoints(dir);
    await store.save(content(1));
    await store.save(content(2));
    spoil();
    const error = await store.load(2).catch((e) => e);
    expect(error).toBeInstanceOf(DataError);
    expect(error).toMatchObject({
      code: 'CHECKPOINT_DAMAGED',
      exitCode: 3,
      details: { part: name, checkpoint: 'step-00000002', file: path() },
    });
    const latest = await store.latest();
    expect(latest?.checkpoint).toMatchObject({ step: 1, model: content(1).model });
    expect(latest?.warnings).toEqual([expect.stringContaining(name)]);
    rmSync(join(dir, 'step-00000001'), { recursive: true });
    await expect(store.latest()).rejects.toMatchObject({ code: 'NO_INTACT_CHECKPOINT', details: { part: name } });
  });
});

test('every single flipped bit of the manifest is found', async () => {
  const store = new Checkpoints(dir);
  const { path } = await store.save(content(2));
  const manifest = join(path, 'manifest.json');
  const bytes = readFileSync(manifest);
  for (let i = 0; i < bytes.length; i++)
    for (let bit = 0; bit < 8; bit++) {
      const bad = Buffer.from(bytes);
      bad[i] = (bad[i] as number) ^ (1 << bit);
      writeFileSync(manifest, bad);
      const outcome = await store.load(2).catch((e) => e);
      if (!(outcome instanceof DataError)) expect.fail(`bit ${bit} of byte ${i} went unnoticed`);
    }
});

test('a checkpoint of a later version says so', async () => {
  const store = new Checkpoints(dir);
  const { path } = await store.save(content(2));
  const manifest = join(path, 'manifest.json');
  writeFileSync(manifest, readFileSync(manifest, 'utf8').replace('"version": 1', '"version": 2'));
  await expect(store.load(2)).rejects.toThrow(/version is 2, this program reads 1/);
});

test.each([9, 'step-00000009', '../x', ''])('there is no checkpoint %j', async (which) => {
  const store = new Checkpoints(dir);
  await store.save(content(1));
  await expect(store.load(which)).rejects.toMatchObject({
    code: 'CHECKPOINT_UNKNOWN',
    details: { expected: ['step-00000001'], got: which },
  });
});

test('what cannot be saved leaves the earlier checkpoint and nothing else', async () => {
  const store = new Checkpoints(dir);
  await store.save(content(1));
  const wrong = { dtype: 'f32', shape: [3], data: new Float32Array(2) } as const;
  await expect(store.save({ ...content(2), optimizer: new Map([['m', wrong]]) })).rejects.toBeInstanceOf(DataError);
  await expect(store.save({ ...content(2), state: { a: [Number.NaN] } })).rejects.toMatchObject({
    code: 'CHECKPOINT_STATE',
  });
  await expect(store.save({ ...content(2), step: -1 })).rejects.toBeInstanceOf(ArgumentError);
  expect(() => new Checkpoints(dir, { keepLast: 0 })).toThrow(ArgumentError);
  expect(readdirSync(dir)).toEqual(['step-00000001']);
});

test('a folder that cannot be made is a typed error', async () => {
  writeFileSync(join(dir, 'file'), '');
  await expect(new Checkpoints(join(dir, 'file', 'x')).save(content(1))).rejects.toBeInstanceOf(IoError);
});

test('orphans of killed processes go at the next save, those of living ones stay', async () => {
  const dead = spawnSync(process.execPath, ['-p', 'process.pid'], { encoding: 'utf8' }).stdout.trim();
  for (const pid of [dead, process.pid, process.ppid]) {
    mkdirSync(join(dir, `.tmp-${pid}-00000000-step-00000001`));
    writeFileSync(join(dir, `.tmp-${pid}-00000000-step-00000001`, 'model.safetensors'), 'half');
  }
  await new Checkpoints(dir).save(content(1));
  expect(readdirSync(dir).sort()).toEqual([`.tmp-${process.ppid}-00000000-step-00000001`, 'step-00000001']);
});

const script = (body: string): string => `
  const { createJiti } = await import('jiti');
  const { Checkpoints } = await createJiti(${JSON.stringify(`${root}/x.js`)}).import(${JSON.stringify(`${root}/src/training/run/checkpoints.ts`)});
  const content = (step, length) => ({
    step,
    model: new Map([['w', { dtype: 'f32', shape: [length], data: new Float32Array(length).fill(step) }]]),
    optimizer: new Map([['m', { dtype: 'f32', shape: [length], data: new Float32Array(length).fill(-step) }]]),
    state: { step },
  });
  const store = new Checkpoints(${JSON.stringify(dir)}, { keepLast: 1 });
  ${body}`;

test.skipIf(process.platform === 'win32')(
  'a file size limit in the middle of a save is an error and keeps the old one',
  async () => {
    await new Checkpoints(dir).save(content(1));
    const source = script(`
    await store.save(content(2, 100_000)).then(() => console.log('SAVED'), (e) => console.log(e.name, e.code, e.details.errno));`);
    const { stdout, stderr } = spawnSync(
      'bash',
      ['-c', `ulimit -f 64; exec "$0" --input-type=module -e "$1"`, process.execPath, source],
      // Without its compile cache: that would hit the limit too.
      { encoding: 'utf8', cwd: root, env: { ...process.env, JITI_FS_CACHE: 'false' } },
    );
    expect(stdout.trim(), stderr).toBe('IoError FILE_TOO_LARGE EFBIG');
    expect(readdirSync(dir)).toEqual(['step-00000001']);
  },
);

test.skipIf(process.platform === 'win32')(
  'a folder that may not be written is an error, and keeps the old one',
  async () => {
    await new Checkpoints(dir).save(content(1));
    chmodSync(dir, 0o555);
    // Root may write anywhere; once the code is loaded the child becomes nobody.
    const source = script(`
    if (process.getuid() === 0) process.setuid(65534);
    await store.save(content(2, 10)).then(() => console.log('SAVED'), (e) => console.log(e.name, e.code, e.details.errno));
    console.log((await store.latest()).checkpoint.step);`);
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', source], {
      encoding: 'utf8',
      cwd: root,
    });
    chmodSync(dir, 0o755);
    expect(stdout.trim(), stderr).toBe('IoError PERMISSION_DENIED EACCES\n1');
    expect(readdirSync(dir)).toEqual(['step-00000001']);
  },
);

test.skipIf(process.platform === 'win32')(
  'killed at any moment of a save: the old checkpoint or the new one, whole',
  async () => {
    const source = script(`
    const from = Number(process.argv[1]);
    for (let step = from; ; step++) {
      process.stdout.write('begin ' + step + '\\n');
      await store.save(content(step, 20_000));
      process.stdout.write('done ' + step + '\\n');
    }`);
    const store = new Checkpoints(dir, { keepLast: 1 });
    let next = 1;
    let orphans = 0;
    for (let round = 0; round < 20; round++) {
      const child = spawn(process.execPath, ['--input-type=module', '-e', source, String(next)], { cwd: root });
      let out = '';
      let errors = '';
      child.stderr.on('data', (text) => (errors += text));
      const gone = new Promise((end) => child.on('close', end));
      // From the second save on there is something to lose, and something to delete.
      await new Promise<void>((ready) => {
        child.on('close', () => ready());
        child.stdout.on('data', (text) => {
          out += text;
          if (out.includes(`begin ${next + 1}\n`)) ready();
        });
      });
      await new Promise((wait) => setTimeout(wait, Math.random() * 40));
      child.kill('SIGKILL');
      await gone;
      expect(errors).toBe('');
      const steps = (word: string) => [...out.matchAll(new RegExp(`${word} (\\d+)\\n`, 'g'))].map((m) => Number(m[1]));
      const done = steps('done').at(-1) as number;
      const begun = steps('begin').at(-1) as number;
      const latest = await store.latest();
      if (!latest) return expect.fail('no checkpoint is left');
      expect(latest.warnings).toEqual([]);
      const { step, model, optimizer, state } = latest.checkpoint;
      expect(step).toBeGreaterThanOrEqual(done);
      // What a killed process printed last may be lost, hence one more.
      expect(step).toBeLessThanOrEqual(begun + 1);
      expect(model.get('w')?.data.every((x) => x === step)).toBe(true);
      expect(optimizer.get('m')?.data.every((x) => x === -step)).toBe(true);
      expect(state).toEqual({ step });
      orphans += readdirSync(dir).filter((name) => name.startsWith('.tmp-')).length;
      next = step + 1;
    }
    await store.save(content(next));
    expect(readdirSync(dir)).toEqual([`step-${String(next).padStart(8, '0')}`]);
    // Otherwise the kills all fell between saves and the test showed nothing.
    expect(orphans).toBeGreaterThan(0);
  },
);
