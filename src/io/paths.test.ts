import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DataError } from '../base/errors.ts';
import { checkName, resolveUnder } from './paths.ts';

let base: string;
beforeAll(() => {
  const root = mkdtempSync(join(tmpdir(), 'cambium-paths-'));
  base = join(root, 'base');
  mkdirSync(join(base, 'a'), { recursive: true });
  writeFileSync(join(base, 'a', 'file.txt'), 'inside');
  writeFileSync(join(root, 'secret'), 'outside');
  symlinkSync(join(root, 'secret'), join(base, 'link'));
  symlinkSync(root, join(base, 'up'));
});
afterAll(() => rmSync(join(base, '..'), { recursive: true }));

test.each([
  '',
  '.',
  '..',
  './a',
  'a/..',
  '../secret',
  'a/../../secret',
  'a//b',
  'a/',
  '/etc/passwd',
  '\\\\server\\share',
  'C:\\x',
  'C:x',
  'a\\..\\b',
  '%2e%2e/secret',
  '%252e%252e/secret',
  '..%2fsecret',
  'a%00b',
  'a\0b',
  'a\nb',
  '．．/secret',
  '‥/secret',
  'con',
  'NUL.txt',
  'a/com1',
  'a/lpt9.dat',
  'name.',
  'name ',
  'file:stream',
  `${'x'.repeat(256)}`,
  'x/'.repeat(3000),
  '\ud800',
])('refuses %j', async (name) => {
  expect(() => checkName(name)).toThrow(DataError);
  await expect(resolveUnder(base, name)).rejects.toMatchObject({ code: 'PATH_UNSAFE', exitCode: 3 });
});

test.each(['a/file.txt', 'new/file.bin', 'with space/ü-名.txt', '100%.txt', 'a..b', '...x', 'console'])(
  'accepts %j',
  async (name) => {
    expect(await resolveUnder(base, name)).toBe(join(base, ...name.split('/')));
  },
);

test.each(['link', 'up/secret'])('does not follow the symbolic link in %j', async (name) => {
  await expect(resolveUnder(base, name)).rejects.toMatchObject({ code: 'PATH_UNSAFE' });
});
