/**
 * Preprocessing and augmentation as values: plain JSON, saved with the model, the same in training, evaluation and
 * serving. Host transforms change u8 pictures one by one; graph transforms (`channels`, `normalize`) are computed by the
 * engine on whole batches, so that pictures travel as u8.
 */
import { ConfigError, nearest, printable } from '../base/errors.ts';
import type { ImageSize } from './image.ts';
import { type ImageFeature, imageFeature, type Schema } from './schema.ts';

export type Transform =
  /** Bilinear, antialiased when shrinking. */
  | { readonly kind: 'resize'; readonly height: number; readonly width: number }
  /** The shorter side becomes `size`, the other in proportion; as torchvision's Resize(size). */
  | { readonly kind: 'resizeShorter'; readonly size: number }
  /** The middle of the picture, which must be at least as large. */
  | { readonly kind: 'centerCrop'; readonly height: number; readonly width: number }
  /** Centres the picture in height x width of `value` (0). */
  | { readonly kind: 'pad'; readonly height: number; readonly width: number; readonly value?: number }
  /** Repeats grey to 3 channels, or weighs colour to 1. In the graph. */
  | { readonly kind: 'channels'; readonly channels: 1 | 3 }
  /** Swaps red and blue, for weights trained on pictures as OpenCV and Caffe read them. In the graph. */
  | { readonly kind: 'bgr' }
  /** (x / 255 - mean) / std for each channel. In the graph. */
  | { readonly kind: 'normalize'; readonly mean: readonly number[]; readonly std: readonly number[] }
  /**
   * Rotation within +-degrees, shift within +-translate of the side, zoom between the scales, horizontal shear within
   * +-shear degrees; around the centre, `fill` (0) beyond the edge.
   */
  | {
      readonly kind: 'randomAffine';
      readonly degrees?: number;
      readonly translate?: number;
      readonly scale?: readonly [number, number];
      readonly shear?: number;
      readonly fill?: number;
    }
  /** With `probability` (0.5) overwrites a rectangle of a share of the area within `area` ([0.02, 0.2]) by `value` (0). */
  | {
      readonly kind: 'randomErase';
      readonly probability?: number;
      readonly area?: readonly [number, number];
      readonly value?: number;
    }
  /**
   * A part of the picture, a share of its area within `scale` ([0.08, 1]) of width over height within `ratio` ([3/4, 4/3]),
   * resized; as torchvision's RandomResizedCrop.
   */
  | {
      readonly kind: 'randomResizedCrop';
      readonly height: number;
      readonly width: number;
      readonly scale?: readonly [number, number];
      readonly ratio?: readonly [number, number];
    }
  /** Mirrors left and right with `probability` (0.5). */
  | { readonly kind: 'randomFlip'; readonly probability?: number };

export type TransformKind = Transform['kind'];
type Of<K extends TransformKind> = Extract<Transform, { kind: K }>;

/** A picture's size on its way through; null where it differs from picture to picture. */
export interface FlowSize {
  readonly height: number | null;
  readonly width: number | null;
  readonly channels: number;
}

interface Rule<K extends TransformKind> {
  readonly stage: 'host' | 'graph';
  /** Only for training. */
  readonly random: boolean;
  /** Every key but `kind`: what it must be, and the test; a key is optional if the test takes undefined. */
  readonly keys: {
    readonly [P in Exclude<keyof Of<K>, 'kind'>]-?: readonly [words: string, test: (v: unknown) => boolean];
  };
  /** The size after it, or why it cannot be. */
  readonly size: (transform: Of<K>, size: FlowSize) => FlowSize | string;
}

const number = (low: number, high: number) => (v: unknown) => typeof v === 'number' && v >= low && v <= high;
const integer = (low: number, high: number) => (v: unknown) => Number.isInteger(v) && number(low, high)(v);
const list = (test: (v: unknown) => boolean) => (v: unknown) => Array.isArray(v) && v.length > 0 && v.every(test);
const range = (low: number, high: number) => (v: unknown) =>
  Array.isArray(v) && v.length === 2 && v.every(number(low, high)) && v[0] <= v[1];
const optional = (test: (v: unknown) => boolean) => (v: unknown) => v === undefined || test(v);

const side = ['an integer from 1 to 16384', integer(1, 16384)] as const;
const byte = ['an integer from 0 to 255', optional(integer(0, 255))] as const;
const probability = ['a number from 0 to 1', optional(number(0, 1))] as const;
const same = (_: unknown, size: FlowSize): FlowSize => size;

