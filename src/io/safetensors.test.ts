import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { type CambiumError, DataError, IoError } from '../base/errors.ts';
import { sha256 } from './atomic.ts';
import type { HostArray } from './host-array.ts';
import { readSafetensors, readSafetensorsHeader, writeSafetensors } from './safetensors.ts';

const dir = mkdtempSync(join(tmpdir(), 'cambium-safetensors-'));
afterAll(() => rmSync(dir, { recursive: true }));
const path = join(dir, 'x.safetensors');

const sample: Record<string, HostArray> = {
  'features.0.weight': { dtype: 'f32', shape: [2, 3], data: Float32Array.of(1, -2, 0.5, Infinity, NaN, -0) },
  double: { dtype: 'f64', shape: [], data: Float64Array.of(Math.PI) },
  bytes: { dtype: 'u8', shape: [3], data: Uint8Array.of(0, 128, 255) },
  flags: { dtype: 'bool', shape: [2, 1], data: Uint8Array.of(1, 0) },
  whole: { dtype: 'i32', shape: [2], data: Int32Array.of(-(2 ** 31), 7) },
  empty: { dtype: 'f32', shape: [0, 4], data: new Float32Array(0) },
};

/** A file from a header as JSON text and its data. */
function raw(header: string | object, data: ArrayLike<number> = []): Buffer {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, Uint8Array.from(data)]);
}

async function read(bytes: Uint8Array) {
  writeFileSync(path, bytes);
  return readSafetensors(path);
}

test('what is written is read back, by value and by digest', async () => {
  const written = await writeSafetensors(path, sample, { format: 'pt', note: 'ü "quoted"' });
  const back = await readSafetensors(path, { sha256: written.sha256 });
  expect(Object.fromEntries(back.tensors)).toEqual(sample);
  expect(Object.fromEntries(back.metadata)).toEqual({ format: 'pt', note: 'ü "quoted"' });
  expect(sha256(readFileSync(path))).toBe(written.sha256);
  expect(back.sha256).toBe(written.sha256);
});

test('the same tensors give the same bytes whatever their order, and all data is aligned', async () => {
  const one = await writeSafetensors(path, sample, { a: '1', b: '2' });
  const two = await writeSafetensors(path, new Map(Object.entries(sample).reverse()), { b: '2', a: '1' });
  expect(two.sha256).toBe(one.sha256);
  const { entries } = await readSafetensorsHeader(path);
  for (const [name, { start }] of entries) expect(start % (sample[name]?.data.BYTES_PER_ELEMENT ?? 1)).toBe(0);
});

test('round trip of anything', async () => {
  const names = fc.string({ unit: 'grapheme', maxLength: 8 }).filter((s) => s !== '__metadata__' && s !== '__proto__');
  const array = fc.array(fc.nat(3), { maxLength: 3 }).chain((shape) => {
    const n = shape.reduce((a, b) => a * b, 1);
    return fc.float32Array({ minLength: n, maxLength: n }).map((data): HostArray => ({ dtype: 'f32', shape, data }));
  });
  await fc.assert(
    fc.asyncProperty(fc.dictionary(names, array, { noNullPrototype: true, maxKeys: 4 }), async (tensors) => {
      await writeSafetensors(path, tensors);
      expect(Object.fromEntries((await readSafetensors(path)).tensors)).toEqual(tensors);
    }),
    { numRuns: 40 },
  );
});

test('only the wanted tensors are loaded, a wrong digest is refused', async () => {
  await writeSafetensors(path, sample);
  const { tensors } = await readSafetensors(path, { only: (name) => name === 'double' });
  expect([...tensors.keys()]).toEqual(['double']);
  await expect(readSafetensors(path, { sha256: '0'.repeat(64) })).rejects.toMatchObject({ code: 'HASH_MISMATCH' });
});

