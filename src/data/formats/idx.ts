/**
 * The IDX format of MNIST, plain or gzipped: two zero bytes, type, rank, big-endian dimensions, then the elements.
 * http://yann.lecun.com/exdb/mnist
 */
import type { DType, TypedArray } from '../../base/dtype.ts';
import { DataError, printable } from '../../base/errors.ts';
import { formatShape, MAX_ELEMENTS } from '../../base/shape.ts';
import { readFileBytes } from '../../io/failure.ts';
import type { HostArray } from '../../io/host-array.ts';
import { InMemoryImageDataset } from '../dataset.ts';
import { gunzipHead, gunzipWithin, isGzip } from './gzip.ts';

interface Element {
  readonly name: string;
  readonly bytes: number;
  readonly dtype: DType;
  readonly read: (view: DataView, count: number, offset: number) => TypedArray;
}

const elements: { readonly [type: number]: Element } = {
  8: {
    name: 'unsigned byte',
    bytes: 1,
    dtype: 'u8',
    // A copy: the file's buffer, header and all, is not kept alive.
    read: (v, n, at) => new Uint8Array(v.buffer, v.byteOffset + at, n).slice(),
  },
  9: {
    name: 'signed byte',
    bytes: 1,
    dtype: 'i32',
    read: (v, n, at) => fill(new Int32Array(n), (i) => v.getInt8(at + i)),
  },
  11: {
    name: 'short',
    bytes: 2,
    dtype: 'i32',
    read: (v, n, at) => fill(new Int32Array(n), (i) => v.getInt16(at + 2 * i)),
  },
  12: {
    name: 'int',
    bytes: 4,
    dtype: 'i32',
    read: (v, n, at) => fill(new Int32Array(n), (i) => v.getInt32(at + 4 * i)),
  },
  13: {
    name: 'float',
    bytes: 4,
    dtype: 'f32',
    read: (v, n, at) => fill(new Float32Array(n), (i) => v.getFloat32(at + 4 * i)),
  },
  14: {
    name: 'double',
    bytes: 8,
    dtype: 'f64',
    read: (v, n, at) => fill(new Float64Array(n), (i) => v.getFloat64(at + 8 * i)),
  },
};

function fill<T extends TypedArray>(array: T, value: (i: number) => number): T {
  for (let i = 0; i < array.length; i++) array[i] = value(i);
  return array;
}

export interface IdxLimits {
  /** Most bytes of elements a file may claim; 2 GiB. */
  maxBytes?: number;
}

/** Reads an IDX file, gzipped or not (told by its content). @throws DataError with file, offset, expected, got; IoError. */
export async function readIdx(path: string, limits: IdxLimits = {}): Promise<HostArray> {
  return parseIdx(await readFileBytes(path), path, limits);
}

/** Offsets in errors count from the start of the unpacked content; `inflated` in their details says if it was packed. */
export function parseIdx(bytes: Uint8Array, file: string, { maxBytes = 2 ** 31 }: IdxLimits = {}): HostArray {
  const inflated = isGzip(bytes);
  const at: Where = { file, inflated };
  if (bytes.length === 0) fail(at, 'IDX_EMPTY', 0, 'an IDX file', 'an empty file');
  let content = bytes;
  if (inflated) {
    // The header is read first, so that only what it claims is ever unpacked; one byte more shows a trailing rest.
    const head = gunzipHead(bytes);
    const claimed = head.length >= 4 + 4 * (head[3] as number) ? parseHeader(head, at, maxBytes).end : undefined;
    content = gunzipWithin(bytes, (claimed ?? maxBytes) + 1, file);
  }
  const { element, shape, count, start, end } = parseHeader(content, at, maxBytes);
  if (content.length < end)
    fail(
      at,
      'IDX_TRUNCATED',
      content.length,
      `${end} bytes for ${formatShape(shape)} ${element.name}`,
      `${content.length}`,
    );
  if (content.length > end)
    fail(at, 'IDX_TRAILING', end, `the end after ${end} bytes`, `${content.length} bytes or more`);
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  return { dtype: element.dtype, shape, data: element.read(view, count, start) };
}

