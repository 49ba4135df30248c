import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { decompressZstd } from 'hyparquet-compressors';
import { expect, test } from 'vitest';
import { memorySource } from '../../io/byte-source.ts';
import { readParquetSource } from './parquet.ts';
import { checkRuns } from './parquet-runs.ts';
import { ThriftError, ThriftWalker } from './thrift.ts';
import { boundedZstd } from './zstd-frame.ts';

const file = readFileSync(fileURLToPath(new URL('../../../test/golden/text/reviews.parquet', import.meta.url)));

async function texts(bytes: Uint8Array): Promise<unknown[]> {
  const all: unknown[] = [];
  for await (const { values } of readParquetSource(memorySource(bytes, 'x.parquet'), ['text'])) all.push(...values);
  return all;
}

test('a Parquet file cut anywhere is refused, whatever its end says', async () => {
  expect((await texts(file)).at(-1)).toBe('last');
  for (let length = 0; length < file.length; length += 41) {
    const cut = file.subarray(0, length);
    const closed = Buffer.concat([cut.subarray(0, -8), file.subarray(-8)]);
    for (const bytes of [cut, closed])
      await expect(texts(bytes), `${length}`).rejects.toMatchObject({ code: 'PARQUET_INVALID', exitCode: 3 });
  }
});

test.each([
  ['a list longer than the bytes left', [0x19, 0xf8, 0xff, 0xff, 0xff, 0x7f, 0], /a list of 268435455/],
  ['a text longer than the bytes left', [0x18, 0x7f, 0x61], /127 more bytes/],
  ['a struct without an end', [0x15, 0x02], /more bytes/],
  ['structs nested without end', Array<number>(200).fill(0x1c), /nested structs/],
  ['a number of many bytes', [0x15, ...Array<number>(40).fill(0xff)], /ten bytes/],
  ['a map', [0x1b, 0x00], /a type of thrift/],
])('thrift with %s is refused before anything is made of it', (_, bytes, message) => {
  const walk = () => new ThriftWalker(Uint8Array.from(bytes)).skip();
  expect(walk).toThrow(ThriftError);
  expect(walk).toThrow(message);
});

test('a million empty structs in a megabyte are too many', () => {
  const bytes = Uint8Array.from([0x19, 0xfc, 0xc0, 0x84, 0x3d, ...Array<number>(1_000_100).fill(0)]);
  expect(() => new ThriftWalker(bytes).skip()).toThrow(/structs/);
});

test('a Zstandard frame gets the window it needs, and must be one of the length expected', () => {
  // `abcdefgh` forty times through `zstd -19` from a pipe: no size in it, and a window of 8 MiB.
  const frame = new Uint8Array(Buffer.from('KLUv/QRofQAAQGFiY2RlZmdoAQA11csFS+ct/g==', 'base64'));
  const bounded = boundedZstd(frame, 320);
  expect([frame[5], bounded[5]]).toEqual([0x68, 0]);
  expect(Buffer.from(decompressZstd(bounded)).toString()).toBe('abcdefgh'.repeat(40));
  expect(() => boundedZstd(Buffer.concat([frame, frame]), 320)).toThrow(/one Zstandard frame/);
  expect(() => boundedZstd(frame.subarray(0, 20), 320)).toThrow(/one Zstandard frame/);
  // A block of one byte repeated 262,144 times, where eight bytes are expected.
  const bomb = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0x68, 0x03, 0x00, 0x20, 0x61);
  expect(() => boundedZstd(bomb, 8)).toThrow(/at most 8 bytes/);
});

const page = { maxRepetition: 0, maxDefinition: 1, values: 10, nulls: 0, encoding: 8, boolean: false, levels: true };
test.each([
  ['levels repeated two billion times', {}, [5, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0x0f, 1]],
  ['indices repeated beyond the page', {}, [2, 0, 0, 0, 20, 1, 1, 0xfe, 0xff, 0x7f, 0]],
  ['packed runs of no bits', { levels: false }, [0, 0xff, 0xff, 0xff, 0xff, 0x0f]],
  [
    'blocks of deltas in two billion parts',
    { levels: false, encoding: 5 },
    [0x80, 1, 0xff, 0xff, 0xff, 0xff, 7, 10, 0],
  ],
  ['no parts', { levels: false, encoding: 6 }, [0x80, 1, 0, 10, 0]],
  [
    'beginnings that add up',
    { levels: false, encoding: 7, values: 3 },
    [0x80, 1, 4, 3, 0, 0x80, 0x89, 0x7a, 0, 0, 0, 0, 0x80, 1, 4, 3, 2, 0, 0, 0, 0, 0, 97, 97, 97],
  ],
])('a page with %s is refused before it is decoded', (_, change, bytes) => {
  expect(() => checkRuns(Uint8Array.from(bytes), { ...page, ...change })).toThrow();
});
