/** Runs host transforms on u8 pictures. What happens to a sample depends on (seed, epoch, sample id, position) alone. */
import { DataError, invariant } from '../base/errors.ts';
import { affine, crop, type ImageU8, pad, resize } from './image.ts';
import { SampleRandom } from './random.ts';
import { shorterSide, type Transform, type TransformKind } from './transforms.ts';

type Of<K extends TransformKind> = Extract<Transform, { kind: K }>;
type HostKind = Exclude<TransformKind, 'channels' | 'normalize' | 'bgr'>;
/** `out` has the size of the input unless `outputSize` says otherwise; it never is the input's memory. */
type Run<K extends HostKind> = (
  transform: Of<K>,
  image: ImageU8,
  random: SampleRandom,
  scratch: (bytes: number) => Uint8Array,
) => ImageU8;

/** Sine and cosine by their series: Math.sin may differ in the last bit between versions of Node, pixels must not. */
export function rotation(degrees: number): { sin: number; cos: number } {
  const x = (degrees * Math.PI) / 180;
  let [sin, cos, term] = [0, 0, 1];
  for (let n = 0; n < 32; n += 2) {
    cos += term;
    sin += (term * x) / (n + 1);
    term *= (-x * x) / ((n + 1) * (n + 2));
  }
  return { sin, cos };
}

const runs: { readonly [K in HostKind]: Run<K> } = {
  resize: ({ height, width }, image, _, scratch) =>
    resize(image, height, width, scratch(height * width * image.channels)),

  resizeShorter: ({ size }, image, _, scratch) => {
    const { height, width } = shorterSide(image.height, image.width, size);
    return resize(image, height, width, scratch(height * width * image.channels));
  },

  centerCrop: ({ height, width }, image, _, scratch) => {
    if (image.height < height || image.width < width)
      throw new DataError(
        'IMAGE_TOO_SMALL_TO_CROP',
        `${height}x${width} cannot be cropped out of an image of ${image.height}x${image.width}`,
        { expected: [height, width], got: [image.height, image.width], hint: 'put resizeShorter before centerCrop' },
      );
    if (image.height === height && image.width === width) return image;
    const corner = [(image.height - height) >> 1, (image.width - width) >> 1] as const;
    return crop(image, corner, height, width, scratch(height * width * image.channels));
  },

  randomResizedCrop: ({ height, width, scale = [0.08, 1], ratio = [3 / 4, 4 / 3] }, image, random, scratch) => {
    const share = random.between(scale[0], scale[1]);
    // (r - 1) / (r + 1) grows nearly as the logarithm of r: tall and wide parts are equally likely.
    const [low, high] = ratio.map((r) => (r - 1) / (r + 1)) as [number, number];
    const s = random.between(low, high);
    const aspect = (1 + s) / (1 - s);
    const area = share * image.height * image.width;
    // Where the part would not fit, it is cut to the side it exceeds.
    const wide = Math.max(1, Math.min(image.width, Math.round(Math.sqrt(area * aspect))));
    const tall = Math.max(1, Math.min(image.height, Math.round(Math.sqrt(area / aspect))));
    const top = Math.floor(random.uniform() * (image.height - tall + 1));
    const left = Math.floor(random.uniform() * (image.width - wide + 1));
    const part = crop(image, [top, left], tall, wide, new Uint8Array(tall * wide * image.channels));
    return resize(part, height, width, scratch(height * width * image.channels));
  },

  pad: ({ height, width, value = 0 }, image, _, scratch) => {
    if (image.height > height || image.width > width)
      throw new DataError(
        'IMAGE_TOO_LARGE_TO_PAD',
        `an image of ${image.height}x${image.width} cannot be padded to ${height}x${width}`,
        { expected: [height, width], got: [image.height, image.width], hint: 'use a resize transform' },
      );
    if (image.height === height && image.width === width) return image;
    return pad(image, height, width, value, scratch(height * width * image.channels));
  },

  randomAffine: (t, image, random, scratch) => {
    const { degrees = 0, translate = 0, scale = [1, 1], shear = 0, fill = 0 } = t;
    const turn = rotation(random.between(-degrees, degrees));
    const slant = rotation(random.between(-shear, shear));
    const skew = slant.sin / slant.cos;
    const zoom = 1 / random.between(scale[0], scale[1]);
    const shiftX = random.between(-translate, translate) * image.width;
    const shiftY = random.between(-translate, translate) * image.height;
    // Output pixel -> source pixel: undo the shift, the rotation, the shear and the zoom, in this order.
    const [cos, sin] = [turn.cos * zoom, turn.sin * zoom];
    const [d, e] = [-sin, cos];
    const [a, b] = [cos - skew * d, sin - skew * e];
    const [cx, cy] = [(image.width - 1) / 2, (image.height - 1) / 2];
    const [x, y] = [cx + shiftX, cy + shiftY];
    return affine(image, [a, b, cx - a * x - b * y, d, e, cy - d * x - e * y], fill, scratch(image.data.length));
  },

  randomErase: ({ probability = 0.5, area = [0.02, 0.2], value = 0 }, image, random, scratch) => {
    // Always five numbers, so that a sample's later transforms do not depend on the coin.
    const hit = random.uniform() < probability;
    const share = random.between(area[0], area[1]);
    const shape = random.between(-0.5, 0.5);
    // Height over width, from 1/3 to 3.
    const ratio = (1 + shape) / (1 - shape);
    const { height, width, channels } = image;
    const tall = Math.min(height, Math.round(Math.sqrt(share * height * width * ratio)));
    const wide = Math.min(width, Math.round(Math.sqrt((share * height * width) / ratio)));
    const top = Math.floor(random.uniform() * (height - tall + 1));
    const left = Math.floor(random.uniform() * (width - wide + 1));
    if (!hit || tall === 0 || wide === 0) return image;
    const data = scratch(image.data.length);
    data.set(image.data);
    for (let y = top; y < top + tall; y++) {
      const from = (y * width + left) * channels;
      data.fill(value, from, from + wide * channels);
    }
    return { data, height, width, channels };
  },

  randomFlip: ({ probability = 0.5 }, image, random, scratch) => {
    if (random.uniform() >= probability) return image;
    const { height, width, channels } = image;
    const data = scratch(image.data.length);
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        for (let c = 0; c < channels; c++)
          data[(y * width + x) * channels + c] = image.data[(y * width + width - 1 - x) * channels + c] as number;
    return { data, height, width, channels };
  },
};

