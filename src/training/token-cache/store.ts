/**
 * Rows of tokens on disk: a folder with one file of them, row after row in two or four bytes a token (little-endian), and a
 * manifest with its hash. Made and found as feature caches are; read by position, a batch at a time.
 */
import { createHash } from 'node:crypto';
import { closeSync, openSync, read as readCallback } from 'node:fs';
import { type FileHandle, open, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ArgumentError } from '../../base/errors.ts';
import { type Tokenizer, type TokenRows, type Tokens, tokenArray } from '../../data/index.ts';
import {
  cacheDir,
  hashFile,
  ioError,
  makeDirectory,
  makePrivateDir,
  readJson,
  syncDirectory,
  writeAll,
  writeJson,
} from '../../io/index.ts';
import { damaged, draftFolder, MANIFEST, makeRoom } from '../cache-room.ts';

const FORMAT = 1;
const FILE = 'tokens.bin';
const ROOM = { things: 'tokens', limit: 'CAMBIUM_TOKEN_CACHE' };
/** Bytes written between two looks at the disk. */
const LOOK = 64 * 2 ** 20;

export interface TokenRequest {
  readonly name: string;
  /** sha256 that names everything the rows depend on. */
  readonly key: string;
  /** Tokens of a row. */
  readonly length: number;
  readonly tokenizer: Tokenizer;
}

const rawBytes = (tokens: Tokens): Uint8Array => new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength);

/** Where packed tokens are kept. */
export const tokenCacheDir = (): string => join(cacheDir(), 'tokens');

export const removeTokens = (key: string): Promise<void> =>
  rm(join(tokenCacheDir(), key), { recursive: true, force: true });

/** The rows called `key`, verified; undefined if there are none. @throws DataError CACHE_DAMAGED; IoError. */
export async function openTokens(request: TokenRequest): Promise<StoredRows | undefined> {
  const { key, length, tokenizer } = request;
  const path = join(tokenCacheDir(), key);
  const manifest = join(path, MANIFEST);
  if (!(await stat(manifest).catch(() => undefined))) return undefined;
  const found = (await readJson(manifest)) as Record<string, unknown> | null;
  const bytesPerToken = tokenArray(tokenizer.vocabSize, 0).BYTES_PER_ELEMENT;
  for (const [field, expected] of Object.entries({ format: FORMAT, key, length, bytesPerToken }))
    if (found?.[field] !== expected) damaged(manifest, field, expected, found?.[field]);
  const file = join(path, FILE);
  const { sha256, bytes } = await hashFile(file);
  if (sha256 !== found?.sha256) damaged(file, 'sha256', found?.sha256, sha256);
  const rows = bytes / (length * bytesPerToken);
  if (rows !== found?.rows) damaged(file, 'rows', found?.rows, rows);
  // The one used longest ago is the first to go.
  const now = new Date();
  await utimes(manifest, now, now).catch(() => {});
  try {
    return new StoredRows(request, file, rows);
  } catch (cause) {
    throw ioError(cause, 'read', file);
  }
}

/** A file of rows being written; seen by nobody before `finish`. */
export class TokenWriter {
  readonly #request: TokenRequest;
  readonly #root: string;
  readonly #draft: string;
  readonly #handle: FileHandle;
  readonly #hash = createHash('sha256');
  #bytes = 0;
  #looked = 0;

  private constructor(request: TokenRequest, root: string, draft: string, handle: FileHandle) {
    this.#request = request;
    this.#root = root;
    this.#draft = draft;
    this.#handle = handle;
  }

  /** @throws IoError CACHE_NO_ROOM where disk or budget do not allow; any other IoError. */
  static async create(request: TokenRequest): Promise<TokenWriter> {
    const root = await makePrivateDir(tokenCacheDir());
    await makeRoom(root, LOOK, ROOM);
    const draft = draftFolder(root, request.key);
    try {
      await makeDirectory(draft, { mode: 0o700 });
      return new TokenWriter(request, root, draft, await open(join(draft, FILE), 'wx', 0o600));
    } catch (cause) {
      await rm(draft, { recursive: true, force: true }).catch(() => {});
      throw ioError(cause, 'write', draft);
    }
  }

