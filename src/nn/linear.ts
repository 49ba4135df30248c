/** Affine layers and lookup tables. */
import { formatShape, ShapeError } from '../base/index.ts';
import { embedding, normal, type Tensor, type Variable } from '../tensor/index.ts';
import { biasUniform, kaimingUniform } from './init.ts';
import { Module } from './module.ts';

/** y = x W' + b.  x (..., inFeatures) -> y (..., outFeatures). */
export class Linear extends Module {
  readonly weight: Variable; // (outFeatures, inFeatures)
  readonly bias: Variable | undefined; // (outFeatures)
  readonly inFeatures: number;
  readonly outFeatures: number;

  constructor(inFeatures: number, outFeatures: number, { bias = true }: { bias?: boolean } = {}) {
    super();
    this.inFeatures = inFeatures;
    this.outFeatures = outFeatures;
    this.weight = this.parameter(kaimingUniform([outFeatures, inFeatures]));
    if (bias) this.bias = this.parameter(biasUniform(outFeatures, inFeatures));
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
        `[linear] takes ${this.inFeatures} features, got ${formatShape(x.shape)}`,
        {
          op: 'linear',
          expected: this.inFeatures,
          got: x.shape,
          hint: 'the images may have another size than the model was built for',
        },
      );
    const y = x.matmul(this.weight.transpose());
    return this.bias ? y.add(this.bias) : y;
  }

  override describe(): string {
    return `${this.inFeatures} -> ${this.outFeatures}${this.bias ? '' : ', no bias'}`;
  }
}

/** Rows of a table: index (...) i32 -> (..., embeddingDim). */
export class Embedding extends Module {
  readonly weight: Variable; // (numEmbeddings, embeddingDim)

  constructor(numEmbeddings: number, embeddingDim: number) {
    super();
    this.weight = this.parameter(normal([numEmbeddings, embeddingDim]));
  }
  forward(index: Tensor): Tensor {
    return embedding(this.weight, index);
  }
  override describe(): string {
    return this.weight.shape.join(' x ');
  }
}