/** One row a transform; a new kind is a row here and one in pipeline.ts (or the task, for the graph). */
export const transformRules: { readonly [K in TransformKind]: Rule<K> } = {
  resize: {
    stage: 'host',
    random: false,
    keys: { height: side, width: side },
    size: ({ height, width }, { channels }) => ({ height, width, channels }),
  },
  resizeShorter: {
    stage: 'host',
    random: false,
    keys: { size: side },
    size: ({ size }, { height, width, channels }) => {
      if (height === null || width === null) return { height: null, width: null, channels };
      return { ...shorterSide(height, width, size), channels };
    },
  },
  centerCrop: {
    stage: 'host',
    random: false,
    keys: { height: side, width: side },
    size: ({ height, width }, size) =>
      (size.height ?? height) < height || (size.width ?? width) < width
        ? `cannot crop ${height}x${width} out of ${sizeText(size)}; use resize`
        : { ...size, height, width },
  },
  bgr: {
    stage: 'graph',
    random: false,
    keys: {},
    size: (_, size) => (size.channels === 3 ? size : `it needs 3 channels, the picture has ${size.channels} here`),
  },
  randomResizedCrop: {
    stage: 'host',
    random: true,
    keys: {
      height: side,
      width: side,
      scale: ['[low, high] from 0.001 to 1', optional(range(0.001, 1))],
      ratio: ['[low, high] from 0.05 to 20', optional(range(0.05, 20))],
    },
    // Evaluation leaves it out: what stands behind it must make sizes equal as well.
    size: ({ height, width }, { channels }) => ({ height, width, channels }),
  },
  pad: {
    stage: 'host',
    random: false,
    keys: { height: side, width: side, value: byte },
    size: ({ height, width }, size) =>
      (size.height ?? 0) > height || (size.width ?? 0) > width
        ? `cannot pad ${sizeText(size)} to the smaller ${height}x${width}; use resize`
        : { ...size, height, width },
  },
  channels: {
    stage: 'graph',
    random: false,
    keys: { channels: ['1 or 3', (v) => v === 1 || v === 3] },
    size: ({ channels }, size) =>
      size.channels === channels || size.channels + channels === 4
        ? { ...size, channels }
        : `cannot make ${channels} channels of ${size.channels}`,
  },
  normalize: {
    stage: 'graph',
    random: false,
    keys: {
      mean: ['a list of numbers from 0 to 1', list(number(0, 1))],
      std: ['a list of numbers above 0 and at most 10', list((v) => number(0, 10)(v) && v !== 0)],
    },
    size: ({ mean, std }, size) => {
      if (mean.length !== std.length) return `it has ${mean.length} means and ${std.length} deviations`;
      if (mean.length === 1 || mean.length === size.channels) return size;
      const fix = size.channels === 1 ? `; put { kind: 'channels', channels: ${mean.length} } before it` : '';
      return `it has ${mean.length} means, the picture has ${size.channels} channel(s) here${fix}`;
    },
  },
  randomAffine: {
    stage: 'host',
    random: true,
    keys: {
      degrees: ['a number from 0 to 180', optional(number(0, 180))],
      translate: ['a share of the side from 0 to 1', optional(number(0, 1))],
      scale: ['[low, high] from 0.05 to 20', optional(range(0.05, 20))],
      shear: ['a number from 0 to 60', optional(number(0, 60))],
      fill: byte,
    },
    size: same,
  },
  randomErase: {
    stage: 'host',
    random: true,
    keys: { probability, area: ['[low, high] from 0 to 1', optional(range(0, 1))], value: byte },
    size: same,
  },
  randomFlip: { stage: 'host', random: true, keys: { probability }, size: same },
};

/** Height and width when the shorter of them becomes `size`. */
export const shorterSide = (height: number, width: number, size: number): { height: number; width: number } =>
  height <= width
    ? { height: size, width: Math.max(1, Math.floor((size * width) / height)) }
    : { height: Math.max(1, Math.floor((size * height) / width)), width: size };

const ruleOf = (kind: TransformKind): Rule<TransformKind> => transformRules[kind] as unknown as Rule<TransformKind>;

export const isRandom = ({ kind }: Transform): boolean => transformRules[kind].random;

/** The transforms evaluation and serving use: all but the random ones. */
export const withoutRandom = (transforms: readonly Transform[]): Transform[] => transforms.filter((t) => !isRandom(t));

