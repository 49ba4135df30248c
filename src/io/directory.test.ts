import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { makeDirectory } from './directory.ts';
import { exists } from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'cambium-directory-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('makes all missing folders, and does not mind those that are there', async () => {
  const path = join(folder, 'a/b/c');
  await makeDirectory(path);
  await makeDirectory(path);
  expect(await exists(path)).toBe(true);
});

test('tells why it cannot', async () => {
  writeFileSync(join(folder, 'file'), '');
  await expect(makeDirectory(join(folder, 'file/inside'))).rejects.toMatchObject({ code: 'NOT_A_DIRECTORY' });
  // A place where nobody may make anything, on Linux; what it says differs elsewhere.
  if (process.platform === 'linux')
    await expect(makeDirectory('/proc/cambium/runs')).rejects.toMatchObject({
      code: expect.stringMatching(/FILE_NOT_FOUND|PERMISSION_DENIED|READ_ONLY/),
      message: expect.stringMatching(/cannot make/),
    });
});
