import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { IoError } from '../base/errors.ts';
import { hashFile, removeOrphans, sha256, writeFileAtomic, writeFilesTogether } from './atomic.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'cambium-atomic-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const bytes = new Uint8Array(300_000).map((_, i) => i * 7);

test.each([
  ['text', 'Wörter\n', Buffer.from('Wörter\n')],
  ['bytes', bytes, bytes],
  ['chunks', [bytes.subarray(0, 5), new Uint8Array(0), bytes.subarray(5)], bytes],
  ['nothing', new Uint8Array(0), new Uint8Array(0)],
])(
  'writes %s, replaces what was there, leaves nothing else, and reports size and hash',
  async (_, content, expected) => {
    const path = join(dir, 'a.bin');
    writeFileSync(path, 'old');
    const written = await writeFileAtomic(path, content);
    expect(Buffer.compare(readFileSync(path), expected)).toBe(0);
    expect(written).toEqual({ path, bytes: expected.length, sha256: sha256(expected) });
    expect(await hashFile(path)).toEqual(written);
    expect(readdirSync(dir)).toEqual(['a.bin']);
  },
);

test('a source that fails half way leaves the old file and no temporary', async () => {
  const path = join(dir, 'a.bin');
  writeFileSync(path, 'old');
  async function* failing() {
    yield bytes;
    throw new Error('gone');
  }
  await expect(writeFileAtomic(path, failing())).rejects.toMatchObject({ details: { bytesWritten: bytes.length } });
  expect(readFileSync(path, 'utf8')).toBe('old');
  expect(readdirSync(dir)).toEqual(['a.bin']);
});

test('files that belong together are written all or none; those that no longer belong to them go', async () => {
  const at = (name: string): string => join(dir, name);
  for (const name of ['v', 'ids', 'labels']) writeFileSync(at(name), 'old');
  async function* failing() {
    yield bytes;
    throw new Error('gone');
  }
  const files = [
    [at('v'), 'new'],
    [at('ids'), 'new'],
  ] as const;
  await expect(writeFilesTogether([...files, [at('x'), failing()]], [at('labels')])).rejects.toThrow(/cannot write.*x/);
  expect(readdirSync(dir).map((name) => readFileSync(at(name), 'utf8'))).toEqual(['old', 'old', 'old']);
  expect(await writeFilesTogether(files, [at('labels'), at('never')])).toEqual([
    { path: at('v'), bytes: 3, sha256: sha256('new') },
    { path: at('ids'), bytes: 3, sha256: sha256('new') },
  ]);
  expect(readdirSync(dir).sort()).toEqual(['ids', 'v']);
});

test.each([
  ['a missing directory', 'none/a.bin', 'FILE_NOT_FOUND', 'ENOENT'],
  ['a directory of that name', 'folder', 'IS_A_DIRECTORY', 'EISDIR'],
])('%s is a typed error with path and errno', async (_, name, code, errno) => {
  mkdirSync(join(dir, 'folder'));
  const error = await writeFileAtomic(join(dir, name), 'x').catch((e) => e);
  expect(error).toBeInstanceOf(IoError);
  expect(error).toMatchObject({ code, exitCode: 4, details: { file: join(dir, name), errno } });
  expect(readdirSync(dir)).toEqual(['folder']);
});

// The trap this function exists for: under a file size limit one write() stores a part and reports no error.
test.skipIf(process.platform === 'win32')(
  'a file size limit in the middle of a write is an error and keeps the old file',
  () => {
    const path = join(dir, 'a.bin');
    writeFileSync(path, 'old');
    const root = fileURLToPath(new URL('../..', import.meta.url));
    const script = `
    const { createJiti } = await import('jiti');
    const { writeFileAtomic } = await createJiti(${JSON.stringify(`${root}/x.js`)}).import(${JSON.stringify(`${root}/src/io/atomic.ts`)});
    await writeFileAtomic(${JSON.stringify(path)}, new Uint8Array(64 * 1024)).then(
      () => console.log('SAVED'), (e) => console.log(e.code, e.details.errno, e.details.file === ${JSON.stringify(path)}));`;
    // Without its compile cache: that would hit the limit too.
    const env = { ...process.env, JITI_FS_CACHE: 'false' };
    const quoted = `ulimit -f 16; exec "$0" --input-type=module -e "$1"`;
    const { stdout } = spawnSync('bash', ['-c', quoted, process.execPath, script], {
      encoding: 'utf8',
      cwd: root,
      env,
    });
    expect(stdout.trim()).toBe('FILE_TOO_LARGE EFBIG true');
    expect(readFileSync(path, 'utf8')).toBe('old');
    expect(readdirSync(dir)).toEqual(['a.bin']);
  },
);

test('orphans of dead processes are removed, those of living ones stay', async () => {
  const dead = execFileSync(process.execPath, ['-p', 'process.pid'], { encoding: 'utf8' }).trim();
  const orphan = `.cambium-${dead}-0123456789ab.tmp`;
  const living = `.cambium-${process.pid}-0123456789ab.tmp`;
  for (const name of [orphan, living, 'other.tmp']) writeFileSync(join(dir, name), '');
  expect(await removeOrphans(dir)).toEqual([orphan]);
  expect(readdirSync(dir).sort()).toEqual([living, 'other.tmp'].sort());
});
