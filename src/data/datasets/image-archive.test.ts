/** Pictures out of .tar and .tar.gz: layouts, names, damage, and what is refused. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CambiumError } from '../../base/errors.ts';
import { parseTar } from '../formats/tar.ts';
import { classNames } from '../schema.ts';
import { imageArchive } from './image-archive.ts';

let dir: string;
let red: Buffer;
let blue: Buffer;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'cambium-tar-'));
  const png = (r: number, b: number): Promise<Buffer> =>
    sharp({ create: { width: 3, height: 2, channels: 3, background: { r, g: 0, b } } })
      .png()
      .toBuffer();
  [red, blue] = [await png(255, 0), await png(0, 255)];
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

interface Row {
  name: string;
  body?: Buffer;
  kind?: string;
  prefix?: string;
  size?: number;
}

function header({ name, body = Buffer.alloc(0), kind = '0', prefix = '', size = body.length }: Row): Buffer {
  const block = Buffer.alloc(512);
  block.write(name, 0, 100);
  block.write('0000644\0', 100);
  block.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  block.write('        ', 148);
  block.write(kind, 156);
  block.write('ustar\x0000', 257, 'latin1');
  block.write(prefix, 345, 155);
  const sum = block.reduce((a, b) => a + b, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}
const tar = (rows: readonly Row[], end = 2): Buffer =>
  Buffer.concat([
    ...rows.flatMap((row) => {
      const { body = Buffer.alloc(0) } = row;
      return [header(row), body, Buffer.alloc((512 - (body.length % 512)) % 512)];
    }),
    Buffer.alloc(512 * end),
  ]);
let files = 0;
const write = (bytes: Uint8Array): string => {
  const path = join(dir, `a${files++}.tar.gz`);
  writeFileSync(path, bytes);
  return path;
};
const codeOf = async (body: () => unknown): Promise<string> => {
  try {
    await body();
  } catch (error) {
    expect(error).toBeInstanceOf(CambiumError);
    return (error as CambiumError).code;
  }
  return 'nothing was thrown';
};

describe('layouts', () => {
  test.each(['', 'top/', './top/inner/'])('parts and classes below %j', async (top) => {
    const rows = [
      { name: `${top}train/b/1.png`, body: blue },
      { name: `${top}train/a/2.png`, body: red },
      { name: `${top}train/a/1.png`, body: red },
      { name: `${top}val/a/1.png`, body: red },
      { name: `${top}readme.txt`, body: Buffer.from('hello') },
      { name: `${top}train/a/.hidden.png`, body: Buffer.from('x') },
      { name: `${top}train`, kind: '5' },
    ];
    const archive = await imageArchive(write(gzipSync(tar(rows))));
    expect(archive.parts).toEqual(['train', 'val']);
    expect(archive.classes('train')).toEqual(['a', 'b']);
    const train = archive.dataset('train');
    expect([...train.labels]).toEqual([0, 0, 1]);
    expect(classNames(train.schema)).toEqual(['a', 'b']);
    const { image, label } = await train.get(2);
    expect([label, image.height, image.width, [...image.data.subarray(0, 3)]]).toEqual([1, 2, 3, [0, 0, 255]]);
    expect(train.describe(0)).toContain('train/a/1.png');
    const val = archive.dataset('val', { classes: ['b', 'a'], channels: 1 });
    expect([val.label(0), (await val.get(0)).image.channels]).toEqual([1, 1]);
    expect(await codeOf(() => archive.dataset('train', { classes: ['a'] }))).toBe('FOLDER_CLASS_UNKNOWN');
    expect(await codeOf(() => train.get(3))).toBe('INDEX_OUTSIDE');
  });

  test('one set, not compressed; long names by prefix, pax and GNU records', async () => {
    const long = 'n'.repeat(120);
    const rows = [
      { name: '1.png', prefix: 'a', body: red },
      { name: 'pax', kind: 'x', body: Buffer.from(`${long.length + 17} path=b/${long}.png\n`) },
      { name: 'short', body: blue },
      { name: '././@LongLink', kind: 'L', body: Buffer.from(`c/${long}.png\0`) },
      { name: 'short', body: red },
    ];
    const archive = await imageArchive(write(tar(rows)));
    expect(archive.parts).toEqual(['']);
    expect(archive.classes()).toEqual(['a', 'b', 'c']);
    expect(archive.dataset().length).toBe(3);
  });
});

test('bad archives are refused', async () => {
  const good = { name: 'a/1.png', body: red };
  const whole = tar([good, { name: 'b/1.png', body: blue }]);
  const opened = (bytes: Uint8Array, options = {}) => codeOf(() => imageArchive(write(bytes), options));
  for (const name of ['../a/1.png', '/a/1.png', 'a/../../1.png', 'a\\1.png', 'C:/a/1.png'])
    expect(await opened(tar([{ name, body: red }]))).toBe('PATH_UNSAFE');
  expect(await opened(tar([{ ...good, kind: '2' }]))).toBe('TAR_INVALID');
  expect(await opened(tar([good, good]))).toBe('TAR_INVALID');
  const flipped = Buffer.from(whole);
  flipped[3] = 0x7a;
  expect(await opened(flipped)).toBe('TAR_INVALID');
  expect(await opened(whole.subarray(0, 700))).toBe('TAR_TRUNCATED');
  expect(await opened(whole.subarray(0, 512 + 512))).toBe('TAR_TRUNCATED');
  expect(await opened(tar([{ ...good, size: 2 ** 30 }]))).toBe('TAR_TRUNCATED');
  expect(await opened(Buffer.from('<html>not an archive</html>'.repeat(40)))).toBe('TAR_INVALID');
  expect(await opened(gzipSync(whole).subarray(0, 60))).toBe('GZIP_TRUNCATED');
  expect(await opened(gzipSync(Buffer.alloc(1e6)), { maxBytes: 1e5 })).toBe('GZIP_TOO_LARGE');
  expect(await opened(whole, { maxEntries: 1 })).toBe('TAR_TOO_LARGE');
  expect(await opened(tar([{ name: '1.png', body: red }]))).toBe('FOLDER_NO_CLASSES');
  expect(
    await opened(
      tar([
        { name: 'train/a/b/1.png', body: red },
        { name: 'a/2.png', body: red },
      ]),
    ),
  ).toBe('FOLDER_NO_CLASSES');
  expect(await opened(tar([]))).toBe('FOLDER_NO_CLASSES');
  expect(await codeOf(() => imageArchive(join(dir, 'absent.tar')))).toBe('FILE_NOT_FOUND');
  const damaged = await imageArchive(write(tar([{ name: 'a/1.png', body: red.subarray(0, 40) }])));
  expect(await codeOf(() => damaged.dataset().get(0))).toBe('IMAGE_INVALID');
});

test('any mutated byte gives entries or a typed error', () => {
  const whole = tar([
    { name: 'a/1.png', body: red },
    { name: 'pax', kind: 'x', body: Buffer.from('18 path=b/xxx.png\n') },
    { name: 'b/1.png', body: blue },
  ]);
  for (let i = 0; i < whole.length; i++)
    for (const value of [0, 0x80, 0xff, (whole[i] as number) ^ 1]) {
      const copy = Buffer.from(whole);
      copy[i] = value;
      try {
        parseTar(copy, 'mutated.tar');
      } catch (error) {
        expect(error).toBeInstanceOf(CambiumError);
      }
    }
});
