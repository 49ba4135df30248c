/**
 * `digits`: handwriting-like digits drawn by our own code, so that everything runs offline. Each picture is a function
 * of (seed, split, index): a stroke template, jittered, posed, drawn with a pen of random width, then boxed as MNIST's
 * are (20x20, centre of mass in the middle of 28x28).
 */
import { ArgumentError } from '../../base/errors.ts';
import { InMemoryImageDataset } from '../dataset.ts';
import { SampleRandom } from '../random.ts';
import { type Stroke, templates, type Variant } from './digit-strokes.ts';
import { digitNames } from './mnist.ts';

export interface DigitsOptions {
  split: 'train' | 'test';
  /** Number of pictures; 12,000 for train and 2,000 for test. */
  size?: number;
  /** 0 unless told; every seed is another data set. */
  seed?: number;
}

const SIDE = 28;
const defaultSize = { train: 12_000, test: 2_000 } as const;
// Places in a sample's random stream; train and test never share one.
const place = { train: 0xd1_0000, test: 0xd1_0001 } as const;

/** Balanced classes in scrambled order. Ids are indices; a longer set begins with the shorter one. */
export function digits({ split, size = defaultSize[split], seed = 0 }: DigitsOptions): InMemoryImageDataset {
  if (!Number.isInteger(size) || size < 1 || size > 10_000_000)
    throw new ArgumentError('DIGITS_SIZE', `digits: expected a size from 1 to 10,000,000, found ${size}`, {
      field: 'size',
      got: size,
    });
  const pixels = new Uint8Array(size * SIDE * SIDE);
  const labels = new Int32Array(size);
  const pen = new Pen();
  for (let i = 0; i < size; i++)
    labels[i] = pen.draw(seed, split, i, pixels.subarray(i * SIDE * SIDE, (i + 1) * SIDE * SIDE));
  return new InMemoryImageDataset({
    name: `digits/${split}`,
    pixels,
    labels,
    height: SIDE,
    width: SIDE,
    classes: digitNames,
  });
}

// Most points one picture can have: 4 strokes of at most 12 control points, 6 pieces between two of them.
const MAX_POINTS = 512;

/** Draws digits; holds scratch memory, so that a picture costs no garbage. */
class Pen {
  readonly #random = new SampleRandom();
  readonly #x = new Float64Array(MAX_POINTS);
  readonly #y = new Float64Array(MAX_POINTS);
  /** 0 where a stroke begins (no line from the point before). */
  readonly #joined = new Uint8Array(MAX_POINTS);
  /** How far inside the stroke's edge each pixel's centre lies, in pixels; negative outside. */
  readonly #ink = new Float64Array(SIDE * SIDE);
  #points = 0;

  /** Draws picture `index` into `out` (784 bytes, zeroed) and returns its class. */
  draw(seed: number, split: 'train' | 'test', index: number, out: Uint8Array): number {
    const random = this.#random;
    // Each ten pictures hold every digit once, in a rotated order.
    const turn = random.start(seed, 1, Math.floor(index / 10), place[split]).u32();
    const label = ((index % 10) * 7 + (turn % 10)) % 10;
    random.start(seed, 0, index, place[split]);
    const variants = templates[label] as (typeof templates)[number];
    const variant = choose(variants, random.uniform());
    this.#points = 0;
    for (const stroke of variant.strokes) this.#trace(stroke);
    this.#pose();
    this.#render(random.between(0.65, 1.4), out);
    return label;
  }

