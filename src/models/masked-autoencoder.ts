/**
 * Masked autoencoder on a Vision Transformer (He et al. 2022, https://arxiv.org/abs/2111.06377): the encoder sees a quarter of the
 * patches, a narrow decoder draws the others.
 */
import { DataError, formatShape } from '../base/index.ts';
import { init, LayerNorm, type Linear, Module, ModuleList, sinusoidalTable } from '../nn/index.ts';
import { concat, embedding, type Tensor, type Variable } from '../tensor/index.ts';
import { type PictureSize, SelfSupervised } from './self-supervised.ts';
import { ViT, ViTLayer, vitLinear } from './vit.ts';

export interface MaskedDecoderOptions {
  /** Width of the decoder: 128 unless told. */
  readonly decoderSize?: number;
  /** Its blocks: 2 unless told. */
  readonly decoderLayers?: number;
}

/** Which patches are seen, as rows among the N P patches of a batch, and where each of them is found again. */
export interface PatchMasks {
  /** i32 (N K). */
  readonly kept: Tensor;
  /** i32 (N P): row among the N K encoded patches, or N K for one that was hidden. */
  readonly restore: Tensor;
}

/** Encoded patches -> pixels of all patches, (N, P, patch^2 C). */
class MaskedDecoder extends Module {
  readonly embed: Linear;
  readonly maskToken: Variable; // (1, width)
  readonly layer: ModuleList<ViTLayer>;
  readonly norm: LayerNorm;
  readonly predict: Linear;
  readonly #positions: Tensor;

  constructor(vit: ViT, { decoderSize = 128, decoderLayers = 2 }: MaskedDecoderOptions) {
    super();
    const { options } = vit;
    const { hiddenSize, imageSize, patchSize, inChannels } = options;
    const heads = [8, 4, 2, 1].find((n) => decoderSize % n === 0 && decoderSize / n >= 16) ?? 1;
    const block = {
      ...options,
      hiddenSize: decoderSize,
      numHeads: heads,
      intermediateSize: 4 * decoderSize,
      dropout: 0,
    };
    this.embed = vitLinear(hiddenSize, decoderSize);
    this.maskToken = this.parameter(init.truncNormal([1, decoderSize], { std: 0.02 }));
    this.layer = new ModuleList(Array.from({ length: decoderLayers }, () => new ViTLayer(block)));
    this.norm = new LayerNorm(decoderSize);
    this.predict = vitLinear(decoderSize, patchSize * patchSize * inChannels);
    const side = imageSize / patchSize;
    // Half of the width says the row, half the column.
    const table = sinusoidalTable(side, decoderSize >> 1);
    const rows = table.reshape(side, 1, -1).expand([side, side, decoderSize >> 1]);
    const columns = table.reshape(1, side, -1).expand([side, side, decoderSize >> 1]);
    this.#positions = concat([rows, columns], 2).reshape(side * side, -1);
  }

  forward(features: Tensor, restore: Tensor = features): Tensor {
    const [n, tokens] = features.shape as [number, number, number];
    const seen = this.embed.forward(features);
    const width = seen.shape[2] as number;
    const rows = concat([seen.slice(1, 1).reshape(n * (tokens - 1), width), this.maskToken], 0);
    let h = embedding(rows, restore).reshape(n, -1, width).add(this.#positions);
    for (const layer of this.layer) h = layer.forward(h);
    return this.predict.forward(this.norm.forward(h));
  }
}

/** A Vision Transformer that learns to draw hidden patches. */
export class MaskedAutoencoder extends SelfSupervised {
  readonly patchSize: number;
  /** Patches of a picture. */
  readonly patches: number;

  /** @throws DataError MODEL_OBJECTIVE for another model than a ViT. */
  constructor(trunk: Module, size: PictureSize, options: MaskedDecoderOptions = {}) {
    if (!(trunk instanceof ViT))
      throw new DataError('MODEL_OBJECTIVE', `${trunk.constructor.name} cannot learn by masked-autoencoder`, {
        expected: 'a Vision Transformer: vit_tiny, vit_small',
        got: trunk.constructor.name,
        hint: 'task: denoising-autoencoder suits convolutional models',
      });
    super(trunk, size, () => new MaskedDecoder(trunk, options));
    const { patchSize, imageSize } = trunk.options;
    this.patchSize = patchSize;
    this.patches = (imageSize / patchSize) ** 2;
  }

  /** Pixels of all patches, (N, P, patch^2 C), from those kept. */
  reconstruct(x: Tensor, { kept, restore }: PatchMasks): Tensor {
    const { vit } = this.trunk as ViT;
    return (this.pretraining as MaskedDecoder).forward(vit.visible(x, kept), restore);
  }
}

/** (N, C, H, W) -> (N, P, patch^2 C), rows of patches first; within one the order is row, column, channel. */
export function patchify(x: Tensor, patch: number): Tensor {
  const [n, c, h, w] = x.shape as [number, number, number, number];
  if (h % patch !== 0 || w % patch !== 0)
    throw new DataError('SIZE_MISMATCH', `patches of ${patch} do not fill pictures ${formatShape(x.shape)}`, {
      expected: `multiples of ${patch}`,
      got: x.shape,
    });
  return x
    .reshape(n, c, h / patch, patch, w / patch, patch)
    .permute(0, 2, 4, 3, 5, 1)
    .reshape(n, (h / patch) * (w / patch), patch * patch * c);
}
