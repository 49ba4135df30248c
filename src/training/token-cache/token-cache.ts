/**
 * Texts as rows of tokens: in memory while they are few, else packed once into a file and read from it. Rows and their order
 * are the same, so results are too.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { CambiumError, DataError, printable } from '../../base/errors.ts';
import {
  blocksEmpty,
  type PackOptions,
  packTexts,
  RowBuffer,
  TokenBlocks,
  type TokenRows,
  tokenArray,
  tooManyTokens,
} from '../../data/index.ts';
import { sha256 } from '../../io/index.ts';
import { formatBytes, machineMemory } from '../machine-memory.ts';
import { openTokens, removeTokens, type StoredRows, type TokenRequest, TokenWriter } from './store.ts';

const FORMAT = 1;
const TOKENS_IN_MEMORY = 2 ** 26;
/** Tokens between two writes. */
const PIECE = 2 ** 22;
/** Rows that are packed again to see that a file is of this version of the code. */
const PROOF = 64;

export interface PackRequest extends PackOptions {
  readonly name: string;
  /** All texts in order, the same every time it is called. */
  readonly texts: () => AsyncIterable<string>;
  /** Tokens that are kept in memory; more go into a file in the cache folder. 64 Mi unless told. */
  readonly tokensInMemory?: number | undefined;
  readonly notify?: ((text: string) => void | Promise<void>) | undefined;
}

/** What the disk refused; never what a reader of texts did. */
class DiskRefused extends Error {
  readonly reason: CambiumError;
  constructor(reason: CambiumError) {
    super(reason.message);
    this.reason = reason;
  }
}

/**
 * Rows of a corpus of any size. Where disk or budget refuse a file, memory is tried, with a notice.
 * @throws DataError DATASET_EMPTY, DATASET_TOO_LARGE where neither disk nor memory have room, STREAM_CHANGED; those of the texts.
 */
export async function packRows(request: PackRequest): Promise<TokenRows & { close?(): void }> {
  const { name, texts, length, tokenizer, notify, tokensInMemory = TOKENS_IN_MEMORY } = request;
  const content = await contentOf(texts(), tokensInMemory);
  if (content === undefined) return TokenBlocks.from(texts(), request);
  try {
    return await onDisk(request, tokensInMemory, content);
  } catch (error) {
    if (!(error instanceof DiskRefused)) throw error;
    await notify?.(`the tokens of ${printable(name)} are kept in memory: ${error.reason.message}`);
  }
  const bytesPerToken = tokenArray(tokenizer.vocabSize, 0).BYTES_PER_ELEMENT;
  const maxTokens = Math.floor(machineMemory().available / 2 / bytesPerToken);
  const buffer = new RowBuffer(length, tokenizer.vocabSize);
  for await (const row of packTexts(texts(), request)) {
    buffer.add(row);
    if (buffer.length * length > maxTokens) tooManyTokens(name, maxTokens, 'set CAMBIUM_CACHE to a folder with room');
  }
  if (buffer.length === 0) blocksEmpty(name, length);
  return new TokenBlocks(name, buffer, length, tokenizer);
}

async function onDisk(request: PackRequest, tokensInMemory: number, content: string): Promise<TokenRows> {
  const { name, texts, length, style, tokenizer, notify } = request;
  const identity = {
    format: FORMAT,
    texts: content,
    tokenizer: sha256(JSON.stringify(tokenizer.json)),
    special: [...tokenizer.specialIds],
    length,
    style,
    version: version(),
  };
  const wanted: TokenRequest = { name, key: sha256(JSON.stringify(identity)), length, tokenizer };
  const found = await openProven(wanted, request);
  if (found) {
    await notify?.(`${report(found)} from the cache`);
    return found;
  }
  await notify?.(`${printable(name)} is packed into rows of ${length} tokens, once`);
  const seen = new TextHash();
  async function* watched(): AsyncGenerator<string, void, void> {
    for await (const text of texts()) {
      seen.update(text);
      yield text;
    }
  }
  const buffer = new RowBuffer(length, tokenizer.vocabSize);
  let writer: TokenWriter | undefined;
  const write = async (): Promise<void> => {
    writer ??= await disk(() => TokenWriter.create(wanted));
    for (const tokens of buffer.take()) await disk(() => (writer as TokenWriter).add(tokens));
  };
  try {
    for await (const row of packTexts(watched(), request)) {
      buffer.add(row);
      if (buffer.length * length > (writer ? PIECE : tokensInMemory)) await write();
    }
    if (seen.digest() !== content)
      throw new DataError('STREAM_CHANGED', `the texts of ${printable(name)} changed while they were read`, {
        hint: 'a stream must give the same texts every time samples() is called',
      });
    if (!writer && buffer.length === 0) blocksEmpty(name, length);
    if (!writer) return new TokenBlocks(name, buffer, length, tokenizer);
    await write();
  } catch (error) {
    await writer?.abandon();
    throw error;
  }
  await disk(() => (writer as TokenWriter).finish());
  const made = (await disk(() => openTokens(wanted))) as StoredRows;
  await notify?.(`${report(made)} written to ${printable(made.file)}`);
  return made;
}

/** A file of earlier, if its hash is right and it begins as the texts do now; any other is removed. */
async function openProven(wanted: TokenRequest, request: PackRequest): Promise<StoredRows | undefined> {
  let found: StoredRows | undefined;
  try {
    found = await openTokens(wanted);
  } catch (error) {
    if (!(error instanceof CambiumError)) throw error;
    await request.notify?.(`${error.message}; the tokens are packed again`);
    await disk(() => removeTokens(wanted.key));
  }
  if (!found) return undefined;
  const count = Math.min(PROOF, found.length);
  const stored = await found.rows(Int32Array.from({ length: count }, (_, i) => i));
  let at = 0;
  for await (const row of packTexts(request.texts(), request)) {
    const known = stored[at++];
    if (known?.every((id, i) => id === row[i])) {
      if (at < count) continue;
      return found;
    }
    break;
  }
  found.close();
  await disk(() => removeTokens(wanted.key));
  return undefined;
}

async function disk<T>(body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    throw error instanceof CambiumError ? new DiskRefused(error) : error;
  }
}

const report = (rows: StoredRows): string =>
  `${printable(rows.name)}: ${rows.length.toLocaleString('en')} rows of ${rows.blockLength} tokens (${formatBytes(rows.bytes)})`;

/** The hash of texts that may have more than `least` tokens, by their bytes; undefined for fewer. */
async function contentOf(texts: AsyncIterable<string>, least: number): Promise<string | undefined> {
  const hash = new TextHash();
  let most = 0;
  for await (const text of texts) {
    hash.update(text);
    most += Buffer.byteLength(text) + 1;
  }
  return most > least ? hash.digest() : undefined;
}

/** sha256 over texts and where each ends. */
class TextHash {
  readonly #hash = createHash('sha256');
  #pending = '';

  update(text: string): void {
    this.#pending += `${text.length}:${text}`;
    if (this.#pending.length > 2 ** 16) this.#flush();
  }

  digest(): string {
    this.#flush();
    return this.#hash.digest('hex');
  }

  #flush(): void {
    this.#hash.update(this.#pending);
    this.#pending = '';
  }
}

// Tokens are those of one version of the code.
const version = (): string =>
  (JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string }).version;