  // Jitters the control points and lays a Catmull-Rom curve through them.
  #trace(stroke: Stroke): void {
    const random = this.#random;
    const { points, closed = false, jitter = 0.028 } = stroke;
    const n = points.length / 2;
    const px: number[] = [];
    const py: number[] = [];
    for (let i = 0; i < n; i++) {
      px.push((points[2 * i] as number) + jitter * random.wobble());
      py.push((points[2 * i + 1] as number) + jitter * random.wobble());
    }
    if (closed) {
      // A hand seldom closes a loop exactly.
      px.push((px[0] as number) + 0.02 * random.wobble());
      py.push((py[0] as number) + 0.02 * random.wobble());
    }
    const last = px.length - 1;
    this.#add(px[0] as number, py[0] as number, 0);
    for (let i = 0; i < last; i++) {
      const before = i > 0 ? i - 1 : closed ? last - 1 : 0;
      const after = i + 2 <= last ? i + 2 : closed ? 1 : last;
      const [x0, x1, x2, x3] = [px[before], px[i], px[i + 1], px[after]] as [number, number, number, number];
      const [y0, y1, y2, y3] = [py[before], py[i], py[i + 1], py[after]] as [number, number, number, number];
      const pieces = Math.max(1, Math.min(6, Math.ceil(length(x2 - x1, y2 - y1) * 9)));
      for (let k = 1; k <= pieces; k++) {
        const t = k / pieces;
        this.#add(spline(x0, x1, x2, x3, t), spline(y0, y1, y2, y3, t), 1);
      }
    }
  }

  #add(x: number, y: number, joined: 0 | 1): void {
    const i = this.#points++;
    this.#x[i] = x;
    this.#y[i] = y;
    this.#joined[i] = joined;
  }

  // Slant, rotation, aspect and a slight bend; then the box of 20x20 that MNIST's digits were fitted to.
  #pose(): void {
    const random = this.#random;
    // Rotation and aspect by fractions: sin, cos and exp may differ in the last bit between versions of Node.
    const half = 0.055 * random.wobble();
    const cos = (1 - half * half) / (1 + half * half);
    const sin = (2 * half) / (1 + half * half);
    const slant = 0.12 + 0.2 * random.wobble();
    const stretch = 0.065 * random.wobble();
    const aspect = (1 + stretch) / (1 - stretch);
    const bend = 0.09 * random.wobble();
    let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < this.#points; i++) {
      const v = (this.#y[i] as number) - 0.5;
      const u = ((this.#x[i] as number) - 0.5) * aspect - slant * v + bend * (4 * v * v - 0.5);
      const x = cos * u - sin * v;
      const y = sin * u + cos * v;
      this.#x[i] = x;
      this.#y[i] = y;
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < top) top = y;
      if (y > bottom) bottom = y;
    }
    const scale = (18 + 0.5 * random.wobble()) / Math.max(right - left, bottom - top, 0.3);
    const offsetX = SIDE / 2 + 0.45 * random.wobble();
    const offsetY = SIDE / 2 + 0.45 * random.wobble();
    let [massX, massY, mass] = [0, 0, 1e-9];
    for (let i = 0; i < this.#points; i++) {
      this.#x[i] = (this.#x[i] as number) * scale;
      this.#y[i] = (this.#y[i] as number) * scale;
      if (!this.#joined[i]) continue;
      const [x, y, x0, y0] = [this.#x[i], this.#y[i], this.#x[i - 1], this.#y[i - 1]] as [
        number,
        number,
        number,
        number,
      ];
      const ink = length(x - x0, y - y0);
      massX += (ink * (x + x0)) / 2;
      massY += (ink * (y + y0)) / 2;
      mass += ink;
    }
    // The centre of mass goes to the middle, but a lopsided digit must not run into the frame.
    const moveX = Math.min(25 - right * scale, Math.max(3 - left * scale, offsetX - massX / mass));
    const moveY = Math.min(25 - bottom * scale, Math.max(3 - top * scale, offsetY - massY / mass));
    for (let i = 0; i < this.#points; i++) {
      this.#x[i] = (this.#x[i] as number) + moveX;
      this.#y[i] = (this.#y[i] as number) + moveY;
    }
  }

  // Each piece of the path inks the pixels near it; a pixel keeps the most ink any piece gives it.
  #render(radius: number, out: Uint8Array): void {
    const random = this.#random;
    const ink = this.#ink.fill(-8);
    const softness = random.between(0.7, 1.1);
    const reach = radius + softness;
    let pressure = 0;
    for (let i = 1; i < this.#points; i++) {
      if (!this.#joined[i]) continue;
      // The pen's width wanders along the way.
      pressure = 0.85 * pressure + 0.07 * radius * random.wobble();
      const local = Math.max(0.6, radius + pressure);
      const [ax, ay, bx, by] = [this.#x[i - 1], this.#y[i - 1], this.#x[i], this.#y[i]] as [
        number,
        number,
        number,
        number,
      ];
      const [dx, dy] = [bx - ax, by - ay];
      const inverse = 1 / Math.max(dx * dx + dy * dy, 1e-9);
      const border = reach + Math.max(0, pressure);
      const x1 = Math.min(SIDE - 1, Math.floor(Math.max(ax, bx) + border));
      const y1 = Math.min(SIDE - 1, Math.floor(Math.max(ay, by) + border));
      const x0 = Math.max(0, Math.floor(Math.min(ax, bx) - border));
      const y0 = Math.max(0, Math.floor(Math.min(ay, by) - border));
      for (let y = y0; y <= y1; y++)
        for (let x = x0; x <= x1; x++) {
          const qx = x + 0.5 - ax;
          const qy = y + 0.5 - ay;
          const t = Math.min(1, Math.max(0, (qx * dx + qy * dy) * inverse));
          const ex = qx - t * dx;
          const ey = qy - t * dy;
          const inside = local - Math.sqrt(ex * ex + ey * ey);
          const p = y * SIDE + x;
          if (inside > (ink[p] as number)) ink[p] = inside;
        }
    }
    const strength = random.between(245, 420);
    const grain = random.between(0, 14);
    for (let p = 0; p < out.length; p++) {
      const inside = ink[p] as number;
      if (inside <= -softness) continue;
      const cover = Math.min(1, 0.5 + inside / (2 * softness));
      out[p] = Math.max(0, Math.min(255, Math.round(strength * cover + grain * cover * random.wobble())));
    }
  }
}

// The variant at position `u` of [0, 1) when each takes room by its weight.
function choose(variants: readonly Variant[], u: number): Variant {
  let rest = u * variants.reduce((sum, { weight }) => sum + weight, 0);
  for (const variant of variants) {
    rest -= variant.weight;
    if (rest < 0) return variant;
  }
  return variants[variants.length - 1] as Variant;
}

const length = (x: number, y: number): number => Math.sqrt(x * x + y * y);

const spline = (a: number, b: number, c: number, d: number, t: number): number =>
  b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
