/**
 * Vision Transformer (Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929) with the names of transformers' weight
 * files (ViTForImageClassification): pre-norm blocks, a class token, learned positions.
 */
import { ArgumentError, ConfigError, formatShape, ShapeError } from '../base/index.ts';
import {
  attend,
  Conv2d,
  Dropout,
  gelu,
  init,
  LayerNorm,
  Linear,
  Module,
  ModuleList,
  type Prefixable,
} from '../nn/index.ts';
import { concat, embedding, type Tensor, type Variable, zeros } from '../tensor/index.ts';
import { integerOption, probabilityOption, registerModel } from './registry.ts';
import type { ModelStructure } from './structure.ts';

export interface ViTOptions {
  numClasses?: number;
  inChannels?: number;
  /** Side of the square images; a multiple of `patchSize`. */
  imageSize?: number;
  patchSize?: number;
  hiddenSize?: number;
  numLayers?: number;
  numHeads?: number;
  /** Width between the two layers of a block's perceptron; four times the hidden size unless told. */
  intermediateSize?: number;
  /** After the embeddings, and after each half of a block. */
  dropout?: number;
}

export type ResolvedViTOptions = Required<ViTOptions>;

// transformers' layer_norm_eps and initializer_range.
const EPS = 1e-12;
const STD = 0.02;

export function vitLinear(from: number, to: number): Linear {
  const layer = new Linear(from, to);
  layer.reset(init.truncNormal([to, from], { std: STD }), zeros([to]));
  return layer;
}

/** Non-overlapping patches, each projected.  (N, C, S, S) -> (N, (S / patch)^2, hidden). */
class PatchEmbeddings extends Module {
  readonly projection: Conv2d;
  constructor({ inChannels, hiddenSize, patchSize }: ResolvedViTOptions) {
    super();
    this.projection = new Conv2d(inChannels, hiddenSize, patchSize, { stride: patchSize });
    this.projection.reset(init.truncNormal(this.projection.weight.shape, { std: STD }), zeros([hiddenSize]));
  }
  forward(x: Tensor): Tensor {
    return this.projection.forward(x).flatten(2).transpose();
  }
}

class Embeddings extends Module {
  readonly clsToken: Variable; // (1, 1, hidden)
  readonly positionEmbeddings: Variable; // (1, 1 + patches, hidden)
  readonly patchEmbeddings: PatchEmbeddings;
  readonly dropout: Dropout;
  readonly #imageSize: number;

  constructor(options: ResolvedViTOptions) {
    super();
    const { imageSize, patchSize, hiddenSize, dropout } = options;
    const patches = (imageSize / patchSize) ** 2;
    this.clsToken = this.parameter(init.truncNormal([1, 1, hiddenSize], { std: STD }));
    this.positionEmbeddings = this.parameter(init.truncNormal([1, 1 + patches, hiddenSize], { std: STD }));
    this.patchEmbeddings = new PatchEmbeddings(options);
    this.dropout = new Dropout(dropout);
    this.#imageSize = imageSize;
  }
  forward(x: Tensor): Tensor {
    const patches = this.#patches(x);
    const [n, , hidden] = patches.shape as [number, number, number];
    const tokens = concat([this.clsToken.expand([n, 1, hidden]), patches], 1); // (N, 1 + patches, hidden)
    return this.dropout.forward(tokens.add(this.positionEmbeddings));
  }

  /** The same for some patches of each picture: `kept` i32 (N K), rows among the N P. -> (N, 1 + K, hidden). */
  visible(x: Tensor, kept: Tensor): Tensor {
    const patches = this.#patches(x).add(this.positionEmbeddings.slice(1, 1));
    const [n, p, hidden] = patches.shape as [number, number, number];
    const rows = embedding(patches.reshape(n * p, hidden), kept).reshape(n, -1, hidden);
    const cls = this.clsToken.add(this.positionEmbeddings.slice(1, 0, 1)).expand([n, 1, hidden]);
    return this.dropout.forward(concat([cls, rows], 1));
  }

