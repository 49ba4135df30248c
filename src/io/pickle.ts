/**
 * Pickle streams without execution. The reader has no call mechanism at all: a global is a name, and "calling" one makes
 * an inert record of the name and its arguments. Names outside the caller's list are errors with their offset, and so is
 * every opcode that plain data do not need. Protocols 0-5 as in CPython's Lib/pickletools.py.
 */
import { malformed } from './byte-source.ts';

export const pickleLimits = {
  streamBytes: 256 * 2 ** 20,
  /** Open marks. */
  depth: 1000,
  stack: 2_000_000,
  memo: 1_000_000,
  /** Values made, over the whole stream. */
  values: 5_000_000,
  stringBytes: 64 * 2 ** 20,
  integerBytes: 128,
} as const;

/** A name `module.attribute`, never looked up. */
export class PickleGlobal {
  readonly name: string;
  readonly offset: number;
  constructor(name: string, offset: number) {
    this.name = name;
    this.offset = offset;
  }
}
/** What REDUCE and NEWOBJ make: a name and arguments. */
export class PickleRecord {
  readonly callee: PickleGlobal;
  readonly args: readonly PickleValue[];
  readonly offset: number;
  constructor(callee: PickleGlobal, args: readonly PickleValue[], offset: number) {
    this.callee = callee;
    this.args = args;
    this.offset = offset;
  }
}
/** A reference to something outside the stream, by its id. */
export class PicklePersistent {
  readonly id: PickleValue;
  readonly offset: number;
  constructor(id: PickleValue, offset: number) {
    this.id = id;
    this.offset = offset;
  }
}
export class PickleTuple {
  readonly items: readonly PickleValue[];
  constructor(items: readonly PickleValue[]) {
    this.items = items;
  }
}
export class PickleList {
  readonly items: PickleValue[] = [];
}
export class PickleDict {
  readonly map = new Map<PickleValue, PickleValue>();
}
export class PickleSet {
  readonly items: PickleValue[] = [];
}
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleGlobal
  | PickleRecord
  | PicklePersistent
  | PickleTuple
  | PickleList
  | PickleDict
  | PickleSet;

export interface PickleOptions {
  /** For errors. */
  path: string;
  /** Whether the name may occur. */
  allow: (name: string) => boolean;
  /** Where in `bytes` the stream begins, and what to add to its positions in errors. */
  start?: number;
  baseOffset?: number;
}

export interface PickleResult {
  value: PickleValue;
  /** Position in `bytes` after STOP. */
  end: number;
}

