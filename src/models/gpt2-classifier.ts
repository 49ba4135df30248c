/** GPT-2 with a head for classes of whole texts, under transformers' names (GPT2ForSequenceClassification), and its registration. */
import { init, Linear, Module } from '../nn/index.ts';
import { embedding, iota, Tensor } from '../tensor/index.ts';
import type { BertInput } from './bert-layers.ts';
import { GPT2, GPT2Model, type GPT2Options, type ResolvedGPT2Options, resolveGPT2Options } from './gpt2.ts';
import { integerOption, probabilityOption, registerModel, scaleOption } from './registry.ts';
import type { ModelStructure } from './structure.ts';

export interface GPT2ClassifierOptions extends GPT2Options {
  numClasses?: number;
}

/**
 * Tokens (B, T) -> logits (B, numClasses) of the last token's features; with an attention mask (1, then 0 for padding on the right),
 * of the last that is no padding. The head has no bias.
 */
export class GPT2ForSequenceClassification extends Module {
  readonly transformer: GPT2Model;
  readonly score: Linear;
  readonly options: ResolvedGPT2Options;

  constructor({ numClasses = 2, ...options }: GPT2ClassifierOptions = {}) {
    super();
    this.options = resolveGPT2Options(options);
    this.transformer = new GPT2Model(this.options);
    this.score = scoreHead(this.options.nEmbd, numClasses);
  }

  forward(x: Tensor | BertInput): Tensor {
    const tokens = x instanceof Tensor ? x : x.inputIds;
    const mask = x instanceof Tensor ? undefined : x.attentionMask;
    const features = this.transformer.forward(tokens);
    const [n, t, width] = features.shape as [number, number, number];
    // A text without any token is scored by its first place.
    const last = mask
      ? mask.cast('i32').sum(1).sub(1).maximum(0)
      : iota([n], 0)
          .mul(0)
          .add(t - 1);
    const rows = iota([n], 0).mul(t).add(last);
    return this.score.forward(embedding(features.reshape(n * t, width), rows));
  }

  structure(): ModelStructure {
    const blocks = [...this.transformer.h].map((_, i) => [`transformer.h.${i}`]);
    const last = blocks.at(-1) as string[];
    last.push('transformer.ln_f');
    return {
      stages: [['transformer.wte', 'transformer.wpe', 'transformer.drop'], ...blocks, ['score']],
      head: 'score',
      makeHead: (classes) => scoreHead(this.options.nEmbd, classes),
      otherHeads: /^lm_head\.weight$|\.attn\.(bias|masked_bias)$/,
    };
  }
}

function scoreHead(width: number, classes: number): Linear {
  const head = new Linear(width, classes, { bias: false });
  head.weight.initialize(init.normal([classes, width]).mul(0.02));
  return head;
}

registerModel({
  name: 'gpt2',
  description:
    "GPT-2 that continues texts (task causal-lm) or classifies them, transformers' names; 4 layers of 256 unless told",
  input: 'text',
  defaults: {
    vocabSize: 8000,
    numClasses: 2,
    nPositions: 256,
    nEmbd: 256,
    nLayer: 4,
    nHead: 4,
    dropout: 0.1,
    layerNormEpsilon: 1e-5,
  },
  minSize: [1, 1],
  build: (o) => new GPT2ForSequenceClassification({ ...optionsOf(o), numClasses: integerOption(o, 'numClasses') }),
  pretraining: { 'causal-lm': (o) => new GPT2(optionsOf(o)) },
});

function optionsOf(o: Readonly<Record<string, unknown>>): GPT2Options {
  const dropout = probabilityOption(o, 'dropout');
  return {
    vocabSize: integerOption(o, 'vocabSize'),
    nPositions: integerOption(o, 'nPositions'),
    nEmbd: integerOption(o, 'nEmbd'),
    nLayer: integerOption(o, 'nLayer'),
    nHead: integerOption(o, 'nHead'),
    residPdrop: dropout,
    embdPdrop: dropout,
    attnPdrop: dropout,
    layerNormEpsilon: scaleOption(o, 'layerNormEpsilon'),
  };
}
