/**
 * PyTorch files (.pth, .pt, .bin): the zip container of 1.6 and later, and the stream of pickles before it. The pickle is
 * read without a call mechanism; storages, strides and offsets are checked against the records before anything is made.
 * Layout: torch/serialization.py and torch/_utils.py (_rebuild_tensor_v2).
 */
import type { TypedArray } from '../base/dtype.ts';
import { DataError } from '../base/errors.ts';
import { type ByteSource, malformed, withSource } from './byte-source.ts';
import type { HostArray } from './host-array.ts';
import { pickleLimits, readPickle } from './pickle.ts';
import { decodeStorage, Gatherer } from './torch-storage.ts';
import { collectTensors, isTorchName, type TorchTensor, torchTensors } from './torch-tensors.ts';
import { readZipDirectory, readZipEntry } from './zip.ts';

export interface TorchReadOptions {
  /** Which tensors to load; all unless told. */
  only?: (name: string) => boolean;
}

/**
 * The tensors of a file by dotted name. A checkpoint that nests its state dict under `state_dict`, `model` or the like
 * gives that dict; other tensors in it (the optimizer's) are left out. Half types arrive as f32, small and 64-bit
 * integers as i32 if they fit.
 * @throws DataError PICKLE_*, TORCH_*, ZIP_* with file, offset, expected and got; IoError; MemoryError.
 */
export function readTorch(path: string, options: TorchReadOptions = {}): Promise<Map<string, HostArray>> {
  return withSource(path, (source) => readTorchSource(source, options));
}

/** `readTorch` over any bytes. */
export async function readTorchSource(
  source: ByteSource,
  { only }: TorchReadOptions = {},
): Promise<Map<string, HostArray>> {
  const start = source.size >= 4 ? Buffer.from((await source.read(0, 4)).buffer) : Buffer.alloc(4);
  const file = start.readUInt32LE(0) === 0x04034b50 ? await openZip(source) : await openLegacy(source);
  const wanted = [...file.tensors].filter(([name]) => !only || only(name));
  const byStorage = new Map<string, [string, TorchTensor][]>();
  for (const entry of wanted) {
    const list = byStorage.get(entry[1].storage.key);
    if (list) list.push(entry);
    else byStorage.set(entry[1].storage.key, [entry]);
  }
  const arrays = new Map<string, HostArray>();
  const gatherer = new Gatherer(source.path, source.size);
  for (const [key, list] of byStorage) {
    const [, { storage, at }] = list[0]!;
    const { bytes, offset } = await file.read(key, storage.bytes, at);
    const { dtype, data } = decodeStorage(source.path, offset, storage, bytes);
    for (const [name, tensor] of list) arrays.set(name, gatherer.take(name, tensor, dtype, data as TypedArray));
  }
  // In the order of the file, not of its storages.
  return new Map(wanted.map(([name]) => [name, arrays.get(name) as HostArray]));
}

interface OpenFile {
  tensors: Map<string, TorchTensor>;
  /** A storage's bytes, exactly as many as `expected`; `at` is the place in the pickle that asks for them. */
  read(key: string, expected: number, at: number): Promise<{ bytes: Uint8Array<ArrayBuffer>; offset: number }>;
}

