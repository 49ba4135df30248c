/** Zip archives with lies in their directories, and pickles taken apart into opcodes. */
import { crc32, deflateRawSync } from 'node:zlib';
import { concat, mutateBytes, type Random } from './mutate.ts';

export interface ZipRecord {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const NAMES = [
  '../x',
  '/etc/passwd',
  'a\\..\\b',
  'C:x',
  'con',
  'a/',
  '',
  'x\u0000y',
  'a/../../b',
  '%2e%2e/x',
  'data.pkl',
];
const SIZES = [0, 1, 7, 2 ** 26, 2 ** 31, 2 ** 32 - 1, 2 ** 32 - 2];

/** A zip of the records. `random` makes it lie: about sizes, offsets, counts, names, flags, methods and checksums. */
export function makeZip(records: readonly ZipRecord[], random?: Random): Uint8Array<ArrayBuffer> {
  const lie = <T>(truth: T, ...lies: T[]): T => (random?.chance(24) ? random.pick(lies) : truth);
  const chunks: Uint8Array[] = [];
  const central: Uint8Array[] = [];
  let offset = 0;
  for (const { name, bytes } of records) {
    const deflated = random?.chance(3) ?? false;
    const data = deflated ? deflateRawSync(bytes) : bytes;
    const sum = lie(crc32(bytes), 0);
    const fields = {
      name: Buffer.from(lie(name, ...NAMES)),
      flags: lie(0x800, 1, 0x2041, 0xffff),
      method: lie(deflated ? 8 : 0, 0, 8, 9, 99),
      packed: lie(data.length, ...SIZES),
      size: lie(bytes.length, ...SIZES),
      offset: lie(offset, 0, 1, offset + 1, 2 ** 32 - 1),
    };
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(lie(fields.method, 0, 8), 8);
    const localName = lie(fields.name, Buffer.from('other'));
    local.writeUInt16LE(lie(localName.length, 0, 0xffff), 26);
    local.writeUInt16LE(lie(0, 1, 0xffff), 28);
    const head = Buffer.alloc(46);
    head.writeUInt32LE(0x02014b50, 0);
    head.writeUInt16LE(fields.flags, 8);
    head.writeUInt16LE(fields.method, 10);
    head.writeUInt32LE(sum, 16);
    head.writeUInt32LE(fields.packed >>> 0, 20);
    head.writeUInt32LE(fields.size >>> 0, 24);
    head.writeUInt16LE(lie(fields.name.length, 0, 0xffff), 28);
    const extra = lie(Buffer.alloc(0), zip64(random, fields.size, fields.packed, fields.offset));
    head.writeUInt16LE(lie(extra.length, 4, 0xffff), 30);
    head.writeUInt32LE(fields.offset >>> 0, 42);
    // Now and then an entry of the directory stands twice, or not at all.
    const entry = concat(head, fields.name, extra);
    central.push(...lie([entry], [entry, entry], []));
    chunks.push(local, localName, data);
    offset += 30 + localName.length + data.length;
  }
  const directory = concat(...central);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  const count = lie(records.length, 0, 1, 0xffff);
  end.writeUInt16LE(count, 8);
  end.writeUInt16LE(count, 10);
  end.writeUInt32LE(lie(directory.length, ...SIZES) >>> 0, 12);
  end.writeUInt32LE(lie(offset, ...SIZES) >>> 0, 16);
  end.writeUInt16LE(lie(0, 1, 0xffff), 20);
  return concat(...chunks, directory, end);
}

function zip64(random: Random | undefined, ...values: number[]): Buffer {
  const extra = Buffer.alloc(4 + 8 * values.length);
  extra.writeUInt16LE(1, 0);
  extra.writeUInt16LE(8 * values.length, 2);
  values.forEach((value, i) => {
    const huge = random?.chance(4) ? 2n ** 63n : 0n;
    extra.writeBigUInt64LE(huge + BigInt(value), 4 + 8 * i);
  });
  return extra;
}

const FIXED = new Map<number, number>([
  [0x80, 1],
  [0x95, 8],
  [0x4a, 4],
  [0x4b, 1],
  [0x4d, 2],
  [0x47, 8],
  [0x71, 1],
  [0x72, 4],
  [0x68, 1],
  [0x6a, 4],
]);
const COUNT1 = new Set([0x8a, 0x55, 0x8c, 0x43]);
const COUNT4 = new Set([0x58, 0x54, 0x42, 0x8b]);
const LINES = new Map<number, number>([
  [0x63, 2],
  [0x49, 1],
  [0x4c, 1],
  [0x46, 1],
  [0x56, 1],
  [0x70, 1],
  [0x67, 1],
]);

/** The opcodes of a pickle, each with its argument; a tail that cannot be told apart is one piece. */
export function pickleOpcodes(bytes: Uint8Array): Uint8Array[] {
  const ops: Uint8Array[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < bytes.length; ) {
    const op = bytes[at] as number;
    let end = at + 1 + (FIXED.get(op) ?? 0);
    if (COUNT1.has(op)) end += 1 + (bytes[at + 1] ?? 0);
    else if (COUNT4.has(op)) end += 4 + (at + 5 <= bytes.length ? view.getUint32(at + 1, true) : 0);
    else for (let lines = LINES.get(op) ?? 0; lines > 0; lines--) end = bytes.indexOf(10, end) + 1 || bytes.length;
    ops.push(bytes.subarray(at, Math.min(end, bytes.length)));
    at = end;
  }
  return ops;
}

const latin1 = (text: string): Uint8Array => Buffer.from(text, 'latin1');
/** What attacks are made of, and what takes memory or stack. */
const GADGETS = [
  'cos\nsystem\n',
  'cbuiltins\neval\n',
  'c__builtin__\nexec\n',
  'csubprocess\nPopen\n',
  'cbuiltins\ngetattr\n',
  'ccopyreg\n_reconstructor\n',
  'ctorch._utils\n_rebuild_tensor_v2\n',
  'ctorch._utils\n_rebuild_parameter\n',
  'ccollections\nOrderedDict\n',
  'ctorch\nSize\n',
  '\x8c\x02os\x8c\x06system\x93',
  'X\x02\x00\x00\x00id\x85R',
  '(ios\nsystem\n',
  'o',
  '\x81',
  '\x92',
  '\x82\x01',
  '\x83\x01\x00',
  '\x84\x01\x00\x00\x00',
  'Pstorage\n',
  'Q',
  'b',
  'R',
  's',
  'u',
  'a',
  'e',
  '(',
  't',
  'd',
  'l',
  '2',
  '0',
  '1',
  '.',
  'N',
  '}',
  ']',
  ')',
  '\x8f',
  '\x90',
  '\x91',
  '\x94',
  '\x97',
  '\x98',
  'h\x00',
  'j\xff\xff\xff\x7f',
  'q\x00',
  'K\x05',
  'J\xff\xff\xff\xff',
  '\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f',
  '\x8b\xff\xff\xff\x7f',
  'G\x7f\xf8\x00\x00\x00\x00\x00\x00',
  '\x8d\xff\xff\xff\xff\xff\xff\xff\x7f',
  'I99999999999999999999\n',
  `X\xff\xff\xff\xff`,
].map(latin1);
const FLOODS = ['(', '2', ')\x85', ']\x94', 'N\x94', '}\x94', 'h\x00\x85q\x00', 'h\x00h\x00\x86q\x00'].map(latin1);

/** Opcodes removed, doubled, exchanged, changed within, or added: gadgets, or floods of one. */
export function mutatePickle(ops: readonly Uint8Array[], random: Random): Uint8Array<ArrayBuffer> {
  const list = [...ops];
  for (let edits = 1 + random.below(4); edits > 0; edits--) {
    const at = random.below(list.length);
    switch (random.below(7)) {
      case 0:
        list.splice(at, 1 + random.below(3));
        break;
      case 1:
        list.splice(at, 0, ...list.slice(at, at + 1 + random.below(8)));
        break;
      case 2: {
        const other = random.below(list.length);
        [list[at], list[other]] = [list[other] ?? list[at]!, list[at]!];
        break;
      }
      case 3:
        if (list[at]) list[at] = mutateBytes(list[at], random);
        break;
      case 4:
      case 5:
        list.splice(at, random.below(2), random.pick(GADGETS));
        break;
      default:
        if (random.chance(8)) list.splice(at, 0, ...Array<Uint8Array>(random.below(3000)).fill(random.pick(FLOODS)));
    }
  }
  return concat(...list);
}
