/** Files made to run something, or to take all memory, stack or time: each is a typed error, soon. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { crc32, deflateRawSync } from 'node:zlib';
import { expect, test, vi } from 'vitest';
import { makeZip } from '../../test/fuzz/containers.ts';
import { DataError } from '../base/errors.ts';
import { memorySource } from './byte-source.ts';
import { readNpzSource } from './npy.ts';
import { readPickle } from './pickle.ts';
import { readTorchSource } from './torch-file.ts';
import { isTorchName } from './torch-tensors.ts';

const gadgets: { [name: string]: string } = JSON.parse(
  readFileSync(fileURLToPath(new URL('../../test/golden/weights/gadgets.json', import.meta.url)), 'utf8'),
);
const latin1 = (text: string): Uint8Array => Buffer.from(text, 'latin1');
const inZip = (pickle: Uint8Array): Uint8Array =>
  makeZip([
    { name: 'archive/data.pkl', bytes: pickle },
    { name: 'archive/version', bytes: latin1('3\n') },
  ]);
const errorOf = async (bytes: Uint8Array): Promise<DataError> => {
  const error = await readTorchSource(memorySource(bytes, 'x.pth')).catch((e) => e);
  expect(error).toBeInstanceOf(DataError);
  expect(error.details.offset).toBeGreaterThanOrEqual(0);
  return error;
};

test('170 pickles of Python that would call something, in six protocols, zipped and bare', async () => {
  const names = Object.entries(gadgets);
  expect(names.length).toBe(170);
  for (const [name, text] of names) {
    const pickle = Buffer.from(text, 'base64');
    const zipped = await errorOf(inZip(pickle));
    // A name that is not among those of tensors, or an opcode that only calls or extensions need.
    expect(['PICKLE_GLOBAL', 'PICKLE_OPCODE'], name).toContain(zipped.code);
    if (zipped.code === 'PICKLE_GLOBAL') expect(zipped.hint).toContain('nothing was run');
    expect(['PICKLE_GLOBAL', 'PICKLE_OPCODE', 'TORCH_LAYOUT'], name).toContain((await errorOf(pickle)).code);
  }
  expect(existsSync('/tmp/cambium-gadget')).toBe(false);
});

// What Python's own pickler does not write, and names a tensor's reader must have but only as names.
test.each([
  ['INST', '(S"id"\nios\nsystem\n.', 'PICKLE_OPCODE'],
  ['OBJ', '(cos\nsystem\nS"id"\no.', 'PICKLE_GLOBAL'],
  ['OBJ of an allowed name', '(ctorch\nSize\no.', 'PICKLE_OPCODE'],
  ['PERSID', 'Pstorage\n.', 'PICKLE_OPCODE'],
  ['NEWOBJ_EX of an allowed name', '\x80\x04ctorch\nSize\n)}\x92.', 'PICKLE_OPCODE'],
  ['NEXT_BUFFER', '\x80\x05\x97.', 'PICKLE_OPCODE'],
  ['BUILD of a record', '\x80\x02ctorch\nSize\n)R}(X\x04\x00\x00\x00nameK\x01ub.', 'PICKLE_BUILD'],
  ['SETITEM of a record', '\x80\x02ctorch\nSize\n)RK\x01K\x02s.', 'PICKLE_ITEMS'],
  ['a call of a record', '\x80\x02ctorch\nSize\n)R)R.', 'PICKLE_REDUCE'],
  ['a call of a text', '\x80\x02X\x02\x00\x00\x00os)R.', 'PICKLE_REDUCE'],
  ['a dotted attribute', '\x80\x04\x8c\x05torch\x8c\x0d_utils.os.sys\x93.', 'PICKLE_GLOBAL'],
  ['a prototype', '\x80\x04\x8c\x05torch\x8c\x0bconstructor\x93.', 'PICKLE_GLOBAL'],
  ['a name of two lines', 'ctorch._utils\nos\rsystem\n.', 'PICKLE_GLOBAL'],
])('%s', async (_, text, code) => {
  expect((await errorOf(inZip(latin1(text)))).code).toBe(code);
});

const tensors = 'X\x01\x00\x00\x00a';
test.each([
  ['a hundred thousand lists in one another', `\x80\x02}${tensors}${']'.repeat(1e5)}${'a'.repeat(99_999)}s.`],
  ['a hundred thousand tuples in one another', `\x80\x02}${tensors}N${'\x85'.repeat(1e5)}s.`],
  ['two to the fortieth leaves out of forty pairs', `\x80\x02}${tensors}N${'2\x86'.repeat(40)}s.`],
  ['marks without end', `\x80\x02${'('.repeat(2000)}.`],
  ['a memo of more than a million', `\x80\x04N${'\x94'.repeat(1)}${'N\x94'.repeat(1_000_001)}.`],
  ['six million values', `\x80\x02(${'N'.repeat(6e6)}t.`],
])('%s are too many, told soon and in little memory', async (_, text) => {
  const file = inZip(latin1(text));
  const before = process.memoryUsage();
  const begun = performance.now();
  expect((await errorOf(file)).code).toBe('PICKLE_LIMIT');
  // A second alone; the machine may have other work.
  expect(performance.now() - begun).toBeLessThan(30_000);
  const after = process.memoryUsage();
  expect(after.heapUsed + after.external - before.heapUsed - before.external).toBeLessThan(2 ** 28);
});

test('a pickle that holds itself is read once and refused', () => {
  const text = `\x80\x02]q\x00h\x00a.`;
  expect(() => readPickle(latin1(text), { path: 'x', allow: isTorchName })).not.toThrow();
  return expect(errorOf(inZip(latin1(text)))).resolves.toMatchObject({ code: 'PICKLE_LIMIT' });
});

/** Entries that all inflate the same bytes, or that claim what they do not hold. */
function bomb(entries: number, claimed: number, data: Uint8Array, shared: boolean): Uint8Array {
  const parts: Uint8Array[] = [];
  const central: Uint8Array[] = [];
  let at = 0;
  for (let i = 0; i < entries; i++) {
    const name = latin1(`${String(i).padStart(4, '0')}.npy`);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(8, 8);
    local.writeUInt16LE(name.length, 26);
    if (i === 0 || !shared) parts.push(local, name, data);
    const head = Buffer.alloc(46);
    head.writeUInt32LE(0x02014b50, 0);
    head.writeUInt16LE(8, 10);
    head.writeUInt32LE(crc32(data), 16);
    head.writeUInt32LE(data.length, 20);
    head.writeUInt32LE(claimed >>> 0, 24);
    head.writeUInt16LE(name.length, 28);
    head.writeUInt32LE(shared ? 0 : at, 42);
    central.push(head, name);
    if (!shared) at += 30 + name.length + data.length;
    else at = 30 + name.length + data.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(entries, 8);
  end.writeUInt16LE(entries, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, directory, end]);
}

test('zip bombs: overlapping entries, impossible ratios, more than the memory there is', async () => {
  const megabyte = deflateRawSync(new Uint8Array(2 ** 20));
  const codeOf = (bytes: Uint8Array) =>
    readNpzSource(memorySource(bytes, 'x.npz')).then(
      () => 'read',
      (e) => e.code,
    );
  expect(await codeOf(bomb(1000, 2 ** 20, megabyte, true))).toBe('ZIP_OVERLAP');
  expect(await codeOf(bomb(1, 2 ** 31, megabyte, false))).toBe('ZIP_BOMB');
  expect(await codeOf(bomb(1, 2 ** 20 - 1, megabyte, false))).toBe('ZIP_DEFLATE');
  // Each is possible for its bytes, but not all together.
  vi.spyOn(process, 'availableMemory').mockReturnValue(100 * 2 ** 20);
  expect(await codeOf(bomb(3, 2 ** 26, new Uint8Array(2 ** 10), false))).toBe('ZIP_BOMB');
  vi.restoreAllMocks();
});