// Further apart than any pipeline is long; below the places of other users.
const VIEW = 4096;

/** Host transforms with their scratch memory. Not to be shared between loops that interleave. */
export class HostPipeline {
  readonly #transforms: readonly Transform[];
  readonly #random = new SampleRandom();
  readonly #buffers: Uint8Array[] = [];

  /** @param transforms of the host stage, already validated. */
  constructor(transforms: readonly Transform[]) {
    for (const { kind } of transforms) invariant(Object.hasOwn(runs, kind), `${kind} is not a host transform`);
    this.#transforms = transforms;
  }

  /** The transformed picture, one of several `view`s of it. It may lie in scratch memory: copy it before the next call. */
  run(image: ImageU8, seed: number, epoch: number, id: number, view = 0): ImageU8 {
    let current = image;
    for (let i = 0; i < this.#transforms.length; i++) {
      const transform = this.#transforms[i] as Of<HostKind>;
      const run = runs[transform.kind] as Run<HostKind>;
      this.#random.start(seed, epoch, id, i + view * VIEW);
      current = run(transform, current, this.#random, (bytes) => this.#scratch(i, bytes));
    }
    return current;
  }

  // One buffer a stage: a stage's input is never its output.
  #scratch(stage: number, bytes: number): Uint8Array {
    const buffer = this.#buffers[stage];
    if (buffer?.length === bytes) return buffer;
    const fresh = new Uint8Array(bytes);
    this.#buffers[stage] = fresh;
    return fresh;
  }
}
