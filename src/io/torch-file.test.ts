import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { deflateRawSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DataError } from '../base/errors.ts';
import { memorySource } from './byte-source.ts';
import { readNpy, readNpz, writeNpy, writeNpz } from './npy.ts';
import { readPickle } from './pickle.ts';
import { readTorch, readTorchSource } from './torch-file.ts';
import { readZipDirectory, readZipEntry, writeZip } from './zip.ts';

const golden = fileURLToPath(new URL('../../test/golden/weights/', import.meta.url));
const expected: { [name: string]: { shape: number[]; values: number[] } } = JSON.parse(
  readFileSync(`${golden}expected.json`, 'utf8'),
);
let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'cambium-torch-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const codeOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'accepted',
    (e) => (e instanceof DataError && typeof e.details.offset === 'number' ? e.code : e),
  );

test.each(['state.pth', 'legacy.pth'])('%s of torch.save gives the values PyTorch has', async (file) => {
  const tensors = await readTorch(golden + file);
  const names = Object.keys(expected).filter((name) => file === 'state.pth' || name !== 'u16');
  expect([...tensors.keys()]).toEqual(names);
  for (const name of names) {
    expect(tensors.get(name)?.shape, name).toEqual(expected[name]!.shape);
    expect(Array.from(tensors.get(name)!.data), name).toEqual(expected[name]!.values);
  }
  // Tied tensors share bytes in the file, never memory here: one may be trained in place.
  expect(tensors.get('tied')?.data.buffer).not.toBe(tensors.get('2.weight')?.data.buffer);
});

test('a checkpoint gives the state dict inside it, and `only` leaves the rest unread', async () => {
  expect((await readTorch(`${golden}checkpoint.pt`)).size).toBe(9);
  expect([...(await readTorch(`${golden}checkpoint.pt`, { only: (n) => n === '2.bias' })).keys()]).toEqual(['2.bias']);
});

test('a pickled module is refused by name and offset; nothing is run', async () => {
  const error = await readTorch(`${golden}whole-module.pt`).catch((e) => e);
  expect(error).toMatchObject({ code: 'PICKLE_GLOBAL', exitCode: 3, details: { offset: expect.any(Number) } });
  expect(error.message).toContain('torch.nn.modules.linear.Linear');
});

const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1');
const nested = (n: number): string => `\x80\x02${'('.repeat(n)}`;
test.each([
  ['os.system', 'cos\nsystem\n(S"id"\ntR.', 'PICKLE_GLOBAL'],
  ['eval', '\x80\x04\x8c\x08builtins\x8c\x04eval\x93.', 'PICKLE_GLOBAL'],
  ['a lookalike', 'ctorch.os\nsystem\n.', 'PICKLE_GLOBAL'],
  ['INST', '(ios\nsystem\n.', 'PICKLE_OPCODE'],
  ['an extension code', '\x80\x02\x82\x01.', 'PICKLE_OPCODE'],
  ['a deep stack', nested(1001), 'PICKLE_LIMIT'],
  ['a huge string', '\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f', 'PICKLE_TRUNCATED'],
  ['a huge integer', '\x80\x02\x8b\xff\xff\xff\x7f', 'PICKLE_LIMIT'],
  ['items set on a list', '\x80\x02]K\x01K\x02s.', 'PICKLE_ITEMS'],
  ['an unknown memo', '\x80\x02h\x07.', 'PICKLE_MEMO'],
  ['an empty stack', '.', 'PICKLE_STACK'],
  ['an end', '\x80\x02K', 'PICKLE_TRUNCATED'],
  ['a state for a record', '\x80\x02ctorch\nSize\n)R}b.', 'PICKLE_BUILD'],
])('a pickle with %s is a typed error', (_, text, code) => {
  const read = () => readPickle(bytes(text), { path: 'x.pkl', allow: (name) => name === 'torch.Size' });
  expect(read).toThrow(DataError);
  expect(read).toThrow(expect.objectContaining({ code }));
});

type Records = Map<string, Uint8Array>;
const pickle = (records: Records, from: string, to: string): void => {
  const bytes = Buffer.from(records.get('state/data.pkl')!);
  const at = bytes.indexOf(from, 0, 'latin1');
  expect(at).toBeGreaterThan(0);
  bytes.write(to, at, 'latin1');
  records.set('state/data.pkl', bytes);
};
// 'view' is arange(12).reshape(3, 4).t()[1:]: offset 1, shape (3, 3), strides (1, 4).
const view = 'K\x01K\x03K\x03\x86';
test.each([
  ['an offset past the storage', (r: Records) => pickle(r, view, 'K\x09K\x03K\x03\x86'), 'TORCH_OFFSET'],
  ['a shape past the storage', (r: Records) => pickle(r, view, 'K\x01K\x03K\x09\x86'), 'TORCH_OFFSET'],
  ['a negative-looking shape', (r: Records) => pickle(r, view, 'K\x01NNNN\x86'), 'TORCH_SHAPE'],
  ['another name', (r: Records) => pickle(r, '_rebuild_tensor_v2', '_rebuild_tensor_vX'), 'PICKLE_GLOBAL'],
  ['a storage cut short', (r: Records) => r.set('state/data/0', new Uint8Array(8)), 'TORCH_STORAGE'],
  ['a storage missing', (r: Records) => r.delete('state/data/3'), 'TORCH_STORAGE'],
  ['another byte order', (r: Records) => r.set('state/byteorder', bytes('big')), 'TORCH_BYTE_ORDER'],
  ['two pickles', (r: Records) => r.set('x/data.pkl', bytes('N.')), 'TORCH_LAYOUT'],
  ['a bool of 7', (r: Records) => r.set(keyOf(r, 2), Uint8Array.of(1, 7)), 'TORCH_VALUE'],
])('a .pth with %s is a typed error with an offset', async (_, damage, code) => {
  const source = memorySource(readFileSync(`${golden}state.pth`), 'state.pth');
  const records: Records = new Map();
  for (const entry of (await readZipDirectory(source)).values())
    records.set(entry.name, await readZipEntry(source, entry));
  damage(records);
  await writeZip(join(dir, 'bad.pth'), records);
  expect(await codeOf(readTorch(join(dir, 'bad.pth')))).toBe(code);
});
const keyOf = (records: Records, size: number): string =>
  [...records].find(([name, { length }]) => name.includes('/data/') && length === size)?.[0] ?? '';

