/** Affine layers and lookup tables. */
import { formatShape, ShapeError } from '../base/index.ts';
import { embedding, normal, type Tensor, type Variable } from '../tensor/index.ts';
import { linear } from './functional.ts';
import { biasUniform, defaultWeight } from './init.ts';
import { Module } from './module.ts';
import { positive } from './options.ts';

/** y = x W^T + b.  x (..., inFeatures) -> y (..., outFeatures). */
export class Linear extends Module {
  readonly weight: Variable; // (outFeatures, inFeatures)
  readonly bias: Variable | undefined; // (outFeatures)
  readonly inFeatures: number;

  constructor(inFeatures: number, outFeatures: number, { bias = true }: { bias?: boolean } = {}) {
    super();
    positive('linear', 'inFeatures', inFeatures);
    positive('linear', 'outFeatures', outFeatures);
    this.inFeatures = inFeatures;
    this.weight = this.parameter(defaultWeight([outFeatures, inFeatures]));
    if (bias) this.bias = this.parameter(biasUniform(outFeatures, inFeatures));
  }

  /** Of the weight it has now: each adapter may bring a head of its own. */
  get outFeatures(): number {
    return this.weight.shape[0] as number;
  }

  /** Replaces the initial values, before anything was computed from them. */
  reset(weight: Tensor, bias: Tensor): void {
    this.weight.initialize(weight);
    this.bias?.initialize(bias);
  }

  forward(x: Tensor): Tensor {
    if (x.shape.at(-1) !== this.inFeatures)
      throw new ShapeError(
        'FEATURES_MISMATCH',
        `[linear] takes ${this.inFeatures} features in the last dimension, got ${formatShape(x.shape)}`,
        {
          op: 'linear',
          expected: this.inFeatures,
          got: x.shape,
          hint: 'flatten images first; they may also have another size than the model was built for',
        },
      );
    return linear(x, this.weight, this.bias);
  }

  override describe(): string {
    return `${this.inFeatures} -> ${this.outFeatures}${this.bias ? '' : ', no bias'}`;
  }
}

/** Rows of a table, N(0, 1) at first: index (...) i32 -> (..., embeddingDim). */
export class Embedding extends Module {
  readonly weight: Variable; // (numEmbeddings, embeddingDim)

  constructor(numEmbeddings: number, embeddingDim: number) {
    super();
    positive('embedding', 'numEmbeddings', numEmbeddings);
    positive('embedding', 'embeddingDim', embeddingDim);
    this.weight = this.parameter(normal([numEmbeddings, embeddingDim]));
  }
  forward(index: Tensor): Tensor {
    return embedding(this.weight, index);
  }
  override describe(): string {
    return this.weight.shape.join(' x ');
  }
}
