/**
 * Weights of another framework into a module: names brought to ours, tensors that nearly fit adapted, and a report of
 * what happened to each.
 */
import { DataError, formatShape, printable, type Shape, sizeOf, type TypedArray } from '../base/index.ts';
import { type HostArray, type ReadWeightsOptions, readWeights } from '../io/index.ts';
import { backendMemory } from '../tensor/engine.ts';
import type { Module } from './module.ts';
import type { Allowances, LoadReport } from './state.ts';

/**
 * Filters of a first convolution for other channels. 'auto' and 'sum' answer channels that are all the same as the old filters
 * did: 'sum' gives every channel its share of the sum over the old ones; so does 'auto' for fewer channels than there were, and
 * for more it repeats the old filters in turn, those used twice halved. 'mean' gives every channel the mean, which answers a
 * picture of one channel with a third of what RGB got.
 */
export type InputChannels = 'auto' | 'sum' | 'mean';

export interface LoadWeightsOptions extends ReadWeightsOptions {
  /** Every tensor of both sides must match, by name and shape after adapting; true unless told. */
  strict?: boolean | Allowances;
  /** Tensors of the model that stay as they are where the weights have another shape: a head of other classes. */
  replace?: (name: string) => boolean;
  /** Tensors of the model that stay as they are whatever the weights have. */
  fresh?: ((name: string) => boolean) | undefined;
  /** Row of the stored tensor for each row of the model's: where classes stand in another order. */
  rows?: ((name: string) => readonly number[] | undefined) | undefined;
  /** Renames tensors of the file before the usual renames; undefined drops one. */
  rename?: (name: string) => string | undefined;
  /** What a first convolution for other channels gets; 'auto' unless told. */
  channels?: InputChannels;
  /** Adapt tensors of other shapes (first convolution, position embeddings); true unless told. */
  adapt?: boolean;
  /** Receives the report's text; console.log unless told, nothing for false. */
  print?: ((text: string) => void) | false;
}

export interface WeightsReport extends LoadReport {
  /** Loaded after a change of shape. */
  adapted: { name: string; from: Shape; to: Shape; how: string }[];
  /** Names the file had otherwise. */
  renamed: { from: string; to: string }[];
  /** Loaded with their rows in another order. */
  permuted: string[];
  files: readonly string[];
}

/** Reads a file or folder into `module`. @throws DataError WEIGHTS_*, before anything changes; errors of the format. */
export async function loadWeights(
  module: Module,
  path: string,
  options: LoadWeightsOptions = {},
): Promise<WeightsReport> {
  const { allocate, owned } = adoptable();
  const { tensors, files } = await readWeights(path, { ...options, allocate });
  const report = loadTensors(module, tensors, { ...options, owned });
  const full = { ...report, files };
  const { print = (text: string) => console.log(text) } = options;
  if (print) print(formatReport(full));
  return full;
}

/** Memory that variables may take over, so that weights are in memory once: `owned` knows what `allocate` made. */
export function adoptable(): { allocate: (bytes: number) => ArrayBuffer; owned: (data: TypedArray) => boolean } {
  const made = new WeakSet<ArrayBufferLike>();
  return {
    allocate: (bytes) => {
      const memory = backendMemory(bytes);
      made.add(memory);
      return memory;
    },
    owned: ({ buffer }) => made.has(buffer),
  };
}

