/** Every parser of untrusted files with small valid seeds and mutations that know the format. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { readParquetSource } from '../../src/data/formats/parquet.ts';
import { parseTar } from '../../src/data/formats/tar.ts';
import { digits, parseIdx, parseTokenizer } from '../../src/data/index.ts';
import { readTable } from '../../src/data/text/table.ts';
import { bertJson, byteLevelJson } from '../../src/data/text/tokenizer-parts.ts';
import { readFeatures, writeFeatures } from '../../src/features/index.ts';
import { memorySource } from '../../src/io/byte-source.ts';
import {
  parseJson,
  readNpySource,
  readNpzSource,
  readSafetensorsSource,
  readTorchSource,
  readWeights,
  readZipDirectory,
  readZipEntry,
  safetensorsHead,
} from '../../src/io/index.ts';
import { readPickle } from '../../src/io/pickle.ts';
import { isTorchName } from '../../src/io/torch-tensors.ts';
import { createModel, MLP } from '../../src/models/index.ts';
import { parseAdapterConfig } from '../../src/training/adapter-config.ts';
import { makeZip, mutatePickle, pickleOpcodes, type ZipRecord } from './containers.ts';
import { concat, mutateBytes, mutateJson, type Random } from './mutate.ts';

export interface FuzzTarget {
  readonly name: string;
  /** Of weights: a million cases are due. */
  readonly weights: boolean;
  readonly make: (random: Random) => Uint8Array;
  readonly parse: (bytes: Uint8Array) => unknown;
  /** Exit codes a rejected file may have: 3, bad data, and 4 where it names other files. */
  readonly exitCodes?: readonly number[];
  readonly close?: () => void;
}

const golden = fileURLToPath(new URL('../golden/', import.meta.url));
const read = (name: string): Uint8Array => new Uint8Array(readFileSync(golden + name));

function safetensors(): FuzzTarget {
  const list = [
    ['a.weight', { dtype: 'f32', shape: [2, 3] }],
    ['n', { dtype: 'i32', shape: [2, 1] }],
    ['flags', { dtype: 'bool', shape: [5] }],
  ] as const;
  const written = safetensorsHead('seed', list, { format: 'pt' });
  const other =
    '{"__metadata__":{"format":"pt"},"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},' +
    '"b":{"dtype":"BF16","shape":[2,1],"data_offsets":[4,8]},"i":{"dtype":"I64","shape":[],"data_offsets":[8,16]}}';
  const seeds = [
    [Buffer.from(written.subarray(8)).toString(), new Uint8Array(37)],
    [other, new Uint8Array(16)],
  ] as const;
  return {
    name: 'safetensors',
    weights: true,
    make(random) {
      const [header, data] = random.pick(seeds);
      if (random.chance(3)) return mutateBytes(safetensorsFile(header, data), random);
      const text = random.chance(4)
        ? Buffer.from(mutateBytes(Buffer.from(header), random))
        : mutateJson(header, random);
      return safetensorsFile(text, data, random);
    },
    parse: (bytes) => readSafetensorsSource(memorySource(bytes, 'fuzz'), random256(bytes)),
  };
}
// Half of the cases take the way that hashes the file, too.
const random256 = (bytes: Uint8Array): { sha256?: true } => (bytes.length % 2 ? { sha256: true } : {});

function safetensorsFile(header: string | Buffer, data: Uint8Array, random?: Random): Uint8Array {
  const json = Buffer.from(header as string);
  const length = Buffer.alloc(8);
  const wrong = random?.chance(8);
  length.writeBigUInt64LE(wrong ? random!.pick([0n, 1n, 2n ** 31n, 2n ** 63n, 100_000_001n]) : BigInt(json.length));
  const bytes = random?.chance(8) ? data.subarray(random.below(data.length)) : data;
  return concat(length, json, bytes, new Uint8Array(random?.chance(8) ? random.below(40) : 0));
}

