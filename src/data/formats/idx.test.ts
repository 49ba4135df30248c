import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, expect, test } from 'vitest';
import { DataError } from '../../base/errors.ts';
import { parseIdx, readIdx, readIdxImages } from './idx.ts';

const dir = mkdtempSync(join(tmpdir(), 'cambium-idx-'));
afterAll(() => rmSync(dir, { recursive: true }));

/** An IDX file of `shape` with the given data bytes. */
function idx(shape: number[], data: ArrayLike<number>, type = 8): Buffer {
  const head = Buffer.alloc(4 + 4 * shape.length);
  head[2] = type;
  head[3] = shape.length;
  shape.forEach((d, i) => {
    head.writeUInt32BE(d, 4 + 4 * i);
  });
  return Buffer.concat([head, Uint8Array.from(data)]);
}

const images = idx([2, 2, 3], [0, 1, 2, 3, 4, 5, 250, 251, 252, 253, 254, 255]);

test.each([
  ['plain', images],
  ['gzipped', gzipSync(images)],
  ['gzipped in two members', Buffer.concat([gzipSync(images.subarray(0, 9)), gzipSync(images.subarray(9))])],
])('reads a %s file', async (_, bytes) => {
  const path = join(dir, 'a.idx');
  writeFileSync(path, bytes);
  const array = await readIdx(path);
  expect(array).toEqual({ dtype: 'u8', shape: [2, 2, 3], data: new Uint8Array(images.subarray(16)) });
});

test.each([
  [9, [255, 1], 'i32', [-1, 1]],
  [11, [255, 254, 1, 0], 'i32', [-2, 256]],
  [12, [255, 255, 255, 253, 0, 0, 1, 0], 'i32', [-3, 256]],
  [13, [0x3f, 0xc0, 0, 0, 0xc0, 0, 0, 0], 'f32', [1.5, -2]],
  [14, [0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0], 'f64', [1.5, -2]],
])('reads element type %i, big-endian', (type, bytes, dtype, values) => {
  const array = parseIdx(idx([2], bytes, type), 'f');
  expect([array.dtype, [...array.data]]).toEqual([dtype, values]);
});

const gz = gzipSync(images);
const damagedCrc = Buffer.from(gz);
damagedCrc.writeUInt32LE(1, gz.length - 8);
const damagedBody = Buffer.from(gz.map((b, i) => (i === 12 ? b ^ 0xff : b)));

test.each<[string, Uint8Array, string, number | undefined]>([
  ['an empty file', Buffer.alloc(0), 'IDX_EMPTY', 0],
  ['three bytes', images.subarray(0, 3), 'IDX_TRUNCATED', 3],
  ['a cut header', images.subarray(0, 11), 'IDX_TRUNCATED', 11],
  ['cut data', images.subarray(0, 20), 'IDX_TRUNCATED', 20],
  ['trailing bytes', Buffer.concat([images, Buffer.alloc(5)]), 'IDX_TRAILING', 28],
  ['a PNG', Buffer.from([0x89, 0x50, 0x4e, 0x47, 0, 0, 0, 0]), 'IDX_MAGIC', 0],
  ['an unknown element type', idx([2], [0, 0], 10), 'IDX_MAGIC', 0],
  ['rank 0', Buffer.from([0, 0, 8, 0]), 'IDX_MAGIC', 0],
  ['a header that claims 2^48 bytes', idx([65536, 65536, 65536], []), 'IDX_TOO_LARGE', 8],
  ['a header that claims more than the budget', idx([3_000_000_000], []), 'IDX_TOO_LARGE', 4],
  ['gzip of an empty file', gzipSync(Buffer.alloc(0)), 'IDX_TRUNCATED', 0],
  ['cut gzip', gz.subarray(0, gz.length - 9), 'GZIP_TRUNCATED', gz.length - 9],
  ['gzip with a wrong checksum', damagedCrc, 'GZIP_CORRUPT', undefined],
  ['gzip with a damaged body', damagedBody, 'GZIP_CORRUPT', undefined],
  ['gzip followed by garbage', Buffer.concat([gz, Buffer.from('garbage')]), 'GZIP_CORRUPT', undefined],
  ['gzip of cut data', gzipSync(images.subarray(0, 20)), 'IDX_TRUNCATED', 20],
  ['gzip of more data than its header says', gzipSync(Buffer.concat([images, Buffer.alloc(1)])), 'IDX_TRAILING', 28],
  [
    'a gzip bomb behind a small header',
    gzipSync(Buffer.concat([images, Buffer.alloc(50_000_000)])),
    'GZIP_TOO_LARGE',
    undefined,
  ],
])('%s is refused with file, offset, expected and got', (_, bytes, code, offset) => {
  const error = (() => {
    try {
      return parseIdx(bytes, '/data/x.gz');
    } catch (e) {
      return e as DataError;
    }
  })() as DataError;
  expect(error).toBeInstanceOf(DataError);
  expect(error).toMatchObject({ code, exitCode: 3 });
  expect(error.details).toMatchObject({ file: '/data/x.gz', expected: expect.any(String), got: expect.any(String) });
  if (offset !== undefined) expect(error.details.offset).toBe(offset);
  else expect(error.details.offset).toBeLessThanOrEqual(bytes.length);
});