/** `loadWeights` for tensors already read. */
export function loadTensors(
  module: Module,
  tensors: ReadonlyMap<string, HostArray>,
  {
    strict = true,
    replace,
    fresh,
    rows,
    rename,
    channels = 'auto',
    adapt = true,
    owned,
  }: LoadWeightsOptions & { owned?: (data: TypedArray) => boolean } = {},
): WeightsReport {
  const own = module.stateDict();
  const chosen = new Map<string, HostArray>();
  const renamed: WeightsReport['renamed'] = [];
  const adapted: WeightsReport['adapted'] = [];
  const permuted: string[] = [];
  const first = [...own].find(([, { shape }]) => shape.length === 4)?.[0];
  const names = matchNames(tensors.keys(), own, rename);
  for (const [from, to] of names) {
    const array = tensors.get(from) as HostArray;
    if (chosen.has(to))
      throw new DataError('WEIGHTS_KEYS', `two tensors of the weights become ${printable(to)}`, {
        tensor: to,
        got: from,
      });
    if (from !== to) renamed.push({ from, to });
    const want = own.get(to)?.shape;
    const changed =
      adapt && want && String(want) !== String(array.shape)
        ? adaptTensor(to, array, want, to === first, channels)
        : undefined;
    if (changed) adapted.push({ name: to, from: array.shape, to: want as Shape, how: changed.how });
    const order = rows?.(to);
    const moved = order && order.length === array.shape[0] && String(want) === String(array.shape);
    if (moved) permuted.push(to);
    chosen.set(to, moved ? takeRows(array, order) : (changed?.array ?? array));
  }
  // The counter of batch norm steers only a momentum of None; models without it lose nothing.
  for (const name of [...chosen.keys()])
    if (name.endsWith('num_batches_tracked') && !own.has(name)) chosen.delete(name);
  const replaced = [...chosen].flatMap(([name, { shape }]) => {
    const want = own.get(name)?.shape;
    if (!want) return [];
    return fresh?.(name) || (String(want) !== String(shape) && replace?.(name)) ? [name] : [];
  });
  for (const name of replaced) chosen.delete(name);
  const { missing, unused } = strict === true || strict === false ? ({} as Allowances) : strict;
  const allowed =
    strict === false
      ? false
      : { missing: (name: string) => replaced.includes(name) || (missing?.(name) ?? false), unused };
  const report = module.loadStateDict(chosen, { strict: allowed, ...(owned && { owned }) });
  return { ...report, unused: [...report.unused, ...replaced], adapted, renamed, permuted, files: [] };
}

function takeRows({ dtype, shape, data }: HostArray, rows: readonly number[]): HostArray {
  const width = sizeOf(shape.slice(1));
  const out = data.slice() as Float32Array;
  for (const [to, from] of rows.entries())
    out.set(data.subarray(from * width, (from + 1) * width) as Float32Array, to * width);
  return { dtype, shape, data: out } as HostArray;
}

const PREFIXES = ['module.', 'model.', 'bert.', 'transformer.', 'backbone.', '_orig_mod.'];

// Names as they are if they fit; else without (or with) a prefix, and with weight and bias for gamma and beta.
function matchNames(
  names: Iterable<string>,
  own: ReadonlyMap<string, unknown>,
  rename: LoadWeightsOptions['rename'],
): Map<string, string> {
  const matched = new Map<string, string>();
  for (const from of names) {
    const given = rename ? rename(from) : from;
    if (given === undefined) continue;
    matched.set(from, spellingsOf(given).find((name) => own.has(name)) ?? given);
  }
  return matched;
}

function spellingsOf(name: string): string[] {
  const modern = name.replace(/\.gamma$/, '.weight').replace(/\.beta$/, '.bias');
  const all = [name, modern];
  let bare = modern;
  // At most as many as a wrapped and compiled model has.
  for (let round = 0; round < 3; round++) {
    const prefix = PREFIXES.find((p) => bare.startsWith(p));
    if (!prefix) break;
    bare = bare.slice(prefix.length);
    all.push(bare);
  }
  for (const prefix of PREFIXES) all.push(prefix + modern);
  return all;
}

interface Adapted {
  array: HostArray;
  how: string;
}

function adaptTensor(
  name: string,
  array: HostArray,
  want: Shape,
  isFirst: boolean,
  channels: InputChannels,
): Adapted | undefined {
  const { shape, dtype, data } = array;
  if (dtype !== 'f32' && dtype !== 'f64') return undefined;
  const same = (axes: number[]): boolean => shape.length === want.length && axes.every((i) => shape[i] === want[i]);
  if (isFirst && shape.length === 4 && same([0, 2, 3])) return toChannels(array, want, channels);
  if (!/(^|[._])(pos|position|positional)[._]?(embed|embedding|embeddings|encoding)/.test(name)) return undefined;
  const axis = shape.length - 2;
  if (axis < 0 || axis > 1 || !same(axis === 0 ? [1] : [0, 2]) || (axis === 1 && shape[0] !== 1)) return undefined;
  const [from, to, width] = [shape[axis] as number, want[axis] as number, shape[axis + 1] as number];
  const out = new Float64Array(to * width);
  // Text models keep (tokens, width), picture models (1, tokens, width).
  const extra = axis === 1 && from > 1 && to > 1 && isSquare(from - 1) && isSquare(to - 1) ? 1 : 0;
  const grid = extra > 0 || (axis === 1 && isSquare(from) && isSquare(to));
  if (grid) {
    // A grid of patches, behind the class token if there is one.
    out.set(data.subarray(0, extra * width));
    resizeGrid(
      data.subarray(extra * width),
      Math.sqrt(from - extra),
      out.subarray(extra * width),
      Math.sqrt(to - extra),
      width,
    );
  } else resizeLine(data, from, out, to, width);
  return {
    array: { dtype: 'f32', shape: want, data: Float32Array.from(out) },
    how: `positions ${from} to ${to} by ${grid ? 'bilinear' : 'linear'} interpolation`,
  };
}