async function recordsOf(file: string): Promise<ZipRecord[]> {
  const source = memorySource(read(file), file);
  const records: ZipRecord[] = [];
  for (const entry of (await readZipDirectory(source)).values())
    records.push({ name: entry.name, bytes: await readZipEntry(source, entry) });
  return records;
}

async function torch(): Promise<FuzzTarget> {
  const files = ['weights/state.pth', 'weights/checkpoint.pt', 'weights/whole-module.pt'];
  const seeds = await Promise.all(files.map(recordsOf));
  const ops = seeds.map((records) => pickleOpcodes(records.find(({ name }) => name.endsWith('data.pkl'))!.bytes));
  const whole = files.map(read);
  return {
    name: 'torch',
    weights: true,
    make(random) {
      const at = random.below(seeds.length);
      if (random.chance(5)) return mutateBytes(whole[at]!, random);
      const [records, pickle] = [seeds[at]!, ops[at]!];
      // Either the archive lies, or what is in it is wrong and the archive says so truly.
      if (random.chance(3)) return makeZip(records, random);
      return makeZip(
        records.map(({ name, bytes }) =>
          name.endsWith('data.pkl')
            ? { name, bytes: random.chance(3) ? mutateBytes(bytes, random) : mutatePickle(pickle, random) }
            : { name, bytes: random.chance(40) ? mutateBytes(bytes, random) : bytes },
        ),
      );
    },
    parse: (bytes) => readTorchSource(memorySource(bytes, 'fuzz')),
  };
}

function torchLegacy(): FuzzTarget {
  const seed = read('weights/legacy.pth');
  const ops = pickleOpcodes(seed);
  return {
    name: 'torch-legacy',
    weights: true,
    make: (random) => (random.chance(2) ? mutateBytes(seed, random) : mutatePickle(ops, random)),
    parse: (bytes) => readTorchSource(memorySource(bytes, 'fuzz')),
  };
}

async function pickle(): Promise<FuzzTarget> {
  const records = await recordsOf('weights/state.pth');
  const ops = pickleOpcodes(records.find(({ name }) => name.endsWith('data.pkl'))!.bytes);
  return {
    name: 'pickle',
    weights: true,
    make: (random) => mutatePickle(ops, random),
    parse: (bytes) => readPickle(bytes, { path: 'fuzz', allow: isTorchName }),
  };
}

const npySeeds = (): Uint8Array[] => ['fortran', 'big-endian', 'half', 'object'].map((n) => read(`weights/${n}.npy`));
const NPY_WORDS = [
  '<f4',
  '>f8',
  '|b1',
  '<i8',
  '|O',
  '<U5',
  '<f16',
  'True',
  'False',
  'descr',
  'shape',
  '(3,)',
  '()',
  '-1',
];