/** Reads one pickle. @throws DataError PICKLE_* with the offset of the opcode. */
export function readPickle(bytes: Uint8Array, options: PickleOptions): PickleResult {
  return new Machine(bytes, options).run();
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

class Machine {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #options: PickleOptions;
  readonly #base: number;
  #at: number;
  #op = 0;
  #values = 0;
  #stack: PickleValue[] = [];
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, PickleValue>();

  constructor(bytes: Uint8Array, options: PickleOptions) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#options = options;
    this.#base = options.baseOffset ?? 0;
    this.#at = options.start ?? 0;
  }

  #fail(code: string, expected: string, got: string, hint?: string): never {
    malformed(this.#options.path, code, this.#base + this.#op, expected, got, hint ? { hint } : {});
  }

  #need(length: number): number {
    const at = this.#at;
    if (length > this.#bytes.length - at)
      this.#fail('PICKLE_TRUNCATED', `${length} more bytes`, `${this.#bytes.length - at}`);
    this.#at += length;
    return at;
  }
  #u8 = (): number => this.#view.getUint8(this.#need(1));
  #u16 = (): number => this.#view.getUint16(this.#need(2), true);
  #u32 = (): number => this.#view.getUint32(this.#need(4), true);
  #u64(): number {
    const value = this.#view.getBigUint64(this.#need(8), true);
    if (value > BigInt(this.#bytes.length)) this.#fail('PICKLE_TRUNCATED', `${value} more bytes`, 'fewer');
    return Number(value);
  }
  #slice(length: number): Uint8Array {
    if (length > pickleLimits.stringBytes)
      this.#fail('PICKLE_LIMIT', `a string of at most ${pickleLimits.stringBytes} bytes`, `${length}`);
    const at = this.#need(length);
    return this.#bytes.subarray(at, at + length);
  }
  #text(length: number): string {
    const bytes = this.#slice(length);
    try {
      return utf8.decode(bytes);
    } catch {
      this.#fail('PICKLE_TEXT', 'text in UTF-8', 'other bytes');
    }
  }
  #line(): string {
    const limit = Math.min(this.#bytes.length, this.#at + 4096);
    const end = this.#bytes.subarray(this.#at, limit).indexOf(10);
    if (end < 0) this.#fail('PICKLE_TRUNCATED', 'a line of at most 4096 bytes', 'no end of line');
    const text = this.#text(end);
    this.#at++;
    return text;
  }

  #push(value: PickleValue): undefined {
    if (++this.#values > pickleLimits.values)
      this.#fail('PICKLE_LIMIT', `at most ${pickleLimits.values} values`, 'more');
    if (this.#stack.length >= pickleLimits.stack)
      this.#fail('PICKLE_LIMIT', `at most ${pickleLimits.stack} values on the stack`, 'more');
    this.#stack.push(value);
  }
  #pop(): PickleValue {
    if (this.#stack.length <= (this.#marks.at(-1) ?? 0)) this.#fail('PICKLE_STACK', 'a value on the stack', 'none');
    return this.#stack.pop() as PickleValue;
  }
  #top(): PickleValue {
    const value = this.#pop();
    this.#stack.push(value);
    return value;
  }
  #popMark(): PickleValue[] {
    const mark = this.#marks.pop();
    if (mark === undefined) this.#fail('PICKLE_STACK', 'a mark on the stack', 'none');
    // Cutting off the end in place: copying what lies below would be quadratic.
    return this.#stack.splice(mark);
  }
  #remember(index: number): undefined {
    if (!this.#memo.has(index) && this.#memo.size >= pickleLimits.memo)
      this.#fail('PICKLE_LIMIT', `a memo of at most ${pickleLimits.memo} values`, 'more');
    this.#memo.set(index, this.#top());
  }
  #recall(index: number): undefined {
    const value = this.#memo.get(index);
    if (value === undefined) this.#fail('PICKLE_MEMO', 'a value remembered before', `memo ${index}`);
    this.#push(value);
  }
  #global(name: string): undefined {
    if (!this.#options.allow(name))
      this.#fail(
        'PICKLE_GLOBAL',
        'names of tensors and plain containers only',
        JSON.stringify(name.slice(0, 200)),
        'nothing was run; in Python save the state dict alone: torch.save(model.state_dict(), path), or convert to safetensors',
      );
    this.#push(new PickleGlobal(name, this.#base + this.#op));
  }
  #reduce(): undefined {
    const args = this.#pop();
    const callee = this.#pop();
    if (!(args instanceof PickleTuple)) this.#fail('PICKLE_REDUCE', 'a tuple of arguments', describe(args));
    if (!(callee instanceof PickleGlobal)) this.#fail('PICKLE_REDUCE', 'a name', describe(callee));
    // The one constructor that is data: its items follow by SETITEMS.
    if (callee.name === 'collections.OrderedDict' && args.items.length === 0) this.#push(new PickleDict());
    else this.#push(new PickleRecord(callee, args.items, this.#base + this.#op));
  }
  #setItems(target: PickleValue, items: readonly PickleValue[]): undefined {
    if (!(target instanceof PickleDict)) this.#fail('PICKLE_ITEMS', 'a dict to set items of', describe(target));
    if (items.length % 2) this.#fail('PICKLE_ITEMS', 'keys and values in pairs', `${items.length} of them`);
    for (let i = 0; i < items.length; i += 2) {
      const key = items[i] as PickleValue;
      if (key instanceof PickleDict || key instanceof PickleList || key instanceof PickleSet)
        this.#fail('PICKLE_ITEMS', 'a key that can be hashed', describe(key));
      target.map.set(key, items[i + 1] as PickleValue);
    }
  }
  #extend(target: PickleValue, items: readonly PickleValue[], kind: typeof PickleList | typeof PickleSet): undefined {
    if (!(target instanceof kind)) this.#fail('PICKLE_ITEMS', 'a list or set to extend', describe(target));
    for (const item of items) target.items.push(item);
  }
  #integer(length: number): PickleValue {
    if (length < 0 || length > pickleLimits.integerBytes)
      this.#fail('PICKLE_LIMIT', `an integer of at most ${pickleLimits.integerBytes} bytes`, `${length}`);
    const bytes = this.#slice(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i] as number);
    return narrow(length > 0 && (bytes[length - 1] as number) & 0x80 ? value - (1n << BigInt(8 * length)) : value);
  }
  #decimal(text: string): PickleValue {
    const digits = text.replace(/L$/, '');
    if (!/^[+-]?\d{1,310}$/.test(digits))
      this.#fail('PICKLE_NUMBER', 'a whole number', JSON.stringify(text.slice(0, 40)));
    return narrow(BigInt(digits));
  }

  run(): PickleResult {
    for (;;) {
      this.#op = this.#at;
      const op = this.#u8();
      if (op === 0x2e) {
        const value = this.#pop();
        return { value, end: this.#at };
      }
      this.#step(op);
    }
  }

  #step(op: number): undefined {
    switch (op) {
      case 0x80: {
        const version = this.#u8();
        if (version > 5) this.#fail('PICKLE_PROTOCOL', 'protocol 0 to 5', `${version}`);
        return;
      }
      case 0x95: // FRAME: its length only helps prefetching
        this.#need(8);
        return;
      case 0x28: // MARK
        if (this.#marks.length >= pickleLimits.depth)
          this.#fail('PICKLE_LIMIT', `at most ${pickleLimits.depth} open marks`, 'more');
        this.#marks.push(this.#stack.length);
        return;
      case 0x30: // POP
        if (this.#marks.at(-1) === this.#stack.length) this.#marks.pop();
        else this.#pop();
        return;
      case 0x31: // POP_MARK
        this.#popMark();
        return;
      case 0x32: // DUP
        return this.#push(this.#top());
      case 0x4e:
        return this.#push(null);
      case 0x88:
        return this.#push(true);
      case 0x89:
        return this.#push(false);
      case 0x4a:
        return this.#push(this.#view.getInt32(this.#need(4), true));
      case 0x4b:
        return this.#push(this.#u8());
      case 0x4d:
        return this.#push(this.#u16());
      case 0x8a:
        return this.#push(this.#integer(this.#u8()));
      case 0x8b:
        return this.#push(this.#integer(this.#u32()));
      case 0x49: {
        // INT: protocol 0 writes booleans as 00 and 01
        const text = this.#line();
        return this.#push(text === '00' ? false : text === '01' ? true : this.#decimal(text));
      }
      case 0x4c:
        return this.#push(this.#decimal(this.#line()));
      case 0x46: {
        const text = this.#line();
        const value = Number(text);
        if (text.trim() === '' || Number.isNaN(value)) this.#fail('PICKLE_NUMBER', 'a number', JSON.stringify(text));
        return this.#push(value);
      }
      case 0x47:
        return this.#push(this.#view.getFloat64(this.#need(8), false));
      case 0x55:
        return this.#push(this.#text(this.#u8()));
      case 0x54:
        return this.#push(this.#text(this.#u32()));
      case 0x56:
        return this.#push(this.#line());
      case 0x8c:
        return this.#push(this.#text(this.#u8()));
      case 0x58:
        return this.#push(this.#text(this.#u32()));
      case 0x8d:
        return this.#push(this.#text(this.#u64()));
      case 0x43:
        return this.#push(this.#slice(this.#u8()));
      case 0x42:
        return this.#push(this.#slice(this.#u32()));
      case 0x8e:
        return this.#push(this.#slice(this.#u64()));
      case 0x5d:
        return this.#push(new PickleList());
      case 0x7d:
        return this.#push(new PickleDict());
      case 0x8f:
        return this.#push(new PickleSet());
      case 0x29:
        return this.#push(new PickleTuple([]));
      case 0x85:
      case 0x86:
      case 0x87: {
        const items: PickleValue[] = [];
        for (let i = 0; i < op - 0x84; i++) items.unshift(this.#pop());
        return this.#push(new PickleTuple(items));
      }
      case 0x74:
        return this.#push(new PickleTuple(this.#popMark()));
      default:
        return this.#stepContainers(op);
    }
  }

  #stepContainers(op: number): undefined {
    switch (op) {
      case 0x6c: {
        const list = new PickleList();
        this.#extend(list, this.#popMark(), PickleList);
        return this.#push(list);
      }
      case 0x64: {
        const dict = new PickleDict();
        this.#setItems(dict, this.#popMark());
        return this.#push(dict);
      }
      case 0x91: {
        const set = new PickleSet();
        this.#extend(set, this.#popMark(), PickleSet);
        return this.#push(set);
      }
      case 0x61: {
        const item = this.#pop();
        return this.#extend(this.#top(), [item], PickleList);
      }
      case 0x65: {
        const items = this.#popMark();
        return this.#extend(this.#top(), items, PickleList);
      }
      case 0x90: {
        const items = this.#popMark();
        return this.#extend(this.#top(), items, PickleSet);
      }
      case 0x73: {
        const value = this.#pop();
        const key = this.#pop();
        return this.#setItems(this.#top(), [key, value]);
      }
      case 0x75: {
        const items = this.#popMark();
        return this.#setItems(this.#top(), items);
      }
      case 0x63: {
        const module = this.#line();
        return this.#global(`${module}.${this.#line()}`);
      }
      case 0x93: {
        const attribute = this.#pop();
        const module = this.#pop();
        if (typeof module !== 'string' || typeof attribute !== 'string')
          this.#fail('PICKLE_GLOBAL', 'two strings', `${describe(module)} and ${describe(attribute)}`);
        return this.#global(`${module}.${attribute}`);
      }
      case 0x52: // REDUCE
      case 0x81: // NEWOBJ
        return this.#reduce();
      case 0x62: {
        // BUILD: attributes of a state dict (its `_metadata`); nothing else has a state here.
        this.#pop();
        const target = this.#top();
        if (!(target instanceof PickleDict))
          this.#fail('PICKLE_BUILD', 'a dict to set attributes of', describe(target));
        return;
      }
      case 0x71:
        return this.#remember(this.#u8());
      case 0x72:
        return this.#remember(this.#u32());
      case 0x70:
        return this.#remember(this.#index());
      case 0x94:
        return this.#remember(this.#memo.size);
      case 0x68:
        return this.#recall(this.#u8());
      case 0x6a:
        return this.#recall(this.#u32());
      case 0x67:
        return this.#recall(this.#index());
      case 0x51:
        return this.#push(new PicklePersistent(this.#pop(), this.#base + this.#op));
      default:
        return this.#fail('PICKLE_OPCODE', 'an opcode of plain data', `0x${op.toString(16).padStart(2, '0')}`);
    }
  }
  #index(): number {
    const value = this.#decimal(this.#line());
    if (typeof value !== 'number' || value < 0) this.#fail('PICKLE_MEMO', 'a memo index', String(value));
    return value;
  }
}

const narrow = (value: bigint): number | bigint =>
  value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;

/** The kind of a value, for errors. */
export function describe(value: PickleValue | undefined): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'None';
  if (value instanceof PickleGlobal) return `the name ${JSON.stringify(value.name.slice(0, 200))}`;
  if (value instanceof PickleRecord) return `a record of ${JSON.stringify(value.callee.name.slice(0, 200))}`;
  if (value instanceof PicklePersistent) return 'a persistent id';
  if (value instanceof PickleTuple) return `a tuple of ${value.items.length}`;
  if (value instanceof PickleList) return 'a list';
  if (value instanceof PickleDict) return 'a dict';
  if (value instanceof PickleSet) return 'a set';
  if (value instanceof Uint8Array) return 'bytes';
  return typeof value;
}
