import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { memorySource } from './byte-source.ts';
import { readNpySource } from './npy.ts';
import { readSafetensors } from './safetensors.ts';
import { readWeights } from './weights.ts';

const dir = mkdtempSync(join(tmpdir(), 'cambium-file-kind-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const huge = Buffer.alloc(24);
huge.writeBigUInt64LE(2n ** 62n);
huge.write('{"a":1}', 8);
test.each([
  ['<!DOCTYPE html><html><body>Not found</body></html>', 'an HTML page'],
  ['version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n', 'a Git LFS pointer'],
  ['Access denied: ask for a token', 'a text file'],
  [huge, 'header of at most 100000000 bytes, found 4611686018427387904'],
])('%s called .safetensors is named for what it is', async (content, what) => {
  const path = join(dir, 'x.safetensors');
  writeFileSync(path, content);
  for (const read of [readSafetensors, readWeights])
    await expect(read(path)).rejects.toMatchObject({ exitCode: 3, message: expect.stringContaining(what) });
});

test('a large number in a .npy is a fault of that format', async () => {
  const head = "{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }";
  const bytes = Buffer.concat([
    Buffer.from(`\x93NUMPY\x01\x00${String.fromCharCode(head.length)}\x00${head}`, 'latin1'),
    Buffer.alloc(8, 7),
  ]);
  await expect(readNpySource(memorySource(bytes))).rejects.toMatchObject({ code: 'NPY_VALUE' });
});
