/** The parts of BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805) under transformers' names. */
import { ArgumentError, formatShape, ShapeError } from '../base/index.ts';
import {
  attend,
  Dropout,
  Embedding,
  gelu,
  init,
  LayerNorm,
  Linear,
  Module,
  ModuleList,
  type Prefixable,
  relu,
  silu,
  sinusoidalTable,
} from '../nn/index.ts';
import { type Tensor, zeros } from '../tensor/index.ts';

/** transformers' config.json in camelCase, with its defaults: BERT-base. */
export interface BertOptions {
  vocabSize?: number;
  hiddenSize?: number;
  numHiddenLayers?: number;
  numAttentionHeads?: number;
  /** Width between the two linear layers of a block; four times the hidden size unless told. */
  intermediateSize?: number;
  hiddenAct?: BertActivation;
  /** After embeddings and after each half of a block, in training. */
  hiddenDropoutProb?: number;
  /** Of attention weights, in training. */
  attentionProbsDropoutProb?: number;
  maxPositionEmbeddings?: number;
  typeVocabSize?: number;
  /** Deviation of the initial weights. */
  initializerRange?: number;
  /**
   * Initial values of the position table, which is trained either way: normal as in the paper, or sines and cosines (Vaswani
   * et al. 2017) of the same size, from which attention to neighbours is learned much sooner where there is little text.
   */
  positionInit?: 'normal' | 'sinusoidal';
  layerNormEps?: number;
}
export type ResolvedBertOptions = Required<BertOptions>;

export const bertActivations = ['gelu', 'gelu_new', 'relu', 'silu'] as const;
export type BertActivation = (typeof bertActivations)[number];

const activations: { readonly [A in BertActivation]: (x: Tensor) => Tensor } = {
  gelu: (x) => gelu(x),
  gelu_new: (x) => gelu(x, 'tanh'),
  relu,
  silu,
};

/** Defaults filled in. Throws ArgumentError for sizes that do not fit together. */
export function resolveBertOptions(options: BertOptions): ResolvedBertOptions {
  const hiddenSize = options.hiddenSize ?? 768;
  const resolved: ResolvedBertOptions = {
    vocabSize: 30522,
    hiddenSize,
    numHiddenLayers: 12,
    numAttentionHeads: 12,
    intermediateSize: 4 * hiddenSize,
    hiddenAct: 'gelu',
    hiddenDropoutProb: 0.1,
    attentionProbsDropoutProb: 0.1,
    maxPositionEmbeddings: 512,
    typeVocabSize: 2,
    initializerRange: 0.02,
    positionInit: 'normal',
    layerNormEps: 1e-12,
    ...Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)),
  };
  const wrong = (field: keyof BertOptions, expected: unknown): never => {
    throw new ArgumentError('OPTION_INVALID', `[bert] ${field} must be ${String(expected)}, got ${resolved[field]}`, {
      field,
      expected,
      got: resolved[field],
    });
  };
  if (hiddenSize % resolved.numAttentionHeads !== 0)
    wrong('numAttentionHeads', `a divisor of hiddenSize ${hiddenSize}`);
  if (!(resolved.hiddenAct in activations)) wrong('hiddenAct', `one of ${bertActivations.join(', ')}`);
  return resolved;
}

/** What text models read: i32 (B, T) each. */
export interface BertInput {
  readonly inputIds: Tensor;
  /** 1 for tokens, 0 for padding; nothing is padding unless given. */
  readonly attentionMask?: Tensor | undefined;
  /** 0 for the first text, 1 for the second; 0 unless given. */
  readonly tokenTypeIds?: Tensor | undefined;
}

/** A linear layer with BERT's initial values. */
export function bertLinear(from: number, to: number, { initializerRange }: ResolvedBertOptions): Linear {
  const layer = new Linear(from, to);
  layer.reset(init.normal([to, from]).mul(initializerRange), zeros([to]));
  return layer;
}

export class BertEmbeddings extends Module {
  readonly wordEmbeddings: Embedding;
  readonly positionEmbeddings: Embedding;
  readonly tokenTypeEmbeddings: Embedding;
  readonly LayerNorm: LayerNorm;
  readonly dropout: Dropout;

  constructor(options: ResolvedBertOptions) {
    super();
    const { hiddenSize, initializerRange, layerNormEps } = options;
    const table = (rows: number): Embedding => {
      const embedding = new Embedding(rows, hiddenSize);
      embedding.weight.initialize(init.normal([rows, hiddenSize]).mul(initializerRange));
      return embedding;
    };
    this.wordEmbeddings = table(options.vocabSize);
    this.positionEmbeddings = table(options.maxPositionEmbeddings);
    if (options.positionInit === 'sinusoidal')
      this.positionEmbeddings.weight.initialize(
        sinusoidalTable(options.maxPositionEmbeddings, hiddenSize).mul(Math.SQRT2 * initializerRange),
      );
    this.tokenTypeEmbeddings = table(options.typeVocabSize);
    this.LayerNorm = new LayerNorm(hiddenSize, { eps: layerNormEps });
    this.dropout = new Dropout(options.hiddenDropoutProb);
  }

