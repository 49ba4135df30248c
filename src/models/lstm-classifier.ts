/** Classification by a recurrent network: embedding -> (bi)LSTM -> last state, masked mean, or every step -> linear. */
import { ArgumentError, formatShape, ShapeError } from '../base/index.ts';
import { Dropout, Embedding, Linear, LSTM, Module, type RecurrentInput } from '../nn/index.ts';
import { Tensor, tensor } from '../tensor/index.ts';
import { booleanOption, choiceOption, integerOption, probabilityOption, registerModel } from './registry.ts';
import type { ModelStructure } from './structure.ts';

export interface LSTMClassifierOptions {
  vocabSize: number;
  /** Default 2. */
  numClasses?: number;
  /** Default 128. */
  embeddingDim?: number;
  /** Units of each direction; default 256. */
  hiddenSize?: number;
  /** Default 1. */
  numLayers?: number;
  /** Default true. */
  bidirectional?: boolean;
  /** What of the outputs is classified: the state after each direction's last step (default), or their mean over the steps. */
  pooling?: 'last' | 'mean';
  /** Every token is classified, in place of the sequence: `pooling` says nothing then. Default false. */
  perToken?: boolean;
  /** Of embeddings, between layers and before the classifier, in training. Default 0. */
  dropout?: number;
}

/** Tokens as a text task gives them; padding is on the right. */
export interface LSTMTokens {
  readonly inputIds: Tensor;
  /** 1 for tokens, 0 for padding. */
  readonly attentionMask: Tensor;
}

/** Token indices i32 (B, T), and optionally the lengths of the sequences, -> logits (B, numClasses), or (B, T, numClasses) per token. */
export class LSTMClassifier extends Module {
  readonly embedding: Embedding;
  readonly lstm: LSTM;
  readonly fc: Linear;
  readonly dropout: Dropout;
  readonly pooling: 'last' | 'mean';
  readonly perToken: boolean;

  constructor({
    vocabSize,
    numClasses = 2,
    embeddingDim = 128,
    hiddenSize = 256,
    numLayers = 1,
    bidirectional = true,
    pooling = 'last',
    perToken = false,
    dropout = 0,
  }: LSTMClassifierOptions) {
    super();
    if (pooling !== 'last' && pooling !== 'mean')
      throw new ArgumentError(
        'OPTION_INVALID',
        `[lstmClassifier] pooling is 'last' or 'mean', got ${String(pooling)}`,
        {
          op: 'lstmClassifier',
          field: 'pooling',
          got: pooling,
        },
      );
    this.embedding = new Embedding(vocabSize, embeddingDim);
    this.lstm = new LSTM(embeddingDim, hiddenSize, { numLayers, bidirectional, dropout });
    this.fc = new Linear(hiddenSize * this.lstm.directions, numClasses);
    this.dropout = new Dropout(dropout);
    this.pooling = pooling;
    this.perToken = perToken;
  }

  /** Throws ShapeError or ArgumentError for tokens and lengths that do not fit. */
  forward(input: Tensor | LSTMTokens, given?: RecurrentInput['lengths']): Tensor {
    const tokens = input instanceof Tensor ? input : input.inputIds;
    const lengths = input instanceof Tensor ? given : input.attentionMask.sum(1);
    if (tokens.rank !== 2)
      throw new ShapeError('SHAPE_RANK', `[lstmClassifier] tokens are (B, T), got ${formatShape(tokens.shape)}`, {
        op: 'lstmClassifier',
        expected: 2,
        got: tokens.shape,
      });
    const [batch, steps] = tokens.shape as [number, number];
    // Steps first from here on: moving indices is cheaper than moving their embeddings.
    const x = this.dropout.forward(this.embedding.forward(tokens.permute(1, 0)));
    const { output, h } = this.lstm.run(x, lengths === undefined ? {} : { lengths });
    if (this.perToken) return this.fc.forward(this.dropout.forward(output.permute(1, 0, 2)));
    return this.fc.forward(this.dropout.forward(this.pooling === 'last' ? this.#last(h, batch) : mean(output)));

    /** Outputs are 0 past a sequence's end. */
    function mean(y: Tensor): Tensor {
      const total = y.sum(0);
      if (lengths === undefined) return total.div(steps);
      const counts = lengths instanceof Tensor ? lengths : tensor(Int32Array.from(lengths), { shape: [batch] });
      return total.div(counts.cast('f32').reshape([batch, 1]));
    }
  }

  structure(): ModelStructure {
    // One dropout before the LSTM and before the head.
    return {
      stages: [['embedding'], ['dropout', 'lstm'], ['fc']],
      stepsFirst: ['embedding'],
      head: 'fc',
      makeHead: (classes) => new Linear(this.fc.inFeatures, classes),
    };
  }

  /** Final states of the last layer, its directions side by side. */
  #last(h: Tensor, batch: number): Tensor {
    const { directions } = this.lstm;
    return h.slice(0, -directions).permute(1, 0, 2).reshape([batch, -1]);
  }
}

registerModel({
  name: 'lstm-classifier',
  description: 'Bidirectional LSTM over token embeddings, for texts or their tokens',
  input: 'text',
  defaults: {
    vocabSize: 8000,
    numClasses: 2,
    embeddingDim: 128,
    hiddenSize: 256,
    numLayers: 1,
    bidirectional: true,
    pooling: 'mean',
    perToken: false,
    dropout: 0,
  },
  minSize: [1, 1],
  build: (options) => {
    return new LSTMClassifier({
      vocabSize: integerOption(options, 'vocabSize'),
      numClasses: integerOption(options, 'numClasses'),
      embeddingDim: integerOption(options, 'embeddingDim'),
      hiddenSize: integerOption(options, 'hiddenSize'),
      numLayers: integerOption(options, 'numLayers'),
      bidirectional: booleanOption(options, 'bidirectional'),
      pooling: choiceOption(options, 'pooling', ['last', 'mean']),
      perToken: booleanOption(options, 'perToken'),
      dropout: probabilityOption(options, 'dropout'),
    });
  },
});