function mutateNpy(seed: Uint8Array, random: Random): Uint8Array<ArrayBuffer> {
  if (random.chance(2)) return mutateBytes(seed, random);
  const length = Buffer.from(seed).readUInt16LE(8);
  const header = Buffer.from(seed.subarray(10, 10 + length)).toString('latin1');
  const words = header.split(/([ ,:(){}'\n]+)/);
  for (let edits = 1 + random.below(2); edits > 0; edits--) {
    // Every second piece is what lies between two words.
    const at = random.chance(4) ? random.below(words.length) : random.below(words.length) & ~1;
    if (random.chance(6)) words.splice(at, 1);
    else
      words[at] = random.chance(2)
        ? random.pick(NPY_WORDS)
        : `${random.chance(2) ? random.u32() * 2 ** 20 : random.below(20)}`;
  }
  const text = Buffer.from(words.join(''), 'latin1');
  const out = concat(seed.subarray(0, 10), text, seed.subarray(10 + length));
  new DataView(out.buffer).setUint16(8, Math.min(0xffff, text.length), true);
  return out;
}

function npy(): FuzzTarget {
  const seeds = npySeeds();
  return {
    name: 'npy',
    weights: true,
    make: (random) => mutateNpy(random.pick(seeds), random),
    parse: (bytes) => readNpySource(memorySource(bytes, 'fuzz')),
  };
}

function npz(): FuzzTarget {
  const seeds = npySeeds();
  const whole = read('weights/compressed.npz');
  return {
    name: 'npz',
    weights: true,
    make(random) {
      if (random.chance(5)) return mutateBytes(whole, random);
      const lies = random.chance(2) ? random : undefined;
      const records = [0, 1].map((i) => {
        const seed = seeds[random.below(3)]!;
        return { name: `${'ab'[i]}.npy`, bytes: lies ? seed : mutateNpy(seed, random) };
      });
      return makeZip(records, lies);
    },
    parse: (bytes) => readNpzSource(memorySource(bytes, 'fuzz')),
  };
}

/** A folder in memory where the system has one: these parsers take files. */
function folder(): { dir: string; close: () => void } {
  for (const base of ['/dev/shm', tmpdir()])
    try {
      const dir = mkdtempSync(join(base, 'cambium-fuzz-'));
      return { dir, close: () => rmSync(dir, { recursive: true, force: true }) };
    } catch {
      // The next one.
    }
  throw new Error('no folder for temporary files');
}

function index(): FuzzTarget {
  const { dir, close } = folder();
  for (const name of ['w-1.safetensors', 'w-2.safetensors']) {
    const list = [[name.slice(0, 3), { dtype: 'u8', shape: [3] }]] as const;
    writeFileSync(join(dir, name), concat(safetensorsHead(name, list), new Uint8Array(3)));
  }
  writeFileSync(join(dir, 'b.bin'), gzipSync('not weights'));
  mkdirSync(join(dir, 'folder'));
  const map = { 'w-1': 'w-1.safetensors', 'w-2': 'w-2.safetensors' };
  const seed = JSON.stringify({ metadata: { total_size: 6 }, weight_map: map });
  const names = ['../x', '/etc/passwd', 'b.bin', 'folder', 'x.index.json', 'none', 'w-2.safetensors', 'w-\\u0031'];
  const path = join(dir, 'x.index.json');
  return {
    name: 'index',
    weights: true,
    make(random) {
      const text = random.chance(3) ? seed.replace(/w-1.safetensors/, random.pick(names)) : seed;
      return mutatedText(text, random);
    },
    parse(bytes) {
      writeFileSync(path, bytes);
      return readWeights(path);
    },
    exitCodes: [1, 3, 4],
    close,
  };
}

function tar(): FuzzTarget {
  const entry = (name: string, content: string, type = '0'): Uint8Array => {
    const header = Buffer.alloc(512);
    header.write(name, 0);
    header.write('0000644\0', 100);
    header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124);
    header.write(type, 156);
    header.write('ustar\0', 257);
    return concat(sealed(header), Buffer.from(content.padEnd(Math.ceil(content.length / 512) * 512, '\0')));
  };
  const seed = concat(
    entry('./PaxHeader', '30 path=a/long-name-of-a-file\n', 'x'),
    entry('short', 'hello'),
    entry('a/', '', '5'),
    entry('././@LongLink', 'a/second\0', 'L'),
    entry('a/sec', 'world'),
    entry('c', ''),
    new Uint8Array(1024),
  );
  return {
    name: 'tar',
    weights: false,
    make(random) {
      const bytes = mutateBytes(seed, random);
      // A header whose sum is wrong goes no further.
      if (!random.chance(4))
        for (let at = 0; at + 512 <= bytes.length; at += 512)
          if (bytes[at + 257] === 0x75) sealed(Buffer.from(bytes.buffer, at, 512));
      return bytes;
    },
    parse: (bytes) => parseTar(bytes, 'fuzz'),
  };
}
function sealed(header: Buffer): Buffer {
  header.fill(32, 148, 156);
  const sum = header.reduce((a, b) => a + b, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}

function parquet(): FuzzTarget {
  // Without compression, so that changes reach levels, dictionaries and values.
  const plain = parquetWriteBuffer({
    codec: 'UNCOMPRESSED',
    columnData: [
      { name: 'text', data: ['a', null, 'b', 'b', 'a long text', null, 'b', 'a'], type: 'STRING' },
      { name: 'label', data: [1, 2, 2, 2, 1, 2, 1, 1], type: 'INT32' },
    ],
  });
  const seeds = [read('text/reviews.parquet'), read('text/snappy.parquet'), new Uint8Array(plain)];
  return {
    name: 'parquet',
    weights: false,
    make(random) {
      const seed = random.pick(seeds);
      const footer = seed.length - 8 - Buffer.from(seed).readUInt32LE(seed.length - 8);
      return mutateBytes(seed, random, random.chance(2) ? footer : 0);
    },
    async parse(bytes) {
      for await (const { values } of readParquetSource(memorySource(bytes, 'fuzz'), ['text', 'label'])) values.length;
    },
  };
}

/** A byte in front says which file of a set is damaged; the others of the set are whole. */
async function features(): Promise<FuzzTarget> {
  const { dir, close } = folder();
  const [module, samples] = [new MLP({ hidden: 5 }), digits({ split: 'test', size: 24 })];
  for (const kind of ['npy', 'safetensors', 'parquet'])
    await writeFeatures(join(dir, `v.${kind}`), module, samples, { layer: 'layers.2', batchSize: 8 });
  const names = readdirSync(dir).sort();
  const whole = names.map((name) => new Uint8Array(readFileSync(join(dir, name))));
  return {
    name: 'features',
    weights: false,
    make(random) {
      const at = random.chance(2) ? names.indexOf('v.parquet') : random.below(names.length);
      const seed = whole[at]!;
      const json = names[at]!.endsWith('.json');
      const bytes =
        json && !random.chance(3)
          ? Buffer.from(mutateJson(Buffer.from(seed).toString(), random))
          : names[at]!.endsWith('.npy')
            ? mutateNpy(seed, random)
            : mutateBytes(seed, random, names[at] === 'v.parquet' && random.chance(3) ? seed.length >> 1 : 0);
      return concat(Uint8Array.of(at), bytes);
    },
    async parse(bytes) {
      const at = bytes[0]!;
      const path = join(dir, names[at]!);
      writeFileSync(path, bytes.subarray(1));
      try {
        await readFeatures(join(dir, `v.${/parquet|safetensors/.exec(path)?.[0] ?? 'npy'}`));
      } finally {
        writeFileSync(path, whole[at]!);
      }
    },
    close,
  };
}

function table(name: string, file: string, seed: string): FuzzTarget {
  const { dir, close } = folder();
  const path = join(dir, file);
  const seeds = [Buffer.from(seed), Buffer.from(seed, 'utf16le'), gzipSync(seed)];
  return {
    name,
    weights: false,
    make: (random) => mutateBytes(random.chance(3) ? random.pick(seeds) : seeds[0]!, random),
    async parse(bytes) {
      writeFileSync(path, bytes);
      for await (const { values } of readTable(path, ['label', 'text'])) values.length;
    },
    close,
  };
}

function tokenizer(): FuzzTarget {
  const words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a', '##b', 'z', '中', '0', '.'];
  const merges = ['a b', 'ab c'];
  const bytes = Object.fromEntries(['a', 'b', 'c', 'ab', 'abc', 'Ġ', '<|endoftext|>'].map((token, i) => [token, i]));
  const unigram = {
    type: 'Unigram',
    unk_id: 0,
    vocab: [
      ['<unk>', 0],
      ['a', -1],
      ['\u2581a', -2],
    ],
    byte_fallback: false,
  };
  const seeds = [
    bertJson(new Map(words.map((word, i) => [word, i])), {}),
    byteLevelJson(bytes, merges, {}),
    {
      version: '1.0',
      model: unigram,
      pre_tokenizer: { type: 'Metaspace', replacement: '\u2581', prepend_scheme: 'always' },
    },
  ].map((json) => JSON.stringify(json));
  return {
    name: 'tokenizer',
    weights: false,
    make: (random) => mutatedText(random.pick(seeds), random),
    parse(file) {
      const made = parseTokenizer(Buffer.from(file).toString(), 'fuzz');
      made.decode(made.encode('a ab 中 z0. \u{1f600}', { pair: 'b', maxLength: 16 }).inputIds);
    },
  };
}

const mutatedText = (json: string, random: Random): Buffer =>
  Buffer.from(random.chance(4) ? mutateBytes(Buffer.from(json), random) : mutateJson(json, random));

function config(): FuzzTarget {
  const seed = '{"hidden_size": 4, "layers": [1, 2.5e3, {"a": "\\u00e9\\n"}], "x": null, "ok": true}';
  return {
    name: 'json',
    weights: false,
    make: (random) => Buffer.from(random.chance(3) ? mutateBytes(Buffer.from(seed), random) : mutateJson(seed, random)),
    parse: (bytes) => parseJson(Buffer.from(bytes).toString(), { file: 'fuzz' }),
  };
}

/** adapter_config.json, and what a model's config.json says of adapters in it. */
function adapter(): FuzzTarget {
  const seeds = [
    '{"peft_type":"LORA","r":2,"lora_alpha":4,"lora_dropout":0.1,"target_modules":["layers.1"],"modules_to_save":["layers.3"]}',
    '{"adapter_type":"bottleneck","size":2,"activation":"relu","target_modules":"layers.*","modules_to_save":null}',
    '{"adapter_type":"prefix","length":3}',
    '{"name":"lora","rank":2,"alpha":1.5,"dropout":0,"targets":["*","layers.1"]}',
    '{"name":"bottleneck","size":3,"activation":"gelu","targets":["layers.*"]}',
  ];
  return {
    name: 'adapter',
    weights: false,
    make: (random) => mutatedText(random.pick(seeds), random),
    parse(bytes) {
      const json = parseJson(Buffer.from(bytes).toString(), { file: 'fuzz' });
      const isOption = typeof json === 'object' && json !== null && 'name' in json;
      if (!isOption) return parseAdapterConfig(json, 'fuzz');
      return createModel('mlp', { inFeatures: 4, hidden: 4, adapter: json });
    },
    // A model's options are the user's as often as a file's.
    exitCodes: [2, 3],
  };
}

function idx(): FuzzTarget {
  const seed = concat(Uint8Array.of(0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3), new Uint8Array(12));
  const seeds = [seed, new Uint8Array(gzipSync(seed))];
  return {
    name: 'idx',
    weights: false,
    make: (random) => mutateBytes(random.pick(seeds), random),
    parse: (bytes) => parseIdx(bytes, 'fuzz'),
  };
}

const makers: { readonly [name: string]: () => FuzzTarget | Promise<FuzzTarget> } = {
  safetensors,
  torch,
  'torch-legacy': torchLegacy,
  pickle,
  npy,
  npz,
  index,
  tar,
  parquet,
  features,
  csv: () => table('csv', 'x.csv', 'label,text\r\n1,"good, ""very"" good"\r\n\r\n0,"two\nlines é 中"\n1,last'),
  jsonl: () => table('jsonl', 'x.jsonl', '{"label":1,"text":"good é"}\n\n{"label":"0","text":"b\\n"}\n'),
  tokenizer,
  adapter,
  json: config,
  idx,
};

export const targetNames: readonly string[] = Object.keys(makers);

export async function makeTarget(name: string): Promise<FuzzTarget> {
  const make = Object.hasOwn(makers, name) ? makers[name] : undefined;
  if (!make) throw new Error(`no parser ${name}: there are ${targetNames.join(', ')}`);
  return make();
}
