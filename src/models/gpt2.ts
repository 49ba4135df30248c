/**
 * GPT-2 (Radford et al. 2019): pre-norm Transformer decoder with learned positions and a head tied to the token table, under
 * transformers' names (GPT2LMHeadModel). See generate.ts for continuing texts.
 */
import { ArgumentError, formatShape, ShapeError } from '../base/index.ts';
import { attend, Dropout, Embedding, gelu, init, LayerNorm, Module, ModuleList, type Prefixable } from '../nn/index.ts';
import { type Tensor, type Variable, zeros } from '../tensor/index.ts';
import type { ModelStructure } from './structure.ts';

/** transformers' GPT2Config in camelCase, with its defaults: the 124 M model. */
export interface GPT2Options {
  vocabSize?: number;
  /** Most steps of a sequence. */
  nPositions?: number;
  nEmbd?: number;
  nLayer?: number;
  nHead?: number;
  /** After embeddings and after each half of a block, in training. */
  residPdrop?: number;
  embdPdrop?: number;
  /** Of attention weights, in training. */
  attnPdrop?: number;
  layerNormEpsilon?: number;
}
export type ResolvedGPT2Options = Required<GPT2Options>;

// transformers' initializer_range.
const STD = 0.02;

/** @throws ArgumentError HEADS_INVALID. */
export function resolveGPT2Options(options: GPT2Options): ResolvedGPT2Options {
  const resolved = {
    vocabSize: 50257,
    nPositions: 1024,
    nEmbd: 768,
    nLayer: 12,
    nHead: 12,
    residPdrop: 0.1,
    embdPdrop: 0.1,
    attnPdrop: 0.1,
    layerNormEpsilon: 1e-5,
    ...Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)),
  };
  const { nEmbd, nHead } = resolved;
  if (nEmbd % nHead !== 0)
    throw new ArgumentError('HEADS_INVALID', `nHead ${nHead} must divide nEmbd ${nEmbd}`, {
      field: 'nHead',
      got: nHead,
    });
  return resolved;
}

/** Keys and values of the steps seen so far, (B, heads, T, d) each, one pair a layer. */
export interface KeyValues {
  readonly key: Tensor;
  readonly value: Tensor;
}

/** How a step looks at earlier ones: what to attend to, given its own keys and values. */
export interface Attending {
  readonly kv: KeyValues;
  /** bool, broadcast to (B, heads, Tq, Tk); causal unless given. */
  readonly mask?: Tensor;
}
export type Remember = (layer: number, kv: KeyValues) => Attending;

/** y = x W + b with W (in, out): transformers' Conv1D. */
class Projection extends Module {
  /** For adapters: the weight is (in, out). */
  readonly fanInFanOut = true;
  readonly weight: Variable; // (from, to)
  readonly bias: Variable; // (to)
  constructor(from: number, to: number, std = STD) {
    super();
    this.weight = this.parameter(init.normal([from, to]).mul(std));
    this.bias = this.parameter(zeros([to]));
  }
  forward(x: Tensor): Tensor {
    return x.matmul(this.weight).add(this.bias);
  }
}

class SelfAttention extends Module implements Prefixable {
  readonly cAttn: Projection;
  readonly cProj: Projection;
  readonly residDropout: Dropout;
  readonly #options: ResolvedGPT2Options;

  constructor(options: ResolvedGPT2Options) {
    super();
    const { nEmbd, nLayer } = options;
    this.cAttn = new Projection(nEmbd, 3 * nEmbd);
    this.cProj = new Projection(nEmbd, nEmbd, STD / Math.sqrt(2 * nLayer));
    this.residDropout = new Dropout(options.residPdrop);
    this.#options = options;
  }

  get headShape(): readonly [number, number] {
    const { nHead, nEmbd } = this.#options;
    return [nHead, nEmbd / nHead];
  }
  override get drawsRandom(): boolean {
    return this.#options.attnPdrop > 0;
  }

  forward(x: Tensor, layer = 0, remember?: Remember): Tensor {
    const { nEmbd, attnPdrop } = this.#options;
    const [n, t] = x.shape as [number, number, number];
    const all = this.cAttn.forward(x);
    const part = (i: number): Tensor =>
      all
        .slice(-1, i * nEmbd, (i + 1) * nEmbd)
        .reshape(n, t, ...this.headShape)
        .permute(0, 2, 1, 3); // (B, heads, T, d)
    const { kv, mask } = remember?.(layer, { key: part(1), value: part(2) }) ?? {
      kv: { key: part(1), value: part(2) },
    };
    const dropout = this.training ? attnPdrop : 0;
    const y = attend(this, part(0), kv.key, kv.value, mask ? { mask, dropout } : { causal: true, dropout });
    return this.residDropout.forward(this.cProj.forward(y.permute(0, 2, 1, 3).reshape(n, t, nEmbd)));
  }
}

