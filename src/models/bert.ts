/**
 * BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805): the trunk, and heads for masked language modelling and for
 * classes of sequences and of tokens, with transformers' names (BertModel, BertForMaskedLM, ...), so that weight files go
 * both ways.
 */
import { Dropout, type Linear, Module } from '../nn/index.ts';
import { Tensor, type Variable, zeros } from '../tensor/index.ts';
import {
  BertEmbeddings,
  BertEncoder,
  type BertInput,
  type BertOptions,
  BertPooler,
  BertPredictionTransform,
  bertActivations,
  bertLinear,
  type ResolvedBertOptions,
  resolveBertOptions,
} from './bert-layers.ts';
import {
  booleanOption,
  choiceOption,
  integerOption,
  probabilityOption,
  registerModel,
  scaleOption,
} from './registry.ts';
import type { ModelStructure } from './structure.ts';

export type { BertInput, BertOptions } from './bert-layers.ts';

const inputOf = (x: Tensor | BertInput): BertInput => (x instanceof Tensor ? { inputIds: x } : x);

/** (B, T) of 1 and 0 -> bool (B, 1, 1, T): which keys every query may look at. */
const keyMask = ({ attentionMask: mask }: BertInput): Tensor | undefined =>
  mask?.ne(0).reshape([mask.shape[0] as number, 1, 1, mask.shape[1] as number]);

/** Tokens (B, T) -> features (B, T, hidden); `pooled` gives the first token's, (B, hidden). */
export class BertModel extends Module {
  readonly embeddings: BertEmbeddings;
  readonly encoder: BertEncoder;
  readonly pooler: BertPooler | undefined;
  readonly options: ResolvedBertOptions;

  constructor(options: BertOptions = {}, { pooler = true }: { pooler?: boolean } = {}) {
    super();
    this.options = resolveBertOptions(options);
    this.embeddings = new BertEmbeddings(this.options);
    this.encoder = new BertEncoder(this.options);
    if (pooler) this.pooler = new BertPooler(this.options);
  }

  forward(x: Tensor | BertInput): Tensor {
    const input = inputOf(x);
    return this.encoder.forward(this.embeddings.forward(input.inputIds, input.tokenTypeIds), keyMask(input));
  }

  /** Embeddings, blocks, pooler. */
  stages(path = 'bert'): string[][] {
    const blocks = [...this.encoder.layer].map((_, i) => [`${path}.encoder.layer.${i}`]);
    return [[`${path}.embeddings`], ...blocks, ...(this.pooler ? [[`${path}.pooler`]] : [])];
  }

  /** What the pooler makes of `forward`'s result; needs a model built with one. */
  pooled(features: Tensor): Tensor {
    return (this.pooler as BertPooler).forward(features);
  }
}

// Tied to the word embeddings, computed, or of another task.
const bertOtherHeads =
  /^cls\.predictions\.decoder\.|position_ids$|^cls\.seq_relationship\.|^(bert\.)?pooler\.|^classifier\./;

/** The tables that decode tokens are those that encode them; only a bias is added. */
class Predictions extends Module {
  readonly bias: Variable; // (vocabulary)
  readonly transform: BertPredictionTransform;

  constructor(options: ResolvedBertOptions) {
    super();
    this.bias = this.parameter(zeros([options.vocabSize]));
    this.transform = new BertPredictionTransform(options);
  }
  forward(x: Tensor, words: Tensor = this.bias): Tensor {
    return this.transform.forward(x).matmul(words.transpose()).add(this.bias);
  }
}

class MaskedLMHead extends Module {
  readonly predictions: Predictions;
  constructor(options: ResolvedBertOptions) {
    super();
    this.predictions = new Predictions(options);
  }
  forward(x: Tensor, words?: Tensor): Tensor {
    return this.predictions.forward(x, words);
  }
}

/**
 * Tokens (B, T) -> logits (B, T, vocabulary), the decoder tied to the word embeddings. Weight files that store the tied
 * `cls.predictions.decoder.*` again are read with `rename: bertNames`.
 */
export class BertForMaskedLM extends Module {
  readonly bert: BertModel;
  readonly cls: MaskedLMHead;

  constructor(options: BertOptions = {}) {
    super();
    this.bert = new BertModel(options, { pooler: false });
    this.cls = new MaskedLMHead(this.bert.options);
  }

  forward(x: Tensor | BertInput): Tensor {
    return this.logits(this.features(x));
  }

  structure(): ModelStructure {
    return { stages: [...this.bert.stages(), ['cls']], otherHeads: bertOtherHeads };
  }

