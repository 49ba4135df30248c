/** One checkpoint on disk: its parts, the manifest that vouches for them, and loading that believes nothing unverified. */
import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { CambiumError, DataError, IoError, printable } from '../../base/errors.ts';
import { sha256, syncDirectory, type WrittenFile, writeFileAtomic } from '../../io/atomic.ts';
import { ioError, readFileBytes } from '../../io/failure.ts';
import type { HostArray } from '../../io/host-array.ts';
import { decodeUtf8, type Json, parseJson, readJson, writeJson } from '../../io/json.ts';
import { readSafetensors, writeSafetensors } from '../../io/safetensors.ts';

export const FORMAT = 'cambium-checkpoint';
export const VERSION = 1;

export const parts = ['model.safetensors', 'optimizer.safetensors', 'state.json'] as const;
export type PartName = (typeof parts)[number];

/** What is saved. Arrays must not change until the save resolves. */
export interface CheckpointContent {
  readonly step: number;
  readonly model: ReadonlyMap<string, HostArray>;
  readonly optimizer: ReadonlyMap<string, HostArray>;
  /** Plain JSON. */
  readonly state: unknown;
}

export interface Manifest {
  readonly format: typeof FORMAT;
  readonly version: number;
  readonly step: number;
  readonly parts: Record<PartName, { readonly bytes: number; readonly sha256: string }>;
}

export interface Checkpoint {
  /** Name of its folder, e.g. `step-00001234`. */
  readonly name: string;
  readonly path: string;
  readonly step: number;
  readonly model: Map<string, HostArray>;
  /** Empty when it was not asked for. */
  readonly optimizer: Map<string, HostArray>;
  readonly state: Json;
  readonly manifest: Manifest;
}

export interface LoadOptions {
  /** `false` leaves the optimizer's state on the disk: prediction needs the weights only. */
  optimizer?: boolean;
}

/** Folder names sort by step; a second save of the same step adds `-2`, so that the first stays until the other is whole. */
export const checkpointName = (step: number, revision = 1): string =>
  `step-${String(step).padStart(8, '0')}${revision > 1 ? `-${revision}` : ''}`;

export function parseName(name: string): { step: number; revision: number } | undefined {
  const match = /^step-(\d{8,16})(?:-([1-9]\d{0,5}))?$/.exec(name);
  return match ? { step: Number(match[1]), revision: Number(match[2] ?? 1) } : undefined;
}

/** Writes all parts and, last, the manifest into an existing empty folder. */
export async function writeParts(
  folder: string,
  { step, model, optimizer, state }: CheckpointContent,
): Promise<Manifest> {
  const written: [PartName, WrittenFile][] = [
    ['model.safetensors', await writeSafetensors(join(folder, 'model.safetensors'), model)],
    ['optimizer.safetensors', await writeSafetensors(join(folder, 'optimizer.safetensors'), optimizer)],
    ['state.json', await writeFileAtomic(join(folder, 'state.json'), stateText(state))],
  ];
  const rows = written.map(([name, file]) => [name, { bytes: file.bytes, sha256: file.sha256 }]);
  const manifest: Manifest = { format: FORMAT, version: VERSION, step, parts: Object.fromEntries(rows) };
  await writeJson(join(folder, 'manifest.json'), manifest);
  await syncDirectory(folder);
  return manifest;
}

/**
 * Reads a checkpoint and verifies every byte of what it reads.
 * @throws DataError CHECKPOINT_DAMAGED naming the part; IoError for trouble that is not the file's (permission).
 */
export async function readCheckpoint(path: string, { optimizer = true }: LoadOptions = {}): Promise<Checkpoint> {
  const name = basename(path);
  const manifest = await part(path, 'manifest.json', () => readManifest(path, name));
  const tensors = (of: PartName): Promise<Map<string, HostArray>> =>
    part(path, of, async () => {
      const file = join(path, of);
      await checkSize(file, manifest.parts[of].bytes);
      return (await readSafetensors(file, { sha256: manifest.parts[of].sha256 })).tensors;
    });
  const state = await part(path, 'state.json', async () => {
    const file = join(path, 'state.json');
    await checkSize(file, manifest.parts['state.json'].bytes);
    const bytes = await readFileBytes(file);
    const digest = sha256(bytes);
    if (digest !== manifest.parts['state.json'].sha256) damaged('its sha256 is not the recorded one', file);
    return parseJson(decodeUtf8(bytes, file), { file });
  });
  const model = await tensors('model.safetensors');
  const slots = optimizer ? await tensors('optimizer.safetensors') : new Map<string, HostArray>();
  return { name, path, step: manifest.step, model, optimizer: slots, state, manifest };
}

