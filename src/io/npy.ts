/**
 * NumPy arrays: .npy (versions 1 to 3) and .npz, read and written. Object arrays are refused: they are pickles.
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */
import { dtypes } from '../base/dtype.ts';
import { MAX_ELEMENTS, stridesOf } from '../base/shape.ts';
import { type WrittenFile, writeFileAtomic } from './atomic.ts';
import { type ByteSource, malformed, memorySource, withSource } from './byte-source.ts';
import { bytesOf, checkHostArray, type HostArray } from './host-array.ts';
import { type StoredDType, stored } from './stored-dtype.ts';
import { decodeStorage, gather } from './torch-storage.ts';
import { readZipDirectory, readZipEntry, writeZip } from './zip.ts';

const descrs: { readonly [descr: string]: StoredDType } = {
  f8: 'F64',
  f4: 'F32',
  f2: 'F16',
  i8: 'I64',
  i4: 'I32',
  i2: 'I16',
  i1: 'I8',
  u4: 'U32',
  u2: 'U16',
  u1: 'U8',
  b1: 'BOOL',
};
const descrOf = { f64: '<f8', f32: '<f4', i32: '<i4', u8: '|u1', bool: '|b1' } as const;
const MAGIC = Buffer.from('\x93NUMPY', 'latin1');
const HEADER_LIMIT = 65_536;

/** One array of a .npy file. Half and small or 64-bit integers are widened as for other weights. @throws DataError NPY_*, IoError. */
export function readNpy(path: string): Promise<HostArray> {
  return withSource(path, readNpySource);
}

/** `readNpy` over any bytes. */
export async function readNpySource(source: ByteSource): Promise<HostArray> {
  const { path, size } = source;
  if (size < 10) malformed(path, 'NPY_TRUNCATED', size, 'at least 10 bytes', `${size}`);
  const head = Buffer.from((await source.read(0, Math.min(12, size))).buffer);
  if (!head.subarray(0, 6).equals(MAGIC)) malformed(path, 'NPY_MAGIC', 0, 'the magic string of NumPy', 'other bytes');
  const version = head[6] as number;
  if (version < 1 || version > 3) malformed(path, 'NPY_VERSION', 6, 'version 1, 2 or 3', `${version}`);
  const lengthBytes = version === 1 ? 2 : 4;
  if (size < 8 + lengthBytes) malformed(path, 'NPY_TRUNCATED', size, 'the length of a header', 'the end');
  const length = version === 1 ? head.readUInt16LE(8) : head.readUInt32LE(8);
  const start = 8 + lengthBytes;
  if (length > HEADER_LIMIT) malformed(path, 'NPY_HEADER', 8, `a header of at most ${HEADER_LIMIT} bytes`, `${length}`);
  if (start + length > size) malformed(path, 'NPY_TRUNCATED', size, `a header of ${length} bytes`, `${size - start}`);
  const text = Buffer.from((await source.read(start, length)).buffer).toString(version === 3 ? 'utf8' : 'latin1');
  const { descr, fortran, shape } = parseNpyHeader(text, path, start);
  const kind = descr.slice(1);
  const type = Object.hasOwn(descrs, kind) ? descrs[kind] : undefined;
  if (!type || !'<>|='.includes(descr[0] as string))
    malformed(path, 'NPY_DTYPE', start, `a dtype among ${Object.keys(descrs).join(', ')}`, JSON.stringify(descr), {
      ...(kind.startsWith('O') ? { hint: 'object arrays are pickles; save numbers instead' } : {}),
    });
  const itemSize = stored[type].bytes;
  let count = 1;
  for (const d of shape) {
    count *= d;
    if (count > MAX_ELEMENTS && !shape.includes(0))
      malformed(path, 'NPY_SHAPE', start, `at most ${MAX_ELEMENTS} elements`, `(${shape.slice(0, 20)})`);
  }
  const at = start + length;
  if (count * itemSize !== size - at)
    malformed(
      path,
      size - at < count * itemSize ? 'NPY_TRUNCATED' : 'NPY_TRAILING',
      Math.min(size, at + count * itemSize),
      `${count * itemSize} bytes of data`,
      `${size - at}`,
    );
  const bytes = await source.read(at, size - at);
  const view = Buffer.from(bytes.buffer);
  if (descr[0] === '>' && itemSize > 1) itemSize === 2 ? view.swap16() : itemSize === 4 ? view.swap32() : view.swap64();
  const { dtype, data } = decodeStorage(path, at, { type, key: 'data', itemSize }, bytes, 'NPY_VALUE');
  if (!fortran || shape.length < 2) return { dtype, shape, data };
  const strides = stridesOf([...shape].reverse()).reverse();
  const out = new dtypes[dtype].array(data.length);
  gather(out, data, 0, shape, strides);
  return { dtype, shape, data: out };
}

