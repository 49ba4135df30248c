/** Transformer layers and stacks (Vaswani et al. 2017) with the parameters, defaults and results of torch.nn's. */
import { ArgumentError } from '../base/index.ts';
import type { Tensor } from '../tensor/index.ts';
import { ModuleList } from './container.ts';
import { dropout, gelu, relu } from './functional.ts';
import { xavierUniform } from './init.ts';
import { Linear } from './linear.ts';
import { Module } from './module.ts';
import { type AttentionMasks, MultiheadAttention } from './multihead-attention.ts';
import { LayerNorm } from './norm.ts';
import { positive, probability } from './options.ts';

export interface TransformerLayerOptions {
  /** Width between the two linear layers. Default 2048. */
  dimFeedforward?: number;
  /** After attention, inside and after the feed-forward part, and of attention weights; in training. Default 0.1. */
  dropout?: number;
  /** Default 'relu'. */
  activation?: 'relu' | 'gelu';
  layerNormEps?: number;
  /** (B, T, features) instead of (T, B, features). Default false. */
  batchFirst?: boolean;
  /** Normalise what each part reads (pre-norm) instead of its sum with the input (post-norm, the default). */
  normFirst?: boolean;
}

/** Masks of a decoder: over its own steps, and over the memory's. */
export interface DecoderMasks extends AttentionMasks {
  memoryKeyPaddingMask?: Tensor | null;
  memoryMask?: Tensor | null;
  memoryCausal?: boolean;
}

function activationOf(name: 'relu' | 'gelu'): (x: Tensor) => Tensor {
  if (name === 'relu') return relu;
  if (name === 'gelu') return (x) => gelu(x);
  throw new ArgumentError('OPTION_INVALID', `[transformer] activation is 'relu' or 'gelu', got ${String(name)}`, {
    op: 'transformer',
    field: 'activation',
    expected: ['relu', 'gelu'],
    got: name,
  });
}

/** What encoder and decoder layers share; parameters are made by the subclasses, whose order is torch's. */
abstract class TransformerLayer extends Module {
  abstract readonly linear1: Linear;
  abstract readonly linear2: Linear;
  readonly dropout: number;
  readonly normFirst: boolean;
  readonly #activation: (x: Tensor) => Tensor;

  constructor({ dropout = 0.1, activation = 'relu', normFirst = false }: TransformerLayerOptions) {
    super();
    probability('transformer', 'dropout', dropout);
    this.dropout = dropout;
    this.normFirst = normFirst;
    this.#activation = activationOf(activation);
  }

