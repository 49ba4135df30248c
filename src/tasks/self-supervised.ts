/** What pictures teach without labels: to tell how they were turned, to know a picture by two views, to draw what is hidden. */
import { ArgumentError } from '../base/errors.ts';
import type { LabelledBatch, Transform } from '../data/index.ts';
import type { HostArray } from '../io/index.ts';
import { type MaskedAutoencoder, patchify } from '../models/index.ts';
import { crossEntropy, type Module, mseLoss } from '../nn/index.ts';
import { concat, embedding, iota, normal, type Tensor, tensor, uniform, where } from '../tensor/index.ts';
import { imageInput } from './image-task.ts';
import { needMethods, type Objective, type ObjectiveName } from './objective.ts';

/** u8 (N, C, H, W), or (2 N, C, H, W) of two views: first all of one, then all of the other. */
export interface PictureBatch extends LabelledBatch {
  readonly image: HostArray;
}

/** Rows of patches, i32: see PatchMasks. */
export interface MaskedPictureBatch extends PictureBatch {
  readonly kept: HostArray;
  readonly restore: HostArray;
  /** The hidden ones: (N M) rows among the N P patches. */
  readonly hidden: HostArray;
}

type Graph = readonly Transform[];

/** Of a model that answers pictures with logits or projections. */
const answers = (model: Module, name: ObjectiveName) =>
  needMethods<{ forward(x: Tensor): Tensor }>(model, name, ['features', 'forward']);

/**
 * Rotation prediction (Gidaris et al. 2018, https://arxiv.org/abs/1803.07728): each picture upright and turned by 90, 180 and 270
 * degrees, four classes. Square pictures.
 */
export function rotationPrediction(transforms: Graph): Objective<PictureBatch> {
  const forward = (model: Module, batch: PictureBatch): [Tensor, Tensor] => {
    const x = imageInput(batch, transforms);
    const n = x.shape[0] as number;
    const quarter = x.transpose(2, 3);
    const turned = concat([x, quarter.flip(2), x.flip([2, 3]), quarter.flip(3)], 0);
    const target = iota([4, n], 0).reshape(4 * n);
    return [answers(model, 'rotation').forward(turned), target];
  };
  return {
    name: 'rotation',
    unit: 'turned picture',
    perplexity: false,
    loss: (model, batch) => crossEntropy(...forward(model.train(), batch)),
    measure: (model, batch) => {
      const [logits, target] = forward(model.eval(), batch);
      return { loss: crossEntropy(logits, target), correct: hits(logits, target), weight: 4 * batch.size };
    },
  };
}

export interface ContrastiveOptions {
  /** Of the softmax over similarities: 0.5 unless told. */
  readonly temperature?: number;
}

/**
 * SimCLR (Chen et al. 2020, https://arxiv.org/abs/2002.05709): NT-Xent, the cross-entropy of finding a picture's other view among
 * all 2 N - 1 views of the batch by cosine similarity.
 * @throws ArgumentError for a temperature that is not above 0.
 */
export function contrastive(
  transforms: Graph,
  { temperature = 0.5 }: ContrastiveOptions = {},
): Objective<PictureBatch> {
  requirePositive('temperature', temperature);
  const forward = (model: Module, batch: PictureBatch): [Tensor, Tensor] => {
    const z = answers(model, 'contrastive').forward(imageInput(batch, transforms));
    return ntXent(z, temperature);
  };
  return {
    name: 'contrastive',
    unit: 'view',
    perplexity: false,
    loss: (model, batch) => crossEntropy(...forward(model.train(), batch)),
    measure: (model, batch) => {
      const [logits, target] = forward(model.eval(), batch);
      return { loss: crossEntropy(logits, target), correct: hits(logits, target), weight: 2 * batch.size };
    },
  };
}

/** Projections (2 N, D), views N apart -> logits (2 N, 2 N) over all views, oneself excluded, and the places of the other views. */
export function ntXent(z: Tensor, temperature: number): [logits: Tensor, target: Tensor] {
  const views = z.shape[0] as number;
  const unit = z.div(z.square().sum(1, { keepDims: true }).add(1e-12).sqrt());
  const similarity = unit.matmul(unit.transpose()).div(temperature);
  const self = iota([views, views], 0).eq(iota([views, views], 1));
  const partner = Int32Array.from({ length: views }, (_, i) => (i + views / 2) % views);
  return [where(self, -1e9, similarity), tensor(partner, { shape: [views], dtype: 'i32' })];
}

export interface DenoisingOptions {
  /** Deviation of the normal noise added to the normalised pixels: 0.5 unless told. */
  readonly noise?: number;
  /** Share of the picture that is blanked: 0.5 unless told. */
  readonly maskRatio?: number;
  /** Side of the blanked squares: an eighth of the picture's unless told. */
  readonly maskSize?: number;
}