  // (N, C, S, S) -> (N, P, hidden), without positions.
  #patches(x: Tensor): Tensor {
    const size = this.#imageSize;
    if (x.rank !== 4 || x.shape[2] !== size || x.shape[3] !== size)
      throw new ShapeError('SIZE_MISMATCH', `ViT was built for ${size} x ${size} images, got ${formatShape(x.shape)}`, {
        expected: `(N, C, ${size}, ${size})`,
        got: x.shape,
        hint: 'resize the images in the transforms, or build the model with imageSize equal to their side',
      });
    return this.patchEmbeddings.forward(x);
  }
}

/** A linear layer under the name `dense`, with the dropout that follows it. */
class Dense extends Module {
  readonly dense: Linear;
  readonly dropout: Dropout;
  constructor(from: number, to: number, dropout: number) {
    super();
    this.dense = vitLinear(from, to);
    this.dropout = new Dropout(dropout);
  }
  forward(x: Tensor): Tensor {
    return this.dropout.forward(this.dense.forward(x));
  }
}

/** softmax(q k' / sqrt(d)) v for each of `numHeads` slices of the features.  (N, T, hidden) -> (N, T, hidden). */
class SelfAttention extends Module implements Prefixable {
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly headShape: readonly [number, number];
  constructor({ hiddenSize, numHeads }: ResolvedViTOptions) {
    super();
    this.query = vitLinear(hiddenSize, hiddenSize);
    this.key = vitLinear(hiddenSize, hiddenSize);
    this.value = vitLinear(hiddenSize, hiddenSize);
    this.headShape = [numHeads, hiddenSize / numHeads];
  }
  forward(x: Tensor): Tensor {
    const [n, t, hidden] = x.shape as [number, number, number];
    const heads = (y: Tensor): Tensor => y.reshape(n, t, ...this.headShape).permute(0, 2, 1, 3); // (N, heads, T, d)
    const y = attend(this, heads(this.query.forward(x)), heads(this.key.forward(x)), heads(this.value.forward(x)), {});
    return y.permute(0, 2, 1, 3).reshape(n, t, hidden);
  }
}

class AttentionBlock extends Module {
  readonly attention: SelfAttention;
  readonly output: Dense;
  constructor(options: ResolvedViTOptions) {
    super();
    this.attention = new SelfAttention(options);
    this.output = new Dense(options.hiddenSize, options.hiddenSize, options.dropout);
  }
  forward(x: Tensor): Tensor {
    return this.output.forward(this.attention.forward(x));
  }
}

/** x + attention(norm(x)), then x + perceptron(norm(x)). */
export class ViTLayer extends Module {
  readonly attention: AttentionBlock;
  readonly intermediate: Dense;
  readonly output: Dense;
  readonly layernormBefore: LayerNorm;
  readonly layernormAfter: LayerNorm;
  constructor(options: ResolvedViTOptions) {
    super();
    const { hiddenSize, intermediateSize, dropout } = options;
    this.attention = new AttentionBlock(options);
    this.intermediate = new Dense(hiddenSize, intermediateSize, 0);
    this.output = new Dense(intermediateSize, hiddenSize, dropout);
    this.layernormBefore = new LayerNorm(hiddenSize, { eps: EPS });
    this.layernormAfter = new LayerNorm(hiddenSize, { eps: EPS });
  }
  forward(x: Tensor): Tensor {
    const h = x.add(this.attention.forward(this.layernormBefore.forward(x)));
    return h.add(this.output.forward(gelu(this.intermediate.forward(this.layernormAfter.forward(h)))));
  }
}

class Encoder extends Module {
  readonly layer: ModuleList<ViTLayer>;
  constructor(options: ResolvedViTOptions) {
    super();
    this.layer = new ModuleList(Array.from({ length: options.numLayers }, () => new ViTLayer(options)));
  }
  forward(x: Tensor): Tensor {
    let h = x;
    for (const layer of this.layer) h = layer.forward(h);
    return h;
  }
}

/** The trunk: images (N, C, S, S) -> token features (N, 1 + patches, hidden), normalised; token 0 stands for the image. */
class ViTModel extends Module {
  readonly embeddings: Embeddings;
  readonly encoder: Encoder;
  readonly layernorm: LayerNorm;
  constructor(options: ResolvedViTOptions) {
    super();
    this.embeddings = new Embeddings(options);
    this.encoder = new Encoder(options);
    this.layernorm = new LayerNorm(options.hiddenSize, { eps: EPS });
  }
  forward(x: Tensor): Tensor {
    return this.layernorm.forward(this.encoder.forward(this.embeddings.forward(x)));
  }
  /** Features of the class token and of the patches `kept`, i32 (N K) among the N P, alone. -> (N, 1 + K, hidden). */
  visible(x: Tensor, kept: Tensor): Tensor {
    return this.layernorm.forward(this.encoder.forward(this.embeddings.visible(x, kept)));
  }
}

