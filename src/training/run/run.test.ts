import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DataError, IoError, LockedError } from '../../base/errors.ts';
import { acquireLock, lockOwner, MetricsFile, RunFolder } from './index.ts';

let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'cambium-run-'));
  path = join(dir, 'runs', 'a');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const deadPid = (): number => Number(spawnSync(process.execPath, ['-p', 'process.pid'], { encoding: 'utf8' }).stdout);
const recipe = { name: 'quick', epochs: 2 };

describe('run folder', () => {
  test('is made with its parents, used, closed and opened again', async () => {
    const run = await RunFolder.create(path, recipe);
    await run.appendMetrics({ step: 1, loss: 0.5 });
    await run.writeReport({ accuracy: 1 }, 'text\n');
    expect(readdirSync(path).sort()).toEqual(
      ['checkpoints', 'lock', 'metrics.jsonl', 'recipe.json', 'report.json', 'report.txt'].sort(),
    );
    await run.close();
    await run.close();
    expect(existsSync(join(path, 'lock'))).toBe(false);
    const again = await RunFolder.open(path);
    expect(await again.readRecipe()).toEqual(recipe);
    expect(await again.metrics.read()).toEqual([{ step: 1, loss: 0.5 }]);
    await again.close();
  });

  test('refuses what holds a run or anything foreign, and touches neither', async () => {
    await (await RunFolder.create(path, recipe)).close();
    await expect(RunFolder.create(path, {})).rejects.toMatchObject({ code: 'RUN_EXISTS', exitCode: 4 });
    const foreign = join(dir, 'photos');
    mkdirSync(foreign);
    writeFileSync(join(foreign, 'cat.jpg'), 'cat');
    await expect(RunFolder.create(foreign, {})).rejects.toMatchObject({
      code: 'FOLDER_NOT_EMPTY',
      details: { file: foreign, got: 'cat.jpg' },
    });
    expect(readdirSync(foreign)).toEqual(['cat.jpg']);
  });

  test('one that did nothing is removed; one with metrics, a checkpoint or anything else stays', async () => {
    const run = await RunFolder.create(path, recipe);
    await run.close();
    expect(await run.discardUnstarted()).toBe(true);
    expect(existsSync(path)).toBe(false);
    for (const begin of [
      (folder: RunFolder) => folder.appendMetrics({ step: 1, loss: 0.5 }),
      (folder: RunFolder) => mkdirSync(join(folder.path, 'checkpoints', 'step-1')),
      (folder: RunFolder) => writeFileSync(join(folder.path, 'notes.txt'), 'mine'),
    ]) {
      const other = await RunFolder.create(join(dir, `kept-${readdirSync(dir).length}`), recipe);
      await begin(other);
      await other.close();
      expect(await other.discardUnstarted()).toBe(false);
      expect(readdirSync(other.path)).toContain('recipe.json');
      expect(existsSync(join(other.path, 'lock'))).toBe(false);
    }
  });

  test('goes over what a creation that was killed left', async () => {
    mkdirSync(join(path, 'checkpoints'), { recursive: true });
    writeFileSync(join(path, 'lock'), JSON.stringify({ pid: deadPid(), host: hostname(), started: null, token: 'x' }));
    await (await RunFolder.create(path, recipe)).close();
  });

  test('numbers runs, and makes a folder name of any recipe name', async () => {
    const names = [];
    for (const name of ['vgg', 'vgg', '../../x y', '..']) {
      const run = await RunFolder.createNumbered(dir, name, recipe);
      names.push(run.path.slice(dir.length + 1));
      await run.close();
    }
    expect(names).toEqual(['vgg-1', 'vgg-2', 'x-y-1', 'run-1']);
  });

  test('what is no run is a typed error', async () => {
    await expect(RunFolder.open(dir)).rejects.toBeInstanceOf(DataError);
    await expect(RunFolder.open(join(dir, 'none'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND', exitCode: 4 });
    writeFileSync(join(dir, 'file'), '');
    await expect(RunFolder.create(join(dir, 'file'), {})).rejects.toBeInstanceOf(IoError);
    await expect(RunFolder.create(join(dir, 'file', 'x'), {})).rejects.toMatchObject({ code: 'NOT_A_DIRECTORY' });
  });

  test('a run that cannot fit is refused at once, and the folder given free', async () => {
    const error = await RunFolder.create(path, recipe, { bytes: 2 ** 60 }).catch((e) => e);
    expect(error).toMatchObject({ code: 'DISK_FULL', details: { needed: 2 ** 60, free: expect.any(Number) } });
    expect(readdirSync(path)).toEqual([]);
  });

  test.skipIf(!existsSync('/sys/kernel'))('where nothing may be written is a typed error', async () => {
    const error = await RunFolder.create('/sys/kernel/cambium-run', {}).catch((e) => e);
    expect(error).toBeInstanceOf(IoError);
    expect(['PERMISSION_DENIED', 'READ_ONLY']).toContain(error.code);
  });
});

describe('lock', () => {
  test('two openings at once: one gets it; readers need none', async () => {
    const run = await RunFolder.create(path, recipe);
    const error = await RunFolder.open(path).catch((e) => e);
    expect(error).toBeInstanceOf(LockedError);
    expect(error).toMatchObject({ exitCode: 8, details: { pid: process.pid, file: join(path, 'lock') } });
    expect((await lockOwner(join(path, 'lock')))?.pid).toBe(process.pid);
    const reader = await RunFolder.open(path, { readOnly: true });
    await reader.close();
    await expect(RunFolder.open(path)).rejects.toBeInstanceOf(LockedError);
    await run.close();
    await (await RunFolder.open(path)).close();
    expect(await lockOwner(join(path, 'lock'))).toBeUndefined();
  });

  test('many at once: exactly one', async () => {
    const file = join(dir, 'lock');
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => acquireLock(file)));
    expect(results.filter((r) => r.status === 'fulfilled')).toHaveLength(1);
    for (const r of results) if (r.status === 'rejected') expect(r.reason).toBeInstanceOf(LockedError);
    expect(readdirSync(dir)).toEqual(['lock']);
  });

  const owner = (fields: object) =>
    JSON.stringify({ pid: process.pid, host: hostname(), started: null, since: 'then', token: 'x', ...fields });
  test.each([
    ['of a dead process', () => owner({ pid: deadPid() }), true],
    [
      'of a process whose number was given to another',
      () => owner({ started: 'another-boot:1' }),
      process.platform === 'linux',
    ],
    ['of a living process', () => owner({}), false],
    ['of another machine', () => owner({ host: 'elsewhere', pid: deadPid() }), false],
    ['just written and not yet readable', () => '', false],
  ])('a lock %s', async (_, content, taken) => {
    const file = join(dir, 'lock');
    writeFileSync(file, content());
    const result = await acquireLock(file).catch((e) => e);
    if (!taken) expect(result).toBeInstanceOf(LockedError);
    else {
      await result.release();
      expect(readdirSync(dir)).toEqual([]);
    }
  });

  test.skipIf(process.platform !== 'linux')(
    'many that find the same stale lock: exactly one takes it over',
    async () => {
      for (let round = 0; round < 30; round++) {
        const file = join(dir, `lock${round}`);
        writeFileSync(file, owner({ started: 'another-boot:1' }));
        // What one that died while taking over has left.
        if (round % 3 === 0) writeFileSync(`${file}.takeover`, owner({ started: 'another-boot:2' }));
        const results = await Promise.allSettled(Array.from({ length: 20 }, () => acquireLock(file)));
        expect(results.filter((r) => r.status === 'fulfilled')).toHaveLength(1);
        for (const r of results) if (r.status === 'rejected') expect(r.reason).toBeInstanceOf(LockedError);
      }
      expect(readdirSync(dir)).toHaveLength(30);
    },
  );

  test('a lock that is not ours any more is left alone', async () => {
    const file = join(dir, 'lock');
    const lock = await acquireLock(file);
    writeFileSync(file, owner({ token: 'other' }));
    await lock.release();
    expect(existsSync(file)).toBe(true);
  });

  test('a process that is killed gives its lock up', async () => {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    const file = join(dir, 'lock');
    writeFileSync(file, owner({ pid: child.pid }));
    await expect(acquireLock(file)).rejects.toBeInstanceOf(LockedError);
    const gone = new Promise((done) => child.on('exit', done));
    child.kill('SIGKILL');
    await gone;
    await (await acquireLock(file)).release();
  });
});

describe('metrics', () => {
  const file = () => new MetricsFile(join(dir, 'metrics.jsonl'));
  const text = () => readFileSync(join(dir, 'metrics.jsonl'), 'utf8');
  const write = (content: string) => writeFileSync(join(dir, 'metrics.jsonl'), content);

  test('are cut back to a step; lines without a step stay', async () => {
    const metrics = file();
    expect(await metrics.truncate(3)).toBe(0);
    await Promise.all([1, 2, 3, 4].map((step) => metrics.append({ step })));
    await metrics.append({ note: 'x' });
    expect(await metrics.truncate(2)).toBe(2);
    await metrics.append({ step: 3 }, { step: 4 });
    expect(text()).toBe('{"step":1}\n{"step":2}\n{"note":"x"}\n{"step":3}\n{"step":4}\n');
    expect(await metrics.truncate(({ step }) => step === 1)).toBe(4);
    await metrics.close();
    expect(text()).toBe('{"step":1}\n');
  });

  test.each(['{"step":3', '{"step":3}', '\0\0\0\n'])('a torn last line %j is tolerated', async (torn) => {
    write(`{"step":1}\n{"step":2}\n${torn}`);
    expect(await file().read()).toEqual([{ step: 1 }, { step: 2 }]);
    expect(await file().truncate(2)).toBe(0);
    expect(text()).toBe('{"step":1}\n{"step":2}\n');
  });

  test('appending goes on after the last whole line', async () => {
    write(`{"step":1}\n{"step":2,"x":"${'y'.repeat(200_000)}`);
    const metrics = file();
    await metrics.append({ step: 2 });
    await metrics.close();
    expect(text()).toBe('{"step":1}\n{"step":2}\n');
  });

  test('damage elsewhere is named by its line', async () => {
    write('{"step":1}\nrubbish\n{"step":3}\n');
    await expect(file().read()).rejects.toMatchObject({ code: 'METRICS_DAMAGED', details: { line: 2 } });
  });

  test.skipIf(!existsSync('/dev/full'))('a full disk is a typed error', async () => {
    symlinkSync('/dev/full', join(dir, 'metrics.jsonl'));
    const metrics = file();
    await expect(metrics.append({ step: 1 })).rejects.toMatchObject({
      code: 'DISK_FULL',
      details: { file: metrics.path, errno: 'ENOSPC' },
    });
    await metrics.close();
  });
});