  /** Whole rows. @throws as `create`. */
  async add(tokens: Tokens): Promise<void> {
    const bytes = rawBytes(tokens);
    if (this.#bytes + bytes.length > this.#looked) {
      this.#looked = this.#bytes + bytes.length + LOOK;
      await makeRoom(this.#root, this.#looked, ROOM, this.#bytes);
    }
    try {
      await writeAll(this.#handle, bytes);
    } catch (cause) {
      throw ioError(cause, 'write', join(this.#draft, FILE));
    }
    this.#hash.update(bytes);
    this.#bytes += bytes.length;
  }

  /** Puts the file where `openTokens` finds it. @throws IoError. */
  async finish(): Promise<void> {
    const { key, length, tokenizer } = this.#request;
    const bytesPerToken = tokenArray(tokenizer.vocabSize, 0).BYTES_PER_ELEMENT;
    const rows = this.#bytes / (length * bytesPerToken);
    try {
      await this.#handle.sync();
      await this.#handle.close();
      const sha256 = this.#hash.digest('hex');
      await writeJson(join(this.#draft, MANIFEST), { format: FORMAT, key, rows, length, bytesPerToken, sha256 });
      await rename(this.#draft, join(this.#root, key));
      await syncDirectory(this.#root);
    } catch (cause) {
      const { code } = cause as { code?: string };
      // Another process was first; its file has the same name and so the same content.
      if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw ioError(cause, 'write', join(this.#root, key));
      await this.abandon();
    }
  }

  async abandon(): Promise<void> {
    await this.#handle.close().catch(() => {});
    await rm(this.#draft, { recursive: true, force: true }).catch(() => {});
  }
}

const read = promisify(readCallback);
// A run that is only planned closes nothing.
const forgotten = new FinalizationRegistry<number>((fd) => closeSync(fd));

/** Rows read when they are wanted; the system's page cache holds what is hot. */
export class StoredRows implements TokenRows {
  readonly name: string;
  readonly length: number;
  readonly blockLength: number;
  readonly tokenizer: Tokenizer;
  readonly file: string;
  #fd: number | undefined;

  constructor({ name, length, tokenizer }: TokenRequest, file: string, rows: number) {
    this.name = name;
    this.length = rows;
    this.blockLength = length;
    this.tokenizer = tokenizer;
    this.file = file;
    this.#fd = openSync(file, 'r');
    forgotten.register(this, this.#fd, this);
  }

  get bytes(): number {
    return this.length * this.blockLength * tokenArray(this.tokenizer.vocabSize, 0).BYTES_PER_ELEMENT;
  }

  /** @throws ArgumentError INDEX_OUTSIDE; DataError CACHE_DAMAGED where the file ends too soon; IoError. */
  async rows(positions: Int32Array): Promise<Int32Array[]> {
    const { blockLength } = this;
    const outside = positions.find((at) => at < 0 || at >= this.length);
    if (outside !== undefined)
      throw new ArgumentError('INDEX_OUTSIDE', `${this.name}: there is no row ${outside} among ${this.length}`, {
        expected: `0..${this.length - 1}`,
        got: outside,
      });
    const tokens = tokenArray(this.tokenizer.vocabSize, positions.length * blockLength);
    const reads: Promise<void>[] = [];
    for (let from = 0, to = 1; to <= positions.length; to++) {
      // Neighbours are read at once.
      if (to < positions.length && positions[to] === (positions[to - 1] as number) + 1) continue;
      const part = rawBytes(tokens.subarray(from * blockLength, to * blockLength));
      reads.push(this.#readInto(part, (positions[from] as number) * blockLength * tokens.BYTES_PER_ELEMENT));
      from = to;
    }
    await Promise.all(reads);
    return Array.from(positions, (_, i) => Int32Array.from(tokens.subarray(i * blockLength, (i + 1) * blockLength)));
  }

  async #readInto(bytes: Uint8Array, start: number): Promise<void> {
    try {
      for (let done = 0; done < bytes.length; ) {
        const { bytesRead } = await read(this.#fd ?? -1, bytes, done, bytes.length - done, start + done);
        if (bytesRead === 0) damaged(this.file, 'length', start + bytes.length, start + done);
        done += bytesRead;
      }
    } catch (cause) {
      throw ioError(cause, 'read', this.file);
    }
  }

  close(): void {
    if (this.#fd === undefined) return;
    forgotten.unregister(this);
    closeSync(this.#fd);
    this.#fd = undefined;
  }
}
