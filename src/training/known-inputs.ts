/** Through which transforms pretrained weights saw their pictures: said by their folder, or known of published files by their hash. */
import { join } from 'node:path';
import { parseTransforms, type Transform } from '../data/index.ts';
import { exists, type Json, readJson } from '../io/index.ts';
import { badConfig } from './bad-config.ts';
import { lineageOf, locateWeights, type WeightsLineage } from './init.ts';

/** The transforms of the graph stage: what becomes of a pixel. */
export const pixelTransforms = (transforms: readonly Transform[]): Transform[] =>
  transforms.filter(({ kind }) => kind === 'normalize' || kind === 'channels' || kind === 'bgr');

export interface KnownInputs {
  /** Of the graph stage. */
  readonly transforms: readonly Transform[];
  /** Channels of the pictures before them. */
  readonly channels: number;
  /** Who says so, for people. */
  readonly source: string;
}

export const imageNet: readonly Transform[] = [
  { kind: 'normalize', mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
];
/** Blue, green, red from 0 to 255 less their means. */
export const caffe: readonly Transform[] = [
  { kind: 'bgr' },
  { kind: 'normalize', mean: [0.4076, 0.4588, 0.4843], std: [1 / 255, 1 / 255, 1 / 255] },
];

const torchvision = { transforms: imageNet, of: 'torchvision' } as const;

/** By the beginning of the sha256; torchvision's own file names end in its first eight digits. */
const published: Readonly<Record<string, { readonly transforms: readonly Transform[]; readonly of: string }>> = {
  '470fba303b901df7': { transforms: caffe, of: "SqueezeNet's Caffe model" },
  '705eb4e703bf528a': { transforms: caffe, of: "VGG's Caffe model" },
  '8d42d68782d2746f': { transforms: imageNet, of: 'akamaster/pytorch_resnet_cifar10' },
  '674707105555d43a': { transforms: imageNet, of: 'akamaster/pytorch_resnet_cifar10' },
  ...Object.fromEntries(
    [
      ...['5c106cde', '333f7ec4', '19c8e357', '5d3b4d8f', 'b121ed2d', 'bbd30ac9', 'c768596a'], // before 2021
      ...['8a719046', '6002323d', '19584684', 'abd245e5', '397923af', '6c64b313', 'dcbb9e9d', 'c79401a0'], // VGG 11 .. 19
      ...['f37072fd', 'b627a593', '0676ba61', '11ad3fa6', '63fe2227', 'cd907fc2', '394f9c45', 'f82ba261'], // ResNet 18 .. 152
      ...['b66bff10', 'b8a52dc0'], // SqueezeNet 1.0, 1.1
      'c867db91', // ViT-B/16
    ].map((digits) => [digits, torchvision]),
  ),
};

/**
 * What is known of `weights`; undefined where nothing is.
 * @throws DataError MODEL_CONFIG for a damaged preprocessor_config.json; IoError.
 */
export async function knownInputs(weights: string, lineage?: WeightsLineage): Promise<KnownInputs | undefined> {
  const located = await locateWeights(weights);
  const said = await fromFolder(located.path);
  if (said) return said;
  const { sha256 } = lineage ?? (await lineageOf(weights, located));
  const found = Object.entries(published).find(([digits]) => sha256.startsWith(digits))?.[1];
  return found && { transforms: found.transforms, channels: 3, source: `${found.of} (known by its hash)` };
}

async function fromFolder(folder: string): Promise<KnownInputs | undefined> {
  const file = join(folder, 'preprocessor_config.json');
  if (!(await exists(file))) return undefined;
  const saved = await readJson(file);
  if (typeof saved !== 'object' || saved === null || Array.isArray(saved)) return undefined;
  if (saved.transforms !== undefined) {
    const { image } = saved;
    const channels = typeof image === 'object' && image !== null && !Array.isArray(image) ? image.channels : undefined;
    return {
      transforms: pixelTransforms(parseTransforms(saved.transforms)),
      channels: channels === 1 ? 1 : 3,
      source: 'their preprocessor_config.json',
    };
  }
  return fromTransformers(saved, file);
}

/** An image processor of transformers: pixels times `rescale_factor`, less `image_mean`, over `image_std`. */
function fromTransformers(saved: { readonly [key: string]: Json }, file: string): KnownInputs | undefined {
  const { image_mean: mean, image_std: std, do_rescale = true, do_normalize = true, rescale_factor = 1 / 255 } = saved;
  if (mean === undefined && std === undefined && saved.do_rescale === undefined) return undefined;
  const factor = do_rescale === false ? 1 : rescale_factor;
  if (typeof factor !== 'number' || !(factor > 0)) return badConfig(file, 'rescale_factor', 'a number above 0', factor);
  const [means, stds] =
    do_normalize === false ? [[0], [1]] : [numbers(file, 'image_mean', mean), numbers(file, 'image_std', std)];
  // Ours begin with pixels from 0 to 1.
  const white = 255 * factor;
  const each = <T>(list: readonly T[]): readonly T[] => (list.length === 1 ? [...list, ...list, ...list] : list);
  return {
    transforms: [{ kind: 'normalize', mean: each(means).map((v) => v / white), std: each(stds).map((v) => v / white) }],
    channels: 3,
    source: 'their preprocessor_config.json',
  };
}

function numbers(file: string, field: string, value: Json | undefined): readonly number[] {
  const list = typeof value === 'number' ? [value] : value;
  if (!Array.isArray(list) || ![1, 3].includes(list.length) || !list.every((v) => typeof v === 'number'))
    return badConfig(file, field, 'one or three numbers', value);
  if (field === 'image_std' && !list.every((v) => (v as number) > 0))
    return badConfig(file, field, 'numbers above 0', value);
  return list as number[];
}