/** (N, inChannels, imageSize, imageSize) -> logits (N, numClasses). ViT-S/16 unless told otherwise. */
export class ViT extends Module {
  readonly vit: ViTModel;
  readonly classifier: Linear;
  readonly options: ResolvedViTOptions;

  constructor(options: ViTOptions = {}) {
    super();
    const hiddenSize = options.hiddenSize ?? 384;
    const resolved: ResolvedViTOptions = {
      numClasses: 10,
      inChannels: 3,
      imageSize: 224,
      patchSize: 16,
      hiddenSize,
      numLayers: 12,
      numHeads: 6,
      intermediateSize: 4 * hiddenSize,
      dropout: 0,
      ...options,
    };
    checkSizes(resolved);
    this.options = resolved;
    this.vit = new ViTModel(resolved);
    this.classifier = vitLinear(hiddenSize, resolved.numClasses);
  }

  forward(x: Tensor): Tensor {
    return this.classifier.forward(this.vit.forward(x).slice(1, 0, 1).squeeze(1));
  }

  /** Embeddings, blocks (the last with the norm behind it), head. */
  structure(): ModelStructure {
    const { inFeatures } = this.classifier;
    const last = this.vit.encoder.layer.length - 1;
    const blocks = [...this.vit.encoder.layer].map((_, i) => {
      const block = `vit.encoder.layer.${i}`;
      return i === last ? [block, 'vit.layernorm'] : [block];
    });
    return {
      stages: [['vit.embeddings'], ...blocks, ['classifier']],
      head: 'classifier',
      makeHead: (classes) => vitLinear(inFeatures, classes),
      otherHeads: /^(decoder\.|lm_head\.|pooler\.|vit\.pooler\.)/,
    };
  }
}

function checkSizes({ imageSize, patchSize, hiddenSize, numHeads }: ResolvedViTOptions): void {
  if (imageSize % patchSize !== 0)
    throw new ConfigError('MODEL_OPTION_INVALID', `patchSize ${patchSize} must divide imageSize ${imageSize}`, {
      field: 'model.patchSize',
      expected: `a divisor of ${imageSize}`,
      got: patchSize,
    });
  if (hiddenSize % numHeads !== 0)
    throw new ArgumentError('HEADS_INVALID', `numHeads ${numHeads} must divide hiddenSize ${hiddenSize}`, {
      field: 'numHeads',
      got: numHeads,
    });
}

const variants = {
  vit_small: {
    description: "ViT-S/16 for 224x224 images (22 M parameters), transformers' names",
    sizes: { hiddenSize: 384, numHeads: 6, numLayers: 12 },
    defaults: { imageSize: 224, patchSize: 16 },
  },
  vit_tiny: {
    description: "ViT-Ti/4 for 32x32 images (5.4 M parameters), transformers' names",
    sizes: { hiddenSize: 192, numHeads: 3, numLayers: 12 },
    defaults: { imageSize: 32, patchSize: 4 },
  },
} as const;

for (const [name, { description, sizes, defaults }] of Object.entries(variants))
  registerModel({
    name,
    description,
    defaults: { numClasses: 10, inChannels: 3, ...defaults, dropout: 0 },
    minSize: [defaults.imageSize, defaults.imageSize],
    build: (o) =>
      new ViT({
        ...sizes,
        numClasses: integerOption(o, 'numClasses'),
        inChannels: integerOption(o, 'inChannels'),
        imageSize: integerOption(o, 'imageSize'),
        patchSize: integerOption(o, 'patchSize'),
        dropout: probabilityOption(o, 'dropout'),
      }),
  });

export const vitSmall = (options?: ViTOptions): ViT => new ViT({ ...variants.vit_small.sizes, ...options });
export const vitTiny = (options?: ViTOptions): ViT =>
  new ViT({ ...variants.vit_tiny.sizes, ...variants.vit_tiny.defaults, ...options });