// The header is a Python literal with exactly these keys, as NumPy's own writer forms it; nothing is evaluated.
function parseNpyHeader(
  text: string,
  path: string,
  start: number,
): { descr: string; fortran: boolean; shape: number[] } {
  const bad = (expected: string): never =>
    malformed(path, 'NPY_HEADER', start, expected, JSON.stringify(text.slice(0, 120)));
  const body = /^\{([^{}]*)\}[ \n]*$/.exec(text)?.[1] ?? bad('a dict in braces');
  const descr = /'descr': *'([^']{2,40})'/.exec(body)?.[1] ?? bad("'descr' with a plain dtype");
  const order = /'fortran_order': *(True|False)/.exec(body)?.[1] ?? bad("'fortran_order' of True or False");
  const list = /'shape': *\(([0-9, L]*)\)/.exec(body)?.[1] ?? bad("'shape' with a tuple");
  const parts = list.split(',').map((part) => part.trim().replace(/L$/, ''));
  if (parts.at(-1) === '') parts.pop();
  const shape = parts.map((part) => (/^\d{1,16}$/.test(part) ? Number(part) : bad('whole numbers in the shape')));
  if (shape.length > 64 || !shape.every(Number.isSafeInteger)) bad('a shape of at most 64 numbers');
  return { descr, fortran: order === 'True', shape };
}

function encodeNpy(name: string, array: HostArray): Uint8Array[] {
  checkHostArray(name, array);
  return [npyHead(array), bytesOf(array.data)];
}

/** The bytes before the data of a .npy file. */
export function npyHead({ dtype, shape }: Pick<HostArray, 'dtype' | 'shape'>): Uint8Array {
  const dims = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const text = `{'descr': '${descrOf[dtype]}', 'fortran_order': False, 'shape': (${dims}), }`;
  // Data begin at a multiple of 64, as NumPy aligns them for memory mapping.
  const length = Math.ceil((10 + text.length + 1) / 64) * 64 - 10;
  const head = Buffer.alloc(10 + length, 0x20);
  MAGIC.copy(head);
  head[6] = 1;
  head[7] = 0;
  head.writeUInt16LE(length, 8);
  head.write(text, 10, 'latin1');
  head[head.length - 1] = 10;
  return head;
}

/** Writes one array atomically. @throws DataError for an array that contradicts its shape; IoError. */
export function writeNpy(path: string, array: HostArray): Promise<WrittenFile> {
  return writeFileAtomic(path, encodeNpy('data', array));
}

/** The arrays of a .npz file by name. @throws DataError NPY_*, ZIP_*, PATH_UNSAFE; IoError. */
export function readNpz(path: string): Promise<Map<string, HostArray>> {
  return withSource(path, readNpzSource);
}

/** `readNpz` over any bytes. */
export async function readNpzSource(source: ByteSource): Promise<Map<string, HostArray>> {
  const { path } = source;
  const arrays = new Map<string, HostArray>();
  for (const entry of (await readZipDirectory(source)).values()) {
    if (!entry.name.endsWith('.npy'))
      malformed(path, 'NPZ_ENTRY', entry.offset, 'entries that end in .npy', 'another', { entry: entry.name });
    const bytes = await readZipEntry(source, entry);
    arrays.set(entry.name.slice(0, -4), await readNpySource(memorySource(bytes, `${path}/${entry.name}`)));
  }
  return arrays;
}

/** Writes named arrays as .npz without compression, as `numpy.savez` does. @throws DataError, IoError. */
export function writeNpz(path: string, arrays: ReadonlyMap<string, HostArray>): Promise<WrittenFile> {
  const entries = new Map<string, Uint8Array>();
  for (const [name, array] of arrays) entries.set(`${name}.npy`, Buffer.concat(encodeNpy(name, array)));
  return writeZip(path, entries);
}
