/** Named tensors from whatever holds them: a file of any known format, a folder, a sharded checkpoint. */
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { DataError, IoError, printable, UnsupportedError } from '../base/errors.ts';
import { type ByteSource, withSource } from './byte-source.ts';
import { ioError } from './failure.ts';
import { fileKind } from './file-kind.ts';
import type { HostArray } from './host-array.ts';
import { hubWeights } from './hub.ts';
import { readJson } from './json.ts';
import { readNpy, readNpz } from './npy.ts';
import { checkName } from './paths.ts';
import { readSafetensors } from './safetensors.ts';
import { readTorch } from './torch-file.ts';
import { readZipDirectory } from './zip.ts';

export type WeightFormat = 'safetensors' | 'torch' | 'npz' | 'npy' | 'index';

export interface Weights {
  readonly tensors: Map<string, HostArray>;
  readonly format: WeightFormat;
  /** The files read, in order. */
  readonly files: readonly string[];
}

export interface ReadWeightsOptions {
  /** Which tensors to load; all unless told. */
  only?: (name: string) => boolean;
  /** Of safetensors: where they are read to, see ReadOptions there. */
  allocate?: (bytes: number) => ArrayBuffer;
}

/** What folders of weights call them, best first, as transformers looks for them. */
export const weightFileNames = [
  'model.safetensors',
  'model.safetensors.index.json',
  'pytorch_model.bin',
  'pytorch_model.bin.index.json',
] as const;

/**
 * The tensors at `path`: a file, whose format is told by its content and never by its name, a folder that holds one, or
 * `hf:owner/name@revision`, fetched into the cache that huggingface_hub uses too.
 * @throws DataError WEIGHTS_FORMAT (with what the file seems to be), WEIGHTS_INDEX, and those of the format; IoError; NetworkError.
 */
export async function readWeights(path: string, options: ReadWeightsOptions = {}): Promise<Weights> {
  const file = path.startsWith('hf:') ? await hubWeights(path, weightFileNames) : await fileOf(path);
  const format = await detectFormat(file);
  const { only } = options;
  switch (format) {
    case 'safetensors':
      return { tensors: (await readSafetensors(file, options)).tensors, format, files: [file] };
    case 'torch':
      return { tensors: await readTorch(file, options), format, files: [file] };
    case 'npz':
      return { tensors: filter(await readNpz(file), only), format, files: [file] };
    case 'npy': {
      const name = basename(file).replace(/\.npy$/, '');
      return { tensors: filter(new Map([[name, await readNpy(file)]]), only), format, files: [file] };
    }
    case 'index':
      return readSharded(file, options);
  }
}

/** The files that hold the tensors at `path`, in the order they are read, without reading them. @throws as `readWeights`. */
export async function weightFiles(path: string): Promise<string[]> {
  const file = path.startsWith('hf:') ? await hubWeights(path, weightFileNames) : await fileOf(path);
  if ((await detectFormat(file)) !== 'index') return [file];
  return [...(await shardsOf(file)).keys()].map((shard) => join(dirname(file), shard));
}

async function fileOf(path: string): Promise<string> {
  let names: string[];
  try {
    if (!(await stat(path)).isDirectory()) return path;
    names = (await readdir(path)).sort();
  } catch (cause) {
    throw ioError(cause, 'read', path, { hint: 'give a file, a folder, or hf:owner/name@revision' });
  }
  const known = weightFileNames.find((name) => names.includes(name));
  if (known) return join(path, known);
  const candidates = names.filter((name) => /\.(safetensors|pth|pt|bin|npz)$/.test(name));
  if (candidates.length === 1) return join(path, candidates[0] as string);
  const what = candidates.length === 0 ? 'no weight file' : `${candidates.length} weight files`;
  throw new IoError('WEIGHTS_NOT_FOUND', `${printable(path)} holds ${what}`, {
    file: path,
    expected: weightFileNames,
    got: candidates.slice(0, 20),
    hint: candidates.length === 0 ? 'give the file itself' : 'name the file to load',
  });
}