  /** What `logits` reads: (B, T, hidden). */
  features(x: Tensor | BertInput): Tensor {
    return this.bert.forward(x);
  }

  /** Logits of features (..., hidden): of all positions, or of those gathered because they were masked. */
  logits(features: Tensor): Tensor {
    return this.cls.forward(features, this.bert.embeddings.wordEmbeddings.weight);
  }
}

export interface BertClassifierOptions extends BertOptions {
  numClasses?: number;
  /** Before the classifier; hiddenDropoutProb unless told. */
  classifierDropout?: number;
}

abstract class Classifier extends Module {
  readonly bert: BertModel;
  readonly dropout: Dropout;
  readonly classifier: Linear;

  constructor({ numClasses = 2, classifierDropout, ...options }: BertClassifierOptions, pooler: boolean) {
    super();
    this.bert = new BertModel(options, { pooler });
    this.dropout = new Dropout(classifierDropout ?? this.bert.options.hiddenDropoutProb);
    this.classifier = bertLinear(this.bert.options.hiddenSize, numClasses, this.bert.options);
  }

  structure(): ModelStructure {
    const { options } = this.bert;
    return {
      stages: [...this.bert.stages(), ['dropout', 'classifier']],
      head: 'classifier',
      makeHead: (classes) => bertLinear(options.hiddenSize, classes, options),
      // Pre-training may have had neither, and a head for masked words or the next sentence instead.
      mayBeNew: ['bert.pooler'],
      otherHeads: /^cls\.|position_ids$|^(bert\.)?pooler\.|^qa_outputs\./,
    };
  }
}

/** Tokens (B, T) -> logits (B, numClasses). */
export class BertForSequenceClassification extends Classifier {
  constructor(options: BertClassifierOptions = {}) {
    super(options, true);
  }
  forward(x: Tensor | BertInput): Tensor {
    return this.classifier.forward(this.dropout.forward(this.bert.pooled(this.bert.forward(x))));
  }
}

/** Tokens (B, T) -> logits (B, T, numClasses). */
export class BertForTokenClassification extends Classifier {
  constructor(options: BertClassifierOptions = {}) {
    super(options, false);
  }
  forward(x: Tensor | BertInput): Tensor {
    return this.classifier.forward(this.dropout.forward(this.bert.forward(x)));
  }
}

/** `rename` for `loadWeights`: leaves out what is tied to the word embeddings, computed, or of next-sentence prediction. */
export const bertNames = (name: string): string | undefined =>
  /cls\.predictions\.decoder\.|position_ids$|cls\.seq_relationship\./.test(name) ? undefined : name;

registerModel({
  name: 'bert',
  description: "BERT classifier of texts, or of their tokens, transformers' names; 4 layers of 256 unless told",
  input: 'text',
  defaults: {
    vocabSize: 8000,
    numClasses: 2,
    hiddenSize: 256,
    numHiddenLayers: 4,
    numAttentionHeads: 4,
    intermediateSize: 1024,
    hiddenAct: 'gelu',
    dropout: 0.1,
    maxPositionEmbeddings: 512,
    initializerRange: 0.02,
    positionInit: 'normal',
    typeVocabSize: 2,
    layerNormEps: 1e-12,
    perToken: false,
  },
  minSize: [1, 1],
  build: (o) => {
    const options = { ...trunkOptions(o), numClasses: integerOption(o, 'numClasses') };
    return booleanOption(o, 'perToken')
      ? new BertForTokenClassification(options)
      : new BertForSequenceClassification(options);
  },
  pretraining: { 'masked-lm': (o) => new BertForMaskedLM(trunkOptions(o)) },
});

function trunkOptions(o: Readonly<Record<string, unknown>>): BertOptions {
  const dropout = probabilityOption(o, 'dropout');
  return {
    vocabSize: integerOption(o, 'vocabSize'),
    hiddenSize: integerOption(o, 'hiddenSize'),
    numHiddenLayers: integerOption(o, 'numHiddenLayers'),
    numAttentionHeads: integerOption(o, 'numAttentionHeads'),
    intermediateSize: integerOption(o, 'intermediateSize'),
    hiddenAct: choiceOption(o, 'hiddenAct', bertActivations),
    hiddenDropoutProb: dropout,
    attentionProbsDropoutProb: dropout,
    maxPositionEmbeddings: integerOption(o, 'maxPositionEmbeddings'),
    initializerRange: scaleOption(o, 'initializerRange'),
    positionInit: choiceOption(o, 'positionInit', ['normal', 'sinusoidal']),
    typeVocabSize: integerOption(o, 'typeVocabSize'),
    layerNormEps: scaleOption(o, 'layerNormEps'),
  };
}
