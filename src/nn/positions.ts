/** Where a token stands, as a vector added to its embedding. */
import { formatShape, ShapeError } from '../base/index.ts';
import { normal, type Tensor, tensor, type Variable } from '../tensor/index.ts';
import { Module } from './module.ts';
import { positive } from './options.ts';

/** PE(t, 2i) = sin(t / 10000^(2i / d)), PE(t, 2i + 1) = cos of the same (Vaswani et al. 2017): (length, dModel). */
export function sinusoidalTable(length: number, dModel: number): Tensor {
  const table = new Float32Array(length * dModel);
  for (let t = 0; t < length; t++)
    for (let j = 0; j < dModel; j++) {
      const angle = t / 10000 ** ((j - (j % 2)) / dModel);
      table[t * dModel + j] = j % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
    }
  return tensor(table, { shape: [length, dModel] });
}

// (B, T, dModel) plus rows 0 .. T - 1.
function addRows(op: string, x: Tensor, table: Tensor): Tensor {
  const [length, width] = table.shape as [number, number];
  const steps = x.shape[1] as number;
  if (x.rank !== 3 || x.shape[2] !== width || steps > length)
    throw new ShapeError(
      'SHAPE_MISMATCH',
      `[${op}] takes (B, T, ${width}) of at most ${length} steps, got ${formatShape(x.shape)}`,
      { op, expected: `(B, T <= ${length}, ${width})`, got: x.shape, hint: 'cut the sequences, or raise maxLength' },
    );
  return x.add(table.slice(0, 0, steps));
}

/** Adds fixed sines and cosines: nothing to train, nothing saved.  (B, T, dModel) -> the same. */
export class SinusoidalPositions extends Module {
  readonly #table: Tensor;
  constructor(dModel: number, { maxLength = 5000 }: { maxLength?: number } = {}) {
    super();
    positive('sinusoidalPositions', 'dModel', dModel);
    positive('sinusoidalPositions', 'maxLength', maxLength);
    this.#table = sinusoidalTable(maxLength, dModel);
  }
  forward(x: Tensor): Tensor {
    return addRows('sinusoidalPositions', x, this.#table);
  }
}

/** Adds one learned vector per position, N(0, 0.02) at first as in BERT and GPT-2.  (B, T, dModel) -> the same. */
export class LearnedPositions extends Module {
  readonly weight: Variable; // (maxLength, dModel)
  constructor(dModel: number, { maxLength = 512 }: { maxLength?: number } = {}) {
    super();
    positive('learnedPositions', 'dModel', dModel);
    positive('learnedPositions', 'maxLength', maxLength);
    this.weight = this.parameter(normal([maxLength, dModel], { std: 0.02 }));
  }
  forward(x: Tensor): Tensor {
    return addRows('learnedPositions', x, this.weight);
  }
}