test.each([
  ['F16', [0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00, 0x00, 0x7c], 'f32', [1, -2, 2 ** -24, Infinity]],
  ['BF16', [0x80, 0x3f, 0x00, 0xc0], 'f32', [1, -2]],
  ['I64', [5, 0, 0, 0, 0, 0, 0, 0, 254, 255, 255, 255, 255, 255, 255, 255], 'i32', [5, -2]],
  ['I16', [254, 255, 1, 1], 'i32', [-2, 257]],
  ['U16', [254, 255], 'i32', [65534]],
  ['I8', [254, 1], 'i32', [-2, 1]],
  ['U32', [1, 2, 0, 0], 'i32', [513]],
])('%s is read as one of our types', async (dtype, data, expected, values) => {
  const { tensors } = await read(raw({ t: { dtype, shape: [values.length], data_offsets: [0, data.length] } }, data));
  expect(tensors.get('t')?.dtype).toBe(expected);
  expect(Array.from(tensors.get('t')?.data ?? [])).toEqual(values);
});

const f32 = (shape: number[], from: number, to: number) => ({ dtype: 'F32', shape, data_offsets: [from, to] });
const four = [0, 0, 128, 63];

test.each<[string, Uint8Array, string]>([
  ['an empty file', Buffer.alloc(0), 'SAFETENSORS_TRUNCATED'],
  ['seven bytes', Buffer.alloc(7), 'SAFETENSORS_TRUNCATED'],
  ['an empty header', raw(''), 'SAFETENSORS_HEADER'],
  ['a header longer than the file', raw({ a: f32([1], 0, 4) }, four).subarray(0, 20), 'SAFETENSORS_TRUNCATED'],
  [
    'a header length of 2^63',
    Buffer.concat([Buffer.from([0, 0, 0, 0, 0, 0, 0, 128]), Buffer.alloc(8)]),
    'SAFETENSORS_HEADER_SIZE',
  ],
  [
    'a header length past the limit',
    Buffer.concat([Buffer.from([1, 225, 245, 5, 0, 0, 0, 0]), Buffer.alloc(8)]),
    'SAFETENSORS_HEADER_SIZE',
  ],
  ['a list as header', raw('[]'), 'SAFETENSORS_HEADER'],
  ['broken JSON', raw('{"a":'), 'JSON_INVALID'],
  ['bad UTF-8', Buffer.concat([raw('{"a').subarray(0, 8), Buffer.from([0x7b, 0x22, 0xff])]), 'UTF8_INVALID'],
  [
    'a tensor twice',
    raw(
      '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
      [1],
    ),
    'JSON_KEY',
  ],
  ['__proto__', raw('{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', [1]), 'JSON_KEY'],
  ['truncated data', raw({ a: f32([2], 0, 8) }, four), 'SAFETENSORS_OFFSETS'],
  ['trailing bytes', raw({ a: f32([1], 0, 4) }, [...four, 0]), 'SAFETENSORS_TRAILING'],
  ['a hole', raw({ a: f32([1], 0, 4), b: f32([1], 8, 12) }, [...four, ...four, ...four]), 'SAFETENSORS_HOLE'],
  ['an overlap', raw({ a: f32([2], 0, 8), b: f32([1], 4, 8) }, [...four, ...four]), 'SAFETENSORS_OVERLAP'],
  ['offsets reversed', raw({ a: f32([1], 4, 0) }, four), 'SAFETENSORS_OFFSETS'],
  ['a shape that contradicts the bytes', raw({ a: f32([2], 0, 4) }, four), 'SAFETENSORS_SHAPE'],
  ['a shape whose product overflows', raw({ a: f32([4294967296, 4294967296], 0, 4) }, four), 'SAFETENSORS_SHAPE'],
  ['a negative dimension', raw({ a: f32([-1], 0, 4) }, four), 'SAFETENSORS_ENTRY'],
  ['a fractional offset', raw({ a: f32([1], 0, 4.5) }, four), 'SAFETENSORS_ENTRY'],
  ['an unknown dtype', raw({ a: { dtype: 'F8_E4M3', shape: [4], data_offsets: [0, 4] } }, four), 'SAFETENSORS_DTYPE'],
  [
    'dtype "constructor"',
    raw({ a: { dtype: 'constructor', shape: [4], data_offsets: [0, 4] } }, four),
    'SAFETENSORS_DTYPE',
  ],
  ['a missing key', raw({ a: { dtype: 'F32', shape: [1] } }, four), 'SAFETENSORS_ENTRY'],
  ['an unknown key', raw({ a: { ...f32([1], 0, 4), strides: [1] } }, four), 'SAFETENSORS_ENTRY'],
  ['metadata that is not text', raw({ __metadata__: { a: 1 } }), 'SAFETENSORS_METADATA'],
  ['a bool of 2', raw({ a: { dtype: 'BOOL', shape: [1], data_offsets: [0, 1] } }, [2]), 'SAFETENSORS_VALUE'],
  [
    'an I64 past 32 bits',
    raw({ a: { dtype: 'I64', shape: [1], data_offsets: [0, 8] } }, [0, 0, 0, 0, 1, 0, 0, 0]),
    'SAFETENSORS_VALUE',
  ],
])('%s is refused', async (_, bytes, code) => {
  const error = await read(bytes).catch((e) => e);
  expect(error).toBeInstanceOf(DataError);
  expect(error).toMatchObject({ code, details: { file: path } });
  expect(error.details.offset).toBeLessThanOrEqual(bytes.length);
  expect(error.message).toMatch(/expected|ends/);
});

