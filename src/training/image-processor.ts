/** transformers' preprocessor_config.json of picture models as transforms. What we do not compute is refused, never ignored. */
import { printable, UnsupportedError } from '../base/errors.ts';
import { parseTransforms, type Transform } from '../data/index.ts';
import type { Json } from '../io/index.ts';
import { badConfig } from './bad-config.ts';

type Fields = { readonly [key: string]: Json };

// PIL's number of bilinear, the only one here.
const BILINEAR = 2;

/**
 * Resize, crop and normalisation as `do_resize`, `do_center_crop`, `do_rescale` and `do_normalize` say.
 * @throws DataError MODEL_CONFIG naming the field; UnsupportedError PREPROCESSOR_UNSUPPORTED.
 */
export function processorTransforms(json: Json, file: string): Transform[] {
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    return badConfig(file, 'config', 'an object', json);
  const transforms: Transform[] = [];
  if (json.do_resize !== false) {
    const { resample = BILINEAR } = json;
    if (resample !== null && resample !== BILINEAR) unsupported(file, 'resample', BILINEAR, resample);
    transforms.push(resizeOf(json, file));
  }
  if (json.do_center_crop === true) {
    const side = typeof json.crop_size === 'number' ? json.crop_size : undefined;
    const size = side === undefined ? (json.crop_size as Fields | undefined) : { height: side, width: side };
    transforms.push({
      kind: 'centerCrop',
      height: whole(size?.height, file, 'crop_size'),
      width: whole(size?.width, file, 'crop_size'),
    });
  }
  const factor = json.rescale_factor ?? 1 / 255;
  if (json.do_rescale === false || typeof factor !== 'number' || Math.abs(factor * 255 - 1) > 1e-6)
    unsupported(file, json.do_rescale === false ? 'do_rescale' : 'rescale_factor', '1/255', factor);
  if (json.do_normalize !== false)
    transforms.push({
      kind: 'normalize',
      mean: numbers(json.image_mean ?? [0.5, 0.5, 0.5], file, 'image_mean'),
      std: numbers(json.image_std ?? [0.5, 0.5, 0.5], file, 'image_std'),
    });
  return parseTransforms(transforms);
}

function resizeOf({ size }: Fields, file: string): Transform {
  if (typeof size === 'number') return { kind: 'resize', height: whole(size, file, 'size'), width: size };
  const { height, width, shortest_edge: shortest, ...rest } = (size ?? { height: 224, width: 224 }) as Fields;
  const [other] = Object.keys(rest);
  if (other !== undefined) unsupported(file, `size.${other}`, 'height and width, or shortest_edge', rest[other]);
  if (shortest !== undefined) return { kind: 'resizeShorter', size: whole(shortest, file, 'size.shortest_edge') };
  return { kind: 'resize', height: whole(height, file, 'size.height'), width: whole(width, file, 'size.width') };
}

function whole(value: Json | undefined, file: string, field: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= 2 ** 14) return value;
  return badConfig(file, field, 'a whole number above 0', value);
}

function numbers(value: Json, file: string, field: string): number[] {
  if (Array.isArray(value) && value.every((v) => typeof v === 'number')) return value;
  return badConfig(file, field, 'a list of numbers', value);
}

function unsupported(file: string, field: string, expected: unknown, got: Json | undefined): never {
  throw new UnsupportedError(
    'PREPROCESSOR_UNSUPPORTED',
    `${printable(file)}: ${field} ${printable(got ?? null)} is not computed here`,
    { file, field, expected, got, hint: 'say what comes nearest: --transforms LIST' },
  );
}