test('every prefix and every changed byte, plain and gzipped: read, or a DataError with an offset', () => {
  for (const seed of [images, gz]) {
    const cases = Array.from({ length: seed.length }, (_, i) => seed.subarray(0, i));
    for (let i = 0; i < seed.length; i++)
      for (const change of [0x00, 0x7f, 0x80, 0xff, (seed[i] as number) ^ 1, (seed[i] as number) ^ 0x80])
        cases.push(Buffer.from(seed.map((b, j) => (j === i ? change : b))));
    for (const bytes of cases)
      try {
        parseIdx(bytes, 'f');
      } catch (error) {
        if (!(error instanceof DataError)) throw new Error(`raw error for ${bytes.toString('hex')}`, { cause: error });
        expect(error.details).toMatchObject({ file: 'f', expected: expect.any(String), got: expect.any(String) });
        expect(error.details.offset).toBeGreaterThanOrEqual(0);
      }
  }
});

const pair = async (imageBytes: Uint8Array, labelBytes: Uint8Array) => {
  writeFileSync(join(dir, 'i'), imageBytes);
  writeFileSync(join(dir, 'l'), labelBytes);
  return readIdxImages({ name: 't', images: join(dir, 'i'), labels: join(dir, 'l'), classes: ['a', 'b', 'c'] });
};

test('pictures and labels become a data set', async () => {
  const dataset = await pair(images, idx([2], [2, 0]));
  expect(dataset.get(1)).toEqual({
    image: { data: Uint8Array.of(250, 251, 252, 253, 254, 255), height: 2, width: 3, channels: 1 },
    label: 0,
  });
});

test.each<[string, Uint8Array, Uint8Array, string, string, number]>([
  ['different counts', images, idx([3], [0, 1, 2]), 'IDX_COUNT_MISMATCH', 'l', 4],
  ['a label outside the classes', images, idx([2], [0, 3]), 'LABEL_OUTSIDE', 'l', 9],
  ['labels given as images', idx([2], [0, 1]), idx([2], [0, 1]), 'IDX_KIND', 'i', 2],
  ['images given as labels', images, images, 'IDX_KIND', 'l', 2],
  ['no images', idx([0, 2, 3], []), idx([0], []), 'IDX_NO_IMAGES', 'i', 4],
])('%s: refused', async (_, imageBytes, labelBytes, code, file, offset) => {
  await expect(pair(imageBytes, labelBytes)).rejects.toMatchObject({
    code,
    details: { file: join(dir, file), offset },
  });
});