const isSquare = (n: number): boolean => Number.isInteger(Math.sqrt(n)) && n > 0;

// timm's adapt_input_conv where the new channels are one or a multiple of the old ones; between, timm's repeated filters answer
// equal channels with more or less than before.
function toChannels({ shape, data }: HostArray, want: Shape, channels: InputChannels): Adapted {
  const [outputs, inputs, ...kernel] = shape as [number, number, ...number[]];
  const area = sizeOf(kernel);
  const wanted = want[1] as number;
  const out = new Float32Array(sizeOf(want));
  const repeats = channels === 'auto' && wanted > inputs;
  const divisor = channels === 'mean' ? inputs : wanted;
  // How many new channels share the filter of an old one.
  const sharing = (c: number): number => Math.floor((wanted - 1 - (c % inputs)) / inputs) + 1;
  for (let o = 0; o < outputs; o++)
    for (let k = 0; k < area; k++) {
      const old = (c: number): number => data[(o * inputs + c) * area + k] as number;
      let sum = 0;
      for (let c = 0; c < inputs; c++) sum += old(c);
      for (let c = 0; c < wanted; c++)
        out[(o * wanted + c) * area + k] = repeats ? old(c % inputs) / sharing(c) : sum / divisor;
    }
  const how = repeats ? 'repetition' : channels === 'mean' ? 'mean' : 'sum';
  return { array: { dtype: 'f32', shape: want, data: out }, how: `channels ${inputs} to ${wanted} by ${how}` };
}

// Source place of a target row with half-pixel centres, as torch's interpolate(align_corners=False).
function place(i: number, from: number, to: number): [low: number, high: number, share: number] {
  const x = Math.min(from - 1, Math.max(0, ((i + 0.5) * from) / to - 0.5));
  const low = Math.floor(x);
  return [low, Math.min(from - 1, low + 1), x - low];
}

type Numbers = { readonly [i: number]: number };

function resizeLine(data: Numbers, from: number, out: Float64Array, to: number, width: number): void {
  for (let i = 0; i < to; i++) {
    const [low, high, share] = place(i, from, to);
    for (let c = 0; c < width; c++)
      out[i * width + c] = (data[low * width + c] as number) * (1 - share) + (data[high * width + c] as number) * share;
  }
}

function resizeGrid(data: Numbers, from: number, out: Float64Array, to: number, width: number): void {
  const rows = new Float64Array(to * from * width);
  resizeLine(data, from, rows, to, from * width);
  for (let i = 0; i < to; i++)
    resizeLine(
      rows.subarray(i * from * width, (i + 1) * from * width),
      from,
      out.subarray(i * to * width, (i + 1) * to * width),
      to,
      width,
    );
}

/** The report as a few lines of text; long lists are cut. */
export function formatReport(report: WeightsReport): string {
  const { loaded, adapted, missing, unused, mismatched, renamed, permuted, files } = report;
  const list = (items: readonly string[]): string =>
    items
      .slice(0, 8)
      .map((item) => printable(item).slice(1, -1))
      .join(', ') + (items.length > 8 ? `, and ${items.length - 8} more` : '');
  const lines = [
    `weights${
      files.length
        ? ` from ${files
            .map((f) => printable(f))
            .slice(0, 4)
            .join(', ')}`
        : ''
    }`,
    `  loaded   ${loaded.length}${renamed.length ? ` (${renamed.length} renamed, e.g. ${list([renamed[0]!.from])} to ${list([renamed[0]!.to])})` : ''}`,
  ];
  const row = (title: string, items: readonly string[]): void => {
    if (items.length > 0) lines.push(`  ${title.padEnd(8)} ${items.length}: ${list(items)}`);
  };
  row(
    'adapted',
    adapted.map(({ name, how }) => `${name} (${how})`),
  );
  row('permuted', permuted);
  row('new', missing);
  row(
    'differ',
    mismatched.map(({ name, expected, got }) => `${name} ${formatShape(got)} for ${formatShape(expected)}`),
  );
  row('unused', unused);
  return lines.join('\n');
}