/**
 * Denoising autoencoder (Vincent et al. 2008; blanked squares: Pathak et al. 2016): the mean square error of the clean picture drawn
 * from a noisy one with squares missing.
 * @throws ArgumentError for noise below 0, shares outside 0 .. 1.
 */
export function denoisingAutoencoder(
  transforms: Graph,
  { noise = 0.5, maskRatio = 0.5, maskSize }: DenoisingOptions = {},
): Objective<PictureBatch> {
  requireShare('maskRatio', maskRatio);
  if (!(noise >= 0 && Number.isFinite(noise))) invalid('noise', noise, 'a number of at least 0');
  const forward = (model: Module, batch: PictureBatch): Tensor => {
    const clean = imageInput(batch, transforms);
    const noisy = corrupt(clean, noise, maskRatio, maskSize);
    return mseLoss(answers(model, 'denoising-autoencoder').forward(noisy), clean);
  };
  return {
    name: 'denoising-autoencoder',
    unit: 'picture',
    perplexity: false,
    loss: (model, batch) => forward(model.train(), batch),
    measure: (model, batch) => ({ loss: forward(model.eval(), batch), weight: batch.size }),
  };
}

/** Blank is what black is before normalisation: the least value of the picture. */
function corrupt(x: Tensor, noise: number, ratio: number, maskSize: number | undefined): Tensor {
  const [n, , h, w] = x.shape as [number, number, number, number];
  const noisy = noise > 0 ? x.add(normal(x.shape).mul(noise)) : x;
  if (ratio === 0) return noisy;
  const side = maskSize ?? Math.max(1, Math.round(Math.min(h, w) / 8));
  const [rows, columns] = [Math.ceil(h / side), Math.ceil(w / side)];
  const squares = uniform([n, 1, rows, 1, columns, 1]).expand([n, 1, rows, side, columns, side]);
  const blanked = squares
    .reshape(n, 1, rows * side, columns * side)
    .slice(2, 0, h)
    .slice(3, 0, w)
    .lt(ratio);
  return where(blanked, x.min([1, 2, 3], { keepDims: true }), noisy);
}

export interface MaskedAutoencoderOptions {
  /** Each patch's pixels to mean 0 and deviation 1 before they are compared: true unless told. */
  readonly normalizePixels?: boolean;
}

/** Masked autoencoder (He et al. 2022): the mean square error of the hidden patches' pixels. */
export function maskedAutoencoder(
  transforms: Graph,
  { normalizePixels = true }: MaskedAutoencoderOptions = {},
): Objective<MaskedPictureBatch> {
  const forward = (module: Module, batch: MaskedPictureBatch): Tensor => {
    const model = needMethods<MaskedAutoencoder>(module, 'masked-autoencoder', ['reconstruct']);
    const x = imageInput(batch, transforms);
    const rows = ({ data }: HostArray): Tensor => tensor(data, { shape: [data.length], dtype: 'i32' });
    const drawn = model.reconstruct(x, { kept: rows(batch.kept), restore: rows(batch.restore) });
    const pixels = patchify(x, model.patchSize);
    const hiddenOf = (patches: Tensor): Tensor => {
      const [n, p, values] = patches.shape as [number, number, number];
      return embedding(patches.reshape(n * p, values), rows(batch.hidden));
    };
    return mseLoss(hiddenOf(drawn), hiddenOf(normalizePixels ? standardised(pixels) : pixels));
  };
  return {
    name: 'masked-autoencoder',
    unit: 'picture',
    perplexity: false,
    loss: (model, batch) => forward(model.train(), batch),
    measure: (model, batch) => ({ loss: forward(model.eval(), batch), weight: batch.size }),
  };
}

// As the paper's code: the variance with correction, 1e-6 added.
function standardised(x: Tensor): Tensor {
  const mean = x.mean(-1, { keepDims: true });
  return x.sub(mean).div(x.var(-1, { keepDims: true }).add(1e-6).sqrt());
}

const hits = (logits: Tensor, target: Tensor): Tensor => where(logits.argmax(1).cast('i32').eq(target), 1, 0).sum();

function requirePositive(field: string, value: number): void {
  if (!(value > 0 && Number.isFinite(value))) invalid(field, value, 'a number above 0');
}
function requireShare(field: string, value: number): void {
  if (!(value >= 0 && value < 1)) invalid(field, value, 'a share from 0 to below 1');
}
function invalid(field: string, got: unknown, expected: string): never {
  throw new ArgumentError('OPTION_INVALID', `${field}: expected ${expected}, found ${String(got)}`, {
    field,
    expected,
    got,
  });
}