/** The format of a weight file, by its content. @throws DataError WEIGHTS_FORMAT, UnsupportedError, IoError. */
export function detectFormat(path: string): Promise<WeightFormat> {
  return withSource(path, async (source) => {
    const head = Buffer.from(await source.read(0, Math.min(512, source.size)));
    const text = head.toString('latin1');
    if (text.startsWith('PK\x03\x04')) return await zipFormat(source);
    if (text.startsWith('\x93NUMPY')) return 'npy';
    // Before the pickle: a safetensors header of 128 bytes begins with the same byte.
    if (head.length >= 9 && head[8] === 0x7b && head.readBigUInt64LE(0) < 2n ** 40n) return 'safetensors';
    if (head[0] === 0x80 && (head[1] as number) <= 5) return 'torch';
    if (/^\s*\{/.test(text)) return 'index';
    const kind = fileKind(head);
    // Its own reader says what is wrong with the length of the header.
    if (!kind && /^[\s\S]{8}\{["}\s]/.test(text)) return 'safetensors';
    const what = source.size === 0 ? 'an empty file' : (kind ?? 'no format of weights known here');
    const details = {
      file: path,
      offset: 0,
      expected: 'safetensors, PyTorch, npy, npz, or an index of shards',
      got: what,
      hint: 'download the file again, or save it as safetensors',
    };
    const message = `${printable(path)} is ${what}`;
    if (/HDF5|GGUF/.test(what)) throw new UnsupportedError('WEIGHTS_FORMAT', message, details);
    throw new DataError('WEIGHTS_FORMAT', message, details);
  });
}

async function zipFormat(source: ByteSource): Promise<WeightFormat> {
  const names = [...(await readZipDirectory(source)).keys()];
  return names.length > 0 && names.every((name) => name.endsWith('.npy')) ? 'npz' : 'torch';
}

// {"metadata": {...}, "weight_map": {tensor: file}}: the tensors of each shard.
async function shardsOf(path: string, only?: ReadWeightsOptions['only']): Promise<Map<string, Set<string>>> {
  const index = await readJson(path, { maxBytes: 2 ** 28 });
  const map = typeof index === 'object' && index !== null && !Array.isArray(index) ? index.weight_map : undefined;
  if (typeof map !== 'object' || map === null || Array.isArray(map))
    return badIndex(path, 'expected an index of shards with "weight_map"', {
      hint: 'this JSON file is not an index of weights',
    });
  const shards = new Map<string, Set<string>>();
  for (const [tensor, file] of Object.entries(map)) {
    if (typeof file !== 'string' || checkName(file).length !== 1)
      return badIndex(path, `the shard of ${printable(tensor)} must be a file beside the index`, { tensor, got: file });
    if (only && !only(tensor)) continue;
    const names = shards.get(file) ?? new Set();
    shards.set(file, names.add(tensor));
  }
  return shards;
}

function badIndex(path: string, message: string, details = {}): never {
  throw new DataError('WEIGHTS_INDEX', `${printable(path)}: ${message}`, { file: path, offset: 0, ...details });
}

/** Every shard is read once, and must hold what the index says. */
async function readSharded(path: string, { only, allocate }: ReadWeightsOptions): Promise<Weights> {
  const shards = await shardsOf(path, only);
  const found = new Map<string, HostArray>();
  const files: string[] = [];
  for (const [file, names] of shards) {
    const shard = join(dirname(path), file);
    if ((await detectFormat(shard)) === 'index') badIndex(path, `the shard ${printable(file)} is an index itself`);
    const { tensors } = await readWeights(shard, { only: (name) => names.has(name), allocate });
    for (const name of names) {
      const array = tensors.get(name);
      if (!array) return badIndex(path, `${printable(name)} is not in its shard ${printable(file)}`, { tensor: name });
      found.set(name, array);
    }
    files.push(shard);
  }
  return { tensors: found, format: 'index', files };
}

function filter<T>(tensors: Map<string, T>, only?: (name: string) => boolean): Map<string, T> {
  return only ? new Map([...tensors].filter(([name]) => only(name))) : tensors;
}
