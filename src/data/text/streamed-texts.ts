/** Texts without labels out of files larger than memory: how many there are is known, none is kept. */
import { ArgumentError, DataError, printable } from '../../base/errors.ts';
import type { Dataset } from '../dataset.ts';

type Text = { readonly text: string };

export class StreamedTexts implements Dataset<Text> {
  readonly name: string;
  readonly length: number;
  readonly schema = { features: { text: { kind: 'text' } }, labels: {} } as const;
  readonly #read: () => AsyncIterable<string>;
  /** Of all that is read, a bit a text; undefined for all of it. */
  readonly #chosen: Uint8Array | undefined;
  readonly #total: number;

  /** @param read all texts in order, `total` of them every time. */
  constructor(name: string, total: number, read: () => AsyncIterable<string>, chosen?: Uint8Array, count = total) {
    this.name = name;
    this.length = count;
    this.#read = read;
    this.#chosen = chosen;
    this.#total = total;
  }

  /** @throws DataError STREAM_CHANGED where there are not as many texts as at first; those of the reader. */
  async *samples(): AsyncGenerator<Text, void, void> {
    const chosen = this.#chosen;
    let at = 0;
    for await (const text of this.#read()) {
      if (!chosen || has(chosen, at)) yield { text };
      at++;
    }
    if (at !== this.#total)
      throw new DataError(
        'STREAM_CHANGED',
        `${printable(this.name)}: ${at} texts were read, before it were ${this.#total}`,
        {
          expected: this.#total,
          got: at,
          hint: 'files must not change while they are learned from',
        },
      );
  }

  /** Those at `indices`, which ascend: texts come in the order of the files. */
  select(indices: Int32Array, name: string): StreamedTexts {
    const bits = new Uint8Array(Math.ceil(this.#total / 8));
    let [next, seen] = [0, 0];
    for (let at = 0; at < this.#total && next < indices.length; at++) {
      if (this.#chosen && !has(this.#chosen, at)) continue;
      if (indices[next] === seen++) {
        bits[at >> 3] = (bits[at >> 3] as number) | (1 << (at & 7));
        next++;
      }
    }
    if (next < indices.length)
      throw new ArgumentError(
        'STREAM_NO_INDEX',
        `${printable(this.name)} is read in order: its positions must ascend`,
        {
          got: indices[next],
        },
      );
    return new StreamedTexts(name, this.#total, this.#read, bits, indices.length);
  }

  get(): never {
    throw new ArgumentError(
      'STREAM_NO_INDEX',
      `${printable(this.name)} is a stream: its texts are read in order only`,
      {
        hint: 'iterate over samples()',
      },
    );
  }
}

const has = (bits: Uint8Array, at: number): boolean => (((bits[at >> 3] as number) >> (at & 7)) & 1) === 1;
