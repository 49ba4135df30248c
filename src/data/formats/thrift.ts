/**
 * Walks thrift's compact protocol as Parquet uses it, without building anything: what a list or text claims to hold must
 * lie within the bytes that are there, before a decoder allocates for it.
 * https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
 */

/** A truth value among the numbers of a struct. */
export const TRUE = 1;
export const FALSE = 2;
/** The whole numbers of a struct by field number, those of structs within it too; texts and lists are passed over. */
export type ThriftNumbers = Map<number, number | ThriftNumbers>;

/** Why the bytes are no thrift, and where; `cut` when they end too early. */
export class ThriftError extends Error {
  readonly offset: number;
  readonly cut: boolean;
  constructor(message: string, offset: number, cut = false) {
    super(message);
    this.offset = offset;
    this.cut = cut;
  }
}

const MAX_DEPTH = 32;

export class ThriftWalker {
  readonly #bytes: Uint8Array;
  #structs: number;
  at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.at = at;
    // One byte can be a struct, which as an object takes hundreds; real ones have eight bytes and more.
    this.#structs = 65_536 + bytes.length / 8;
  }

  /** Checks the struct at `at` and stops behind it. @throws ThriftError. */
  skip(): void {
    this.#struct(0, undefined);
  }

  /** As `skip`, with its numbers. @throws ThriftError. */
  numbers(): ThriftNumbers {
    const found: ThriftNumbers = new Map();
    this.#struct(0, found);
    return found;
  }

  #fail(message: string, cut = false): never {
    throw new ThriftError(message, Math.min(this.at, this.#bytes.length), cut);
  }

  #byte(): number {
    const byte = this.#bytes[this.at];
    if (byte === undefined) this.#fail('more bytes', true);
    this.at++;
    return byte;
  }

  #varint(): number {
    let value = 0;
    for (let scale = 1, i = 0; i < 10; i++, scale *= 128) {
      const byte = this.#byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    return this.#fail('a number of at most ten bytes');
  }

  #forward(length: number): void {
    if (length > this.#bytes.length - this.at) this.#fail(`${length} more bytes`, true);
    this.at += length;
  }

  #struct(depth: number, into: ThriftNumbers | undefined): void {
    if (depth > MAX_DEPTH) this.#fail(`at most ${MAX_DEPTH} nested structs`);
    if (--this.#structs < 0) this.#fail('fewer structs in so few bytes');
    for (let field = 0; ; ) {
      const head = this.#byte();
      const type = head & 15;
      if (type === 0) return;
      field = head >> 4 ? field + (head >> 4) : zigzag(this.#varint());
      const value = this.#value(type, depth, into !== undefined);
      if (into && value !== undefined) into.set(field, value);
    }
  }

  #value(type: number, depth: number, keep: boolean): number | ThriftNumbers | undefined {
    switch (type) {
      case TRUE:
      case FALSE:
        return type;
      case 3:
        this.#byte();
        return undefined;
      case 4:
      case 5:
      case 6:
        return zigzag(this.#varint());
      case 7:
        this.#forward(8);
        return undefined;
      case 8:
        this.#forward(this.#varint());
        return undefined;
      case 9: {
        const head = this.#byte();
        const size = head >> 4 === 15 ? this.#varint() : head >> 4;
        // Every element has a byte at least.
        if (size > this.#bytes.length - this.at) this.#fail(`a list of ${size} within the bytes left`, true);
        // Truth values take a byte each here.
        const element = (head & 15) === 1 || (head & 15) === 2 ? 3 : head & 15;
        for (let i = 0; i < size; i++) this.#value(element, depth + 1, false);
        return undefined;
      }
      case 12: {
        const found: ThriftNumbers | undefined = keep ? new Map() : undefined;
        this.#struct(depth + 1, found);
        return found;
      }
      default:
        return this.#fail('a type of thrift that Parquet uses');
    }
  }
}

const zigzag = (value: number): number => (value % 2 ? -(value + 1) / 2 : value / 2);