  /** x + part(norm(x)) or norm(x + part(x)). */
  protected residual(x: Tensor, norm: LayerNorm, part: (x: Tensor) => Tensor): Tensor {
    return this.normFirst ? x.add(this.drop(part(norm.forward(x)))) : norm.forward(x.add(this.drop(part(x))));
  }
  protected feedForward(x: Tensor): Tensor {
    return this.linear2.forward(this.drop(this.#activation(this.linear1.forward(x))));
  }
  protected drop(x: Tensor): Tensor {
    return dropout(x, this.dropout, this.training);
  }
  override get drawsRandom(): boolean {
    return this.dropout > 0;
  }
}

/** Self-attention, then a two-layer perceptron, each with a residual connection and layer norm. */
export class TransformerEncoderLayer extends TransformerLayer {
  readonly selfAttn: MultiheadAttention;
  readonly linear1: Linear;
  readonly linear2: Linear;
  readonly norm1: LayerNorm;
  readonly norm2: LayerNorm;

  constructor(dModel: number, nhead: number, options: TransformerLayerOptions = {}) {
    super(options);
    const { dimFeedforward = 2048, dropout = 0.1, layerNormEps: eps = 1e-5, batchFirst = false } = options;
    this.selfAttn = new MultiheadAttention(dModel, nhead, { dropout, batchFirst });
    this.linear1 = new Linear(dModel, dimFeedforward);
    this.linear2 = new Linear(dimFeedforward, dModel);
    this.norm1 = new LayerNorm(dModel, { eps });
    this.norm2 = new LayerNorm(dModel, { eps });
  }

  /** (T, B, dModel) -> the same, or batches first. */
  forward(x: Tensor, masks: AttentionMasks = {}): Tensor {
    const h = this.residual(x, this.norm1, (y) => this.selfAttn.forward(y, y, y, masks));
    return this.residual(h, this.norm2, (y) => this.feedForward(y));
  }
}

/** Self-attention, attention to the encoder's output, then a two-layer perceptron. */
export class TransformerDecoderLayer extends TransformerLayer {
  readonly selfAttn: MultiheadAttention;
  readonly multiheadAttn: MultiheadAttention;
  readonly linear1: Linear;
  readonly linear2: Linear;
  readonly norm1: LayerNorm;
  readonly norm2: LayerNorm;
  readonly norm3: LayerNorm;

  constructor(dModel: number, nhead: number, options: TransformerLayerOptions = {}) {
    super(options);
    const { dimFeedforward = 2048, dropout = 0.1, layerNormEps: eps = 1e-5, batchFirst = false } = options;
    this.selfAttn = new MultiheadAttention(dModel, nhead, { dropout, batchFirst });
    this.multiheadAttn = new MultiheadAttention(dModel, nhead, { dropout, batchFirst });
    this.linear1 = new Linear(dModel, dimFeedforward);
    this.linear2 = new Linear(dimFeedforward, dModel);
    this.norm1 = new LayerNorm(dModel, { eps });
    this.norm2 = new LayerNorm(dModel, { eps });
    this.norm3 = new LayerNorm(dModel, { eps });
  }

  /** x (T, B, dModel), memory (S, B, dModel) -> (T, B, dModel), or batches first. */
  forward(x: Tensor, memory: Tensor = x, masks: DecoderMasks = {}): Tensor {
    const { memoryKeyPaddingMask = null, memoryMask = null, memoryCausal = false, ...own } = masks;
    const cross = { keyPaddingMask: memoryKeyPaddingMask, attnMask: memoryMask, causal: memoryCausal };
    let h = this.residual(x, this.norm1, (y) => this.selfAttn.forward(y, y, y, own));
    h = this.residual(h, this.norm2, (y) => this.multiheadAttn.forward(y, memory, memory, cross));
    return this.residual(h, this.norm3, (y) => this.feedForward(y));
  }
}

/** A stack of layers and, where given, a norm after the last. `layer(i)` makes layer i, each with its own initial values. */
export class TransformerEncoder extends Module {
  readonly layers: ModuleList<TransformerEncoderLayer>;
  readonly norm: LayerNorm | undefined;

  constructor(layer: (i: number) => TransformerEncoderLayer, numLayers: number, norm?: LayerNorm) {
    super();
    positive('transformerEncoder', 'numLayers', numLayers);
    this.layers = new ModuleList(Array.from({ length: numLayers }, (_, i) => layer(i)));
    this.norm = norm;
  }
  forward(x: Tensor, masks: AttentionMasks = {}): Tensor {
    let h = x;
    for (const layer of this.layers) h = layer.forward(h, masks);
    return this.norm ? this.norm.forward(h) : h;
  }
}

/** A stack of decoder layers; see TransformerEncoder. */
export class TransformerDecoder extends Module {
  readonly layers: ModuleList<TransformerDecoderLayer>;
  readonly norm: LayerNorm | undefined;

  constructor(layer: (i: number) => TransformerDecoderLayer, numLayers: number, norm?: LayerNorm) {
    super();
    positive('transformerDecoder', 'numLayers', numLayers);
    this.layers = new ModuleList(Array.from({ length: numLayers }, (_, i) => layer(i)));
    this.norm = norm;
  }
  forward(x: Tensor, memory: Tensor = x, masks: DecoderMasks = {}): Tensor {
    let h = x;
    for (const layer of this.layers) h = layer.forward(h, memory, masks);
    return this.norm ? this.norm.forward(h) : h;
  }
}

export interface TransformerOptions extends TransformerLayerOptions {
  /** Default 512. */
  dModel?: number;
  /** Default 8. */
  nhead?: number;
  /** Default 6. */
  numEncoderLayers?: number;
  /** Default 6. */
  numDecoderLayers?: number;
}

/** Masks of all three attentions; `memory...` are those of the decoder's attention to the encoder's output. */
export interface TransformerMasks {
  src?: AttentionMasks;
  tgt?: DecoderMasks;
}

/** Encoder and decoder, each with a final norm; weight matrices start Xavier-uniform, as in torch.nn.Transformer. */
export class Transformer extends Module {
  readonly encoder: TransformerEncoder;
  readonly decoder: TransformerDecoder;

  constructor(options: TransformerOptions = {}) {
    super();
    const { dModel = 512, nhead = 8, numEncoderLayers = 6, numDecoderLayers = 6, ...rest } = options;
    const norm = (): LayerNorm => new LayerNorm(dModel, { eps: rest.layerNormEps ?? 1e-5 });
    this.encoder = new TransformerEncoder(
      () => new TransformerEncoderLayer(dModel, nhead, rest),
      numEncoderLayers,
      norm(),
    );
    this.decoder = new TransformerDecoder(
      () => new TransformerDecoderLayer(dModel, nhead, rest),
      numDecoderLayers,
      norm(),
    );
    for (const p of this.parameters()) if (p.rank > 1) p.initialize(xavierUniform(p.shape));
  }

  /** src (S, B, dModel), tgt (T, B, dModel) -> (T, B, dModel), or batches first. */
  forward(src: Tensor, tgt: Tensor = src, masks: TransformerMasks = {}): Tensor {
    return this.decoder.forward(tgt, this.encoder.forward(src, masks.src), masks.tgt);
  }
}