/** Whether loading failed because of what is in the folder, so that an older checkpoint is worth a try. */
export const isDamage = (error: unknown): error is DataError =>
  error instanceof DataError && error.code === 'CHECKPOINT_DAMAGED';

export async function readManifest(path: string, name: string): Promise<Manifest> {
  const file = join(path, 'manifest.json');
  const json = await readJson(file, { maxBytes: 2 ** 20, maxDepth: 4 });
  const row = fields(json, ['format', 'version', 'step', 'parts'], file);
  if (row.format !== FORMAT) damaged(`its format is ${printable(row.format)}`, file);
  if (row.version !== VERSION) damaged(`its version is ${printable(row.version)}, this program reads ${VERSION}`, file);
  if (row.step !== parseName(name)?.step) damaged(`it is of step ${printable(row.step)}, not of this folder's`, file);
  const listed = fields(row.parts, parts, file);
  for (const part of parts) {
    const { bytes, sha256: digest } = fields(listed[part], ['bytes', 'sha256'], file);
    if (!Number.isSafeInteger(bytes) || !/^[0-9a-f]{64}$/.test(String(digest)))
      damaged(`it is wrong about ${part}`, file);
  }
  return json as unknown as Manifest;
}

// Exactly these keys: a flipped bit in a key is damage, not a field of the future (those come with a new version).
function fields(value: unknown, keys: readonly string[], file: string): Record<string, unknown> {
  const row = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  if (Object.keys(row).length !== keys.length || keys.some((key) => !Object.hasOwn(row, key)))
    damaged(`it does not have the fields ${keys.join(', ')}`, file);
  return row;
}

async function checkSize(file: string, bytes: number): Promise<void> {
  const { size } = await stat(file);
  if (size !== bytes)
    throw new DataError('CHECKPOINT_PART', `it has ${size} bytes instead of ${bytes}`, {
      file,
      expected: bytes,
      got: size,
    });
}

function damaged(reason: string, file: string): never {
  throw new DataError('CHECKPOINT_PART', reason, { file });
}

const lost = new Set(['FILE_NOT_FOUND', 'NOT_A_DIRECTORY', 'IS_A_DIRECTORY', 'NOT_A_FILE']);

async function part<T>(path: string, name: string, read: () => Promise<T>): Promise<T> {
  const file = join(path, name);
  try {
    return await read();
  } catch (thrown) {
    const cause = ioError(thrown, 'read', file);
    // Permission and memory are not the checkpoint's fault; falling back would silently lose work.
    const isMissing = cause instanceof IoError && (lost.has(cause.code) || cause.details.errno === 'EIO');
    if (!(cause instanceof DataError) && !isMissing) throw cause;
    throw new DataError(
      'CHECKPOINT_DAMAGED',
      `checkpoint ${printable(basename(path))}: ${name} is damaged: ${cause.message}`,
      {
        ...cause.details,
        file,
        checkpoint: basename(path),
        part: name,
        hint: 'resume without naming a checkpoint to use the newest intact one',
        cause,
      },
    );
  }
}

// JSON would turn NaN into null and the resumed run would fail far from here.
function stateText(state: unknown): string {
  const check = (key: string, value: unknown): unknown => {
    if (typeof value === 'number' && !Number.isFinite(value))
      throw new CambiumError('CHECKPOINT_STATE', `the state to save has ${printable(key)} = ${value}`, {
        field: key,
        expected: 'a finite number',
        got: String(value),
      });
    return value;
  };
  return `${JSON.stringify(state ?? null, check)}\n`;
}