test('data at an unaligned offset is read all the same', async () => {
  const header = { a: { dtype: 'U8', shape: [1], data_offsets: [0, 1] }, b: f32([1], 1, 5) };
  expect((await read(raw(header, [9, ...four]))).tensors.get('b')?.data).toEqual(Float32Array.of(1));
});

test('every prefix and every changed byte of a file: read, or refused with file and offset', async () => {
  await writeSafetensors(
    path,
    {
      a: { dtype: 'f32', shape: [2], data: Float32Array.of(1, 2) },
      b: { dtype: 'bool', shape: [1], data: Uint8Array.of(1) },
    },
    { k: 'v' },
  );
  const seed = readFileSync(path);
  const cases = Array.from({ length: seed.length }, (_, i) => seed.subarray(0, i));
  for (let i = 0; i < seed.length; i++)
    for (const change of [0x00, 0x7f, 0x80, 0xff, (seed[i] as number) ^ 1, (seed[i] as number) ^ 0x80])
      cases.push(Buffer.from(seed.map((b, j) => (j === i ? change : b))));
  for (const bytes of cases) {
    const error = await read(bytes).then(
      () => undefined,
      (e) => e,
    );
    if (!error) continue;
    if (!(error instanceof DataError)) throw new Error(`raw error for ${bytes.toString('hex')}`, { cause: error });
    expect(error.details.file).toBe(path);
    expect(error.details.offset).toBeGreaterThanOrEqual(0);
    expect(error.details.offset).toBeLessThanOrEqual(bytes.length);
  }
});

test.each([
  ['a name that is reserved', '__metadata__', sample.double, 'SAFETENSORS_NAME'],
  ['a wrong length', 'a', { dtype: 'f32', shape: [3], data: new Float32Array(2) }, 'ARRAY_SHAPE'],
  ['a wrong array', 'a', { dtype: 'f32', shape: [2], data: new Int32Array(2) }, 'ARRAY_DTYPE'],
])('does not write %s', async (_, name, array, code) => {
  await expect(writeSafetensors(path, { [name]: array as HostArray })).rejects.toMatchObject({ code });
});

test('a missing file and a directory are I/O errors', async () => {
  for (const [target, code] of [
    [join(dir, 'none'), 'FILE_NOT_FOUND'],
    [dir, 'IS_A_DIRECTORY'],
  ] as const) {
    const error: CambiumError = await readSafetensors(target).catch((e) => e);
    expect(error).toBeInstanceOf(IoError);
    expect(error).toMatchObject({ code, exitCode: 4, details: { file: target } });
  }
});

const shared = process.env.CAMBIUM_SHARED ?? fileURLToPath(new URL('../../../shared', import.meta.url));
const weights = join(shared, 'data/weights/resnet20-cifar10.safetensors');
test.skipIf(!existsSync(weights))(`reads a file of the original library (skipped without ${weights})`, async () => {
  const { tensors, sha256: digest } = await readSafetensors(weights, { sha256: true });
  expect(digest).toBe('8d42d68782d2746fe59802d3e12ca5a37763bb72b17b1d2dc8dfa996ead7af5d');
  expect(tensors.get('conv1.weight')?.shape).toEqual([16, 3, 3, 3]);
  await writeSafetensors(path, tensors);
  expect((await readSafetensors(path)).tensors).toEqual(tensors);
});