async function openZip(source: ByteSource): Promise<OpenFile> {
  const { path } = source;
  const entries = await readZipDirectory(source);
  const pickles = [...entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  if (pickles.length !== 1)
    malformed(path, 'TORCH_LAYOUT', 0, 'one data.pkl in the archive', `${pickles.length}`, {
      hint: 'this zip was not written by torch.save',
    });
  const pickle = entries.get(pickles[0] as string)!;
  const root = pickle.name.slice(0, -'data.pkl'.length);
  if (pickle.size > pickleLimits.streamBytes)
    malformed(
      path,
      'PICKLE_LIMIT',
      pickle.offset,
      `a pickle of at most ${pickleLimits.streamBytes} bytes`,
      `${pickle.size}`,
    );
  const order = entries.get(`${root}byteorder`);
  if (order) {
    const text = order.size <= 16 ? Buffer.from(await readZipEntry(source, order)).toString('latin1') : 'another';
    if (text !== 'little')
      malformed(path, 'TORCH_BYTE_ORDER', order.offset, 'byte order "little"', JSON.stringify(text));
  }
  const bytes = await readZipEntry(source, pickle);
  // Offsets in errors are those of a stored pickle's bytes, close enough to find them with a hex viewer.
  const baseOffset = pickle.offset + 30 + Buffer.byteLength(pickle.name);
  const { value } = readPickle(bytes, { path, allow: isTorchName, baseOffset });
  return {
    tensors: torchTensors(collectTensors(value, path), path),
    async read(key, expected, at) {
      const entry = entries.get(`${root}data/${key}`);
      if (!entry) malformed(path, 'TORCH_STORAGE', at, `a record data/${key}`, 'none');
      if (entry.size !== expected)
        malformed(path, 'TORCH_STORAGE', entry.offset, `${expected} bytes of storage ${key}`, `${entry.size}`);
      return { bytes: await readZipEntry(source, entry), offset: entry.offset };
    },
  };
}

const MAGIC = 0x1950a86a20f9469cfc6cn;

// Five pickles in a row (magic number, protocol, system, object, storage keys), then each storage: its length and bytes.
async function openLegacy(source: ByteSource): Promise<OpenFile> {
  const { size } = source;
  for (let length = Math.min(size, 2 ** 20); ; length = Math.min(size, length * 8, pickleLimits.streamBytes)) {
    const bytes = await source.read(0, length);
    try {
      return await parseLegacy(source, bytes);
    } catch (cause) {
      const cut = cause instanceof DataError && cause.code === 'PICKLE_TRUNCATED';
      if (!cut || length === size || length === pickleLimits.streamBytes) throw cause;
    }
  }
}

async function parseLegacy(source: ByteSource, bytes: Uint8Array): Promise<OpenFile> {
  const { path, size } = source;
  let start = 0;
  const next = () => {
    const result = readPickle(bytes, { path, allow: isTorchName, start });
    start = result.end;
    return result.value;
  };
  const what = 'a file of torch.save';
  const hint = 'neither a zip archive nor a pickle of torch.save; another program wrote it';
  if (bytes[0] !== 0x80) malformed(path, 'TORCH_LAYOUT', 0, what, 'other bytes', { hint });
  if (next() !== MAGIC) malformed(path, 'TORCH_LAYOUT', 0, `${what} with its magic number`, 'another pickle', { hint });
  const version = next();
  if (version !== 1001) malformed(path, 'TORCH_LAYOUT', start, 'protocol 1001', String(version).slice(0, 40));
  const system = collectTensors(next(), path);
  const order = system.get('little_endian');
  if (order === false) malformed(path, 'TORCH_BYTE_ORDER', start, 'a little-endian file', 'a big-endian one');
  const object = next();
  const tensors = torchTensors(collectTensors(object, path), path);
  const keys = [...collectTensors(next(), path).values()];
  const sizes = new Map<string, { bytes: number; width: number }>();
  for (const { storage } of tensors.values()) sizes.set(storage.key, { bytes: storage.bytes, width: storage.itemSize });
  const places = new Map<string, { offset: number; bytes: number }>();
  let at = start;
  for (const key of keys) {
    if (typeof key !== 'string') malformed(path, 'TORCH_LAYOUT', start, 'a list of storage keys', typeof key);
    if (places.has(key)) malformed(path, 'TORCH_STORAGE', start, 'every storage once', `${key.slice(0, 200)} again`);
    if (at + 8 > size) malformed(path, 'FILE_TRUNCATED', at, 'the length of a storage', 'the end of the file');
    const head = Buffer.from((await source.read(at, 8)).buffer).readBigInt64LE(0);
    // The width is known from the tensors that use it. One that none uses could only be skipped by guessing.
    const known = sizes.get(key);
    if (!known) malformed(path, 'TORCH_STORAGE', at, 'a storage that a tensor uses', `${key.slice(0, 200)}`);
    const { bytes: expected, width } = known;
    if (head * BigInt(width) !== BigInt(expected))
      malformed(path, 'TORCH_STORAGE', at, `${expected / width} elements of storage ${key.slice(0, 200)}`, `${head}`);
    if (at + 8 + expected > size)
      malformed(path, 'FILE_TRUNCATED', size, `${expected} bytes of storage ${key.slice(0, 200)}`, `${size - at - 8}`);
    places.set(key, { offset: at + 8, bytes: expected });
    at += 8 + expected;
  }
  if (at !== size) malformed(path, 'TORCH_LAYOUT', at, 'the end of the file', `${size - at} more bytes`);
  return {
    tensors,
    async read(key, expected, place) {
      const found = places.get(key);
      if (!found || found.bytes !== expected) malformed(path, 'TORCH_STORAGE', place, `storage ${key}`, 'none');
      return { bytes: await source.read(found.offset, found.bytes), offset: found.offset };
    },
  };
}