test.each([
  ['a byte of data changed', (b: Buffer) => flip(b, b.indexOf(Buffer.from(Float32Array.of(11).buffer))), 'ZIP_CRC'],
  ['its end cut off', (b: Buffer) => b.subarray(0, b.length - 30), 'ZIP_TRUNCATED'],
  ['a name that climbs', (b: Buffer) => renameAll(b, 'state/data/1', 'state/../abc'), 'PATH_UNSAFE'],
  ['a name twice', (b: Buffer) => renameAll(b, 'state/data/1', 'state/data/2'), 'ZIP_DUPLICATE'],
])('an archive with %s is a typed error with an offset', async (_, damage, code) => {
  const damaged = damage(readFileSync(`${golden}state.pth`));
  expect(await codeOf(readTorchSource(memorySource(damaged, 'bad.pth')))).toBe(code);
});
function flip(b: Buffer, at: number): Buffer {
  b[at] = (b[at] as number) ^ 1;
  return b;
}
function renameAll(b: Buffer, from: string, to: string): Buffer {
  // The first record of that name only: 'state/data/10' begins alike.
  for (let at = b.indexOf(from); at >= 0; at = b.indexOf(from, at + 1))
    if (!/\d/.test(String.fromCharCode(b[at + from.length] as number))) b.write(to, at, 'latin1');
  return b;
}

test('zip: deflated entries are read, a lying size stops the inflating, folders do not count', async () => {
  const path = join(dir, 'a.zip');
  await writeZip(path, new Map([['a/b.txt', bytes('hello')]]));
  const source = memorySource(readFileSync(path));
  const entry = (await readZipDirectory(source)).get('a/b.txt')!;
  expect(Buffer.from(await readZipEntry(source, entry)).toString()).toBe('hello');
  const bomb = deflateRawSync(new Uint8Array(10 * 2 ** 20));
  const file = Buffer.concat([Buffer.alloc(30), bytes('a'), bomb]);
  file.writeUInt32LE(0x04034b50, 0);
  file.writeUInt16LE(8, 8);
  file.writeUInt16LE(1, 26);
  const lie = { name: 'a', size: 100, compressedSize: bomb.length, method: 8, crc: 0, offset: 0 } as const;
  expect(await codeOf(readZipEntry(memorySource(file), lie))).toBe('ZIP_DEFLATE');
});

test('.npy and .npz of NumPy are read, in Fortran order and big-endian too; ours round-trip', async () => {
  expect(await readNpy(`${golden}fortran.npy`)).toEqual({
    dtype: 'f32',
    shape: [3, 4],
    data: Float32Array.from({ length: 12 }, (_, i) => i),
  });
  expect(Array.from((await readNpy(`${golden}big-endian.npy`)).data)).toEqual([0, 1, 2, 3, 4]);
  expect((await readNpy(`${golden}half.npy`)).data).toEqual(Float32Array.of(1.5, -2));
  const compressed = await readNpz(`${golden}compressed.npz`);
  expect(compressed.get('a')?.shape).toEqual([50, 3]);
  expect(Array.from(compressed.get('b')!.data)).toEqual([0, 1, 2, 3]);
  expect(await codeOf(readNpy(`${golden}object.npy`))).toBe('NPY_DTYPE');
  const array = { dtype: 'f32', shape: [2, 1, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) } as const;
  const scalar = { dtype: 'bool', shape: [], data: Uint8Array.of(1) } as const;
  await writeNpy(join(dir, 'x.npy'), array);
  expect(await readNpy(join(dir, 'x.npy'))).toEqual(array);
  await writeNpz(
    join(dir, 'x.npz'),
    new Map<string, typeof array | typeof scalar>([
      ['a', array],
      ['b', scalar],
    ]),
  );
  expect(Object.fromEntries(await readNpz(join(dir, 'x.npz')))).toEqual({ a: array, b: scalar });
  const cut = readFileSync(join(dir, 'x.npy')).subarray(0, 140);
  writeFileSync(join(dir, 'cut.npy'), cut);
  expect(await codeOf(readNpy(join(dir, 'cut.npy')))).toBe('NPY_TRUNCATED');
});