interface Where {
  readonly file: string;
  readonly inflated: boolean;
}

interface Header {
  element: Element;
  shape: number[];
  count: number;
  start: number;
  end: number;
}

function parseHeader(bytes: Uint8Array, at: Where, maxBytes: number): Header {
  if (bytes.length < 4) fail(at, 'IDX_TRUNCATED', bytes.length, 'a header of at least 4 bytes', `${bytes.length}`);
  const [zero0, zero1, type, rank] = bytes as unknown as [number, number, number, number];
  const element = elements[type];
  if (zero0 !== 0 || zero1 !== 0 || !element || rank === 0) {
    const magic = [...bytes.subarray(0, 4)].map((b) => b.toString(16).padStart(2, '0')).join('');
    return fail(at, 'IDX_MAGIC', 0, 'magic number 0000TTRR of an IDX file', `0x${magic}`);
  }
  const start = 4 + 4 * rank;
  if (bytes.length < start) fail(at, 'IDX_TRUNCATED', bytes.length, `a header of ${start} bytes`, `${bytes.length}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const shape = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i));
  let count = shape.includes(0) ? 0 : 1;
  for (const [i, d] of shape.entries()) {
    count *= d;
    if (count > MAX_ELEMENTS || count * element.bytes > maxBytes)
      fail(at, 'IDX_TOO_LARGE', 4 + 4 * i, `at most ${maxBytes} bytes of elements`, `shape ${formatShape(shape)}`);
  }
  return { element, shape, count, start, end: start + count * element.bytes };
}

function fail(at: Where, code: string, offset: number, expected: string, got: string): never {
  const place = `${at.inflated ? 'unpacked ' : ''}byte ${offset}`;
  throw new DataError(code, `${printable(at.file)}: expected ${expected}, found ${got} (${place})`, {
    file: at.file,
    offset,
    inflated: at.inflated,
    expected,
    got,
  });
}

/**
 * Pictures and labels of two IDX files as a data set.
 * @throws DataError also for other ranks or types, different counts, and a label outside the classes (with its offset).
 */
export async function readIdxImages(options: {
  name: string;
  images: string;
  labels: string;
  classes: readonly string[];
}): Promise<InMemoryImageDataset> {
  const { name, classes } = options;
  const images = await readIdx(options.images);
  const labels = await readIdx(options.labels);
  const expectRank = (array: HostArray, file: string, rank: number): void => {
    if (array.dtype !== 'u8' || array.shape.length !== rank)
      fail(
        { file, inflated: false },
        'IDX_KIND',
        2,
        `bytes of rank ${rank} (magic 0x0000080${rank})`,
        `${array.dtype} of shape ${formatShape(array.shape)}`,
      );
  };
  expectRank(images, options.images, 3);
  expectRank(labels, options.labels, 1);
  const [n, height, width] = images.shape as [number, number, number];
  if (labels.data.length !== n)
    fail(
      { file: options.labels, inflated: false },
      'IDX_COUNT_MISMATCH',
      4,
      `${n} labels, as many as images in ${printable(options.images)}`,
      `${labels.data.length}`,
    );
  if (n === 0 || height === 0 || width === 0)
    fail(
      { file: options.images, inflated: false },
      'IDX_NO_IMAGES',
      4,
      'at least one image',
      formatShape(images.shape),
    );
  const bad = labels.data.findIndex((label) => label >= classes.length);
  if (bad >= 0)
    fail(
      { file: options.labels, inflated: false },
      'LABEL_OUTSIDE',
      8 + bad,
      `labels below ${classes.length}`,
      `label ${labels.data[bad]} of item ${bad}`,
    );
  const pixels = images.data as Uint8Array;
  return new InMemoryImageDataset({ name, pixels, labels: Int32Array.from(labels.data), height, width, classes });
}