export interface SplitTransforms {
  /** Run by the loader on each u8 picture. */
  readonly host: Transform[];
  /** Run by the task's graph on the batch, in this order, on values in [0, 1] (u8 / 255). */
  readonly graph: Transform[];
}

/** Which transforms run where, order kept. */
export function splitPipeline(transforms: readonly Transform[]): SplitTransforms {
  const at = (stage: 'host' | 'graph') => transforms.filter(({ kind }) => transformRules[kind].stage === stage);
  return { host: at('host'), graph: at('graph') };
}

export interface CheckedPipeline extends SplitTransforms {
  /** What the loader delivers (u8). */
  readonly hostSize: ImageSize;
  /** What the model sees. */
  readonly modelSize: ImageSize;
}

/**
 * Checks every transform, and that each fits the size the one before leaves.
 * @param field the image feature they apply to.
 * @throws ConfigError TRANSFORM_INVALID naming the transform's position (`transforms[1].height`) and the way out.
 */
export function validateTransforms(transforms: unknown, schema: Schema, field = 'image'): CheckedPipeline {
  const checked = parseTransforms(transforms);
  const feature = imageFeature(schema, field);
  const { host, graph } = splitPipeline(checked);
  const firstGraph = checked.findIndex(({ kind }) => kind === 'normalize');
  const late = checked.findIndex(
    (t, i) => firstGraph >= 0 && i > firstGraph && transformRules[t.kind].stage === 'host',
  );
  if (late >= 0)
    invalid(
      `transforms[${late}]`,
      `${checked[late]?.kind} stands after normalize, which is computed later on the whole batch`,
      `move { kind: '${checked[late]?.kind}' } before normalize`,
    );
  let size: FlowSize = feature;
  const step = (t: Transform): void => {
    const next = ruleOf(t.kind).size(t as never, size);
    if (typeof next === 'string') invalid(`transforms[${checked.indexOf(t)}]`, `${t.kind}: ${next}`);
    else size = next;
  };
  for (const t of host) step(t);
  const hostSize = known(size, feature);
  for (const t of graph) step(t);
  return { host, graph, hostSize, modelSize: { ...hostSize, channels: size.channels } };
}

/** Transforms from a recipe or a model folder, checked one by one. @throws ConfigError TRANSFORM_INVALID. */
export function parseTransforms(value: unknown): Transform[] {
  if (!Array.isArray(value)) return invalid('transforms', `expected a list of transforms, found ${printable(value)}`);
  return value.map((entry, i) => parseTransform(entry, `transforms[${i}]`));
}

function parseTransform(entry: unknown, where: string): Transform {
  if (typeof entry !== 'object' || entry === null)
    return invalid(where, `expected { kind: ... }, found ${printable(entry)}`);
  const row = entry as Record<string, unknown>;
  const kinds = Object.keys(transformRules);
  if (typeof row.kind !== 'string' || !Object.hasOwn(transformRules, row.kind)) {
    const near = typeof row.kind === 'string' ? nearest(row.kind, kinds) : undefined;
    const hint = near === undefined ? undefined : `did you mean '${near}'?`;
    return invalid(`${where}.kind`, `expected one of ${kinds.join(', ')}, found ${printable(row.kind)}`, hint);
  }
  const keys = ruleOf(row.kind as TransformKind).keys as Record<string, readonly [string, (v: unknown) => boolean]>;
  for (const key of Object.keys(row))
    if (key !== 'kind' && !Object.hasOwn(keys, key))
      return invalid(
        `${where}.${printable(key).slice(1, -1)}`,
        `${row.kind} has no such option; it has ${Object.keys(keys).join(', ')}`,
      );
  for (const [key, [words, test]] of Object.entries(keys))
    if (!test(row[key])) return invalid(`${where}.${key}`, `expected ${words}, found ${printable(row[key])}`);
  return { ...row } as unknown as Transform;
}

function known(size: FlowSize, feature: ImageFeature): ImageSize {
  if (size.height !== null && size.width !== null)
    return { height: size.height, width: size.width, channels: size.channels };
  return invalid(
    'transforms',
    `the pictures differ in size (${sizeText(feature)}) and no transform makes them equal`,
    "add { kind: 'resize', height: 224, width: 224 }",
  );
}

const sizeText = ({ height, width }: FlowSize): string => `${height ?? '?'}x${width ?? '?'}`;

function invalid(field: string, message: string, hint?: string): never {
  throw new ConfigError('TRANSFORM_INVALID', `${field}: ${message}`, {
    field,
    ...(hint === undefined ? {} : { hint }),
  });
}