class Perceptron extends Module {
  readonly cFc: Projection;
  readonly cProj: Projection;
  readonly dropout: Dropout;
  constructor({ nEmbd, nLayer, residPdrop }: ResolvedGPT2Options) {
    super();
    this.cFc = new Projection(nEmbd, 4 * nEmbd);
    this.cProj = new Projection(4 * nEmbd, nEmbd, STD / Math.sqrt(2 * nLayer));
    this.dropout = new Dropout(residPdrop);
  }
  forward(x: Tensor): Tensor {
    return this.dropout.forward(this.cProj.forward(gelu(this.cFc.forward(x), 'tanh')));
  }
}

/** x + attention(norm(x)), then x + perceptron(norm(x)). */
class Block extends Module {
  readonly ln_1: LayerNorm;
  readonly attn: SelfAttention;
  readonly ln_2: LayerNorm;
  readonly mlp: Perceptron;
  constructor(options: ResolvedGPT2Options) {
    super();
    const norm = { eps: options.layerNormEpsilon };
    this.ln_1 = new LayerNorm(options.nEmbd, norm);
    this.attn = new SelfAttention(options);
    this.ln_2 = new LayerNorm(options.nEmbd, norm);
    this.mlp = new Perceptron(options);
  }
  forward(x: Tensor, layer = 0, remember?: Remember): Tensor {
    const h = x.add(this.attn.forward(this.ln_1.forward(x), layer, remember));
    return h.add(this.mlp.forward(this.ln_2.forward(h)));
  }
}

/** Tokens i32 (B, T) -> features (B, T, nEmbd), normalised. */
export class GPT2Model extends Module {
  readonly wte: Embedding;
  readonly wpe: Embedding;
  readonly drop: Dropout;
  readonly h: ModuleList<Block>;
  readonly lnF: LayerNorm;

  constructor(options: ResolvedGPT2Options) {
    super();
    const { vocabSize, nPositions, nEmbd, nLayer } = options;
    const table = (rows: number): Embedding => {
      const embedding = new Embedding(rows, nEmbd);
      embedding.weight.initialize(init.normal([rows, nEmbd]).mul(STD));
      return embedding;
    };
    this.wte = table(vocabSize);
    this.wpe = table(nPositions);
    this.drop = new Dropout(options.embdPdrop);
    this.h = new ModuleList(Array.from({ length: nLayer }, () => new Block(options)));
    this.lnF = new LayerNorm(nEmbd, { eps: options.layerNormEpsilon });
  }

  /** `positions` i32 (T) unless they count from 0. Throws ShapeError for more steps than there are positions. */
  forward(tokens: Tensor, positions?: Tensor, remember?: Remember): Tensor {
    const [limit] = this.wpe.weight.shape as [number];
    if (tokens.rank !== 2 || (tokens.shape[1] as number) > limit)
      throw new ShapeError(
        'SEQUENCE_TOO_LONG',
        `[gpt2] tokens are (B, T <= ${limit}), got ${formatShape(tokens.shape)}`,
        {
          op: 'gpt2',
          expected: `(B, T), T <= ${limit}`,
          got: tokens.shape,
          hint: 'cut the texts into shorter blocks, or build the model with more nPositions',
        },
      );
    const places = positions ? this.wpe.forward(positions) : this.wpe.weight.slice(0, 0, tokens.shape[1] as number);
    let x = this.drop.forward(this.wte.forward(tokens).add(places));
    for (const [layer, block] of [...this.h].entries()) x = block.forward(x, layer, remember);
    return this.lnF.forward(x);
  }
}

/** Tokens i32 (B, T) -> logits (B, T, vocabSize) of what follows each step; the head is the token table. */
export class GPT2 extends Module {
  readonly transformer: GPT2Model;
  readonly options: ResolvedGPT2Options;

  constructor(options: GPT2Options = {}) {
    super();
    this.options = resolveGPT2Options(options);
    this.transformer = new GPT2Model(this.options);
  }

  forward(tokens: Tensor, positions?: Tensor, remember?: Remember): Tensor {
    return this.logits(this.transformer.forward(tokens, positions, remember));
  }

  /** Embeddings, blocks, norm; the head is the token table. */
  structure(): ModelStructure {
    const blocks = [...this.transformer.h].map((_, i) => [`transformer.h.${i}`]);
    return {
      stages: [['transformer.wte', 'transformer.wpe', 'transformer.drop'], ...blocks, ['transformer.ln_f']],
      otherHeads: /^lm_head\.weight$|\.attn\.(bias|masked_bias)$/,
    };
  }

  /** What `logits` reads: (B, T, nEmbd). */
  features(tokens: Tensor): Tensor {
    return this.transformer.forward(tokens);
  }

  /** Logits of features (..., nEmbd). */
  logits(features: Tensor): Tensor {
    return features.matmul(this.transformer.wte.weight.transpose());
  }
}

/** `rename` for `loadWeights`: leaves out the tied head and the causal masks that old files hold. */
export const gpt2Names = (name: string): string | undefined =>
  /^lm_head\.weight$|\.attn\.(bias|masked_bias)$/.test(name) ? undefined : name;
