/** Pictures as u8 memory: making them from what callers hold, and the pixel arithmetic of the transforms. */
import { ArgumentError, DataError, printable } from '../base/errors.ts';
import type { ImageFeature } from './schema.ts';

/** One decoded picture: u8, row by row, channels last (height x width x channels). */
export interface ImageU8 {
  readonly data: Uint8Array;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
}

/** Shares of red, green and blue in grey (ITU-R 601). */
export const LUMA = [0.299, 0.587, 0.114] as const;

export interface ImageSize {
  height: number;
  width: number;
  channels: number;
}

/**
 * A picture from what a caller holds: an ImageU8, a canvas's ImageData (RGBA, laid over white), or bare bytes with their
 * size: a typed array, Buffer or list of 0..255, channels last.
 * @throws ArgumentError IMAGE_INVALID for anything else or a length that contradicts the size.
 */
export function asImage(value: unknown, size?: ImageSize): ImageU8 {
  const invalid = (expected: string, got: unknown): never => {
    throw new ArgumentError('IMAGE_INVALID', `not an image: expected ${expected}, found ${printable(got)}`, {
      expected,
      got,
    });
  };
  const described = value as Partial<ImageU8> | null;
  const raw = ArrayBuffer.isView(value) || Array.isArray(value);
  if (
    !raw &&
    (typeof value !== 'object' || described === null || !described.data || !described.width || !described.height)
  )
    return invalid('{ data, height, width } or bytes with their size', typeof value);
  const isImageData = !raw && described?.channels === undefined;
  const channels = raw ? size?.channels : (described?.channels ?? 4);
  const [height, width] = raw ? [size?.height, size?.width] : [described?.height, described?.width];
  if (!isSize(height) || !isSize(width) || !isSize(channels))
    return invalid('a height, width and channels of at least 1', [height, width, channels]);
  const source = (raw ? value : described?.data) as ArrayLike<number>;
  if (source.length !== height * width * channels)
    return invalid(`${height}x${width}x${channels} = ${height * width * channels} values`, source.length);
  const image = { data: toBytes(source, invalid), height, width, channels };
  return isImageData ? toChannels(image, 3) : image;
}

const isSize = (n: unknown): n is number => Number.isInteger(n) && (n as number) > 0;

function toBytes(source: ArrayLike<number>, invalid: (expected: string, got: unknown) => never): Uint8Array {
  if (source instanceof Uint8Array) return source;
  if (source instanceof Uint8ClampedArray) return new Uint8Array(source.buffer, source.byteOffset, source.length);
  const bytes = new Uint8Array(source.length);
  for (let i = 0; i < bytes.length; i++) {
    const v = source[i] as number;
    if (!Number.isInteger(v) || v < 0 || v > 255) return invalid('pixel values from 0 to 255', v);
    bytes[i] = v;
  }
  return bytes;
}

/** Grey <-> colour; a fourth channel is opacity over white. The same image if nothing changes. */
export function toChannels(image: ImageU8, channels: number): ImageU8 {
  const { data, height, width } = image;
  if (image.channels === channels) return image;
  if (image.channels === 4) return toChannels(overWhite(image), channels);
  const pixels = height * width;
  const out = new Uint8Array(pixels * channels);
  if (image.channels === 1) for (let i = 0; i < out.length; i++) out[i] = data[Math.floor(i / channels)] as number;
  else if (image.channels === 3 && channels === 1)
    for (let i = 0; i < pixels; i++) {
      const [r, g, b] = [data[3 * i], data[3 * i + 1], data[3 * i + 2]] as [number, number, number];
      out[i] = Math.round(LUMA[0] * r + LUMA[1] * g + LUMA[2] * b);
    }
  else
    throw new DataError('IMAGE_CHANNELS', `an image of ${image.channels} channels cannot become one of ${channels}`, {
      expected: channels,
      got: image.channels,
    });
  return { data: out, height, width, channels };
}

function overWhite({ data, height, width }: ImageU8): ImageU8 {
  const out = new Uint8Array(height * width * 3);
  for (let i = 0; i < height * width; i++) {
    const alpha = (data[4 * i + 3] as number) / 255;
    for (let c = 0; c < 3; c++) out[3 * i + c] = Math.round(255 + alpha * ((data[4 * i + c] as number) - 255));
  }
  return { data: out, height, width, channels: 3 };
}

/** A picture from outside made to fit what a data set's pictures are: channels, then size where that is fixed. */
export function fitImage(image: ImageU8, feature: ImageFeature): ImageU8 {
  const fitted = toChannels(image, feature.channels);
  return resize(fitted, feature.height ?? image.height, feature.width ?? image.width);
}

interface Taps {
  /** First source index of each output. */
  readonly first: Int32Array;
  readonly count: number;
  /** `count` weights of each output, adding to 1. */
  readonly weights: Float64Array;
}

const tapsCache = new Map<string, Taps>();

