/** metrics.jsonl: one JSON object a line, appended as the run goes, cut back to the checkpoint when it is resumed. */
import { type FileHandle, open } from 'node:fs/promises';
import { DataError, printable } from '../../base/errors.ts';
import { exists, writeAll, writeFileAtomic } from '../../io/atomic.ts';
import { ioError, readFileBytes } from '../../io/failure.ts';
import { parseJson } from '../../io/json.ts';

/** A line; those without `step` belong to no step and are kept when the file is cut back. */
export interface MetricsRecord {
  readonly step?: number;
  readonly [key: string]: unknown;
}

export class MetricsFile {
  readonly path: string;
  #handle: FileHandle | undefined;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(path: string) {
    this.path = path;
  }

  /** Appends a line for each record. @throws IoError; then none of them is in the file. */
  append(...records: readonly MetricsRecord[]): Promise<void> {
    return this.#queue(async () => {
      const handle = await this.#open();
      const { size } = await handle.stat();
      try {
        await writeAll(handle, Buffer.from(records.map((record) => `${JSON.stringify(record)}\n`).join('')));
      } catch (cause) {
        await handle.truncate(size).catch(() => {});
        throw cause;
      }
    });
  }

  /** All whole lines. A last line that was torn by a crash is left out. @throws DataError for damage elsewhere. */
  read(): Promise<MetricsRecord[]> {
    return this.#queue(async () => (await this.#lines()).map(({ record }) => record));
  }

  /**
   * Drops the lines of steps after `keep` (or those it refuses), and a torn last one.
   * @returns how many lines went.
   */
  truncate(keep: number | ((record: MetricsRecord) => boolean)): Promise<number> {
    const isKept =
      typeof keep === 'function' ? keep : ({ step }: MetricsRecord) => !(typeof step === 'number' && step > keep);
    return this.#queue(async () => {
      await this.#close();
      if (!(await exists(this.path))) return 0;
      const lines = await this.#lines();
      const kept = lines.filter(({ record }) => isKept(record));
      await writeFileAtomic(this.path, kept.map(({ text }) => `${text}\n`).join(''));
      return lines.length - kept.length;
    });
  }

  /** Makes the lines survive a power cut. */
  sync(): Promise<void> {
    return this.#queue(async () => this.#handle?.datasync());
  }

  close(): Promise<void> {
    return this.#queue(() => this.#close());
  }

  async #open(): Promise<FileHandle> {
    if (this.#handle) return this.#handle;
    const torn = (await exists(this.path)) ? await this.#tornBytes() : 0;
    const handle = await open(this.path, 'a', 0o666);
    this.#handle = handle;
    // What is appended would otherwise become part of the torn line.
    if (torn > 0) await handle.truncate((await handle.stat()).size - torn);
    return handle;
  }

  async #close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
  }

  async #tornBytes(): Promise<number> {
    const handle = await open(this.path, 'r');
    try {
      const stat = await handle.stat();
      if (!stat.isFile()) return 0;
      const piece = Buffer.alloc(65536);
      for (let end = stat.size, torn = 0; end > 0; ) {
        const length = Math.min(piece.length, end);
        await handle.read(piece, 0, length, end - length);
        const newline = piece.subarray(0, length).lastIndexOf(10);
        if (newline >= 0) return torn + length - 1 - newline;
        torn += length;
        end -= length;
        if (end === 0) return torn;
      }
      return 0;
    } finally {
      await handle.close();
    }
  }

  async #lines(): Promise<{ text: string; record: MetricsRecord }[]> {
    if (!(await exists(this.path))) return [];
    const texts = Buffer.from(await readFileBytes(this.path))
      .toString('utf8')
      .split('\n');
    // A whole file ends with a newline; what follows the last one is torn.
    texts.pop();
    const found: { text: string; record: MetricsRecord }[] = [];
    texts.forEach((text, i) => {
      try {
        const record = parseJson(text, { file: this.path });
        if (typeof record !== 'object' || record === null || Array.isArray(record)) throw new Error('not an object');
        found.push({ text, record });
      } catch (cause) {
        // After a power cut the last block may be there without its content.
        if (i === texts.length - 1) return;
        throw new DataError('METRICS_DAMAGED', `${printable(this.path)}: line ${i + 1} is not a JSON object`, {
          file: this.path,
          line: i + 1,
          hint: 'delete that line',
          cause,
        });
      }
    });
    return found;
  }

  #queue<T>(job: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(job).catch((cause) => {
      throw ioError(cause, 'write', this.path);
    });
    this.#tail = result.catch(() => {});
    return result;
  }
}