  /** Tokens (B, T) -> (B, T, hidden). Throws ShapeError for more steps than there are positions. */
  forward(inputIds: Tensor, tokenTypeIds?: Tensor): Tensor {
    const limit = this.positionEmbeddings.weight.shape[0] as number;
    if (inputIds.rank !== 2 || (inputIds.shape[1] as number) > limit)
      throw new ShapeError(
        'SEQUENCE_TOO_LONG',
        `[bert] tokens are (B, T <= ${limit}), got ${formatShape(inputIds.shape)}`,
        {
          op: 'bert',
          expected: `(B, T), T <= ${limit}`,
          got: inputIds.shape,
          hint: 'truncate texts in the tokenizer (maxLength), or build the model with more maxPositionEmbeddings',
        },
      );
    const steps = inputIds.shape[1] as number;
    const types = this.tokenTypeEmbeddings;
    const sum = this.wordEmbeddings
      .forward(inputIds)
      .add(this.positionEmbeddings.weight.slice(0, 0, steps))
      .add(tokenTypeIds ? types.forward(tokenTypeIds) : types.weight.slice(0, 0, 1));
    return this.dropout.forward(this.LayerNorm.forward(sum));
  }
}

class SelfAttention extends Module implements Prefixable {
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly headShape: readonly [number, number];
  readonly #dropout: number;

  constructor(options: ResolvedBertOptions) {
    super();
    const { hiddenSize } = options;
    this.query = bertLinear(hiddenSize, hiddenSize, options);
    this.key = bertLinear(hiddenSize, hiddenSize, options);
    this.value = bertLinear(hiddenSize, hiddenSize, options);
    const heads = options.numAttentionHeads;
    this.headShape = [heads, hiddenSize / heads];
    this.#dropout = options.attentionProbsDropoutProb;
  }
  override get drawsRandom(): boolean {
    return this.#dropout > 0;
  }

  forward(x: Tensor, mask?: Tensor): Tensor {
    const [n, t, hidden] = x.shape as [number, number, number];
    const heads = (y: Tensor): Tensor => y.reshape(n, t, ...this.headShape).permute(0, 2, 1, 3); // (B, heads, T, d)
    const y = attend(this, heads(this.query.forward(x)), heads(this.key.forward(x)), heads(this.value.forward(x)), {
      mask: mask ?? null,
      dropout: this.training ? this.#dropout : 0,
    });
    return y.permute(0, 2, 1, 3).reshape(n, t, hidden);
  }
}

/** norm(residual + dropout(dense(x))). */
class Output extends Module {
  readonly dense: Linear;
  readonly LayerNorm: LayerNorm;
  readonly dropout: Dropout;

  constructor(from: number, options: ResolvedBertOptions) {
    super();
    this.dense = bertLinear(from, options.hiddenSize, options);
    this.LayerNorm = new LayerNorm(options.hiddenSize, { eps: options.layerNormEps });
    this.dropout = new Dropout(options.hiddenDropoutProb);
  }
  forward(x: Tensor, residual: Tensor = x): Tensor {
    return this.LayerNorm.forward(this.dropout.forward(this.dense.forward(x)).add(residual));
  }
}

class Attention extends Module {
  readonly self: SelfAttention;
  readonly output: Output;

  constructor(options: ResolvedBertOptions) {
    super();
    this.self = new SelfAttention(options);
    this.output = new Output(options.hiddenSize, options);
  }
  forward(x: Tensor, mask?: Tensor): Tensor {
    return this.output.forward(this.self.forward(x, mask), x);
  }
}

/** dense, then the activation. */
class Intermediate extends Module {
  readonly dense: Linear;
  readonly #activation: (x: Tensor) => Tensor;

  constructor(from: number, to: number, options: ResolvedBertOptions) {
    super();
    this.dense = bertLinear(from, to, options);
    this.#activation = activations[options.hiddenAct];
  }
  forward(x: Tensor): Tensor {
    return this.#activation(this.dense.forward(x));
  }
}

class Layer extends Module {
  readonly attention: Attention;
  readonly intermediate: Intermediate;
  readonly output: Output;

  constructor(options: ResolvedBertOptions) {
    super();
    this.attention = new Attention(options);
    this.intermediate = new Intermediate(options.hiddenSize, options.intermediateSize, options);
    this.output = new Output(options.intermediateSize, options);
  }
  forward(x: Tensor, mask?: Tensor): Tensor {
    const h = this.attention.forward(x, mask);
    return this.output.forward(this.intermediate.forward(h), h);
  }
}

export class BertEncoder extends Module {
  readonly layer: ModuleList<Layer>;

  constructor(options: ResolvedBertOptions) {
    super();
    this.layer = new ModuleList(Array.from({ length: options.numHiddenLayers }, () => new Layer(options)));
  }
  forward(x: Tensor, mask?: Tensor): Tensor {
    let h = x;
    for (const layer of this.layer) h = layer.forward(h, mask);
    return h;
  }
}

/** tanh(dense) of the first token.  (B, T, hidden) -> (B, hidden). */
export class BertPooler extends Module {
  readonly dense: Linear;

  constructor(options: ResolvedBertOptions) {
    super();
    this.dense = bertLinear(options.hiddenSize, options.hiddenSize, options);
  }
  forward(x: Tensor): Tensor {
    return this.dense.forward(x.slice(1, 0, 1).squeeze(1)).tanh();
  }
}

/** What the masked-LM head does before its decoder: dense, activation, norm. */
export class BertPredictionTransform extends Module {
  readonly dense: Linear;
  readonly LayerNorm: LayerNorm;
  readonly #activation: (x: Tensor) => Tensor;

  constructor(options: ResolvedBertOptions) {
    super();
    this.dense = bertLinear(options.hiddenSize, options.hiddenSize, options);
    this.LayerNorm = new LayerNorm(options.hiddenSize, { eps: options.layerNormEps });
    this.#activation = activations[options.hiddenAct];
  }
  forward(x: Tensor): Tensor {
    return this.LayerNorm.forward(this.#activation(this.dense.forward(x)));
  }
}