// Triangle filter with half-pixel centres, widened when shrinking (as Pillow and torchvision's antialias do).
function tapsFor(from: number, to: number): Taps {
  const key = `${from} ${to}`;
  const cached = tapsCache.get(key);
  if (cached) return cached;
  const scale = from / to;
  const support = Math.max(1, scale);
  const count = Math.min(from, Math.ceil(support) * 2 + 1);
  const first = new Int32Array(to);
  const weights = new Float64Array(to * count);
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * scale;
    const start = Math.min(Math.max(0, Math.floor(centre - support + 0.5)), from - count);
    first[i] = start;
    let sum = 0;
    for (let k = 0; k < count; k++) {
      const w = Math.max(0, 1 - Math.abs(start + k + 0.5 - centre) / support);
      weights[i * count + k] = w;
      sum += w;
    }
    for (let k = 0; k < count; k++) weights[i * count + k] = (weights[i * count + k] as number) / sum;
  }
  if (tapsCache.size > 256) tapsCache.clear();
  const taps = { first, count, weights };
  tapsCache.set(key, taps);
  return taps;
}

/** Bilinear, antialiased when shrinking; `out` is used for the result if it has the size. */
export function resize(image: ImageU8, height: number, width: number, out?: Uint8Array): ImageU8 {
  if (image.height === height && image.width === width) return image;
  const { data, channels } = image;
  const across = tapsFor(image.width, width);
  const down = tapsFor(image.height, height);
  // First along rows, then along columns; between them the values stay unrounded.
  const rows = new Float64Array(image.height * width * channels);
  for (let y = 0; y < image.height; y++)
    for (let x = 0; x < width; x++)
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        let p = (y * image.width + (across.first[x] as number)) * channels + c;
        for (let k = 0; k < across.count; k++, p += channels)
          sum += (data[p] as number) * (across.weights[x * across.count + k] as number);
        rows[(y * width + x) * channels + c] = sum;
      }
  const line = width * channels;
  const pixels = out?.length === height * line ? out : new Uint8Array(height * line);
  for (let y = 0; y < height; y++)
    for (let i = 0; i < line; i++) {
      let sum = 0;
      let p = (down.first[y] as number) * line + i;
      for (let k = 0; k < down.count; k++, p += line)
        sum += (rows[p] as number) * (down.weights[y * down.count + k] as number);
      pixels[y * line + i] = Math.round(sum);
    }
  return { data: pixels, height, width, channels };
}

/** The rectangle of `image` from (top, left); it must lie within. */
export function crop(
  { data, width: from, channels }: ImageU8,
  [top, left]: readonly [number, number],
  height: number,
  width: number,
  out: Uint8Array,
): ImageU8 {
  const line = width * channels;
  for (let y = 0; y < height; y++) {
    const start = ((top + y) * from + left) * channels;
    out.set(data.subarray(start, start + line), y * line);
  }
  return { data: out, height, width, channels };
}

/** The image in the middle of a larger field of `value`; an odd rest goes to the right and bottom. */
export function pad(image: ImageU8, height: number, width: number, value: number, out: Uint8Array): ImageU8 {
  const { data, channels } = image;
  const top = Math.floor((height - image.height) / 2);
  const left = Math.floor((width - image.width) / 2);
  const line = image.width * channels;
  out.fill(value);
  for (let y = 0; y < image.height; y++) {
    const to = ((top + y) * width + left) * channels;
    const from = y * line;
    // Short rows are faster copied by hand than through a view.
    for (let i = 0; i < line; i++) out[to + i] = data[from + i] as number;
  }
  return { data: out, height, width, channels };
}

/** Source coordinates of an output pixel: x = a u + b v + c, y = d u + e v + f, both counted from pixel centres. */
export type Affine = readonly [a: number, b: number, c: number, d: number, e: number, f: number];

/** Bilinear sampling of `image` at affine coordinates; beyond its edge lies `value`. Same size. */
export function affine(image: ImageU8, [a, b, c, d, e, f]: Affine, value: number, out: Uint8Array): ImageU8 {
  const { data, height, width, channels } = image;
  const line = width * channels;
  const at = (x: number, y: number, k: number): number =>
    x < 0 || y < 0 || x >= width || y >= height ? value : (data[y * line + x * channels + k] as number);
  let p = 0;
  for (let v = 0; v < height; v++)
    for (let u = 0; u < width; u++) {
      const x = a * u + b * v + c;
      const y = d * u + e * v + f;
      const x0 = Math.floor(x);
      const y0 = Math.floor(y);
      if (x0 < -1 || y0 < -1 || x0 >= width || y0 >= height) {
        for (let k = 0; k < channels; k++) out[p++] = value;
        continue;
      }
      const fx = x - x0;
      const fy = y - y0;
      if (x0 >= 0 && y0 >= 0 && x0 < width - 1 && y0 < height - 1) {
        let q = y0 * line + x0 * channels;
        for (let k = 0; k < channels; k++, q++) {
          const upper = (data[q] as number) * (1 - fx) + (data[q + channels] as number) * fx;
          const lower = (data[q + line] as number) * (1 - fx) + (data[q + line + channels] as number) * fx;
          out[p++] = (upper * (1 - fy) + lower * fy + 0.5) | 0;
        }
      } else
        for (let k = 0; k < channels; k++) {
          const upper = at(x0, y0, k) * (1 - fx) + at(x0 + 1, y0, k) * fx;
          const lower = at(x0, y0 + 1, k) * (1 - fx) + at(x0 + 1, y0 + 1, k) * fx;
          out[p++] = (upper * (1 - fy) + lower * fy + 0.5) | 0;
        }
    }
  return { data: out, height, width, channels };
}
